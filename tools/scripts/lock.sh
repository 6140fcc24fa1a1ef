#!/bin/sh
# Pins what pyproject.toml asks for, with hashes, for every supported Python. Arguments go to uv, e.g. --upgrade.
set -eu
cd "$(dirname "$0")/../.."

uv=${UV:-uv}
command -v "$uv" >/dev/null 2>&1 || { echo "lock: uv was not found; install it or set UV to its path." >&2; exit 1; }

pin() {
    name=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
        --output-file "tools/requirements/$name.txt" "$@"
}

pin runtime pyproject.toml "$@"
pin telemetry pyproject.toml --extra telemetry "$@"
pin dev pyproject.toml --extra dev "$@"
pin bench --group bench "$@"
pin fuzz --group fuzz "$@"
pin docs --group docs "$@"
pin build --group build "$@"
pin manifests --group manifests "$@"
pin node --group node "$@"
pin release --group release "$@"
