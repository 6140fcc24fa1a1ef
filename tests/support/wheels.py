"""The project as others get it: its wheel in an environment of its own, far from the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.servers import PROJECT

PIP: Final = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
OFFLINE: Final = ("--no-deps", "--no-build-isolation", "--no-index")


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment in which packages were installed; what they need it has from that of the tests."""

    folder: Path

    def install(self, package: Path) -> None:
        """Install a wheel, or a project's folder."""
        self._pip("install", *OFFLINE, str(package))

    def uninstall(self, distribution: str) -> None:
        """Remove a distribution."""
        self._pip("uninstall", "--yes", distribution)

    def run(
        self, *command: str, within: Path, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment in a folder, whose own packages come first."""
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(within),
            "PYTHONPATH": str(within),
            **(more or {}),
        }
        program = str(self.folder / "bin" / command[0])
        return subprocess.run(
            [program, *command[1:]], cwd=within, env=environment, capture_output=True, text=True, check=False
        )

    def _pip(self, *arguments: str) -> None:
        command = [*PIP, "--python", str(self.folder / "bin/python"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def build_wheel(folder: Path) -> Path:
    """The project's wheel, built offline."""
    command = [*PIP, "wheel", *OFFLINE, "--wheel-dir", str(folder), str(PROJECT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = folder.glob("oms_saga_orchestrator-*.whl")
    return wheel


def new_environment(folder: Path) -> Environment:
    """An empty environment, in which the dependencies can be imported and the checkout cannot."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Environment(folder)
