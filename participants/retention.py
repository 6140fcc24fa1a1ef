"""What a participant does behind the low-water mark: it takes no new work, and removes what has ended (P7).

The orchestrator hands the mark out. A saga below it has ended long ago; without a ledger row a command for it
cannot be told from one whose row was pruned, so it is refused. Rows go in small batches, each a transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from messaging.consumer import Failed
from messaging.errors import PermanentFailure
from messaging.identifiers import time_of
from messaging.unit_of_work import Transaction, UnitOfWork
from participants.commands import Advance
from participants.fence import State
from participants.ledger import LedgerTransaction

LEAST_AGE: Final = timedelta(days=6)
"""A mark that lets go of anything younger is refused. A day less than the orchestrator keeps back at least:
its clock is another one."""

FINAL: Final = (
    State.DONE,
    State.REJECTED,
    State.UNDONE,
    State.TOMBSTONE,
    State.CONSUMED,
    State.SETTLED,
)
"""States of rows that may be pruned; the others await a provider's answer, however long ago they began."""

LEDGER: Final = "ledger"
STOCK_MOVEMENTS: Final = "stock_movements"

Cursor = Any
"""Where a walk over a table goes on; what it is, is the table's own business."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The low-water mark: sagas with an id below it have ended for good. By the participant's own clock, it
    stands since ``advanced_at``."""

    below: UUID
    advanced_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """One batch of a walk over a table: how many rows it removed, and where to go on; None at the end."""

    removed: int
    after: Cursor | None


class PruningTransaction(Transaction, Protocol):
    """A participant's transaction as retention sees it."""

    async def read_mark(self) -> Mark | None:
        """The mark; None while none has been handed out."""

    async def prune_ledger(self, mark: Mark, after: Cursor | None, limit: int) -> Page:
        """Remove ended work of sagas behind the mark that has not changed since the mark came to be."""


class InventoryPruningTransaction(PruningTransaction, Protocol):
    """The same, of inventory."""

    async def fold_movements(self, mark: Mark, after: Cursor | None, limit: int) -> Page:
        """Fold reductions of sagas behind the mark into one adjustment a product: their sum stays."""


Walk = Callable[[Any, Mark, Cursor | None, int], Awaitable[Page]]


async def _prune_ledger(t: PruningTransaction, mark: Mark, after: Cursor | None, limit: int) -> Page:
    return await t.prune_ledger(mark, after, limit)


async def _fold_movements(
    t: InventoryPruningTransaction, mark: Mark, after: Cursor | None, limit: int
) -> Page:
    return await t.fold_movements(mark, after, limit)


WALKS: Final[Mapping[str, Walk]] = {LEDGER: _prune_ledger}
INVENTORY_WALKS: Final[Mapping[str, Walk]] = {**WALKS, STOCK_MOVEMENTS: _fold_movements}
"""The tables that are walked over, in order."""


def check_mark(mark: UUID, now: datetime) -> None:
    """Raises PermanentFailure for a mark that lets go of sagas which may still be at work."""
    try:
        age = now - time_of(mark)
    except ValueError as error:
        raise PermanentFailure("bad_mark", str(error)) from None
    if age < LEAST_AGE:
        raise PermanentFailure("mark_too_young", f"the mark is only {age} old, {LEAST_AGE} is the least")


async def advance(transaction: LedgerTransaction, advances: Sequence[Advance]) -> list[Failed]:
    """Take the marks that came with a batch; returns those that are not to be taken, and why."""
    if not advances:
        return []
    now = await transaction.now()
    failures = []
    for one in advances:
        try:
            check_mark(one.mark, now)
        except PermanentFailure as failure:
            failures.append(Failed(one.delivery, failure))
        else:
            transaction.advance_mark(one.mark, now)
    return failures


class Pruner:
    """Walks over a participant's tables once for each mark. Any number of processes may."""

    def __init__(
        self,
        unit_of_work: UnitOfWork[Any],
        walks: Mapping[str, Walk] = WALKS,
        begins_after_s: float = 60.0,
        batch: int = 500,
    ) -> None:
        """
        Args:
            begins_after_s: seconds that a mark must have stood, so that whatever looked before it has ended.
            batch: most rows that one transaction looks at.
        """
        self.removed: Counter[str] = Counter()
        """Rows removed since the start, by table."""
        self._unit_of_work = unit_of_work
        self._walks: Sequence[tuple[str, Walk]] = tuple(walks.items())
        self._begins_after = timedelta(seconds=begins_after_s)
        self._batch = batch
        self._mark: Mark | None = None
        self._walk = len(self._walks)
        self._after: Cursor | None = None

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it walks over."""
        return tuple(name for name, _ in self._walks)

    async def run_once(self) -> bool:
        """Look at one batch; says whether there is more to look at behind the present mark."""
        mark, page = await self._unit_of_work.run(self._look)
        if page is None:
            return False
        name, _ = self._walks[self._at(mark)]
        self._walk, self._mark, self._after = self._at(mark), mark, page.after
        self.removed[name] += page.removed
        if page.after is None:
            self._walk += 1
        return self._walk < len(self._walks)

    async def _look(self, transaction: PruningTransaction) -> tuple[Mark | None, Page | None]:
        mark = await transaction.read_mark()
        if mark is None or self._at(mark) == len(self._walks):
            return mark, None
        if await transaction.now() < mark.advanced_at + self._begins_after:
            return mark, None
        _, walk = self._walks[self._at(mark)]
        after = self._after if mark == self._mark else None
        return mark, await walk(transaction, mark, after, self._batch)

    def _at(self, mark: Mark | None) -> int:
        """The table that is walked over; from the first one again where the mark is a new one."""
        return self._walk if mark == self._mark else 0
