"""How many sagas ended lately, by the minute and how: a bounded read of the newest ended ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, func, select, union_all

from messaging.identifiers import first_id_at
from orchestrator.core.state import END_STATUSES, OrderStatus
from orchestrator.queries.reader import Reader
from orchestrator.tables import sagas

MINUTES: Final = 30
"""How far back it looks."""

LONGEST_RUN: Final = timedelta(hours=2)
"""Sagas that ran for longer are not counted: the newest ended ones are found by when they began."""

LOOKED_AT: Final = 20_000
"""Of each way to end, so many of the newest are looked at."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Sagas that ended in one minute in one way."""

    minute: datetime
    ended_as: OrderStatus
    count: int


class EndingQueries:
    """Counts of what ended lately."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def by_minute(self, now: datetime) -> list[Ended]:
        """The last `MINUTES` minutes, the present one included. Raises StorageUnavailable."""
        since = now.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
        newest = union_all(*(_newest(status, since) for status in sorted(END_STATUSES))).subquery()
        minute = func.date_trunc("minute", newest.c.ended_at, "UTC").label("minute")
        statement = (
            select(minute, newest.c.ended_as, func.count().label("sagas"))
            .where(newest.c.ended_at >= since)
            .group_by(minute, newest.c.ended_as)
        )
        rows = await self._reader.rows(statement)
        return [Ended(row.minute, OrderStatus(row.ended_as), row.sagas) for row in rows]


def _newest(ended_as: OrderStatus, since: datetime) -> Select[Any]:
    inner = (
        select(sagas.c.ended_at, sagas.c.ended_as)
        .where(sagas.c.ended_as == ended_as, sagas.c.saga_id >= first_id_at(since - LONGEST_RUN))
        .order_by(sagas.c.saga_id.desc())
        .limit(LOOKED_AT)
    )
    return select(inner.subquery())
