"""Entering requests into the sandbox's books and reading them back. One statement for all that wait.

The clash of two requests with one key is decided by the primary key, so it is decided the same
between processes: one row is entered, and whoever comes second counts as a repeat of the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    RowMapping,
    Table,
    bindparam,
    case,
    func,
    select,
    update,
)
from sqlalchemy import column as named
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningInsert

from oms.sandbox.requests import Listing
from oms.sandbox.tables import AUTHORIZATIONS, CHARGES, EFFECT, SHIPMENTS

Entry = RowMapping
"""One row of a book, by column name."""


def _enter(table: Table) -> ReturningInsert[Any]:
    """Enter many requests at once; a repeat only counts, and only when it is the same request."""
    arrays = [bindparam(column.name, type_=ARRAY(column.type)) for column in table.c]
    columns = [named(column.name, column.type) for column in table.c]
    given = func.unnest(*arrays).table_valued(*(column.name for column in table.c), name="given")
    row = insert(table).from_select([*table.c], select(*columns).select_from(given.render_derived()))
    same = table.c.fingerprint == row.excluded.fingerprint
    counted = {"calls": table.c.calls + case((same, 1), else_=0)}
    return row.on_conflict_do_update(index_elements=["key"], set_=counted).returning(table)


def _void(table: Table) -> ReturningInsert[Any]:
    """Close a key that has had no effect; one that has is left as it is."""
    unanswered = table.c.calls < table.c.answers_from_call
    closed = {
        "outcome": case((unanswered, "voided"), else_=table.c.outcome),
        "answers_from_call": func.least(table.c.answers_from_call, table.c.calls),
    }
    return insert(table).on_conflict_do_update(index_elements=["key"], set_=closed).returning(table)


_ENTER: Final = {table: _enter(table) for table in EFFECT}
_VOID: Final = {table: _void(table) for table in (CHARGES, AUTHORIZATIONS, SHIPMENTS)}
_LOCK: Final = {
    table: select(table).where(table.c.key == bindparam("of_key")).with_for_update()
    for table in (CHARGES, AUTHORIZATIONS)
}
_GIVE_BACK: Final = (
    update(CHARGES)
    .where(
        CHARGES.c.key == bindparam("of_key"),
        CHARGES.c.refunded + bindparam("returned", type_=CHARGES.c.amount.type) <= CHARGES.c.amount,
    )
    .values(refunded=CHARGES.c.refunded + bindparam("returned", type_=CHARGES.c.amount.type))
    .returning(CHARGES.c.refunded)
)


_CAPTURE: Final = (
    update(AUTHORIZATIONS)
    .where(
        AUTHORIZATIONS.c.key == bindparam("of_key"),
        AUTHORIZATIONS.c.captured + bindparam("taken", type_=BigInteger) <= AUTHORIZATIONS.c.amount,
    )
    .values(captured=AUTHORIZATIONS.c.captured + bindparam("taken", type_=BigInteger))
    .returning(AUTHORIZATIONS.c.captured)
)
_RELEASE: Final = (
    update(AUTHORIZATIONS).where(AUTHORIZATIONS.c.key == bindparam("of_key")).values(released=True)
)


_RENEWED: Final = (
    update(AUTHORIZATIONS).where(AUTHORIZATIONS.c.key == bindparam("of_key")).values(renewable=False)
)


async def enter(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]
) -> Mapping[str, Entry]:
    """The entry for each row's key: this request's, or the one that was there before.

    Keys must differ, and are entered in their order, so that two processes can't block each other.
    """
    ordered = sorted(rows, key=lambda row: str(row["key"]))
    arrays = {column.name: [row.get(column.name) for row in ordered] for column in table.c}
    return {entry["key"]: entry for entry in (await connection.execute(_ENTER[table], arrays)).mappings()}


async def void(connection: AsyncConnection, table: Table, row: Mapping[str, Any]) -> Entry:
    """The entry for the row's key after closing it."""
    entry: Entry = (await connection.execute(_VOID[table], dict(row))).mappings().one()
    return entry


async def lock(connection: AsyncConnection, table: Table, key: str) -> Entry | None:
    """The charge or authorization with this key, locked until the transaction ends: what is of it waits."""
    return (await connection.execute(_LOCK[table], {"of_key": key})).mappings().one_or_none()


async def give_back(connection: AsyncConnection, key: str, amount: int) -> int | None:
    """Add to what was refunded of a charge; None when that would be more than was taken."""
    parameters = {"of_key": key, "returned": amount}
    refunded: int | None = (await connection.execute(_GIVE_BACK, parameters)).scalar_one_or_none()
    return refunded


async def capture(connection: AsyncConnection, key: str, amount: int) -> int | None:
    """Add to what was captured of an authorization; None when that would be more than was authorized."""
    parameters = {"of_key": key, "taken": amount}
    captured: int | None = (await connection.execute(_CAPTURE, parameters)).scalar_one_or_none()
    return captured


async def release(connection: AsyncConnection, key: str) -> None:
    """Nothing of an authorization is set aside any more."""
    await connection.execute(_RELEASE, {"of_key": key})


async def renewed(connection: AsyncConnection, key: str) -> None:
    """An authorization is not set aside anew a second time."""
    await connection.execute(_RENEWED, {"of_key": key})


async def entries(connection: AsyncConnection, table: Table, listing: Listing) -> Sequence[Entry]:
    """Rows whose outcome stands, newest key first, one more than asked where there are more.

    By key every answer is shown, a refusal and a void too; otherwise only what had an effect.
    """
    rows = select(table).where(table.c.calls >= table.c.answers_from_call)
    if listing.key:
        rows = rows.where(table.c.key.in_(listing.key))
    else:
        rows = rows.where(table.c.outcome == EFFECT[table])
    if listing.order_id:
        rows = rows.where(table.c.order_id.in_(listing.order_id))
    if listing.after is not None:
        rows = rows.where(table.c.key < listing.after)
    page = rows.order_by(table.c.key.desc()).limit(listing.limit + 1)
    return (await connection.execute(page)).mappings().all()
