"""How much of everything there is now, for monitoring: counts over partial indexes, bounded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ScalarSelect, Select, func, literal, select

from orchestrator.core.state import Status
from orchestrator.queries.reader import Reader
from orchestrator.queries.sagas import SOME_INCIDENT
from orchestrator.storage import DeadLetterStatus
from orchestrator.tables import dead_letters, outbox, sagas

COUNTED_TO: Final = 100_000
"""Counts stop here, so that a look at a system in trouble does not add to it."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """Counts now, each at most `COUNTED_TO`; ages in seconds, 0 where there is nothing.

    Attributes:
        overdue_s: for how long the saga that waits longest to be looked at has been due.
        outbox_age_s: age of the oldest message that has not been confirmed.
    """

    running: int
    compensating: int
    with_incident: int
    open_dead_letters: int
    outbox: int
    outbox_age_s: float
    overdue_s: float


class GaugeQueries:
    """Counts of what is open."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def read(self) -> Gauges:
        """One round trip. Raises StorageUnavailable."""
        [row] = await self._reader.rows(_STATEMENT)
        return Gauges(
            running=row.running,
            compensating=row.compensating,
            with_incident=row.with_incident,
            open_dead_letters=row.open_dead_letters,
            outbox=row.outbox,
            outbox_age_s=_age_s(row.now, row.outbox_since),
            overdue_s=_age_s(row.now, row.due_since),
        )


def _age_s(now: datetime, since: datetime | None) -> float:
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0


def _count(rows: Select[Any]) -> ScalarSelect[int]:
    return select(func.count()).select_from(rows.limit(COUNTED_TO).subquery()).scalar_subquery()


def _active(status: Status) -> ScalarSelect[int]:
    one = select(literal(1))
    return _count(one.where(sagas.c.ended_as.is_(None), sagas.c.status == status))


_ONE: Final = select(literal(1))
_OPEN: Final = (DeadLetterStatus.OPEN, DeadLetterStatus.REPLAYING)
_STATEMENT: Final = select(
    func.clock_timestamp().label("now"),
    _active(Status.RUNNING).label("running"),
    _active(Status.COMPENSATING).label("compensating"),
    _count(_ONE.select_from(sagas).where(SOME_INCIDENT)).label("with_incident"),
    _count(_ONE.where(dead_letters.c.status.in_(_OPEN))).label("open_dead_letters"),
    _count(_ONE.select_from(outbox)).label("outbox"),
    select(outbox.c.created_at)
    .order_by(outbox.c.message_id)
    .limit(1)
    .scalar_subquery()
    .label("outbox_since"),
    select(sagas.c.due_at)
    .where(sagas.c.due_at.is_not(None))
    .order_by(sagas.c.due_at)
    .limit(1)
    .scalar_subquery()
    .label("due_since"),
)
