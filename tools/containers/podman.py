"""Podman with everything that it keeps in one folder, so that removing the folder removes all of it."""

from __future__ import annotations

import json
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CGROUPS: Final = "/oms-containers"
"""The parent of the groups of all our containers; tools/scripts/containers.sh removes it."""


class EngineError(Exception):
    """The engine refused; the message is its last words."""


@dataclass(frozen=True, slots=True)
class Podman:
    """The engine that keeps its images, containers and networks below ``folder``."""

    folder: Path

    def __call__(self, *arguments: str | Path) -> str:
        """What the engine prints. Raises EngineError where it ends with another code than 0."""
        done = self.run(*arguments)
        if done.returncode != 0:
            words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise EngineError(f"podman {arguments[0]} ended with {done.returncode}: {words}")
        return done.stdout.strip()

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """The same with code and both streams, whatever came of it."""
        return subprocess.run(
            [*self._command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def inspect(self, container: str) -> dict[str, Any]:
        """All that the engine knows of a container."""
        found: dict[str, Any] = json.loads(self("container", "inspect", container))[0]
        return found

    def image(self, name: str) -> dict[str, Any]:
        """All that the engine knows of an image."""
        found: dict[str, Any] = json.loads(self("image", "inspect", name))[0]
        return found

    @property
    def _command(self) -> list[str]:
        kept = {
            "--root": "storage",
            "--runroot": "run",
            "--tmpdir": "tmp",
            "--network-config-dir": "networks",
        }
        folders = [word for option, name in kept.items() for word in (option, str(self.folder / name))]
        # crun refuses hybrid control groups; without systemd nobody else keeps groups and events.
        return ["podman", *folders, "--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=file"]


def limits() -> list[str]:
    """Options by which a container asks for no more than this process may have: raising may be forbidden."""
    found = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    return [f"--ulimit={name}={_at_most(limit)}" for name, limit in found.items()]


def _at_most(limit: int) -> str:
    hard = resource.getrlimit(limit)[1]
    value = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    return f"{value}:{value}"


def options() -> list[str]:
    """What every container here is run with."""
    return [f"--cgroup-parent={CGROUPS}", "--pull=never", *limits()]
