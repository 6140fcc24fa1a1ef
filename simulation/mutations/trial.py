"""One mutant on trial: seeds are run until somebody notices it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from simulation.checkers.inspection import Objection
from simulation.patches import Patch, applied
from simulation.plan import Plan as WorldPlan
from simulation.plan import plan_of
from simulation.postgresql.server import PostgresStorage
from simulation.run import Run
from simulation.world import Storage

WITHIN: Final = 300
"""Seeds within which a mutant must be noticed, unless it says otherwise."""

Adjust = Callable[[WorldPlan], WorldPlan]
Ddl = tuple[str, str]
"""A change of the database, and what takes it back."""


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
        known: a seed that is known to notice it; tried first when there is little time.
        on_postgresql: it lives in the SQL, or in what only a real server does.
        ddl: how the database is changed, on PostgreSQL.
        plans: the kind of world that it lives in, by its seed.
    """

    rule: str
    instead: str
    patches: tuple[Patch, ...] = ()
    setting: tuple[Patch, ...] = ()
    adjust: Adjust = as_it_is
    within: int = WITHIN
    known: int = 0
    on_postgresql: bool = False
    ddl: tuple[Ddl, ...] = ()
    plans: Callable[[int], WorldPlan] = plan_of


@dataclass(frozen=True, slots=True)
class Trial:
    """How a mutant fared.

    Attributes:
        seeds: how many it took until it was noticed; None where nobody noticed it.
        noticed_by: the rule that was seen broken.
        complaint: what was wrong with the unharmed code in the same circumstances; None when nothing.
    """

    rule: str
    instead: str
    seeds: int | None
    within: int
    noticed_by: str = ""
    complaint: str | None = None

    def __str__(self) -> str:
        after = "never" if self.seeds is None else str(self.seeds)
        return f"{self.rule:36} {self.instead:66} {after:>6}  {self.within:>6}  {self.noticed_by}"


def heading() -> str:
    """What stands above the table."""
    return f"{'rule taken away':36} {'what the mutant does':66} {'seeds':>6}  {'of':>6}  noticed by"


def on_trial(mutation: Mutation, memory: Storage, postgresql: PostgresStorage | None) -> Trial:
    """Run seeds until the mutant is noticed, and the unharmed code in the same circumstances."""
    storage: Storage = memory
    if mutation.on_postgresql:
        assert postgresql is not None, f"{mutation.rule}: PostgreSQL is needed"
        storage = postgresql
    seeds, noticed_by = None, ""
    for number in range(mutation.within):
        found = _violation(mutation, number, (*mutation.setting, *mutation.patches), storage, mutation.ddl)
        if found is not None:
            seeds, noticed_by = number + 1, found.rule
            break
    complaint = _control(mutation, seeds or 0, storage)
    return Trial(mutation.rule, mutation.instead, seeds, mutation.within, noticed_by, complaint)


def quick_trial(mutation: Mutation, memory: Storage, postgresql: PostgresStorage | None) -> Trial:
    """Run the seed that is known to notice the mutant; all of them if it does not any more."""
    storage = postgresql if mutation.on_postgresql else memory
    assert storage is not None, f"{mutation.rule}: PostgreSQL is needed"
    patches = (*mutation.setting, *mutation.patches)
    found = _violation(mutation, mutation.known, patches, storage, mutation.ddl)
    if found is None:
        return on_trial(mutation, memory, postgresql)
    return Trial(mutation.rule, mutation.instead, 1, 1, found.rule)


def _control(mutation: Mutation, seeds: int, storage: Storage) -> str | None:
    if not mutation.setting and mutation.adjust is as_it_is:
        return None
    for number in range(seeds):
        found = _violation(mutation, number, mutation.setting, storage, ())
        if found is not None:
            return f"seed {number}: {found}"
    return None


def _violation(
    mutation: Mutation, number: int, patches: Sequence[Patch], storage: Storage, ddl: Sequence[Ddl]
) -> Objection | None:
    with _changed(storage, ddl), applied(patches):
        run = Run(mutation.adjust(mutation.plans(number)), storage)
        run.execute()
    return run.violations[0] if run.violations else None


@contextmanager
def _changed(storage: Storage, ddl: Sequence[Ddl]) -> Iterator[None]:
    """Within this block the database is another one."""
    if not ddl:
        yield
        return
    assert isinstance(storage, PostgresStorage)
    storage.empty()
    for change, _ in ddl:
        storage.execute(change)
    try:
        yield
    finally:
        storage.empty()
        for _, back in ddl:
            storage.execute(back)
