"""Facts out of the tables: streams ordered by saga, look-ups by order. Only SELECT, only what is needed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Row,
    Select,
    Table,
    any_,
    cast,
    func,
    literal,
    or_,
    select,
    text,
    union,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.commands import ReserveInventory
from contracts.returns import ORDER_KEY
from contracts.routing import ORCHESTRATOR
from messaging.postgresql import quoted_name
from oms.audit.checks import HOLDING
from oms.audit.facts import Authorization, Charge, LedgerFact, Money, PieceFact, Reduction, SagaFact
from oms.audit.merging import Ordered
from oms.audit.sources import AuditImpossible
from oms.sandbox.tables import AUTHORIZATIONS, CHARGES, EFFECT, REFUNDS, SHIPMENTS
from orchestrator.orphans import ACTION, SUBJECT
from orchestrator.sagas.order_fulfillment import NAME as ORDERS
from orchestrator.sagas.order_fulfillment import SHIP
from orchestrator.sagas.order_return import NAME as ORDER_RETURN
from orchestrator.tables import audit_log, orders, retention, saga_metadata, sagas
from participants.inventory.tables import STOCK, STOCK_AT, STOCK_MOVEMENTS
from participants.tables import participant_metadata

BATCH: Final = 2000
"""Rows that are held in memory at once, of each stream."""


@cache
def ledger_of(participant: str) -> Table:
    """The step ledger of a participant, whoever's it is."""
    return participant_metadata(participant).tables[f"{participant}.ledger"]


def _retention_of(service: str) -> Table:
    """Where a service keeps the low-water mark."""
    if service == ORCHESTRATOR:
        return retention
    return participant_metadata(service).tables[f"{service}.retention"]


NOTHING_PRUNED: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class ReductionRow:
    """A reduction and the saga that caused it."""

    saga_id: UUID
    reduction: Reduction


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A ledger row and the saga it belongs to."""

    saga_id: UUID
    fact: LedgerFact


# -- the low-water mark ---------------------------------------------------------------------------------


async def low_water_mark(connection: AsyncConnection, schema: str) -> UUID:
    """Below it a service may have pruned (P7); the lowest of all ids where there is none.

    Raises:
        AuditImpossible: it cannot be read.
    """
    table = f"{quoted_name(schema)}.retention"
    readable = text("SELECT has_table_privilege(to_regclass(:name)::oid, 'SELECT')").bindparams(name=table)
    allowed: bool | None = (await connection.execute(readable)).scalar_one()
    if allowed is None:
        raise AuditImpossible(f"there is no table {table}: run `oms migrate` on this database")
    if not allowed:
        raise AuditImpossible(f"this database role may not read {table}: GRANT SELECT on the new tables too")
    mark: UUID | None = (await connection.execute(select(_retention_of(schema).c.mark))).scalar_one_or_none()
    return mark or NOTHING_PRUNED


# -- the orchestrator -----------------------------------------------------------------------------------


def saga_stream(connection: AsyncConnection, mark: UUID) -> Ordered[SagaFact]:
    """Every saga above the mark with its order, by saga id. Neither address nor payment method is read."""
    query = _sagas().where(sagas.c.saga_id >= mark).order_by(sagas.c.saga_id)
    return Ordered(_batches(connection, query, _saga), lambda saga: saga.saga_id)


def _sagas() -> Select[Any]:
    return select(
        sagas.c.saga_id,
        sagas.c.order_id,
        sagas.c.definition,
        sagas.c.status,
        sagas.c.state["steps"].label("steps"),
        orders.c.document["lines"].label("lines"),
        orders.c.document["currency"].as_string().label("currency"),
    ).join(orders, orders.c.order_id == sagas.c.order_id)


async def returns_of(
    connection: AsyncConnection, order_ids: Collection[UUID]
) -> Mapping[UUID, tuple[SagaFact, ...]]:
    """The returns of these orders, by order; orders without are missing."""
    marks = saga_metadata.c
    query = (
        _sagas()
        .add_columns(marks.value.label("returned"))
        .join(saga_metadata, marks.saga_id == sagas.c.saga_id)
    )
    wanted = _is_one_of(marks.value, [str(order_id) for order_id in order_ids])
    query = query.where(marks.key == ORDER_KEY, wanted, sagas.c.definition == ORDER_RETURN)
    found: dict[UUID, tuple[SagaFact, ...]] = {}
    for row in await connection.execute(query.order_by(sagas.c.saga_id)):
        order_id = UUID(row.returned)
        found[order_id] = (*found.get(order_id, ()), _saga(row))
    return found


async def ended_count(connection: AsyncConnection, mark: UUID) -> int:
    """How many sagas above the mark have ended."""
    ended = sagas.c.ended_as.is_not(None) & (sagas.c.saga_id >= mark)
    query = select(func.count()).select_from(sagas).where(ended)
    count: int = (await connection.execute(query)).scalar_one()
    return count


async def missing_sagas(connection: AsyncConnection, saga_ids: Collection[UUID]) -> set[UUID]:
    """Which of these sagas do not exist."""
    query = select(sagas.c.saga_id).where(_is_one_of(sagas.c.saga_id, saga_ids))
    return set(saga_ids) - set((await connection.execute(query)).scalars())


async def missing_orders(connection: AsyncConnection, order_ids: Collection[UUID]) -> set[UUID]:
    """Which of these orders do not exist."""
    query = select(orders.c.order_id).where(_is_one_of(orders.c.order_id, order_ids))
    return set(order_ids) - set((await connection.execute(query)).scalars())


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Sagas that are gone, and their orders, of which a person had everything taken back."""

    sagas: frozenset[UUID] = frozenset()
    orders: frozenset[UUID] = frozenset()


async def taken_back(connection: AsyncConnection) -> TakenBack:
    """As the audit log has it: who did it stands there, and why."""
    query = select(audit_log.c.subject, audit_log.c.after["order_id"].as_string().label("order_id")).where(
        audit_log.c.action == ACTION
    )
    rows = (await connection.execute(query)).all()
    return TakenBack(
        frozenset(UUID(row.subject.removeprefix(SUBJECT)) for row in rows),
        frozenset(UUID(row.order_id) for row in rows),
    )


def _saga(row: Row[Any]) -> SagaFact:
    fact = partial(SagaFact, row.saga_id, row.order_id, row.definition, row.status)
    try:
        total = sum(line["quantity"] * line["unit_price"] for line in row.lines)
        told = fact(int(total), str(row.currency), _quantities(row.lines), _pieces(row.steps))
        return _with_parcels(told, row) if row.definition == ORDERS else told
    except UNREADABLE:
        return fact(0, "", {}, _pieces(row.steps), readable=False)


def _with_parcels(told: SagaFact, row: Row[Any]) -> SagaFact:
    """What became of the parcels of an order; one that was not split has no such branches (S31)."""
    branches = [step for step in row.steps or () if str(step["name"]).startswith(f"{SHIP}[")]
    if not branches:
        return told
    refused = [step["item"]["lines"] for step in branches if step.get("forward") == "rejected"]
    unshipped = _quantities([line for lines in refused for line in lines])
    prices = {str(line["sku"]): int(line["unit_price"]) for line in row.lines}
    worth = sum(prices[sku] * count for sku, count in unshipped.items())
    parcels = len(branches) - len(refused)
    return replace(told, parcels=parcels, unshipped=unshipped, unshipped_worth=worth)


def _pieces(steps: Any) -> Mapping[str, PieceFact] | None:
    """The pieces of a saga's course; what is as it was at the beginning is not written down."""
    try:
        return {
            str(step["name"]): PieceFact(step.get("forward", "pending"), step.get("undo", "none"))
            for step in steps or ()
        }
    except UNREADABLE:
        return None


# -- the participants -----------------------------------------------------------------------------------


def ledger_stream(connection: AsyncConnection, participant: str, mark: UUID) -> Ordered[LedgerRow]:
    """Every row of a participant's ledger above the mark, by saga id; and behind it what holds stock."""
    ledger = ledger_of(participant).c
    holding = (ledger.state == HOLDING) & (ledger.command == ReserveInventory.__name__)
    query = (
        select(
            ledger.saga_id,
            ledger.step,
            ledger.command,
            ledger.state,
            ledger.forward_body,
            ledger.verdict,
        )
        .where((ledger.saga_id >= mark) | holding)
        .order_by(ledger.saga_id, ledger.step)
    )

    def fact(row: Row[Any]) -> LedgerRow:
        return LedgerRow(row.saga_id, _ledger_fact(participant, row))

    return Ordered(_batches(connection, query, fact), lambda row: row.saga_id)


async def standing_work(
    connection: AsyncConnection, participant: str, states: Mapping[str, Collection[str]], mark: UUID
) -> AsyncIterator[Sequence[Row[Any]]]:
    """Ledger rows above the mark that are in one of their command's states, in batches.

    Args:
        states: by command.
    """
    ledger = ledger_of(participant).c
    stands = or_(
        *((ledger.command == command) & ledger.state.in_(those) for command, those in states.items())
    )
    query = (
        select(
            ledger.saga_id, ledger.order_id, ledger.step, ledger.command, ledger.state, ledger.forward_body
        )
        .where(stands, ledger.saga_id >= mark)
        .order_by(ledger.saga_id, ledger.step)
    )
    async for batch in _batches(connection, query, lambda row: row):
        yield batch


async def orders_in_ledger(
    connection: AsyncConnection, participant: str, order_ids: Collection[UUID]
) -> set[UUID]:
    """Which of these orders a participant's ledger has heard of."""
    order_id = ledger_of(participant).c.order_id
    query = select(order_id).where(_is_one_of(order_id, order_ids))
    return set((await connection.execute(query)).scalars())


def movement_stream(connection: AsyncConnection, mark: UUID, kind: str) -> Ordered[ReductionRow]:
    """What stock movements of one kind moved for sagas above the mark, by saga id."""
    moves = STOCK_MOVEMENTS.c
    query = (
        select(
            moves.saga_id,
            moves.sku,
            func.count().label("rows"),
            cast(func.abs(func.sum(moves.quantity)), BigInteger).label("quantity"),
        )
        .where((moves.kind == kind) & (moves.saga_id >= mark))
        .group_by(moves.saga_id, moves.sku)
        .order_by(moves.saga_id, moves.sku)
    )
    return Ordered(
        _batches(connection, query, lambda r: ReductionRow(r.saga_id, Reduction(r.sku, r.rows, r.quantity))),
        lambda row: row.saga_id,
    )


async def stock_rows(connection: AsyncConnection) -> dict[str, tuple[int | None, int, int | None]]:
    """For every product: on hand (None without a stock row), reserved, and the sum of its movements."""
    moved = (
        select(
            STOCK_MOVEMENTS.c.sku, cast(func.sum(STOCK_MOVEMENTS.c.quantity), BigInteger).label("quantity")
        )
        .group_by(STOCK_MOVEMENTS.c.sku)
        .subquery()
    )
    query = select(
        func.coalesce(STOCK.c.sku, moved.c.sku).label("sku"),
        STOCK.c.on_hand,
        func.coalesce(STOCK.c.reserved, 0).label("reserved"),
        moved.c.quantity,
    ).select_from(STOCK.outerjoin(moved, moved.c.sku == STOCK.c.sku, full=True))
    rows = (await connection.execute(query)).all()
    return {row.sku: (row.on_hand, row.reserved, row.quantity) for row in rows}


async def place_rows(connection: AsyncConnection) -> dict[tuple[str, str], tuple[int, int]]:
    """What is on hand and reserved of each product at each location that has a name.

    None where an inventory knows none: that of the release before, or one of somebody's own.
    """
    if not await connection.scalar(select(func.to_regclass(STOCK_AT.fullname).is_not(None))):
        return {}
    rows = await connection.execute(select(STOCK_AT))
    return {(row.sku, row.location): (row.on_hand, row.reserved) for row in rows}


def _ledger_fact(participant: str, row: Row[Any]) -> LedgerFact:
    fact = partial(LedgerFact, participant, row.step, row.command, row.state, verdict=row.verdict)
    try:
        said = json.loads(row.forward_body.decode()) if row.forward_body is not None else {}
        restocked = said.get("restocked", ())
        quantities = _quantities([*said.get("lines", ()), *restocked, *said.get("written_off", ())])
        return fact(
            quantities=quantities,
            restocked=_quantities(restocked),
            taken={
                (e["sku"], e["location"]): int(e["quantity"])
                for e in said.get("taken", ())
                if "location" in e
            },
            amount=said.get("amount"),
            currency=said.get("currency"),
        )
    except UNREADABLE:
        return fact(readable=False)


# -- the sandbox's books --------------------------------------------------------------------------------


async def money_of(connection: AsyncConnection, order_ids: Sequence[UUID]) -> Mapping[str, Money]:
    """What was charged, refunded and set aside for these orders, by order id; orders without are missing."""
    set_aside = await _authorizations_of(connection, order_ids)
    charged: dict[str, list[Charge]] = {}
    refunded: dict[str, list[int]] = {}
    c, r = CHARGES.c, REFUNDS.c
    charges = _effective(CHARGES, order_ids, c.order_id, c.key, c.amount, c.currency, c.refunded)
    for row in await connection.execute(charges):
        charged.setdefault(row.order_id, []).append(Charge(row.key, row.amount, row.currency, row.refunded))
    for row in await connection.execute(_effective(REFUNDS, order_ids, r.order_id, r.amount)):
        refunded.setdefault(row.order_id, []).append(row.amount)
    return {
        order_id: Money(
            tuple(charged.get(order_id, ())),
            tuple(refunded.get(order_id, ())),
            tuple(set_aside.get(order_id, ())),
        )
        for order_id in charged.keys() | refunded.keys() | set_aside.keys()
    }


async def _authorizations_of(
    connection: AsyncConnection, order_ids: Sequence[UUID]
) -> Mapping[str, list[Authorization]]:
    found: dict[str, list[Authorization]] = {}
    a = AUTHORIZATIONS.c
    columns = (
        a.order_id,
        a.key,
        a.amount,
        a.currency,
        a.captured,
        (a.released | a.expired).label("given_up"),
    )
    for row in await connection.execute(_effective(AUTHORIZATIONS, order_ids, *columns)):
        about = Authorization(row.key, row.amount, row.currency, row.captured, row.given_up)
        found.setdefault(row.order_id, []).append(about)
    return found


async def parcels_of(connection: AsyncConnection, order_ids: Sequence[UUID]) -> Mapping[str, tuple[str, ...]]:
    """Keys of the shipments of these orders, by order id; orders without are missing."""
    found: dict[str, tuple[str, ...]] = {}
    query = _effective(SHIPMENTS, order_ids, SHIPMENTS.c.order_id, SHIPMENTS.c.key)
    for row in await connection.execute(query):
        found[row.order_id] = (*found.get(row.order_id, ()), row.key)
    return found


async def has_entries(connection: AsyncConnection, books: Sequence[Table]) -> bool:
    """Whether any of these books of the sandbox has been used at all."""
    for table in books:
        if (await connection.execute(select(table.c.key).limit(1))).first() is not None:
            return True
    return False


async def orders_served(connection: AsyncConnection) -> AsyncIterator[Sequence[str]]:
    """Ids of all orders for which the sandbox has done anything, in batches."""
    parts = [
        select(table.c.order_id).where(_stands(table), table.c.order_id.is_not(None))
        for table in (CHARGES, REFUNDS, AUTHORIZATIONS, SHIPMENTS)
    ]
    async for batch in _batches(connection, select(union(*parts).subquery()), lambda row: str(row.order_id)):
        yield batch


def _effective(table: Table, order_ids: Sequence[UUID], *columns: Any) -> Select[Any]:
    wanted = _is_one_of(table.c.order_id, [str(order_id) for order_id in order_ids])
    return select(*columns).where(wanted, _stands(table)).order_by(table.c.key)


def _is_one_of(column: Column[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """One array as one parameter: a parameter each would cost more than the look-up."""
    return column == any_(literal(list(values), ARRAY(column.type)))


def _stands(table: Table) -> Any:
    """The rows that moved money or a parcel."""
    return (table.c.outcome == EFFECT[table]) & (table.c.calls >= table.c.answers_from_call)


# -- streams --------------------------------------------------------------------------------------------


async def _batches(connection: AsyncConnection, query: Select[Any], value: Any) -> AsyncIterator[list[Any]]:
    """The values of a query's rows by a cursor on the server, so that memory does not grow with them."""
    streaming = await connection.stream(query, execution_options={"yield_per": BATCH})
    async for rows in streaming.partitions(BATCH):
        yield [value(row) for row in rows]


def _quantities(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in lines:
        found[str(line["sku"])] = found.get(str(line["sku"]), 0) + int(line["quantity"])
    return found


UNREADABLE: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a document of another shape raises; it harms the order that it is of, and no other (S25)."""
