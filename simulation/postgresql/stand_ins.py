"""Schemas for stand-in participants: the tables that every participant has, made when a world wants them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from participants.tables import participant_metadata

_PREFIX: Final = "stand_in_"
_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


def schema_of(service: str) -> str:
    """Where a stand-in keeps its rows: no name that anybody else could have."""
    return _PREFIX + service


def service_of(schema: str) -> str:
    """Whose rows a schema holds."""
    return schema.removeprefix(_PREFIX)


def statements(service: str) -> Iterator[str]:
    """What makes the schema of a stand-in."""
    schema = schema_of(service)
    yield f"CREATE SCHEMA {schema}"
    for table in participant_metadata(schema).sorted_tables:
        yield from _of_table(table)


def _of_table(table: Table) -> Iterator[str]:
    yield str(CreateTable(table).compile(dialect=_DIALECT))
    for index in sorted(table.indexes, key=lambda each: str(each.name)):
        yield str(CreateIndex(index).compile(dialect=_DIALECT))
