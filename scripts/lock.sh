#!/bin/sh
# Write the lock files anew from pyproject.toml: exact pins, with hashes, without a word about an index.
set -eu
compile() {
    .venv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --no-header --no-annotate "$@"
}
compile --generate-hashes --output-file requirements.lock
compile --output-file requirements.txt
echo "-e ." >> requirements.txt
# pip wants the extras that a package asks for in the line with its hashes
compile --generate-hashes --no-strip-extras --group dev --constraint requirements.lock --output-file requirements-dev.txt
