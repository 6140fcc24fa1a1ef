"""``python -m simulation.mutations``: the table of when each mutant was noticed, and by which rule."""

from __future__ import annotations

import sys

from simulation.mutations.trial import heading
from simulation.mutations.trials import all_trials


def main() -> int:
    """Try every mutant; 0 when all were noticed and nobody complained about the unharmed code."""
    say(heading())
    trials = []
    for trial in all_trials():
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


if __name__ == "__main__":
    sys.exit(main())
