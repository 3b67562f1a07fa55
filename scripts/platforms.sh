#!/bin/sh
# Resolve the lock for every platform: each package must have a wheel there. The index is asked; nothing is installed.
# http-ece, which encrypts web push, comes as source alone: it is pure Python and needs no compiler.
set -eu
export MACOSX_DEPLOYMENT_TARGET=14.0 # onnxruntime has wheels from there on
[ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="$PIP_INDEX_URL" # where pip has another index, so has uv
for platform in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu aarch64-apple-darwin x86_64-apple-darwin; do
    for python in 3.11 3.12 3.13 3.14; do
        .venv/bin/uv pip install --dry-run --quiet --target build/platforms --require-hashes \
            --only-binary :all: --no-binary http-ece --python-platform "$platform" \
            --python-version "$python" --requirements "${1:-requirements.lock}" ||
            { echo "The lock does not resolve for $platform with Python $python." >&2; exit 1; }
    done
done
echo "The lock resolves for Linux and macOS on x86-64 and arm64, Python 3.11 to 3.14."
