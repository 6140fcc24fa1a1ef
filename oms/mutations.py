"""``python -m oms.mutations``: the table of when each mutant was noticed, and by which rule.

``--quick`` tries each with the seed that is known to notice it; ``--only A,B`` tries those with one of
the text in its name.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from oms.simulated_databases import databases
from simulation.mutations.trial import heading
from simulation.mutations.trials import all_trials, cores, quick_trials


def main(arguments: Sequence[str] | None = None) -> int:
    """Try every mutant; 0 when all were noticed and nobody complained about the unharmed code."""
    parser = ArgumentParser(prog="python -m oms.mutations", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--quick", action="store_true", help="each with the seed known to notice it")
    parser.add_argument("--only", default="", metavar="A,B", help="those with one of these in their name")
    parser.add_argument("--jobs", type=int, default=cores(), metavar="N", help="processes to run on")
    wanted = parser.parse_args(arguments)
    trials = []
    with databases(wanted.jobs, None) as made:
        say(heading())
        for trial in (quick_trials if wanted.quick else all_trials)(made, chosen=wanted.only):
            trials.append(trial)
            say(str(trial))
    missed = sum(trial.seeds is None for trial in trials)
    unfair = [trial for trial in trials if trial.complaint is not None]
    for trial in unfair:
        say(f"the unharmed code was complained about as well ({trial.rule}): {trial.complaint}")
    say(f"{len(trials) - missed} of {len(trials)} mutants noticed")
    return 1 if missed or unfair or not trials else 0


def say(text: str) -> None:
    """Print one line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
