"""How far the low-water mark is, and how much has been pruned since the beginning (P7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Row, Select, func, select

from messaging.identifiers import time_of
from messaging.measures import Kind, Measure, Reading
from orchestrator.tables import retention

MARK_AGE: Final = Measure(
    "oms_low_water_mark_age_seconds",
    Kind.GAUGE,
    "How old a saga must be to be behind the low-water mark; it grows while nothing raises the mark.",
)
PRUNED: Final = Measure(
    "oms_orchestrator_rows_pruned_total",
    Kind.COUNTER,
    "Rows that `oms prune` has removed since the beginning; a saga's order and history went with it.",
    ("table",),
)
MEASURES: Final = (MARK_AGE, PRUNED)

STATEMENT: Final[Select[Any]] = select(retention, func.clock_timestamp().label("now"))


def readings(rows: Sequence[Row[Any]]) -> Iterator[Reading]:
    """The row of the table as metrics; nothing while there has never been a mark."""
    for row in rows:
        yield MARK_AGE.of(), max(0.0, (row.now - time_of(row.mark)).total_seconds())
        yield PRUNED.of("sagas"), row.pruned_sagas
        yield PRUNED.of("idempotency_keys"), row.pruned_idempotency_keys
        yield PRUNED.of("dead_letters"), row.pruned_dead_letters
