"""Environments beside the project's own, for what it does not need itself; made once, of pinned packages."""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oms.embedded.folder_lock import exclusive

PROJECT: Final = Path(__file__).parents[2]


class NoEnvironment(Exception):
    """Packages cannot be installed; the message says why."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What the dependency group ``name`` of pyproject.toml asks for, below ``.oms/name``."""

    name: str

    @property
    def python(self) -> str:
        """Its Python; `make` must have been called."""
        return str(self._folder / "bin/python")

    def make(self) -> None:
        """Install the packages, unless that was done since they were last pinned; by one process at a time.

        Raises NoEnvironment.
        """
        with exclusive(self._folder.parent):
            self._make()

    def _make(self) -> None:
        packages, stamp = PROJECT / f"tools/requirements/{self.name}.txt", self._folder / ".installed"
        if stamp.exists() and stamp.stat().st_mtime >= packages.stat().st_mtime:
            return
        print(f"installing packages into {self._folder.relative_to(PROJECT)} ...", file=sys.stderr)
        venv.create(self._folder, clear=True, with_pip=True)
        pip = [self.python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        done = subprocess.run(
            [*pip, "install", "-qq", "--require-hashes", "--no-deps", "-r", str(packages)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise NoEnvironment(f"cannot install {packages.relative_to(PROJECT)}: {reason}")
        stamp.touch()

    @property
    def _folder(self) -> Path:
        return PROJECT / ".oms" / self.name / "venv"


PEERS: Final = Environment("bench")
"""What the benchmark compares with and draws with."""
