"""A participant behind the low-water mark: which marks it takes, and when it prunes (P7)."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.commands import AdvanceLowWaterMark, Command
from contracts.routing import command_queue
from messaging.compose import instruction_message
from messaging.errors import PermanentFailure, Poison
from messaging.identifiers import first_id_at, time_ordered_ids
from messaging.outbox import Outbox
from messaging.transport import Delivery
from messaging.unit_of_work import PatientUnitOfWork
from participants.commands import Advance
from participants.fence import State
from participants.gate import check_not_expired
from participants.inventory.handlers import inventory
from participants.inventory.stock import Reduction
from participants.ledger import LedgerRow
from participants.retention import INVENTORY_WALKS, LEAST_AGE, Pruner, check_mark
from simulation.storage.database import Database
from simulation.storage.participants import LEDGER, MOVEMENTS, MemoryInventoryTransaction
from tests.support.participants import Case, Sent, delivered, delivery_of

WORKS = inventory.works

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LONG_AGO = NOW - 50 * DAY
MARK = first_id_at(NOW - 30 * DAY)


def saga_from(moment: datetime) -> UUID:
    return time_ordered_ids(random.SystemRandom(), lambda: int(moment.timestamp() * 1000))()


# -- what is expired --------------------------------------------------------------------------------------


def row_of(command: Command) -> LedgerRow:
    return LedgerRow(
        command.saga_id, command.step, command.order_id, "ReserveInventory", State.DONE, LONG_AGO
    )


def test_unknown_work_behind_the_mark_is_expired() -> None:
    received = WORKS.decode(delivered(Case(saga_from(LONG_AGO)).reserve(A=1)))
    with pytest.raises(PermanentFailure) as expired:
        check_not_expired(None, received, MARK)
    assert expired.value.kind == "expired"


def test_known_work_and_work_above_the_mark_are_not() -> None:
    old, young = (delivered(Case(saga_from(at)).reserve(A=1)) for at in (LONG_AGO, NOW))
    known = WORKS.decode(old)
    check_not_expired(row_of(known.command), known, MARK)
    check_not_expired(None, WORKS.decode(young), MARK)
    check_not_expired(None, known, None)


# -- which marks are taken --------------------------------------------------------------------------------


def told(mark: UUID, **changes: Any) -> Delivery:
    sent = instruction_message(AdvanceLowWaterMark(mark=mark), "inventory", uuid4(), NOW, "orchestrator")
    delivery = delivery_of(sent, command_queue("inventory"))
    return replace(delivery, **changes)


def test_an_instruction_is_understood_among_commands() -> None:
    reserve = delivered(Case().reserve(A=1))
    decoded = WORKS.decode_all([reserve, told(MARK)])
    assert [one.delivery for one in decoded.received] == [reserve]
    assert [one.mark for one in decoded.advances] == [MARK]
    assert [len(each) for each in decoded.singly()] == [1, 1]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"mark": "7"}', b"[]", b"\xff"])
def test_one_that_is_none_is_poison(body: bytes) -> None:
    [failed] = WORKS.decode_all([told(MARK, body=body)]).failures
    assert isinstance(failed.error, Poison)


def test_a_mark_that_lets_go_of_what_may_be_at_work_is_refused() -> None:
    check_mark(first_id_at(NOW - LEAST_AGE), NOW)
    for mark, kind in ((first_id_at(NOW - 5 * DAY), "mark_too_young"), (uuid4(), "bad_mark")):
        with pytest.raises(PermanentFailure) as refused:
            check_mark(mark, NOW)
        assert refused.value.kind == kind
    assert Advance(told(MARK), MARK).mark == MARK


# -- when it prunes ---------------------------------------------------------------------------------------


class Warehouse:
    """Inventory in memory, with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = NOW
        self.database = Database(lambda: self.now)
        self.units = PatientUnitOfWork(
            lambda: MemoryInventoryTransaction(self.database),
            lambda error: False,
            Outbox(Sent()),
            random.Random(1),
        )

    async def sold(self, count: int, at: datetime = LONG_AGO) -> None:
        """So many orders that ended then; each left one of A."""

        async def work(transaction: MemoryInventoryTransaction) -> None:
            for saga_id in [saga_from(at) for _ in range(count)]:
                row = LedgerRow(saga_id, "reserve", uuid4(), "ReserveInventory", State.TOMBSTONE, at)
                transaction.save([row])
                transaction.record_reductions([Reduction("A", 1, saga_id)], at)

        await self.units.run(work)

    async def advance(self, mark: UUID = MARK) -> None:
        async def work(transaction: MemoryInventoryTransaction) -> None:
            transaction.advance_mark(mark, self.now)

        await self.units.run(work)

    def pruner(self) -> Pruner:
        return Pruner(self.units, INVENTORY_WALKS, batch=2)

    @property
    def left(self) -> tuple[int, int]:
        return len(self.database.table(LEDGER)), len(self.database.table(MOVEMENTS))


async def to_the_end(pruner: Pruner) -> int:
    """Runs it until there is nothing left to do; returns how many batches that took."""
    batches = 1
    while await pruner.run_once():
        batches += 1
    return batches


async def test_it_walks_over_every_table_in_small_batches() -> None:
    shop = Warehouse()
    await shop.sold(5)
    await shop.sold(1, NOW)
    await shop.advance()
    shop.now += timedelta(minutes=1)
    pruner = shop.pruner()
    assert await to_the_end(pruner) >= 6
    assert shop.left == (1, 2)
    assert dict(pruner.removed) == {"ledger": 5, "stock_movements": 5}


async def test_it_begins_a_minute_after_the_mark_was_raised() -> None:
    """Whatever looked before it has ended by then."""
    shop = Warehouse()
    await shop.sold(1)
    pruner = shop.pruner()
    assert not await pruner.run_once()
    await shop.advance()
    shop.now += timedelta(seconds=59)
    assert not await pruner.run_once()
    assert shop.left == (1, 1)
    shop.now += timedelta(seconds=1)
    await to_the_end(pruner)
    assert shop.left == (0, 1)


async def test_it_looks_again_when_the_mark_rises() -> None:
    shop = Warehouse()
    await shop.sold(1)
    await shop.sold(1, NOW - 20 * DAY)
    await shop.advance()
    shop.now += timedelta(minutes=1)
    pruner = shop.pruner()
    await to_the_end(pruner)
    assert shop.left == (1, 2)
    await shop.advance(first_id_at(NOW - 10 * DAY))
    shop.now += timedelta(minutes=1)
    await to_the_end(pruner)
    assert shop.left == (0, 1)


async def test_what_changes_behind_the_mark_stays_until_the_mark_rises_again() -> None:
    """A late answer of a provider may be a matter for a person, who needs the row (S5, S19)."""
    shop = Warehouse()
    await shop.advance()
    shop.now += timedelta(minutes=1)
    await shop.sold(1)
    [(key, row)] = shop.database.table(LEDGER).items()
    shop.database.table(LEDGER)[key] = replace(row, updated_at=shop.now)
    await to_the_end(shop.pruner())
    assert shop.left == (1, 1)
