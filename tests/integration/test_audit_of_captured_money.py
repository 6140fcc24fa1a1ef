"""The audit and the search for orphans, over real tables, of money that is authorized and captured (S27)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from contracts.commands import VoidAuthorization
from oms.audit import Sources, audit
from oms.audit.checklist import Check
from oms.audit.orphans import Orphan, Remedy, find_orphans
from oms.audit.sources import NEEDED, SANDBOX
from oms.orphans import take_back
from orchestrator.core.inputs import Actor
from orchestrator.orphans import Compensation
from tests.integration.audited_orders import QUANTITY, TOTAL, Books


@pytest.fixture
def books(migrated_database_url: str) -> Iterator[Books]:
    made = Books(migrated_database_url)
    made.stock(on_hand=100 - QUANTITY, delivered=100)
    yield made
    made.engine.dispose()


@pytest.fixture
def sources(migrated_database_url: str) -> Sources:
    return Sources(dict.fromkeys((*NEEDED, SANDBOX), (migrated_database_url,)))


Bend = Callable[[Books, UUID], None]


def given_to_nobody(books: Books, order_id: UUID) -> None:
    books.authorization(order_id)


def captured_less(books: Books, order_id: UUID) -> None:
    books.execute("UPDATE sandbox.authorizations SET captured = captured - 1")


def not_released(books: Books, order_id: UUID) -> None:
    books.execute("UPDATE sandbox.authorizations SET released = false WHERE captured = 0")


def captured_all_the_same(books: Books, order_id: UUID) -> None:
    books.charge(order_id)


async def test_nothing_is_found_where_everything_adds_up(books: Books, sources: Sources) -> None:
    books.captured()
    books.voided()
    report = await audit(sources)
    assert report.findings == []
    assert report.looked_at[Check.CAPTURED_AS_AUTHORIZED] == report.looked_at[Check.NOTHING_AUTHORIZED] == 1
    assert report.sources["money"] == "the sandbox's books"


@pytest.mark.parametrize(
    ("bend", "check"),
    [
        (given_to_nobody, Check.CAPTURED_AS_AUTHORIZED),
        (captured_less, Check.CAPTURED_AS_AUTHORIZED),
        (captured_all_the_same, Check.CHARGED_ONCE),
    ],
)
async def test_what_is_wrong_with_captured_money_is_found(
    books: Books, sources: Sources, bend: Bend, check: Check
) -> None:
    saga_id, order_id = books.captured()
    bend(books, order_id)
    assert (check, saga_id) in {(each.check, each.saga_id) for each in (await audit(sources)).findings}


@pytest.mark.parametrize(
    ("bend", "check"),
    [
        (given_to_nobody, Check.NOTHING_AUTHORIZED),
        (not_released, Check.NOTHING_AUTHORIZED),
        (captured_all_the_same, Check.MONEY_BACK),
    ],
)
async def test_what_is_left_of_an_order_that_was_undone_is_found(
    books: Books, sources: Sources, bend: Bend, check: Check
) -> None:
    saga_id, order_id = books.voided()
    books.completed()
    bend(books, order_id)
    assert (check, saga_id) in {(each.check, each.saga_id) for each in (await audit(sources)).findings}


async def test_money_that_is_set_aside_for_an_order_that_is_gone_is_given_up(
    books: Books, sources: Sources
) -> None:
    saga_id, order_id = books.saga("running", "authorized")
    books.ledger("payment", saga_id, order_id, "authorize", "done")
    books.authorization(order_id)
    books.execute("DELETE FROM orchestrator.sagas")
    books.execute("DELETE FROM orchestrator.orders")

    found = await find_orphans(sources)

    [orphan] = found.found
    assert orphan.remedy is Remedy.TAKE_BACK
    assert [str(held) for held in orphan.held] == ["authorized 25.98 EUR (au)"]
    assert found.sums()["authorized"] == {"EUR": TOTAL}
    assert [type(each.command) for each in await taken_back(orphan)] == [VoidAuthorization]


async def test_what_was_captured_for_an_order_that_is_gone_is_a_persons(
    books: Books, sources: Sources
) -> None:
    saga_id, order_id = books.saga("running", "shipped")
    books.ledger("payment", saga_id, order_id, "capture", "done")
    books.execute("DELETE FROM orchestrator.sagas")
    books.execute("DELETE FROM orchestrator.orders")
    [orphan] = (await find_orphans(sources)).found
    assert orphan.remedy is Remedy.BY_HAND
    assert [str(held) for held in orphan.held] == ["captured 25.98 EUR (ch)"]


async def taken_back(orphan: Orphan) -> list[Compensation]:
    """What would be asked of participants."""
    asked: list[Compensation] = []

    class Operations:
        async def take_back(self, orphans: list[list[Compensation]], actor: Actor) -> int:
            asked.extend(each for orphan in orphans for each in orphan)
            return len(orphans)

    await take_back(Operations(), [orphan], Actor("jane", "restored"))  # type: ignore[arg-type]
    return asked
