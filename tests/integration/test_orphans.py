"""What is held for orders that are gone is listed whole, and taken back by those who hold it."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Final
from uuid import UUID, uuid4

import pytest

from contracts import events
from contracts.commands import Command
from contracts.envelope import Direction
from messaging.outbox import Outbox
from messaging.postgresql import SqlUnitOfWork
from migrations.run import histories_of_kit, migrate
from oms.audit import Report, Sources, audit
from oms.audit.orphans import Held, Orphan, Remedy, Undoing, find_orphans
from oms.audit.sources import NEEDED, SANDBOX, Installed
from oms.cli import main
from oms.failures import Failure
from oms.orphans import take_back
from oms.retention import LeftToTheRelay
from orchestrator.core.inputs import Actor
from orchestrator.orphans import OrphanOperations
from orchestrator.postgresql import PostgresTransaction
from tests.integration.audited_orders import QUANTITY, SKU, TOTAL, Books
from tests.integration.test_orchestrator import World, a_deployment
from tests.support import loyalty

pytestmark = pytest.mark.postgresql

JANE = Actor("jane", "restored to 12:00")


@pytest.fixture
def books(migrated_database_url: str) -> Iterator[Books]:
    """A shop that sold one order and undid another."""
    made = Books(migrated_database_url)
    made.stock(on_hand=100 - QUANTITY, delivered=100)
    made.completed()
    made.compensated()
    yield made
    made.engine.dispose()


@pytest.fixture
def sources(migrated_database_url: str) -> Sources:
    return Sources(dict.fromkeys((*NEEDED, SANDBOX), (migrated_database_url,)))


def forget(books: Books, saga_id: UUID, order_id: UUID) -> None:
    """The orchestrator's schema is of a time before this order."""
    books.execute("DELETE FROM orchestrator.sagas WHERE saga_id = %(id)s", id=saga_id)
    books.execute("DELETE FROM orchestrator.orders WHERE order_id = %(id)s", id=order_id)


def paid(books: Books, *further: tuple[str, str, str]) -> tuple[UUID, UUID]:
    """An order that is gone: reserved, charged, and what else is given."""
    saga_id, order_id = books.saga("running", "paid")
    first = (("inventory", "reserve", "done"), ("payment", "charge", "done"))
    for participant, step, state in (*first, *further):
        books.ledger(participant, saga_id, order_id, step, state)
    books.execute("UPDATE inventory.stock SET reserved = reserved + %(held)s", held=QUANTITY)
    books.charge(order_id)
    forget(books, saga_id, order_id)
    return saga_id, order_id


async def test_where_no_order_is_gone_nothing_is_listed(books: Books, sources: Sources) -> None:
    paid_saga, paid_order = books.saga("running", "paid")
    books.ledger("payment", paid_saga, paid_order, "charge", "done")
    books.charge(paid_order)

    found = await find_orphans(sources)

    assert found.none
    assert found.books_read


async def test_an_order_that_was_paid_and_not_shipped_can_be_taken_back(
    books: Books, sources: Sources
) -> None:
    saga_id, order_id = paid(books)

    found = await find_orphans(sources)

    [orphan] = found.found
    assert (orphan.saga_id, orphan.order_id, orphan.remedy) == (saga_id, order_id, Remedy.TAKE_BACK)
    assert [str(held) for held in orphan.held] == [f"reserved {QUANTITY} x {SKU}", "charged 25.98 EUR (ch)"]
    assert found.sums() == {
        "reserved": {SKU: QUANTITY},
        "reduced": {},
        "charged": {"EUR": TOTAL},
        "authorized": {},
        "parcels": 0,
        "in_doubt": 0,
    }
    assert found.provider_only == []


@pytest.mark.parametrize("state", ["done", "intent"])
async def test_what_has_left_the_house_or_may_have_is_a_persons(
    books: Books, sources: Sources, state: str
) -> None:
    paid(books, ("shipping", "ship", state))

    [orphan] = (await find_orphans(sources)).found

    assert orphan.remedy is Remedy.BY_HAND


@pytest.mark.parametrize("state", ["rejected", "undone", "tombstone"])
async def test_a_shipment_that_did_not_happen_is_not_held(books: Books, sources: Sources, state: str) -> None:
    paid(books, ("shipping", "ship", state))

    [orphan] = (await find_orphans(sources)).found

    assert orphan.remedy is Remedy.TAKE_BACK
    assert {held.participant for held in orphan.held} == {"inventory", "payment"}


@pytest.mark.parametrize("answer", ["", "[]", "\\xff", '{"lines": 7}', '{"amount": "much"}'])
async def test_s25_an_answer_that_cannot_be_read_hides_no_orphan(
    books: Books, sources: Sources, answer: str
) -> None:
    spoilt, _ = paid(books)
    other, _ = paid(books)
    spoil = "UPDATE payment.ledger SET forward_body = %(answer)s WHERE saga_id = %(id)s"
    books.execute(spoil, answer=answer.encode("latin-1"), id=spoilt)

    found = await find_orphans(sources)

    assert {orphan.saga_id for orphan in found.found} == {spoilt, other}
    assert [held.readable for orphan in found.found for held in orphan.held].count(False) == 1
    assert found.sums()["charged"] == {"EUR": TOTAL}


async def test_what_only_the_provider_knows_is_listed_with_its_key(books: Books, sources: Sources) -> None:
    """Where payment's database was restored, too."""
    order_id, given_back = books.new_id(), books.new_id()
    books.charge(order_id)
    books.charge(given_back, refunded=TOTAL)

    found = await find_orphans(sources)

    [only] = found.provider_only
    assert only.order_id == str(order_id)
    assert only.charges[0].endswith(": 25.98 EUR")


async def test_what_is_behind_the_low_water_mark_was_pruned_and_is_not_looked_at(
    books: Books, sources: Sources
) -> None:
    paid(books)
    mark = books.new_id()
    books.execute("INSERT INTO orchestrator.retention VALUES (1, %(mark)s, now())", mark=mark)

    assert (await find_orphans(sources)).none


async def test_once_all_is_taken_back_neither_list_nor_audit_object(
    books: Books, sources: Sources, world: World
) -> None:
    saga_id, order_id = paid(books)
    await take_back(operations_of(world), (await find_orphans(sources)).found, JANE)
    assert found_by(await audit(sources)) == {str(saga_id), str(order_id)}, "asked for is not done"

    for participant in ("payment", "inventory"):
        books.execute(
            f"UPDATE {participant}.ledger SET state = 'undone', compensation_type = 'x',"
            " compensation_body = '{}', compensation_event_id = saga_id WHERE saga_id = %(id)s",
            id=saga_id,
        )
    books.execute("UPDATE inventory.stock SET reserved = 0")
    books.execute("DELETE FROM sandbox.charges WHERE order_id = %(id)s", id=str(order_id))
    books.charge(order_id, refunded=TOTAL)

    assert (await find_orphans(sources)).none
    assert (await audit(sources)).ok


def found_by(report: Report) -> set[str]:
    return {str(each.saga_id or each.order_id) for each in report.findings}


@pytest.fixture
async def world(migrated_database_url: str) -> AsyncIterator[World]:
    made = World(a_deployment(migrated_database_url))
    await made.start()
    yield made
    await made.stop()


def operations_of(world: World) -> OrphanOperations:
    database, new_id = world.deployment.database, world.deployment.new_id
    transaction = partial(PostgresTransaction, registry=world.deployment.registry)
    unit_of_work = SqlUnitOfWork(database, transaction, Outbox(LeftToTheRelay()), random.Random(1), 20)
    return OrphanOperations(unit_of_work, new_id)


async def lease_ran_out(world: World, books: Books) -> None:
    books.execute("UPDATE orchestrator.outbox SET claimed_until = now()")


async def test_taking_back_asks_the_participants_and_their_answers_are_no_dead_letters(
    books: Books, sources: Sources, world: World
) -> None:
    saga_id, order_id = paid(books)
    orphans = (await find_orphans(sources)).found

    assert await take_back(operations_of(world), orphans, JANE) == 1
    await lease_ran_out(world, books)
    _, refund = await world.command("payment")
    _, release = await world.command("inventory")

    assert (type(refund).__name__, refund.saga_id, refund.order_id, refund.step) == (
        "RefundPayment",
        saga_id,
        order_id,
        "charge",
    )
    assert (type(release).__name__, release.step) == ("ReleaseInventory", "reserve")
    await answered_by(world, refund)
    stranger = refund.model_copy(update={"saga_id": uuid4()})
    await answered_by(world, stranger)
    await world.eventually(
        "SELECT count(*), min(error_message) FROM orchestrator.dead_letters",
        (1, f"there is no saga {stranger.saga_id}"),
    )
    await world.eventually(
        "SELECT actor, action, subject, reason FROM orchestrator.audit_log",
        ("jane", "orphan.take_back", f"saga:{saga_id}", "restored to 12:00"),
    )


async def answered_by(world: World, refund: Command) -> None:
    await world.answer(
        refund, events.PaymentRefundedEvent, effect="undone", amount=TOTAL, currency="EUR", reference="rf"
    )


async def test_a_saga_that_is_there_is_never_taken_back(world: World) -> None:
    """It may have begun after the list was made."""
    saga_id = await world.submit()
    _, reserve = await world.command("inventory")
    held = Held("payment", "charge", "ChargePayment", "done", {}, TOTAL, "EUR", "ch")

    taken = await take_back(operations_of(world), [Orphan(saga_id, reserve.order_id, [held])], JANE)

    assert taken == 0
    await world.eventually(
        "SELECT count(*) FROM orchestrator.audit_log WHERE action = 'orphan.take_back'", (0,)
    )


async def test_a_call_in_doubt_is_closed_at_the_carrier_where_a_person_says_so(
    books: Books, sources: Sources, world: World
) -> None:
    paid(books, ("shipping", "ship", "intent"))
    orphans = (await find_orphans(sources)).found

    await take_back(operations_of(world), orphans, JANE)
    await lease_ran_out(world, books)
    _, settle = await world.command("shipping")

    assert (type(settle).__name__, settle.model_dump()["verdict"]) == ("SettleStep", "no_effect")


async def test_a_parcel_alone_cannot_be_taken_back(books: Books, sources: Sources, world: World) -> None:
    saga_id, order_id = books.saga("running", "shipped")
    books.ledger("shipping", saga_id, order_id, "ship", "done")
    forget(books, saga_id, order_id)

    with pytest.raises(Failure, match="its parcel has left"):
        await take_back(operations_of(world), (await find_orphans(sources)).found, JANE)


# -- participants that other distributions bring ------------------------------------------------------

LOYALTY: Final[Undoing] = {loyalty.NAME: {"Hold": loyalty.GiveBack, "Spend": None}}


@pytest.fixture
def with_loyalty(migrated_database_url: str) -> Sources:
    for history in histories_of_kit(loyalty.NAME, None):
        migrate(history, migrated_database_url)
    urls = dict.fromkeys((*NEEDED, SANDBOX, loyalty.NAME), (migrated_database_url,))
    return Sources(urls, Installed((loyalty.NAME,)))


def held_by_loyalty(books: Books, command: str, state: str = "done") -> tuple[UUID, UUID]:
    saga_id, order_id = books.saga("running", "pending")
    books.ledger(loyalty.NAME, saga_id, order_id, "points", state)
    books.execute("UPDATE loyalty.ledger SET command = %(it)s WHERE saga_id = %(id)s", it=command, id=saga_id)
    forget(books, saga_id, order_id)
    return saga_id, order_id


async def test_what_an_installed_participant_holds_is_taken_back_by_its_own_compensation(
    books: Books, with_loyalty: Sources, world: World
) -> None:
    saga_id, order_id = held_by_loyalty(books, "Hold")

    [orphan] = (await find_orphans(with_loyalty, LOYALTY)).found
    assert (orphan.saga_id, orphan.remedy) == (saga_id, Remedy.TAKE_BACK)
    assert [str(held) for held in orphan.held] == ["Hold at loyalty"]
    assert await take_back(operations_of(world), [orphan], JANE, LOYALTY) == 1

    kind, body = await world.row(
        "SELECT type, convert_from(body, 'UTF8') FROM orchestrator.outbox WHERE routing_key ~ 'loyalty'"
    )
    asked = loyalty.GiveBack.model_validate_json(body)
    assert (kind, asked.saga_id, asked.order_id) == ("GiveBack", saga_id, order_id)
    assert (asked.step, asked.direction) == ("points", Direction.COMPENSATING)


async def test_what_no_command_undoes_is_a_persons(books: Books, with_loyalty: Sources, world: World) -> None:
    held_by_loyalty(books, "Spend")

    [orphan] = (await find_orphans(with_loyalty, LOYALTY)).found

    assert orphan.remedy is Remedy.BY_HAND
    with pytest.raises(Failure, match="no command undoes what is held"):
        await take_back(operations_of(world), [orphan], JANE, LOYALTY)


@pytest.mark.parametrize("state", ["undone", "tombstone", "rejected", "settled"])
async def test_what_an_installed_participant_has_undone_is_not_held(
    books: Books, with_loyalty: Sources, state: str
) -> None:
    held_by_loyalty(books, "Hold", state)

    assert (await find_orphans(with_loyalty, LOYALTY)).none


def test_the_commands_name_what_is_held_and_exit_with_1(
    books: Books,
    migrated_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OMS_DATABASE_URL", migrated_database_url)
    assert main(["orphans", "list"]) == 0
    assert "nothing is held" in capsys.readouterr().out
    saga_id, order_id = paid(books)
    handed_over, _ = paid(books, ("shipping", "ship", "done"))

    assert main(["orphans", "list"]) == 1
    shown = capsys.readouterr().out
    assert str(order_id) in shown
    assert "by hand" in shown
    assert main(["orphans", "list", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["sums"]["charged"] == {"EUR": 2 * TOTAL}
    assert {each["saga_id"]: each["remedy"] for each in document["orphans"]} == {
        str(saga_id): "take_back",
        str(handed_over): "by_hand",
    }
    assert main(["orphans", "take-back", "--reason", "restored", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"asked": 1, "left": 1}
    nobody = str(uuid4())
    assert main(["orphans", "take-back", "--reason", "restored", "--yes", "--saga", nobody]) == 1
    assert f"nothing is held for {nobody}" in capsys.readouterr().err


async def test_the_claim_of_a_return_that_is_gone_is_taken_back_and_its_refund_is_not(
    books: Books, sources: Sources
) -> None:
    _, order_id = books.completed()
    books.execute("UPDATE inventory.stock SET on_hand = on_hand - %(sold)s", sold=QUANTITY)
    refunded = books.returned(order_id)
    claimed = books.returned(order_id, "running")
    books.ledger("payment", claimed, claimed, "claim", "done")
    for saga_id in (refunded, claimed):
        books.execute("DELETE FROM orchestrator.sagas WHERE saga_id = %(id)s", id=saga_id)
    found = {orphan.saga_id: orphan for orphan in (await find_orphans(sources)).found}

    assert found[refunded].remedy is Remedy.BY_HAND
    assert [str(held) for held in found[refunded].held] == [
        "took in 1 x SKU-1",
        "claimed 12.99 EUR for a return",
        "refunded 12.99 EUR (re)",
    ]
    assert found[claimed].remedy is Remedy.TAKE_BACK
