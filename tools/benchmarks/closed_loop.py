"""A closed loop: so many sagas are in flight at any time, and each that ends is followed by a new one.

Only the standard library is used: peers run it in their own environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any, Final

PIPE_VARIABLE: Final = "OMS_BENCH_PIPE"
"""Holds the number of the file descriptor to which `say` writes; the standard output is left to logs."""

DRAIN_S: Final = 60.0
"""How long sagas that are still in flight at the end may take; beyond it they count as left."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is asked of a driver: this many at once, for so many seconds after so many of warming up."""

    in_flight: int
    warm_up_s: float
    measure_s: float


@dataclass(slots=True)
class Result:
    """What one driver saw within its window."""

    seconds: float
    ended: int
    latencies_ms: list[float]
    outcomes: dict[str, int]
    started: int
    """All that were begun, warming up and draining included."""
    left: int
    """How many had not ended when the driver gave up waiting."""
    extra: dict[str, float] = field(default_factory=dict)


class ClosedLoop:
    """Counts what is in flight and asks for more.

    ``launch(count)`` begins so many more sagas, each with a call of `began`, and must not wait.
    """

    def __init__(self, launch: Callable[[int], None]) -> None:
        self._launch = launch
        self._open: dict[Hashable, float] = {}
        self._goal = 0
        self._started = 0
        self._refilling = False
        self._measuring = False
        self._drained = asyncio.Event()
        self._latencies_ms: list[float] = []
        self._outcomes: Counter[str] = Counter()

    def began(self, key: Hashable) -> None:
        """A saga is under way from now on."""
        self._started += 1
        self._open[key] = perf_counter()

    def ended(self, key: Hashable, outcome: str) -> None:
        """A saga has ended; one that is not known here (another run's) is ignored."""
        began_at = self._open.pop(key, None)
        if began_at is None:
            return
        if self._measuring:
            self._latencies_ms.append((perf_counter() - began_at) * 1000)
            self._outcomes[outcome] += 1
        if not self._open and self._goal == 0:
            self._drained.set()
        if not self._refilling and self._goal:
            self._refilling = True
            asyncio.get_running_loop().call_soon(self._refill)

    def _refill(self) -> None:
        """All that ended within one batch are followed at once."""
        self._refilling = False
        missing = self._goal - len(self._open)
        if missing > 0:
            self._launch(missing)

    async def run(self, run: Run, window_opens: Callable[[], None]) -> Result:
        """Drive one run, wait until everything has ended, and tell what happened within the window."""
        self._latencies_ms, self._outcomes, self._started = [], Counter(), 0
        self._drained.clear()
        self._goal = run.in_flight
        self._refill()
        await asyncio.sleep(run.warm_up_s)
        self._measuring = True
        window_opens()
        opened_at = perf_counter()
        await asyncio.sleep(run.measure_s)
        seconds = perf_counter() - opened_at
        self._measuring = False
        self._goal = 0
        latencies, outcomes = self._latencies_ms, dict(self._outcomes)
        return Result(seconds, len(latencies), latencies, outcomes, self._started, 0)

    async def drain(self) -> int:
        """Wait until nothing is in flight; returns how many did not end in time."""
        if self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), DRAIN_S)
        left = len(self._open)
        self._open.clear()
        return left


def say(event: str, **details: Any) -> None:
    """Tell the harness something, as one line of JSON on a pipe that it has opened for that."""
    line = json.dumps({"event": event, **details}).encode() + b"\n"
    pipe = int(os.environ[PIPE_VARIABLE])
    while line:
        line = line[os.write(pipe, line) :]


async def commands() -> asyncio.StreamReader:
    """What the harness asks for, a line of JSON each; ends when the harness does."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def serve(run_one: Callable[[Run], Awaitable[Result]]) -> None:
    """Say that all is ready, then carry out runs until the harness hangs up."""
    reader = await commands()
    say("ready")
    while line := await reader.readline():
        result = await run_one(Run(**json.loads(line)))
        say("result", **asdict(result))


async def drive(loop: ClosedLoop) -> None:
    """`serve` for a driver that is nothing but a closed loop."""

    async def run_one(run: Run) -> Result:
        result = await loop.run(run, lambda: say("window"))
        say("closed")
        result.left = await loop.drain()
        return result

    await serve(run_one)


async def stay() -> None:
    """For processes that drive nothing: say that all is ready and live until the harness hangs up."""
    reader = await commands()
    say("ready")
    await reader.read()
