"""One mutant on trial: seeds are run until somebody notices it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from simulation.checkers.inspection import Objection
from simulation.patches import Patch, applied
from simulation.plan import Plan as WorldPlan
from simulation.plan import plan_of
from simulation.run import Run

WITHIN: Final = 300
"""Seeds within which a mutant must be noticed, unless it says otherwise."""

Adjust = Callable[[WorldPlan], WorldPlan]


def as_it_is(plan: WorldPlan) -> WorldPlan:
    """The seed's own plan."""
    return plan


@dataclass(frozen=True, slots=True)
class Mutation:
    """A rule, and how it is taken away.

    Attributes:
        instead: what the mutant does, in a person's words.
        setting: patches under which mutant and control run alike, such as healing switched off.
        adjust: changes each seed's plan, for mutant and control alike.
        within: seeds within which it must be noticed.
    """

    rule: str
    instead: str
    patches: tuple[Patch, ...]
    setting: tuple[Patch, ...] = ()
    adjust: Adjust = as_it_is
    within: int = WITHIN


@dataclass(frozen=True, slots=True)
class Trial:
    """How a mutant fared.

    Attributes:
        seeds: how many it took until it was noticed; None where nobody noticed it.
        noticed_by: the rule that was seen broken.
        complaint: what was wrong with the unharmed code in the same circumstances; None when nothing.
    """

    rule: str
    seeds: int | None
    within: int
    noticed_by: str = ""
    complaint: str | None = None

    def __str__(self) -> str:
        after = "never" if self.seeds is None else str(self.seeds)
        return f"{self.rule:36} {after:>6}  {self.within:>6}  {self.noticed_by}"


def heading() -> str:
    """What stands above the table."""
    return f"{'rule taken away':36} {'seeds':>6}  {'of':>6}  noticed by"


def on_trial(mutation: Mutation) -> Trial:
    """Run seeds until the mutant is noticed, and the unharmed code in the same circumstances."""
    seeds, noticed_by = None, ""
    for number in range(mutation.within):
        found = _violation(mutation, number, (*mutation.setting, *mutation.patches))
        if found is not None:
            seeds, noticed_by = number + 1, found.rule
            break
    return Trial(mutation.rule, seeds, mutation.within, noticed_by, _control(mutation, seeds or 0))


def _control(mutation: Mutation, seeds: int) -> str | None:
    if not mutation.setting and mutation.adjust is as_it_is:
        return None
    for number in range(seeds):
        found = _violation(mutation, number, mutation.setting)
        if found is not None:
            return f"seed {number}: {found}"
    return None


def _violation(mutation: Mutation, number: int, patches: Sequence[Patch]) -> Objection | None:
    run = Run(mutation.adjust(plan_of(number)))
    with applied(patches):
        run.execute()
    return run.violations[0] if run.violations else None
