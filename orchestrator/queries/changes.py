"""Whether something has changed since one looked last, told from few rows however much there is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Text, func, literal, select, values
from sqlalchemy import column as named

from orchestrator.queries.reader import Reader
from orchestrator.tables import METADATA, dead_letters, sagas

_COUNTERS: Final = (
    "pg_stat_get_tuples_inserted",
    "pg_stat_get_tuples_updated",
    "pg_stat_get_tuples_deleted",
)


class ChangeQueries:
    """Marks of tables and rows: where a mark is equal to the one before, nothing has changed."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def tables(self, names: Collection[str]) -> dict[str, int]:
        """How often rows of tables of this schema were written, as PostgreSQL itself counts them.

        A busy session counts once a second, and a session that falls silent after ten seconds at the latest.
        Raises StorageUnavailable.
        """
        given = values(named("name", Text), name="given").data([(name,) for name in names])
        oid = func.to_regclass(literal(f"{METADATA.schema}.") + given.c.name)
        changes = sum((func.coalesce(getattr(func, each)(oid), 0) for each in _COUNTERS), start=literal(0))
        rows = await self._reader.rows(select(given.c.name, changes.label("changes")))
        return {row.name: row.changes for row in rows}

    async def sagas(self, saga_ids: Collection[UUID]) -> dict[UUID, object]:
        """Marks of sagas with their dead letters. Raises StorageUnavailable."""
        moving = select(sagas.c.saga_id, sagas.c.version, sagas.c.revision, sagas.c.updated_at)
        marks: dict[UUID, object] = {}
        dead = await self._dead(dead_letters.c.saga_id.in_(saga_ids))
        for row in await self._reader.rows(moving.where(sagas.c.saga_id.in_(saga_ids))):
            marks[row.saga_id] = (tuple(row), tuple(mark for saga_id, mark in dead if saga_id == row.saga_id))
        return marks

    async def dead_letters(self, dead_letter_ids: Collection[UUID]) -> dict[UUID, object]:
        """Marks of dead letters. Raises StorageUnavailable."""
        found = await self._dead(dead_letters.c.dead_letter_id.in_(dead_letter_ids))
        return {mark[0]: mark for _, mark in found}

    async def _dead(self, which: ColumnElement[bool]) -> list[tuple[UUID | None, tuple[UUID, int, str]]]:
        dead = dead_letters.c
        statement = select(dead.saga_id, dead.dead_letter_id, dead.version, dead.status).where(which)
        rows = await self._reader.rows(statement.order_by(dead.dead_letter_id))
        return [(row.saga_id, (row.dead_letter_id, row.version, row.status)) for row in rows]
