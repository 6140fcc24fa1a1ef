"""A participant that shell scripts start and kill, as `oms conformance --restart` wants it."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path


class ByScript:
    """Two scripts in a folder: one starts a program in the background, one kills it and starts it again."""

    def __init__(self, name: str, command: Sequence[str], variables: Mapping[str, str], folder: Path) -> None:
        self._start, restart = folder / f"start-{name}", folder / f"restart-{name}"
        self._pid = folder / f"{name}.pid"
        self.restart = f"sh {restart}"
        """The command that kills and starts it."""
        given = " ".join(f"{variable}={shlex.quote(value)}" for variable, value in variables.items())
        log = folder / f"{name}-by-script.log"
        started = f"env {given} {shlex.join(command)} >>{log} 2>&1 </dev/null &"
        self._start.write_text(f"{started}\necho $! >{self._pid}\n")
        restart.write_text(f"kill -9 $(cat {self._pid})\n. {self._start}\n")

    async def start(self) -> None:
        """Start it; it need not be ready yet."""
        await (await asyncio.create_subprocess_exec("sh", str(self._start))).wait()

    def end(self) -> None:
        """Ask whichever runs now to end."""
        os.kill(int(self._pid.read_text()), signal.SIGTERM)
