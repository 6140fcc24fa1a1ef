"""What PostgreSQL's catalogue says of a schema, and what a migration took from those who knew it before."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection

VERSIONS: Final = "schema_version"
"""Alembic's own table."""

_TABLES: Final = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind IN ('r', 'p') AND c.relname <> %(versions)s
"""

_COLUMNS: Final = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.atthasdef OR a.attidentity <> ''
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind IN ('r', 'p') AND c.relname <> %(versions)s
  AND a.attnum > 0 AND NOT a.attisdropped
"""

_INDEXES: Final = """
SELECT t.relname, i.relname, pg_get_indexdef(i.oid), x.indisunique,
       ARRAY(SELECT DISTINCT a.attname::text FROM pg_depend d
             JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
             WHERE d.objid = i.oid AND d.refobjid = t.oid AND d.refobjsubid > 0)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
WHERE t.relnamespace = to_regnamespace(%(schema)s) AND t.relname <> %(versions)s
  AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.oid)
"""

_CONSTRAINTS: Final = """
SELECT t.relname, c.conname, pg_get_constraintdef(c.oid), true,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey))
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
WHERE t.relnamespace = to_regnamespace(%(schema)s) AND t.relname <> %(versions)s AND c.contype <> 'n'
"""


@dataclass(frozen=True, slots=True)
class Column:
    """What a writer must know of a column."""

    type: str
    required: bool
    filled: bool
    """Whether a value is put in where the writer names none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A constraint, or an index."""

    table: str
    definition: str
    refuses: bool
    """Whether it can refuse a row."""
    columns: frozenset[str]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One schema at one revision."""

    tables: frozenset[str]
    columns: dict[tuple[str, str], Column]
    rules: dict[str, Rule]

    def columns_of(self, table: str) -> list[str]:
        """The names of a table's columns."""
        return [column for name, column in self.columns if name == table]


def catalogue(connection: Connection[Any], schema: str) -> Catalogue:
    """Read a schema."""

    def ask(query: str) -> list[tuple[Any, ...]]:
        return connection.execute(query.encode(), {"schema": schema, "versions": VERSIONS}).fetchall()

    return Catalogue(
        frozenset(name for (name,) in ask(_TABLES)),
        {(table, name): Column(*rest) for table, name, *rest in ask(_COLUMNS)},
        {
            f"{table}.{name}": Rule(table, definition, refuses, frozenset(columns))
            for table, name, definition, refuses, columns in [*ask(_INDEXES), *ask(_CONSTRAINTS)]
        },
    )


def taken_away(before: Catalogue, after: Catalogue, widened: Collection[str] = ()) -> list[str]:
    """Everything that code which knows the schema as it was could stumble over now, a line each.

    Args:
        widened: rules, as ``table.name``, that accept all that they accepted before, and more.
    """
    return [
        *(f"table {name} is gone" for name in sorted(before.tables - after.tables)),
        *_of_columns(before, after),
        *(line for line in _of_rules(before, after) if line.split()[1] not in widened),
    ]


def _of_columns(before: Catalogue, after: Catalogue) -> Iterator[str]:
    for (table, name), old in before.columns.items():
        new = after.columns.get((table, name))
        if table not in after.tables:
            continue
        if new is None:
            yield f"column {table}.{name} is gone"
        elif new.type != old.type:
            yield f"column {table}.{name} was {old.type}, is {new.type}"
        elif (new.required and not old.required) or (old.filled and not new.filled):
            yield f"column {table}.{name} asks more of a writer"
    for (table, name), new in after.columns.items():
        if table in before.tables and (table, name) not in before.columns and new.required and not new.filled:
            yield f"column {table}.{name} is new, and a writer who does not know it is refused"


def _of_rules(before: Catalogue, after: Catalogue) -> Iterator[str]:
    for name, old in before.rules.items():
        if old.table in after.tables and name not in after.rules:
            yield f"rule {name} is gone"
    for name, new in after.rules.items():
        if new.table not in before.tables or new == before.rules.get(name):
            continue
        knew = all((new.table, column) in before.columns for column in new.columns)
        if name in before.rules or (new.refuses and knew):
            yield f"rule {name} may refuse what was accepted"
