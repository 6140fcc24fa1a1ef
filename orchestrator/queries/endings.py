"""How many sagas ended lately, by the minute and how: a bounded read of the newest ended ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, case, func, select

from messaging.identifiers import first_id_at
from orchestrator.core.registry import Registry
from orchestrator.core.state import End, Status
from orchestrator.queries.reader import Reader
from orchestrator.tables import sagas

MINUTES: Final = 30
"""How far back it looks."""

LONGEST_RUN: Final = timedelta(hours=2)
"""Sagas that ran for longer are not counted: the newest ended ones are found by when they began."""

LOOKED_AT: Final = 50_000
"""So many of the newest sagas are looked at."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Sagas that ended in one minute in one way, whatever their definitions call it."""

    minute: datetime
    ended_as: str
    count: int


@dataclass(frozen=True, slots=True)
class Endings:
    """What ended lately.

    Attributes:
        complete_since: sagas that began earlier were not looked at, there being too many; None when all were.
    """

    ended: tuple[Ended, ...]
    complete_since: datetime | None


class EndingQueries:
    """Counts of what ended lately."""

    def __init__(self, reader: Reader, registry: Registry) -> None:
        self._reader = reader
        self._cancelled = sorted({each.labels.cancelled for each in registry})

    async def by_minute(self, now: datetime) -> Endings:
        """The last `MINUTES` minutes, the present one included. Raises StorageUnavailable."""
        since = now.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
        newest = (
            select(sagas.c.ended_at, self._end().label("ended_as"), sagas.c.created_at)
            .where(sagas.c.saga_id >= first_id_at(since - LONGEST_RUN))
            .order_by(sagas.c.saga_id.desc())
            .limit(LOOKED_AT)
            .subquery()
        )
        minute = case((newest.c.ended_at >= since, func.date_trunc("minute", newest.c.ended_at, "UTC")))
        statement = select(
            minute.label("minute"),
            newest.c.ended_as,
            func.count().label("sagas"),
            func.min(newest.c.created_at).label("began"),
        ).group_by(minute, newest.c.ended_as)
        rows = await self._reader.rows(statement)
        ended = (Ended(row.minute, row.ended_as, row.sagas) for row in rows if row.minute)
        looked_at_all = sum(row.sagas for row in rows) < LOOKED_AT
        return Endings(tuple(ended), None if looked_at_all else min(row.began for row in rows))

    def _end(self) -> ColumnElement[str]:
        """How a saga ended; of what was undone, by its definition's own label."""
        return case(
            (sagas.c.status == Status.COMPLETED, End.COMPLETED.value),
            (sagas.c.ended_as.in_(self._cancelled), End.CANCELLED.value),
            else_=End.REJECTED.value,
        )
