"""Runs the sides of comparisons one after the other, again and again, so that all see the same machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from oms.audit import audit, sources_of
from oms.settings import load_settings
from tools.benchmarks.closed_loop import Run
from tools.benchmarks.contenders import OURS
from tools.benchmarks.history import add_history
from tools.benchmarks.measuring import Bench, Contender, at_work
from tools.benchmarks.scenarios import ONE_LINE, Samples, Side
from tools.benchmarks.servers import Servers, plain

Tell = Callable[[str], None]
SAMPLE_RUN: Final = Run(in_flight=64, warm_up_s=0, measure_s=5)
"""The real sagas that a past is made of."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long and how often.

    Attributes:
        repetitions: runs of each side.
        warm_up_s: seconds of load before each window.
        measure_s: seconds of each window.
        past_sagas: ended sagas that stand in the tables of a past.
        memory_sagas: sagas over which memory is watched.
    """

    repetitions: int
    warm_up_s: float
    measure_s: float
    past_sagas: int
    memory_sagas: int


FULL: Final = Pace(5, 3.0, 6.0, 1_000_000, 100_000)
QUICK: Final = Pace(3, 1.0, 2.0, 10_000, 2_000)


def _same_work() -> float:
    """Seconds for something that always takes the same."""
    began = time.perf_counter()
    sum(number * number for number in range(200_000))
    return time.perf_counter() - began


@dataclass(slots=True)
class Runner:
    """Everything that is measured in one go."""

    servers: Servers
    folder: Path
    pace: Pace
    tell: Tell
    samples: dict[Side, Samples] = field(default_factory=dict)
    objections: list[str] = field(default_factory=list)
    """What audits and drains had to say: nothing, if all is well."""
    audited_sagas: int = 0
    drift: list[float] = field(default_factory=list)
    """Seconds that the same piece of work took before each run: how even the machine was."""
    _past: str | None = None

    async def run(self, sides: Iterable[Side]) -> None:
        """Measure all sides, interleaved."""
        wanted = list(dict.fromkeys(sides))
        for repetition in range(self.pace.repetitions):
            for side in wanted:
                await self._measure(side)
                done = self.samples[side].measurements[-1]
                self.tell(
                    f"{repetition + 1}/{self.pace.repetitions}  {side.name:<36}"
                    f"{done.per_second:>8.1f}/s  p50 {done.p50_ms:>7.1f} ms"
                )

    @asynccontextmanager
    async def bench(self, contender: Contender, workload: str) -> AsyncIterator[Bench]:
        """A contender at work on a database of its own, audited before that is dropped."""
        if contender.has_past:
            database = await self._database_with_past()
            async with at_work(contender, workload, self.servers, self.folder, database) as bench:
                yield bench
            return
        make = self.servers.database
        database = await asyncio.to_thread(make, contender.template, contender.prepare)
        try:
            async with at_work(contender, workload, self.servers, self.folder, database) as bench:
                yield bench
            if contender.audited:
                await self._audit(contender, database)
        finally:
            await asyncio.to_thread(self.servers.drop, database)

    async def _measure(self, side: Side) -> None:
        self.drift.append(min(_same_work() for _ in range(3)))
        async with self.bench(side.contender, side.workload) as bench:
            run = Run(side.in_flight, self.pace.warm_up_s, self.pace.measure_s)
            measurement = await bench.measure(run)
        samples = self.samples.setdefault(side, Samples())
        samples.measurements.append(measurement)
        if measurement.left:
            self.objections.append(f"{side.name}: {measurement.left} had not ended after a minute")
        assert bench.footprint is not None
        samples.footprints.append(bench.footprint)

    async def _audit(self, contender: Contender, database: str) -> None:
        report = await audit(sources_of(load_settings(database_url=database)))
        self.audited_sagas += sum(report.sagas.values())
        if not report.ok:
            self.objections.append(f"{contender.name}: the audit objects: {report.as_json()}"[:2000])

    async def _database_with_past(self) -> str:
        if self._past is None:
            self.tell(f"making a past of {self.pace.past_sagas:,} ended sagas ...")
            database = await asyncio.to_thread(self.servers.database, OURS.template, OURS.prepare)
            async with at_work(OURS, ONE_LINE, self.servers, self.folder, database) as bench:
                await bench.measure(SAMPLE_RUN)
            await asyncio.to_thread(add_history, plain(database), self.pace.past_sagas)
            self._past = database
        return self._past
