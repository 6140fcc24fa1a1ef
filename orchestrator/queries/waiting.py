"""What waits for a person's word, oldest first: orders on hold, and whatever else waits for one (S23)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import Row, and_, or_

from contracts.envelope import Direction
from contracts.findable import Findable
from contracts.orders import AcceptedOrder
from orchestrator.codec import Unreadable
from orchestrator.core.definition import SignalledBy
from orchestrator.core.registry import Registry
from orchestrator.queries.paging import Listing
from orchestrator.queries.reader import Reader
from orchestrator.queries.sagas import saga_of, whole_sagas
from orchestrator.queries.views import Labelled, Time
from orchestrator.tables import sagas

MOST: Final = 200
"""Sagas on the page; those that have waited longest."""


class WaitingView(Labelled):
    """A saga that waits for a person, and since when."""

    saga_id: UUID
    order_id: UUID
    definition: str
    wait: str
    reference: str | None = Field(description="What its owner calls it, where it has a name")
    owner: str = Field(description="Who started it: the customer of an order, else a caller")
    currency: str | None = Field(description="Of an order")
    total: int | None = Field(description="Of an order, in minor units of its currency")
    asked: str | None = Field(description="Why it was asked for, where somebody did")
    since: Time
    deadline_at: Time = Field(description="When it is over without anybody's word")


class WaitingList(Listing[WaitingView]):
    """What waits for a person, oldest first, on one page."""

    more: bool = Field(description="Others wait, too, which are not among these")


class WaitingQueries:
    """What waits for a person, for those who may see it."""

    def __init__(self, reader: Reader, registry: Registry) -> None:
        self._reader = reader
        self._registry = registry
        self._waits = sorted(_waits_for_people(registry))

    async def page(self) -> WaitingList:
        """Those that have waited longest. Raises StorageUnavailable."""
        if not self._waits:
            return WaitingList(items=(), more=False)
        of_these = or_(
            *(and_(sagas.c.definition == name, sagas.c.step == wait) for name, wait in self._waits)
        )
        chosen = whole_sagas().where(sagas.c.ended_as.is_(None), of_these)
        rows = await self._reader.rows(chosen.order_by(sagas.c.saga_id).limit(MOST + 1))
        found = [view for row in rows[:MOST] if (view := self._view(row)) is not None]
        return WaitingList(items=tuple(sorted(found, key=lambda each: each.since)), more=len(rows) > MOST)

    def _view(self, row: Row[Any]) -> WaitingView | None:
        """One of them; None where it cannot be read, which its own page says (S25)."""
        try:
            saga = saga_of(row, self._registry)
        except Unreadable as error:
            self._reader.note_unreadable("saga", row.saga_id, str(error))
            return None
        definition = self._registry.find(saga.definition, saga.definition_version)
        awaited = saga.awaited[0] if saga.awaited else None
        wait = definition.waits.get(awaited.step) if definition and awaited else None
        if awaited is None or wait is None or awaited.direction is not Direction.FORWARD:
            return None
        order = saga.input if isinstance(saga.input, AcceptedOrder) else None
        hold = getattr(saga.input, "hold", None)
        return WaitingView(
            saga_id=saga.saga_id,
            order_id=saga.subject_id,
            definition=saga.definition,
            order_status=saga.label,
            wait=wait.name,
            reference=saga.input.reference if isinstance(saga.input, Findable) else None,
            owner=row.customer_id,
            currency=order.currency if order else None,
            total=order.total if order else None,
            asked=str(hold.reason) if hold is not None else None,
            since=awaited.since,
            deadline_at=awaited.since + timedelta(seconds=wait.deadline_s),
        )


def _waits_for_people(registry: Registry) -> Iterator[tuple[str, str]]:
    """Definition and wait of each that takes an operator's word."""
    found = {
        (each.name, wait.name)
        for each in registry
        for wait in each.waits.values()
        if wait.signalled_by is SignalledBy.OPERATORS
    }
    yield from found
