"""Many seeds on all cores: what was violated, what was tried, how fast it went."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from simulation.coverage import Coverage
from simulation.plan import plan_of
from simulation.run import Run

CHUNK = 25
"""Seeds that one worker runs before it reports."""


@dataclass(slots=True)
class Outcome:
    """What came of some seeds."""

    seeds: int = 0
    orders: int = 0
    virtual_s: float = 0.0
    violations: dict[int, str] = field(default_factory=dict)
    """By seed, the first thing that was wrong."""
    coverage: Coverage = field(default_factory=Coverage)

    def merge(self, other: Outcome) -> None:
        """Add another's results."""
        self.seeds += other.seeds
        self.orders += other.orders
        self.virtual_s += other.virtual_s
        self.violations |= other.violations
        self.coverage.merge(other.coverage)


def run_seeds(seeds: Sequence[int]) -> Outcome:
    """Run some seeds in this process, one after the other."""
    outcome = Outcome()
    for seed in seeds:
        run = Run(plan_of(seed))
        run.execute()
        outcome.seeds += 1
        outcome.orders += len(run.plan.orders)
        outcome.virtual_s += run.loop.time()
        outcome.coverage.add(run.facts)
        if run.violations:
            outcome.violations[seed] = str(run.violations[0])
    return outcome


def campaign(first: int, count: int, workers: int | None = None) -> Iterator[Outcome]:
    """Run ``count`` seeds from ``first`` on; what came of each chunk, in order of the seeds."""
    chunks = [range(at, min(at + CHUNK, first + count)) for at in range(first, first + count, CHUNK)]
    workers = min(workers or os.cpu_count() or 1, len(chunks))
    if workers <= 1:
        yield from map(run_seeds, chunks)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_prepare) as pool:
        yield from pool.map(run_seeds, chunks)


def _prepare() -> None:
    """What every worker has loaded by now stays: only a run's own objects are collected."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast seeds are run."""

    seeds: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.seeds / self.seconds:.1f} seeds/s" if self.seconds else "no time"


def stopwatch() -> float:
    """Seconds of real time, for rates alone."""
    return time.perf_counter()
