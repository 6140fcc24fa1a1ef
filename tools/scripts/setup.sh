#!/bin/sh
# Makes .venv (or $SETUP_VENV) from nothing but Python 3.11+ with venv: pinned packages, then this project in place.
# Safe to run again: does nothing while the stamp is newer than what it was made from.
set -eu
cd "$(dirname "$0")/../.."

venv=${SETUP_VENV:-.venv}
stamp=$venv/.installed
packages=tools/requirements/dev.txt

fail() {
    echo "setup: $*" >&2
    exit 1
}

up_to_date() {
    [ -f "$stamp" ] && made_here && has_packages &&
        [ -z "$(find "$packages" pyproject.toml -newer "$stamp")" ]
}

# False too when the machine's Python was replaced by another version: packages belong to one.
has_packages() {
    "$venv/bin/python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("pytest") is None)' 2>/dev/null
}

recent_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Prints the first Python that runs and is recent enough; a name on the PATH may be an empty shim.
find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
        if recent_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed and was not found (Debian 12 or newer: apt-get install python3 python3-venv)."
}

# Scripts in a venv carry its path, so a checkout that was moved needs a new one.
made_here() {
    grep -qF " $PWD/$venv" "$venv/pyvenv.cfg" 2>/dev/null
}

works() {
    recent_enough "$venv/bin/python" && pip --version >/dev/null 2>&1
}

make_venv() {
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$python has no venv module (Debian: apt-get install python3-venv)."
    "$python" -m venv --clear "$venv" || fail "$python -m venv $venv failed."
}

pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"
}

install() {
    echo "setup: installing pinned packages into $venv (about a minute the first time) ..."
    # Python compiles what it imports: most of these files nobody ever does.
    pip install -qq --no-compile --prefer-binary --require-hashes -r "$packages" ||
        fail "could not install $packages (see above)."
    pip install -qq --no-deps --no-build-isolation --editable . ||
        fail "could not install this project into $venv (see above)."
}

command -v git >/dev/null 2>&1 || fail "git is needed and was not found (Debian: apt-get install git)."
up_to_date && exit 0
if command -v flock >/dev/null 2>&1 && [ -z "${OMS_SETUP_LOCKED:-}" ]; then
    mkdir -p .oms
    OMS_SETUP_LOCKED=1 exec flock .oms/setup.lock sh tools/scripts/setup.sh
fi
made_here && works || make_venv
rm -f "$stamp"
install
touch "$stamp"
echo "setup: done. Try: $venv/bin/oms --help"
