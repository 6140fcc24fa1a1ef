"""Every mutant on trial, on all cores."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from simulation.mutations.catalogue import MUTATIONS
from simulation.mutations.trial import Trial, on_trial


def all_trials(workers: int | None = None) -> Iterator[Trial]:
    """How each mutant fared, in the catalogue's order."""
    count = workers or os.cpu_count()
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=_prepare) as pool:
        yield from pool.map(_try, range(len(MUTATIONS)))


def _try(number: int) -> Trial:
    return on_trial(MUTATIONS[number])


def _prepare() -> None:
    """What a worker has loaded by now stays: only a run's own objects are collected."""
    gc.collect()
    gc.freeze()
