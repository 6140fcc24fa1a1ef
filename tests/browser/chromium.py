"""A Chromium for tests: the named one, else the machine's, else one unpacked from the machine's packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from oms.embedded.child import ServerError
from tests.support.servers import PROJECT
from tools.servers import debian

VARIABLE: Final = "OMS_TEST_CHROMIUM"
NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PACKAGE: Final = "chromium"
_STARTER: Final = "start"
_NEEDED: Final = re.compile(r"chromium|fonts-|fontconfig-config|lib(?!c6$|c-bin$)")

_START: Final = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$here/usr/lib/LIBRARIES:$here/lib/LIBRARIES:$here/usr/lib/LIBRARIES/nss:\
$here/usr/lib/LIBRARIES/pulseaudio"
[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_FILE="$here/fonts.conf"
exec "$here/usr/lib/chromium/chromium" "$@"
"""
_FONTS: Final = """<?xml version="1.0"?>
<fontconfig>
<dir prefix="relative">usr/share/fonts</dir><cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""


def chromium() -> Path:
    """The program. Raises ServerError with one line that says what to do."""
    given = os.environ.get(VARIABLE)
    if given:
        if not _runs(given):
            raise ServerError(f"{VARIABLE} names {given}, which does not start")
        return Path(given)
    for name in NAMES:
        found = shutil.which(name)
        if found and _runs(found):
            return Path(found)
    return _fetched(PROJECT / ".oms/servers")


def _fetched(cache: Path) -> Path:
    """Unpacked below `cache`, fetched where it is missing; nothing is installed."""
    try:
        tree = debian.unpacked(_PACKAGE, cache.absolute(), _needed, _finish)
    except ServerError as error:
        raise ServerError(f"no Chromium: {error}; install one, or set {VARIABLE} to its path") from None
    return tree / _STARTER


def _needed(options: debian.Options) -> list[str]:
    lacking = [name for name in debian.missing(_PACKAGE, options) if _NEEDED.match(name)]
    return sorted({_PACKAGE, "chromium-common", *lacking})


def _finish(tree: Path) -> None:
    libraries = next((path.name for path in debian.libraries(tree)), "")
    (tree / "fonts.conf").write_text(_FONTS)
    starter = tree / _STARTER
    starter.write_text(_START.replace("LIBRARIES", libraries))
    starter.chmod(0o755)


def _runs(program: str) -> bool:
    """A name on the path may be a stub that only says where to get the real one."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and b"Chrom" in answer.stdout
