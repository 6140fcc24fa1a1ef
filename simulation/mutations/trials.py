"""Every mutant on trial, on all cores."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

from simulation.mutations.catalogue import MUTATIONS
from simulation.mutations.trial import Mutation, Trial, on_trial, quick_trial
from simulation.postgresql.server import PostgresStorage
from simulation.world import MemoryStorage, Storage

Try = Callable[[Mutation, Storage, PostgresStorage | None], Trial]


def all_trials(databases: Sequence[str], *, chosen: str = "", how: Try = on_trial) -> Iterator[Trial]:
    """How each mutant fared, in the catalogue's order.

    Args:
        databases: URLs of prepared databases, one for each process to run on.
        chosen: parts of the names of those that are tried, with commas between; all by default.
        how: `on_trial`, or `quick_trial` where there is little time.
    """
    parts = chosen.lower().split(",")
    wanted = [any(part in each.rule.lower() for part in parts) for each in MUTATIONS]
    numbers = [number for number, each in enumerate(wanted) if each]
    context = get_context("spawn")
    shared: Any = context.SimpleQueue()
    for url in databases:
        shared.put(url)
    pool = ProcessPoolExecutor(len(databases), context, initializer=_prepare, initargs=(shared,))
    try:
        yield from pool.map(partial(_try, how), numbers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def quick_trials(databases: Sequence[str], *, chosen: str = "") -> Iterator[Trial]:
    """The same, each with the seed that is known to notice it."""
    return all_trials(databases, chosen=chosen, how=quick_trial)


def cores() -> int:
    """Processes to run on."""
    return os.cpu_count() or 1


_memory = MemoryStorage()
_postgresql: list[PostgresStorage] = []


def _try(how: Try, number: int) -> Trial:
    return how(MUTATIONS[number], _memory, _postgresql[0])


def _prepare(databases: Any) -> None:
    """What a worker has loaded by now stays: only a run's own objects are collected."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _postgresql[:] = [PostgresStorage(databases.get())]
    gc.collect()
    gc.freeze()
