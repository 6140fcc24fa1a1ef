#!/bin/sh
# Runs the tests that need no service on the newest Python of this machine, in an environment of its own:
#   make newest [ARGS=tests/unit/core]          (nothing to do where .venv has it already)
set -eu
cd "$(dirname "$0")/../.."

venv=.oms/newest/venv

version_of() {
    "$1" -c 'import sys, venv, ensurepip; print("%d%03d" % sys.version_info[:2])' 2>/dev/null || echo 0
}

# Debian's and others' on the PATH, and what pyenv keeps. A name may be an empty shim, or lack its venv module.
candidates() {
    for minor in 11 12 13 14 15 16 17; do
        command -v "python3.$minor" || true
        for kept in "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python; do
            [ -x "$kept" ] && echo "$kept"
        done
    done
}

newest=.venv/bin/python
for candidate in $(candidates); do
    [ "$(version_of "$candidate")" -gt "$(version_of "$newest")" ] && newest=$candidate
done
echo "newest: $("$newest" --version) ($newest)"
if [ "$newest" = .venv/bin/python ]; then
    echo "newest: this machine has none that is newer; its tests are those of make test"
    exit 0
fi
mkdir -p "$(dirname "$venv")"
PYTHON=$newest SETUP_VENV=$venv sh tools/scripts/setup.sh
[ $# -gt 0 ] || set -- tests/unit tests/architecture
exec "$venv/bin/python" -m pytest -n "${WORKERS:-2}" --dist=loadfile "$@"
