"""The ledger on a real PostgreSQL: what a transaction saw still holds when it commits, or it runs again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.routing import PAYMENT
from messaging.postgresql import create_engine
from participants.fence import State
from participants.ledger import LedgerRow, StoredOutcome
from participants.postgresql import SqlLedgerTransaction
from tests.support.participants import NOW, new_id, unit_of_work


class SqlPaymentTransaction(SqlLedgerTransaction):
    schema = PAYMENT


def row(**changes: Any) -> LedgerRow:
    fields: dict[str, Any] = {
        "saga_id": new_id(),
        "step": "charge",
        "order_id": new_id(),
        "command": "ChargePayment",
        "state": State.TOMBSTONE,
        "updated_at": NOW,
    }
    return LedgerRow(**(fields | changes))


def outcome(
    name: str, body: bytes = b'{"text": "quote \\" backslash \\\\ comma , {brace} \xc3\xa9"}'
) -> StoredOutcome:
    return StoredOutcome(name, new_id(), body)


async def saved(engine: AsyncEngine, *rows: LedgerRow) -> None:
    async def work(transaction: SqlPaymentTransaction) -> None:
        await transaction.lock({each.saga_id for each in rows})
        transaction.save(rows)

    await unit_of_work(engine, SqlPaymentTransaction).run(work)


async def read(engine: AsyncEngine, *rows: LedgerRow) -> list[LedgerRow]:
    unit = unit_of_work(engine, SqlPaymentTransaction)
    return await unit.run(lambda transaction: transaction.lock({each.saga_id for each in rows}))


async def test_rows_come_back_as_they_were_saved(engine: AsyncEngine) -> None:
    rows = [
        row(),
        row(
            state=State.INTENT,
            intent_at=NOW,
            called_at=NOW,
            details={"amount": 1, "text": 'a"b\\c{}, é'},
            request={"payment_method": "pm_card_visa"},
            payload_hash=b"\x00\x01\xff" * 10,
        ),
        row(state=State.DONE, forward=outcome("PaymentSuccessfulEvent")),
        row(
            state=State.UNDONE,
            forward=outcome("PaymentSuccessfulEvent"),
            compensation=outcome("PaymentRefundedEvent"),
            undo_intent_at=NOW,
            verdict={"said": {"verdict": "took_effect"}},
        ),
    ]
    await saved(engine, *rows)
    assert await read(engine, *rows) == sorted(rows, key=lambda each: each.key)


async def test_a_request_is_erased_with_the_answer(engine: AsyncEngine) -> None:
    intent = row(state=State.INTENT, intent_at=NOW, request={"payment_method": "pm"}, payload_hash=b"h")
    other = row()
    await saved(engine, intent, other)
    done = replace(intent, state=State.DONE, request=None, forward=outcome("PaymentSuccessfulEvent"))
    await saved(engine, done, replace(other, state=State.SETTLED))
    assert await read(engine, done) == [done]


async def test_the_database_keeps_sensitive_data_out_of_settled_rows(engine: AsyncEngine) -> None:
    kept = row(state=State.DONE, forward=outcome("PaymentSuccessfulEvent"), request={"payment_method": "pm"})
    with pytest.raises(Exception, match="ck_ledger_request"):
        await saved(engine, kept)


async def test_a_row_that_was_absent_cannot_be_written_by_two(engine: AsyncEngine) -> None:
    """Both saw no row; the second is run again and sees the first one's."""
    contested = row()
    both_looked = asyncio.Barrier(2)
    runs: list[bool] = []

    async def work(transaction: SqlPaymentTransaction) -> bool:
        found = await transaction.lock({contested.saga_id})
        runs.append(bool(found))
        if len(runs) <= 2:
            await both_looked.wait()
        if not found:
            transaction.save([contested])
        return bool(found)

    units = [unit_of_work(engine, SqlPaymentTransaction) for _ in range(2)]
    results = await asyncio.gather(*(unit.run(work) for unit in units))
    assert sorted(results) == [False, True]
    assert runs == [False, False, True]


async def test_a_clash_anywhere_else_is_a_bug_and_is_not_tried_again(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE UNIQUE INDEX one_order ON payment.ledger (order_id)"))
    first = row()
    await saved(engine, first)
    with pytest.raises(Exception, match="one_order"):
        await saved(engine, row(order_id=first.order_id))


async def test_the_time_is_read_after_the_locks(engine: AsyncEngine) -> None:
    """S11: whoever waited for a lock is never earlier than who held it."""
    known = row()
    await saved(engine, known)
    locked, times = asyncio.Event(), []

    async def first(transaction: SqlPaymentTransaction) -> None:
        await transaction.lock({known.saga_id})
        locked.set()
        rows = await transaction.fetch("SELECT clock_timestamp()")
        times.append(rows[0][0])

    async def second(transaction: SqlPaymentTransaction) -> None:
        await locked.wait()
        await transaction.lock({known.saga_id})
        times.append(await transaction.now())

    await asyncio.gather(
        unit_of_work(engine, SqlPaymentTransaction).run(first),
        unit_of_work(engine, SqlPaymentTransaction).run(second),
    )
    assert times == sorted(times)


async def test_s17_a_plan_that_a_migration_has_outgrown_costs_a_connection_and_no_work(
    migrated_database_url: str,
) -> None:
    engine = create_engine(migrated_database_url, pool_size=1)
    work = unit_of_work(engine, SqlPaymentTransaction)

    async def look(transaction: SqlPaymentTransaction) -> int:
        return len(await transaction.lock({UUID(int=1)}))

    await work.run(look)
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE payment.ledger ALTER step TYPE varchar(200)"))
    assert await work.run(look) == 0
    await engine.dispose()


async def test_a_connection_that_was_torn_in_mid_pipeline_is_not_used_again(
    migrated_database_url: str,
) -> None:
    """Its next user would get the results of somebody else's statements."""
    engine = create_engine(migrated_database_url, pool_size=1)

    async def torn(transaction: SqlPaymentTransaction) -> None:
        await transaction._driver.pipeline().__aenter__()
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await unit_of_work(engine, SqlPaymentTransaction).run(torn)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 42"))).scalar_one() == 42
    await engine.dispose()
