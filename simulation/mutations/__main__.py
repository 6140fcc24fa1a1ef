"""``python -m simulation.mutations``: every mutant on trial, and the table of when it was noticed."""

from __future__ import annotations

import gc
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from simulation.mutations.catalogue import MUTATIONS
from simulation.mutations.trial import Trial, heading, on_trial


def main() -> int:
    """Try every mutant; 0 when all were noticed and no control run complained."""
    say(heading())
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), initializer=_prepare) as pool:
        trials = []
        for trial in pool.map(_try, range(len(MUTATIONS))):
            trials.append(trial)
            say(str(trial))
    missed = sum(trial.seeds is None for trial in trials)
    unfair = [trial for trial in trials if trial.complaint is not None]
    for trial in unfair:
        say(f"the unharmed code was complained about as well ({trial.rule}): {trial.complaint}")
    say(f"{len(trials) - missed} of {len(trials)} mutants noticed")
    return 1 if missed or unfair else 0


def say(text: str) -> None:
    """Print one line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _try(number: int) -> Trial:
    return on_trial(MUTATIONS[number])


def _prepare() -> None:
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
