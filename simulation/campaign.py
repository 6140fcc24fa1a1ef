"""Many seeds on all cores: what was violated, what was tried, how fast it went."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any

from simulation.coverage import Coverage
from simulation.kinds import BOTH, Kind
from simulation.report import failure
from simulation.run import Run
from simulation.world import MemoryStorage, Storage

CHUNK = 10
"""Seeds that one worker runs before it reports."""


@dataclass(slots=True)
class Outcome:
    """What came of some seeds."""

    seeds: int = 0
    orders: int = 0
    sagas: int = 0
    """Of other kinds than orders."""
    virtual_s: float = 0.0
    violations: dict[str, str] = field(default_factory=dict)
    """By world, the first thing that was wrong."""
    reports: dict[str, list[str]] = field(default_factory=dict)
    """By world, the story of what was wrong."""
    coverage: dict[str, Coverage] = field(default_factory=dict)
    """By kind of world."""

    def merge(self, other: Outcome) -> None:
        """Add another's results."""
        self.seeds += other.seeds
        self.orders += other.orders
        self.sagas += other.sagas
        self.virtual_s += other.virtual_s
        self.violations |= other.violations
        self.reports |= other.reports
        for kind, coverage in other.coverage.items():
            self.coverage.setdefault(kind, Coverage(coverage.never)).merge(coverage)

    def add(self, kind: Kind, run: Run) -> None:
        """Add one world's."""
        self.orders += len(run.plan.orders)
        self.sagas += len(run.plan.starts)
        self.virtual_s += run.loop.time()
        self.coverage.setdefault(kind.name, Coverage(kind.never)).add(run.facts)
        if run.violations:
            name = f"{run.plan.seed} ({kind.name})"
            self.violations[name] = str(run.violations[0])
            self.reports[name] = list(failure(run))


def run_seeds(seeds: Sequence[int], storage: Storage | None = None, kinds: Sequence[Kind] = BOTH) -> Outcome:
    """Run some seeds in this process, one after the other, each as a world of every kind."""
    outcome = Outcome()
    for seed in seeds:
        for kind in kinds:
            run = Run(kind.plans(seed), storage)
            run.execute()
            outcome.add(kind, run)
        outcome.seeds += 1
    return outcome


def campaign(
    first: int,
    count: int,
    workers: int | None = None,
    databases: Sequence[str] = (),
    kinds: Sequence[Kind] = BOTH,
) -> Iterator[Outcome]:
    """Run ``count`` seeds from ``first`` on; what came of each chunk, in order of the seeds.

    Args:
        workers: processes to run on; all cores by default.
        databases: URLs of prepared databases of PostgreSQL, one for each worker; none for storage in memory.
        kinds: of the worlds that a seed stands for.
    """
    size = 1 if databases else CHUNK
    chunks = [range(at, min(at + size, first + count)) for at in range(first, first + count, size)]
    workers = min(workers or os.cpu_count() or 1, len(chunks), len(databases) or count)
    if workers <= 1 and not databases:
        yield from (run_seeds(chunk, None, kinds) for chunk in chunks)
        return
    yield from _in_order(chunks, workers, databases, kinds)


def _in_order(
    chunks: Sequence[range], workers: int, databases: Sequence[str], kinds: Sequence[Kind]
) -> Iterator[Outcome]:
    """What comes of each chunk; whoever stops listening stops the workers with the chunk that they are at."""
    context = get_context("spawn")
    shared: Any = context.SimpleQueue()
    for url in databases[:workers]:
        shared.put(url)
    begin = partial(_prepare, shared if databases else None)
    pool = ProcessPoolExecutor(workers, context, initializer=begin)
    try:
        waiting: list[Future[Outcome]] = [pool.submit(_run_chunk, chunk, kinds) for chunk in chunks]
        for future in waiting:
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def storage_in(database: str | None = None) -> Storage:
    """Storage in a prepared database of PostgreSQL, by its URL, or in memory."""
    if database is None:
        return MemoryStorage()
    from simulation.postgresql.server import PostgresStorage  # loads what the fast storage never needs

    return PostgresStorage(database)


_storage: list[Storage] = []


def _run_chunk(chunk: range, kinds: Sequence[Kind]) -> Outcome:
    return run_seeds(chunk, _storage[0], kinds)


def _prepare(databases: Any) -> None:
    """A worker begins: Ctrl-C ends it without a word, and what it has loaded by now is never collected."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _storage[:] = [storage_in() if databases is None else storage_in(databases.get())]
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
