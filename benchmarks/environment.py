"""The peers' own environment: made once, in a folder of its own, from pinned packages."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[1]
PACKAGES: Final = PROJECT / "requirements/bench.txt"
FOLDER: Final = PROJECT / ".oms/bench/venv"
_STAMP: Final = FOLDER / ".installed"


class NoEnvironment(Exception):
    """The peers' packages cannot be installed; the message says why."""


def peers_python() -> str:
    """The Python of the peers' environment; `make_environment` must have been called."""
    return str(FOLDER / "bin/python")


def make_environment() -> None:
    """Install the peers' packages, unless that has been done since they were last pinned."""
    if _STAMP.exists() and _STAMP.stat().st_mtime >= PACKAGES.stat().st_mtime:
        return
    print(f"installing the peers' packages into {FOLDER.relative_to(PROJECT)} ...", file=sys.stderr)
    venv.create(FOLDER, clear=True, with_pip=True)
    pip = [peers_python(), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run(
        [*pip, "install", "-qq", "--require-hashes", "-r", str(PACKAGES)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise NoEnvironment(f"cannot install {PACKAGES.relative_to(PROJECT)}: {reason}")
    _STAMP.touch()
