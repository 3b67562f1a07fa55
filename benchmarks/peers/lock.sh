#!/bin/sh
# Write each peer's lock anew from its requirements.in: exact pins, with hashes, without a word about an index.
set -eu
cd "$(dirname "$0")"
for folder in */; do
    own=""
    [ "$folder" != celery/ ] || own="--constraint=../../requirements.lock" # stock Celery: the versions that we use
    ../../.venv/bin/uv pip compile "$folder"requirements.in --quiet --universal --python-version 3.11 --no-header \
        --no-annotate --generate-hashes $own --output-file "$folder"requirements.txt
done
