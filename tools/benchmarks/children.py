"""The processes of a contender: started together, told to run, ended together."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from tools.benchmarks.closed_loop import PIPE_VARIABLE, Result, Run

PROJECT: Final = Path(__file__).parents[2]
START_S: Final = 60.0
END_S: Final = 20.0
LINE_LIMIT: Final = 64 * 1024 * 1024
"""A result carries every latency."""


class ContenderFailed(Exception):
    """A process of a contender ended or fell silent; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class Program:
    """One process: its part in the contender, and how it is started from the project's folder."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    drives: bool = False
    """Whether it carries out runs (`tools.benchmarks.closed_loop.serve`)."""


class Child:
    """A running program."""

    def __init__(
        self,
        program: Program,
        process: asyncio.subprocess.Process,
        told: asyncio.StreamReader,
        log: Path,
    ) -> None:
        self.program = program
        self.pid = process.pid
        self._process = process
        self._told = told
        self._log = log

    @classmethod
    async def start(cls, program: Program, folder: Path) -> Self:
        """Start it; what it says beside the protocol goes to a file of its name in ``folder``."""
        log = folder / f"{program.name}.log"
        ours, theirs = os.pipe()
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                cwd=PROJECT,
                env=os.environ
                | program.environment
                | {"PYTHONPATH": str(PROJECT), PIPE_VARIABLE: str(theirs)},
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(theirs,),
            )
        os.close(theirs)
        return cls(program, process, await _reader(ours), log)

    async def expect(self, event: str, within_s: float) -> dict[str, Any]:
        """Wait for an event; others are passed over."""
        try:
            async with asyncio.timeout(within_s):
                while line := await self._told.readline():
                    told: dict[str, Any] = json.loads(line)
                    if told["event"] == event:
                        return told
        except TimeoutError:
            raise ContenderFailed(f"{self.program.name} is silent: {self._last_words()}") from None
        raise ContenderFailed(f"{self.program.name} has ended: {self._last_words()}")

    def ask(self, run: Run) -> None:
        """Ask a driver for a run."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(run)).encode() + b"\n")

    async def end(self) -> None:
        """Hang up, and wait; then insist."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(ProcessLookupError):
            try:
                await asyncio.wait_for(self._process.wait(), END_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "no words"


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


class Children:
    """All processes of one contender."""

    def __init__(self, programs: Sequence[Program], folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            for program in self._programs:
                self._children.append(await Child.start(program, self._folder))
            await asyncio.gather(*(child.expect("ready", START_S) for child in self._children))
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _end(self) -> None:
        await asyncio.gather(*(child.end() for child in self._children))

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {child.program.name: child.pid for child in self._children}

    @property
    def _drivers(self) -> list[Child]:
        return [child for child in self._children if child.program.drives]

    def begin(self, run: Run) -> None:
        """Share a run among the drivers."""
        drivers = self._drivers
        for number, driver in enumerate(drivers):
            share = run.in_flight // len(drivers) + (number < run.in_flight % len(drivers))
            driver.ask(Run(share, run.warm_up_s, run.measure_s))

    async def all(self, event: str, within_s: float) -> list[dict[str, Any]]:
        """Wait for the same event of every driver."""
        return list(await asyncio.gather(*(driver.expect(event, within_s) for driver in self._drivers)))

    async def result(self, within_s: float) -> Result:
        """The drivers' results as one."""
        told = await self.all("result", within_s)
        parts = [Result(**{k: v for k, v in each.items() if k != "event"}) for each in told]
        outcomes: dict[str, int] = {}
        for part in parts:
            for name, count in part.outcomes.items():
                outcomes[name] = outcomes.get(name, 0) + count
        return Result(
            seconds=sum(part.seconds for part in parts) / len(parts),
            ended=sum(part.ended for part in parts),
            latencies_ms=[latency for part in parts for latency in part.latencies_ms],
            outcomes=outcomes,
            started=sum(part.started for part in parts),
            left=sum(part.left for part in parts),
            extra=parts[0].extra,
        )
