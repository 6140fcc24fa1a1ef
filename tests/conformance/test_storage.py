"""What every storage promises: the one in memory, on which the simulation rests, and PostgreSQL's."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import errors

from contracts.envelope import Direction
from contracts.examples import RETURN
from contracts.orders import AcceptedOrder, Order, OrderLine, ShippingAddress
from contracts.returns import ORDER_KEY, AcceptedReturn
from messaging.identifiers import time_ordered_ids
from messaging.outbox import Lease
from messaging.postgresql import LostUpdate, create_engine
from messaging.relay import Claim
from messaging.sqlstates import is_transient
from messaging.transport import Message
from orchestrator.core import machine
from orchestrator.core.definition import StepPolicy
from orchestrator.core.effects import Transition
from orchestrator.core.following import Follower
from orchestrator.core.inputs import SagaStarted
from orchestrator.core.state import End, Failure, Saga, Status
from orchestrator.sagas.order_fulfillment import order_fulfillment
from orchestrator.sagas.order_return import order_return
from orchestrator.storage import (
    AuditEntry,
    DeadLetter,
    DeadLetterStatus,
    Followers,
    HistoryEntry,
    KeyClaim,
    NewSaga,
    SagaChange,
    WorkEnded,
)
from participants.fence import State
from participants.inventory.stock import Reduction, StockLevel
from participants.ledger import LedgerRow, StoredOutcome
from participants.payment.claims import Claims
from participants.retention import Mark, Page
from tests.conformance.storages import Bench, MemoryBench, PostgresBench, waiting
from tests.unit.core.courses import JOURNEY, Journey, booked, signal
from tests.unit.core.happenings import died_for_good

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
DEFINITION = order_fulfillment(StepPolicy())
KNOWN = [(DEFINITION.name, 1)]
new_id = time_ordered_ids(random.Random(3))


@pytest.fixture(
    params=["memory", pytest.param("postgresql", marks=pytest.mark.postgresql)],
)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "memory":
        yield MemoryBench()
        return
    engine = create_engine(request.getfixturevalue("migrated_database_url"))
    yield PostgresBench(engine)
    await engine.dispose()


def order() -> AcceptedOrder:
    """As it is read back: what was accepted has another type than what is submitted."""
    address = ShippingAddress(
        name="A. Person", line1="1 Street", city="Town", postal_code="12345", country="DE"
    )
    line = OrderLine(sku="SKU-1", quantity=2, unit_price=1299)
    submitted = Order(
        customer_id="c-42", currency="EUR", lines=(line,), payment_method="pm", shipping_address=address
    )
    return AcceptedOrder.model_validate_json(submitted.model_dump_json(exclude_none=True))


def new_saga(**changes: Any) -> Saga:
    """A saga that has just been started."""
    saga = machine.start(DEFINITION, new_id(), new_id(), order(), NOW).saga
    return replace(saga, **changes)


def message(**changes: Any) -> Message:
    sent = Message(
        message_id=new_id(),
        type="ReserveInventory",
        exchange="oms.commands",
        routing_key="inventory",
        body=b"{}",
        correlation_id=new_id(),
        app_id="orchestrator",
        timestamp=LONG_AGO,
        mandatory=True,
        headers={"attempt": 1, "event-id": "e"},
    )
    return replace(sent, **changes)


def dead_letter(**changes: Any) -> DeadLetter:
    dead = DeadLetter(
        dead_letter_id=new_id(),
        kind="command",
        work_key="command:1:charge:forward",
        death_id="m-1",
        queue="payment.commands",
        type="ChargePayment",
        error_type="provider_misuse",
        error_message="400",
        error_stack="",
        permanent=True,
        attempts=1,
        first_failed_at=NOW,
        last_failed_at=NOW,
        exchange="oms.commands",
        routing_key="payment",
        message_id="m-1",
        headers={"attempt": 1},
        body=b"{}",
        body_truncated=False,
        created_at=NOW,
    )
    return replace(dead, **changes)


def ledger_row(saga_id: UUID, step: str = "reserve", **changes: Any) -> LedgerRow:
    row = LedgerRow(
        saga_id=saga_id,
        step=step,
        order_id=new_id(),
        command="ReserveInventory",
        state=State.DONE,
        updated_at=NOW,
        payload_hash=b"h",
        forward=StoredOutcome("InventoryReservedEvent", new_id(), b'{"a": 1}'),
        details={"lines": [{"sku": "SKU-1", "quantity": 2}]},
    )
    return replace(row, **changes)


async def stored(bench: Bench, *sagas: Saga) -> None:
    async with bench.orchestrator() as transaction:
        transaction.add_sagas([NewSaga(saga, "c-42") for saga in sagas])
        await transaction.commit([])


async def read(bench: Bench, *sagas: Saga) -> dict[UUID, Saga]:
    async with bench.orchestrator() as transaction:
        locked = await transaction.lock_sagas([saga.saga_id for saga in sagas])
    return dict(locked.sagas)


async def sent(bench: Bench, *messages: Message) -> None:
    async with bench.orchestrator() as transaction:
        transaction.send(messages)
        await transaction.commit([])


# -- transactions ---------------------------------------------------------------------------------------


async def test_nothing_is_seen_before_the_commit_and_everything_after_it(bench: Bench) -> None:
    saga = new_saga()
    async with bench.orchestrator() as transaction:
        transaction.add_sagas([NewSaga(saga, "c-42")])
        assert await read(bench, saga) == {}
        await transaction.commit([])
    assert await read(bench, saga) == {saga.saga_id: saga}


async def test_what_is_not_committed_never_was(bench: Bench) -> None:
    saga, letter = new_saga(), message()
    async with bench.orchestrator() as transaction:
        transaction.add_sagas([NewSaga(saga, "c-42")])
        transaction.send([letter])
    assert await read(bench, saga) == {}
    async with bench.orchestrator() as transaction:
        assert await transaction.outbox_holds([letter.message_id]) == set()


async def test_callbacks_are_called_once_it_is_durable(bench: Bench) -> None:
    called: list[str] = []
    async with bench.orchestrator() as transaction:
        transaction.after_commit(lambda: called.append("committed"))
        assert called == []
        await transaction.commit([])
    async with bench.orchestrator() as transaction:
        transaction.after_commit(lambda: called.append("rolled back"))
    assert called == ["committed"]


async def test_what_was_committed_is_let_go_without_the_garbage_collector(bench: Bench) -> None:
    """Collections are rare in services: a batch that a cycle holds on to would stay for minutes."""
    gc.disable()
    try:
        saga = new_saga()
        await stored(bench, saga)
        async with bench.orchestrator() as transaction:
            await transaction.lock_sagas([saga.saga_id])
            transaction.save_sagas([SagaChange(replace(saga, version=saga.version + 1), saga.version)])
            await transaction.commit([])
        gone = weakref.ref(transaction)
        del transaction
        assert gone() is None
    finally:
        gc.enable()


async def test_who_wants_a_locked_row_waits_and_then_sees_what_was_written(bench: Bench) -> None:
    saga = new_saga()
    await stored(bench, saga)
    changed = replace(saga, version=2)
    async with bench.orchestrator() as first, bench.orchestrator() as second:
        await first.lock_sagas([saga.saga_id])
        reading = await waiting(bench, second.lock_sagas([saga.saga_id]))
        first.save_sagas([SagaChange(changed, 1)])
        await first.commit([])
        assert (await reading).sagas == {saga.saga_id: changed}


async def test_a_circle_of_waiting_ends_for_one_with_an_error_that_passes(bench: Bench) -> None:
    one, other = sorted([new_saga(), new_saga()], key=lambda saga: saga.saga_id)
    await stored(bench, one, other)
    async with bench.orchestrator() as first, bench.orchestrator() as second:
        await first.lock_sagas([one.saga_id])
        await second.lock_sagas([other.saga_id])
        reading = await waiting(bench, first.lock_sagas([other.saga_id]))
        outcomes = [await _outcome(second.lock_sagas([one.saga_id]))]
        if isinstance(outcomes[0], errors.DeadlockDetected):
            await _end(second)
        outcomes.append(await _outcome(reading))
    failed = [each for each in outcomes if isinstance(each, Exception)]
    assert [type(each) for each in failed] == [errors.DeadlockDetected]
    assert is_transient(failed[0])


async def test_s18_sagas_are_locked_in_the_order_of_their_ids_however_they_are_asked_for(
    bench: Bench,
) -> None:
    one, other = sorted([new_saga(), new_saga()], key=lambda saga: saga.saga_id)
    await stored(bench, one, other)
    async with bench.orchestrator() as first, bench.orchestrator() as second, bench.orchestrator() as third:
        await first.lock_sagas([one.saga_id])
        reading = await waiting(bench, second.lock_sagas([other.saga_id, one.saga_id]))
        free = await third.lock_sagas([other.saga_id])
        assert set(free.sagas) == {other.saga_id}
        await third.commit([])
        await first.commit([])
        assert set((await reading).sagas) == {one.saga_id, other.saga_id}


async def _outcome(work: Any) -> Any:
    try:
        return await work
    except errors.DeadlockDetected as deadlock:
        return deadlock


async def _end(transaction: Any) -> None:
    """Let go of everything that a failed transaction has locked."""
    if hasattr(transaction, "session"):
        transaction.session.roll_back()
    else:
        await transaction.connection.rollback()


# -- sagas ----------------------------------------------------------------------------------------------


async def test_a_saga_is_read_as_it_was_written(bench: Bench) -> None:
    saga = new_saga()
    await stored(bench, saga)
    async with bench.orchestrator() as transaction:
        assert await transaction.existing_orders([saga.subject_id, new_id()]) == {saga.subject_id}
    assert await read(bench, saga, new_saga()) == {saga.saga_id: saga}


async def test_a_saga_that_awaits_a_set_is_read_as_it_was_written(bench: Bench) -> None:
    saga = machine.start(JOURNEY, new_id(), new_id(), Journey(), NOW).saga
    for happened in (booked("seat"), signal(reason="early"), died_for_good("flight")):
        decision = machine.decide(JOURNEY, saga, happened, NOW)
        assert isinstance(decision, Transition)
        saga = decision.saga
    assert len(saga.awaited) == 2
    await stored(bench, saga)
    assert await read(bench, saga) == {saga.saga_id: saga}


async def test_s28_those_that_follow_a_saga_are_found_unless_they_are_undone(bench: Bench) -> None:
    order, other = new_saga(), new_saga()
    returns = [a_return(order), a_return(order), a_return(other)]
    undone = a_return(order)
    await stored(bench, order, other, *returns, undone)
    await marked(bench, *returns, undone)
    await expire(bench, undone)
    subjects = {order.subject_id, new_id()}
    async with bench.orchestrator() as transaction:
        assert await transaction.sagas_about(subjects) == {order.subject_id: order.saga_id}
        found = await transaction.followers("order_return", ORDER_KEY, subjects)
        others = await transaction.followers("order_fulfillment", ORDER_KEY, set())
    expected = tuple(Follower(each.saga_id, each.input) for each in returns[:2])
    assert (found, others) == ({order.subject_id: Followers(expected)}, {})


def a_return(order: Saga) -> Saga:
    """The return of one piece of an order."""
    given = RETURN.model_copy(update={"order_id": order.subject_id})
    given = AcceptedReturn.model_validate_json(given.model_dump_json())
    return_id = new_id()
    return machine.start(order_return(StepPolicy()), return_id, return_id, given, NOW).saga


async def marked(bench: Bench, *sagas: Saga) -> None:
    async with bench.orchestrator() as transaction:
        transaction.add_metadata({saga.saga_id: saga.input.metadata for saga in sagas})
        await transaction.commit([])


async def expire(bench: Bench, saga: Saga) -> None:
    """Its goods do not come."""
    undone = replace(
        saga,
        status=Status.COMPENSATED,
        direction=Direction.COMPENSATING,
        label="expired",
        failure=Failure("wait_deadline", "", End.REJECTED),
        version=saga.version + 1,
        ended_at=NOW,
    )
    async with bench.orchestrator() as transaction:
        transaction.save_sagas([SagaChange(undone, saga.version)])
        await transaction.commit([])


async def test_s28_claims_are_locked_until_they_are_written(bench: Bench) -> None:
    async with bench.payment() as first, bench.payment() as second:
        assert await first.lock_claims({"ch_1": 100}) == {"ch_1": Claims(100)}
        reading = await waiting(bench, second.lock_claims({"ch_1": 999}))
        first.save_claims({"ch_1": Claims(100, 60)}, NOW)
        await first.commit([])
        assert await reading == {"ch_1": Claims(100, 60)}


async def test_s28_the_database_itself_refuses_to_give_back_more_than_was_taken(bench: Bench) -> None:
    too_much = object.__new__(Claims)
    object.__setattr__(too_much, "charged", 100)
    object.__setattr__(too_much, "claimed", 101)
    async with bench.payment() as transaction:
        await transaction.lock_claims({"ch_1": 100})
        transaction.save_claims({"ch_1": too_much}, NOW)
        with pytest.raises(errors.CheckViolation):
            await transaction.commit([])


async def test_an_order_is_stored_once(bench: Bench) -> None:
    saga = new_saga()
    await stored(bench, saga)
    with pytest.raises(errors.UniqueViolation):
        await stored(bench, replace(saga, saga_id=new_id()))


async def test_a_write_over_another_version_is_a_lost_update(bench: Bench) -> None:
    saga = new_saga()
    await stored(bench, saga)
    async with bench.orchestrator() as transaction:
        transaction.save_sagas([SagaChange(replace(saga, version=9), 8)])
        with pytest.raises(LostUpdate):
            await transaction.commit([])


async def test_due_sagas_come_in_order_as_many_as_asked_for_and_only_known_versions(bench: Bench) -> None:
    late, later, unknown, not_due, ended = (
        new_saga(due_at=LONG_AGO + timedelta(seconds=1)),
        new_saga(due_at=LONG_AGO),
        new_saga(due_at=LONG_AGO, definition_version=2),
        new_saga(due_at=datetime(2100, 1, 1, tzinfo=UTC)),
        new_saga(due_at=None),
    )
    await stored(bench, late, later, unknown, not_due, ended)
    async with bench.orchestrator() as transaction:
        assert set((await transaction.lock_due_sagas(1, KNOWN)).sagas) == {later.saga_id}
    async with bench.orchestrator() as transaction:
        assert list((await transaction.lock_due_sagas(9, KNOWN)).sagas) == sorted(
            [late.saga_id, later.saga_id]
        )


async def test_due_sagas_that_somebody_holds_are_skipped(bench: Bench) -> None:
    one, other = new_saga(due_at=LONG_AGO), new_saga(due_at=LONG_AGO)
    await stored(bench, one, other)
    async with bench.orchestrator() as first, bench.orchestrator() as second:
        await first.lock_sagas([one.saga_id])
        assert set((await second.lock_due_sagas(9, KNOWN)).sagas) == {other.saga_id}


async def test_an_entry_of_the_history_is_written_once(bench: Bench) -> None:
    saga = new_saga()
    entry = HistoryEntry(saga.saga_id, 1, NOW, SagaStarted(), {"sent": []})
    async with bench.orchestrator() as transaction:
        transaction.add_history([entry])
        await transaction.commit([])
    async with bench.orchestrator() as transaction:
        transaction.add_history([entry])
        with pytest.raises(errors.UniqueViolation):
            await transaction.commit([])


# -- idempotency keys -----------------------------------------------------------------------------------


def claim(key: str = "k") -> KeyClaim:
    return KeyClaim("c-42", key, b"fingerprint", new_id())


async def test_the_first_claim_on_a_key_stands(bench: Bench) -> None:
    first, second, other = claim(), claim(), claim("other")
    async with bench.orchestrator() as transaction:
        assert await transaction.claim_keys([first], NOW, LONG_AGO) == {}
        await transaction.commit([])
    async with bench.orchestrator() as transaction:
        standing = await transaction.claim_keys([second, other], NOW, LONG_AGO)
        assert standing == {("c-42", "k"): first}


async def test_a_claim_waits_for_one_that_is_not_committed_yet(bench: Bench) -> None:
    one, two = claim(), claim()
    async with bench.orchestrator() as first, bench.orchestrator() as second:
        await first.claim_keys([one], NOW, LONG_AGO)
        claiming = await waiting(bench, second.claim_keys([two], NOW, LONG_AGO))
        await first.commit([])
        assert await claiming == {("c-42", "k"): one}


async def test_a_claim_that_was_rolled_back_stands_in_nobodys_way(bench: Bench) -> None:
    one, two = claim(), claim()
    async with bench.orchestrator() as second:
        async with bench.orchestrator() as first:
            await first.claim_keys([one], NOW, LONG_AGO)
            claiming = await waiting(bench, second.claim_keys([two], NOW, LONG_AGO))
        assert await claiming == {}


async def test_an_expired_claim_is_taken_over(bench: Bench) -> None:
    old, new = claim(), claim()
    async with bench.orchestrator() as transaction:
        await transaction.claim_keys([old], LONG_AGO, LONG_AGO)
        await transaction.commit([])
    async with bench.orchestrator() as transaction:
        assert await transaction.claim_keys([new], NOW, NOW - timedelta(days=1)) == {}


# -- outbox ---------------------------------------------------------------------------------------------


async def test_messages_stay_in_the_outbox_until_they_are_confirmed(bench: Bench) -> None:
    one, two = message(), message()
    await sent(bench, one, two)
    async with bench.orchestrator() as transaction:
        await transaction.commit([one.message_id, new_id()])
    async with bench.orchestrator() as transaction:
        assert await transaction.outbox_holds([one.message_id, two.message_id]) == {two.message_id}


async def test_a_relay_leases_what_was_left_behind_oldest_first(bench: Bench) -> None:
    one, two, fresh = message(), message(), message(timestamp=datetime(2100, 1, 1, tzinfo=UTC))
    await sent(bench, two, one, fresh)
    async with bench.orchestrator() as transaction:
        assert await transaction.claim_outbox(1) == [Claim(one, 1)]
        await transaction.commit([])
    async with bench.orchestrator() as transaction:
        assert await transaction.claim_outbox(9) == [Claim(two, 1)]
        await transaction.commit([])
    async with bench.orchestrator() as transaction:
        assert await transaction.claim_outbox(9) == []


async def test_a_relay_skips_what_another_one_is_about_to_lease(bench: Bench) -> None:
    await sent(bench, message(), message())
    async with bench.orchestrator() as first, bench.orchestrator() as second:
        claimed = await first.claim_outbox(1)
        others = await second.claim_outbox(9)
        assert len(claimed) == len(others) == 1
        assert claimed != others


async def test_a_lease_that_was_rolled_back_is_none(bench: Bench) -> None:
    letter = message()
    await sent(bench, letter)
    async with bench.orchestrator() as transaction:
        await transaction.claim_outbox(9)
    async with bench.orchestrator() as transaction:
        assert await transaction.claim_outbox(9) == [Claim(letter, 1)]


async def test_m2_rows_to_an_obstructed_destination_are_left_alone_but_for_the_one_that_is_probed(
    bench: Bench,
) -> None:
    [one, two, elsewhere] = [message(), message(), message(routing_key="shipping")]
    there = (one.exchange, one.routing_key)
    await sent(bench, one, two, elsewhere)
    async with bench.orchestrator() as transaction:
        assert await transaction.claim_outbox(9, [there]) == [Claim(elsewhere, 1)]
        assert await transaction.probe_outbox(there) == [Claim(one, 1)]
        assert await transaction.probe_outbox(there) == [Claim(two, 1)]
        assert await transaction.probe_outbox(there) == []
        await transaction.commit([])


async def test_m2_the_row_that_is_probed_is_the_one_untried_for_longest(bench: Bench) -> None:
    older = message(timestamp=datetime(2020, 1, 2, tzinfo=UTC))
    longest_untried = message(timestamp=datetime(2020, 1, 1, tzinfo=UTC))
    await sent(bench, older, longest_untried)
    async with bench.orchestrator() as transaction:
        assert await transaction.probe_outbox((older.exchange, older.routing_key)) == [
            Claim(longest_untried, 1)
        ]


async def test_m2_a_lease_is_released_by_its_holder_alone(bench: Bench) -> None:
    letter = message()
    await sent(bench, letter)
    async with bench.orchestrator() as transaction:
        await transaction.claim_outbox(9)
        await transaction.commit([])
    claimed = await bench.leased_until(letter.message_id)
    await released(bench, Lease(letter.message_id, 0), Lease(new_id(), 1))
    assert await bench.leased_until(letter.message_id) == claimed
    await released(bench, Lease(letter.message_id, 1))
    assert await bench.leased_until(letter.message_id) < claimed


async def released(bench: Bench, *leases: Lease) -> None:
    async with bench.orchestrator() as transaction:
        await transaction.release_outbox(leases)
        await transaction.commit([])


# -- dead letters ---------------------------------------------------------------------------------------


async def recorded(bench: Bench, *dead: DeadLetter) -> None:
    async with bench.orchestrator() as transaction:
        transaction.record_deaths(dead)
        await transaction.commit([])


async def found(bench: Bench, dead: DeadLetter) -> DeadLetter | None:
    async with bench.orchestrator() as transaction:
        letter: DeadLetter | None = await transaction.read_dead_letter(dead.dead_letter_id)
        locked = await transaction.lock_dead_letters([dead.dead_letter_id])
        assert locked.get(dead.dead_letter_id) == letter
    return letter


async def saved(bench: Bench, dead: DeadLetter) -> None:
    async with bench.orchestrator() as transaction:
        await transaction.lock_dead_letters([dead.dead_letter_id])
        transaction.save_dead_letters([dead], NOW)
        await transaction.commit([])


async def test_a_dead_letter_is_read_as_it_was_written(bench: Bench) -> None:
    dead = dead_letter(saga_id=new_id(), step="charge", direction="forward")
    await recorded(bench, dead)
    assert await found(bench, dead) == dead


async def test_a_repeat_is_counted_on_the_open_row_once_for_each_message(bench: Bench) -> None:
    dead = dead_letter()
    repeat = dead_letter(death_id="m-2", message_id="m-2", error_message="500")
    await recorded(bench, dead, repeat, repeat, dead_letter())
    row = await found(bench, dead)
    assert row is not None
    assert (row.deaths, row.version, row.error_message, row.death_id) == (2, 2, "500", "m-2")
    assert await found(bench, repeat) is None


async def test_deaths_are_known_also_after_their_row_is_closed(bench: Bench) -> None:
    dead, other = dead_letter(), dead_letter(work_key="other", death_id="m-3")
    await recorded(bench, dead, dead_letter(death_id="m-2"))
    await saved(bench, replace(dead, status=DeadLetterStatus.DISCARDED, cause="by hand", version=3))
    asked = [(dead.work_key, "m-1"), (dead.work_key, "m-2"), (dead.work_key, "m-3"), ("other", "m-1")]
    await recorded(bench, other)
    async with bench.orchestrator() as transaction:
        assert await transaction.known_deaths(asked) == {(dead.work_key, "m-1"), (dead.work_key, "m-2")}
        assert await transaction.known_deaths([]) == set()


async def test_a_death_of_replayed_work_opens_its_row_again(bench: Bench) -> None:
    dead = dead_letter()
    await recorded(bench, dead)
    await saved(bench, replace(dead, status=DeadLetterStatus.REPLAYING, version=2))
    await recorded(bench, dead_letter(death_id="m-2"))
    row = await found(bench, dead)
    assert row is not None
    assert (row.status, row.deaths, row.version) == (DeadLetterStatus.OPEN, 2, 3)


async def test_after_a_closed_row_a_new_death_opens_another_and_a_known_one_does_not(bench: Bench) -> None:
    dead, known, new = dead_letter(), dead_letter(), dead_letter(death_id="m-2")
    await recorded(bench, dead)
    await saved(bench, replace(dead, status=DeadLetterStatus.DISCARDED, cause="by hand", version=2))
    await recorded(bench, known, new)
    assert await found(bench, known) is None
    assert await found(bench, new) == new


async def test_dead_letters_end_with_their_work(bench: Bench) -> None:
    saga_id = new_id()
    ended = dead_letter(saga_id=saga_id, step="charge", direction="forward")
    other = dead_letter(work_key="other", saga_id=saga_id, step="ship", direction="forward")
    await recorded(bench, ended, other)
    async with bench.orchestrator() as transaction:
        transaction.resolve_dead_letters([WorkEnded(saga_id, "charge", "forward", "succeeded")], NOW)
        await transaction.commit([])
    row = await found(bench, ended)
    assert row is not None
    assert (row.status, row.cause, row.version) == (DeadLetterStatus.RESOLVED, "succeeded", 2)
    assert await found(bench, other) == other


async def test_a_dead_message_ends_with_its_replay(bench: Bench) -> None:
    replayed, discarded, other = (dead_letter(work_key=key) for key in ("replayed", "discarded", "other"))
    await recorded(bench, replayed, discarded, other)
    await saved(bench, replace(discarded, status=DeadLetterStatus.DISCARDED, cause="by hand", version=2))
    async with bench.orchestrator() as transaction:
        transaction.resolve_replayed(["replayed", "discarded"], "handled", NOW)
        await transaction.commit([])
    rows = [await found(bench, each) for each in (replayed, discarded, other)]
    assert [(row.status, row.cause) for row in rows if row] == [
        (DeadLetterStatus.RESOLVED, "handled"),
        (DeadLetterStatus.DISCARDED, "by hand"),
        (DeadLetterStatus.OPEN, None),
    ]


async def test_a_dead_letter_that_has_changed_is_not_written_over(bench: Bench) -> None:
    dead = dead_letter()
    await recorded(bench, dead)
    with pytest.raises(LostUpdate):
        await saved(bench, replace(dead, status=DeadLetterStatus.DISCARDED, version=7))


async def test_an_action_is_found_by_its_audit_entry(bench: Bench) -> None:
    entry = AuditEntry(new_id(), NOW, "ann", "saga.retry", "saga:1", "why", {"version": 1}, {"version": 2})
    async with bench.orchestrator() as transaction:
        transaction.add_audit([entry])
        await transaction.commit([])
    async with bench.orchestrator() as transaction:
        assert await transaction.audit_entry(entry.audit_id) == entry
        assert await transaction.audit_entry(new_id()) is None


# -- ledger and stock -----------------------------------------------------------------------------------


async def noted(bench: Bench, *rows: LedgerRow) -> None:
    async with bench.inventory() as transaction:
        await transaction.lock({row.saga_id for row in rows})
        transaction.save(rows)
        await transaction.commit([])


async def rows_of(bench: Bench, saga_id: UUID) -> Sequence[LedgerRow]:
    async with bench.inventory() as transaction:
        rows: Sequence[LedgerRow] = await transaction.lock({saga_id})
    return rows


async def test_a_ledger_row_is_read_as_it_was_written_and_written_again(bench: Bench) -> None:
    row = ledger_row(new_id())
    await noted(bench, row)
    assert list(await rows_of(bench, row.saga_id)) == [row]
    undone = replace(
        row,
        state=State.UNDONE,
        compensation=StoredOutcome("InventoryReleasedEvent", new_id(), b"{}"),
    )
    await noted(bench, undone)
    assert list(await rows_of(bench, row.saga_id)) == [undone]


async def test_a_row_that_came_into_being_meanwhile_makes_the_work_run_again(bench: Bench) -> None:
    saga_id = new_id()
    async with bench.inventory() as first, bench.inventory() as second:
        assert list(await first.lock({saga_id})) == list(await second.lock({saga_id})) == []
        second.save([ledger_row(saga_id)])
        await second.commit([])
        first.save([ledger_row(saga_id)])
        with pytest.raises(Exception, match="ledger") as clash:
            await first.commit([])
        assert is_transient(clash.value)


async def test_a_row_that_came_into_being_and_is_locked_is_not_waited_for(bench: Bench) -> None:
    """Else two replicas with a repeated command in both their batches wait for each other (S18)."""
    saga_id = new_id()
    async with bench.inventory() as first, bench.inventory() as second:
        assert list(await first.lock({saga_id})) == []
        await noted(bench, ledger_row(saga_id))
        assert len(await second.lock({saga_id})) == 1
        first.save([ledger_row(saga_id)])
        with pytest.raises(Exception, match="ledger") as clash:
            await asyncio.wait_for(first.commit([]), 5)
        assert is_transient(clash.value)


async def test_a_row_added_while_its_saga_was_waited_for_makes_the_work_run_again(bench: Bench) -> None:
    """Else a repeated `CommitInventory` finds the reservation consumed, and by nobody (P2, P11)."""
    reserved = ledger_row(new_id())
    await noted(bench, reserved)
    async with bench.inventory() as first, bench.inventory() as second:
        await first.lock({reserved.saga_id})
        locking = await waiting(bench, second.lock({reserved.saga_id}))
        first.save([replace(reserved, state=State.CONSUMED), ledger_row(reserved.saga_id, "commit")])
        await first.commit([])
        with pytest.raises(Exception, match="added") as added:
            await locking
        assert is_transient(added.value)


async def test_the_ledger_refuses_an_effect_without_its_outcome(bench: Bench) -> None:
    with pytest.raises(errors.CheckViolation):
        await noted(bench, ledger_row(new_id(), forward=None))


async def test_stock_is_locked_until_it_is_written(bench: Bench) -> None:
    await bench.stock_up("SKU-1", 10)
    async with bench.inventory() as first, bench.inventory() as second:
        assert await first.lock_stock(["SKU-1", "unheard-of"]) == ({"SKU-1": StockLevel(10, 0)}, {})
        reading = await waiting(bench, second.lock_stock(["SKU-1"]))
        first.save_stock({"SKU-1": StockLevel(8, 1)}, NOW)
        first.record_reductions([Reduction("SKU-1", 2, new_id())], NOW)
        await first.commit([])
        assert await reading == ({"SKU-1": StockLevel(8, 1)}, {})


async def test_the_database_itself_refuses_to_oversell(bench: Bench) -> None:
    await bench.stock_up("SKU-1", 10)
    oversold = object.__new__(StockLevel)
    object.__setattr__(oversold, "on_hand", 10)
    object.__setattr__(oversold, "reserved", 11)
    async with bench.inventory() as transaction:
        await transaction.lock_stock(["SKU-1"])
        transaction.save_stock({"SKU-1": oversold}, NOW)
        with pytest.raises(errors.CheckViolation):
            await transaction.commit([])


# -- the low-water mark -----------------------------------------------------------------------------------


async def advanced(bench: Bench, mark: UUID, now: datetime = NOW) -> None:
    async with bench.inventory() as transaction:
        transaction.advance_mark(mark, now)
        await transaction.commit([])


async def pruned(bench: Bench, mark: UUID, limit: int = 9) -> list[int]:
    """What each batch of a walk over the ledger removed."""
    removed, after, first = [], None, True
    while first or after is not None:
        first = False
        async with bench.inventory() as transaction:
            page: Page = await transaction.prune_ledger(Mark(mark, NOW), after, limit)
            await transaction.commit([])
        removed.append(page.removed)
        after = page.after
    return removed


def old_row(saga_id: UUID, **changes: Any) -> LedgerRow:
    """A row whose work ended long ago."""
    return ledger_row(saga_id, **{"state": State.CONSUMED, "updated_at": LONG_AGO, **changes})


async def test_a_mark_only_ever_goes_up(bench: Bench) -> None:
    low, high = new_id(), new_id()
    async with bench.inventory() as transaction:
        assert await transaction.read_mark() is None
    for mark, now in ((low, LONG_AGO), (high, NOW), (low, NOW + timedelta(days=1)), (high, LONG_AGO)):
        await advanced(bench, mark, now)
    async with bench.inventory() as transaction:
        assert await transaction.read_mark() == Mark(high, NOW)


async def test_whoever_locks_rows_learns_the_mark(bench: Bench) -> None:
    mark = new_id()
    async with bench.inventory() as transaction:
        await transaction.lock({new_id()})
        assert transaction.low_water_mark is None
    await advanced(bench, mark)
    async with bench.inventory() as transaction:
        await transaction.lock({new_id()})
        assert transaction.low_water_mark == mark


async def test_who_waited_for_a_row_that_was_pruned_meanwhile_learns_the_mark(bench: Bench) -> None:
    """Else "no row" would be taken for "never asked for", and the effect done twice (P7)."""
    row = old_row(new_id())
    mark = new_id()
    await noted(bench, row)
    async with bench.inventory() as first, bench.inventory() as second:
        first.advance_mark(mark, NOW)
        assert (await first.prune_ledger(Mark(mark, NOW), None, 9)).removed == 1
        locking = await waiting(bench, second.lock({row.saga_id}))
        await first.commit([])
        assert list(await locking) == []
        assert second.low_water_mark == mark


async def test_only_ended_work_behind_the_mark_is_pruned(bench: Bench) -> None:
    ended = [old_row(new_id()), old_row(new_id(), state=State.TOMBSTONE, forward=None)]
    waits = {"command": "ChargePayment", "forward": None, "intent_at": LONG_AGO}
    kept = [
        old_row(new_id(), state=State.INTENT, **waits),
        old_row(new_id(), state=State.UNDOING, **waits),
        old_row(new_id(), state=State.DONE),
        old_row(new_id(), updated_at=NOW),
    ]
    other_done = old_row(new_id(), step="commit", command="CommitInventory", state=State.DONE)
    mark = new_id()
    kept.append(old_row(new_id()))
    for row in (*ended, *kept, other_done):
        await noted(bench, row)
    assert await pruned(bench, mark) == [3]
    for row in kept:
        assert list(await rows_of(bench, row.saga_id)) == [row]
    for row in (*ended, other_done):
        assert list(await rows_of(bench, row.saga_id)) == []


async def test_pruning_goes_on_where_the_last_batch_ended(bench: Bench) -> None:
    for row in [old_row(new_id()) for _ in range(5)]:
        await noted(bench, row)
    assert await pruned(bench, new_id(), limit=2) == [2, 2, 1]


async def test_pruning_skips_what_somebody_holds(bench: Bench) -> None:
    held, free = old_row(new_id()), old_row(new_id())
    await noted(bench, held)
    await noted(bench, free)
    async with bench.inventory() as transaction:
        await transaction.lock({held.saga_id})
        assert await pruned(bench, new_id()) == [1]
    assert list(await rows_of(bench, held.saga_id)) == [held]


async def folded(bench: Bench, mark: UUID, limit: int = 9, now: datetime = NOW) -> list[int]:
    """What each batch of a walk over the stock movements folded."""
    removed, after, first = [], None, True
    while first or after is not None:
        first = False
        async with bench.inventory() as transaction:
            page: Page = await transaction.fold_movements(Mark(mark, now), after, limit)
            await transaction.commit([])
        removed.append(page.removed)
        after = page.after
    return removed


async def reduced(bench: Bench, sku: str, quantity: int, saga_id: UUID, at: datetime = LONG_AGO) -> None:
    async with bench.inventory() as transaction:
        transaction.record_reductions([Reduction(sku, quantity, saga_id)], at)
        await transaction.commit([])


async def test_what_left_the_house_long_ago_becomes_one_adjustment_a_product(bench: Bench) -> None:
    """P7: the sum of a product's movements stays what it was."""
    for sku, quantity in (("A", 1), ("B", 10), ("A", 2)):
        await reduced(bench, sku, quantity, new_id())
    mark = new_id()
    await reduced(bench, "A", 4, new_id())
    assert await folded(bench, mark, limit=2) == [2, 1, 0]
    assert sorted(await bench.moved("A")) == [(-4, None), (-3, 2)]
    assert await bench.moved("B") == [(-10, 1)]
    assert sum(await folded(bench, new_id())) == 1
    assert await bench.moved("A") == [(-7, 3)]


async def test_folding_ends_where_movements_are_too_young_to_be_behind_the_mark(bench: Bench) -> None:
    for at in (LONG_AGO, NOW, NOW, NOW, NOW):
        await reduced(bench, "A", 1, new_id(), at)
    assert await folded(bench, new_id(), limit=2) == [2, 2]
