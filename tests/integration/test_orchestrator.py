"""The orchestrator on real PostgreSQL and the in-process transport, with participants played by the test."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from contracts import events
from contracts.commands import COMMANDS, Command, RefundPayment
from contracts.envelope import Direction
from contracts.events import OutcomeEvent
from contracts.orders import Order
from contracts.routing import DEFAULT_EXCHANGE, OUTCOMES_QUEUE, command_queue, dead_letter_queue
from messaging.compose import event_message
from messaging.errors import PermanentFailure
from messaging.identifiers import time_ordered_ids
from messaging.in_process import InProcessBroker, InProcessTransport
from messaging.postgresql import create_engine
from messaging.retries import RetryPolicy, after_failure
from messaging.transport import Delivery, Message, Subscription
from migrations.run import migrate_async
from orchestrator.codec import load_input
from orchestrator.core import machine
from orchestrator.core.definition import StepPolicy
from orchestrator.core.inputs import Actor
from orchestrator.core.registry import Registry
from orchestrator.core.state import Forward, Saga, Status
from orchestrator.intake import Accepted, KeyReused, ReferenceTaken, Submission
from orchestrator.operations import NotAllowed, StaleVersion
from orchestrator.sagas.order_fulfillment import NAME, OrderStatus, order_fulfillment
from orchestrator.service import Deployment, Front, OrchestratorService, topology
from orchestrator.storage import Locked

pytestmark = pytest.mark.postgresql

NOBODY = Actor("tester", "because")


def an_order(**changes: Any) -> Order:
    return Order.model_validate(
        {
            "customer_id": "c-1",
            "currency": "EUR",
            "lines": [{"sku": "SKU-1", "quantity": 2, "unit_price": 1299}],
            "payment_method": "pm_card_visa",
            "shipping_address": {
                "name": "A. Person",
                "line1": "1 Street",
                "city": "Town",
                "postal_code": "12345",
                "country": "DE",
            },
            **changes,
        }
    )


class World:
    """An orchestrator, and a hand on every queue that it speaks to."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.changed: asyncio.Queue[Saga] = asyncio.Queue()
        self.front = Front(deployment)
        self.service = OrchestratorService(deployment, self._progress)
        self._inboxes: dict[str, Subscription] = {}
        self._publisher = deployment.transport.publisher()

    def _progress(self, sagas: Sequence[Saga]) -> None:
        for saga in sagas:
            self.changed.put_nowait(saga)

    async def start(self) -> None:
        await self.service.start()
        await self.front.start()

    async def stop(self) -> None:
        await self.front.stop()
        await self.service.stop()
        await self.deployment.transport.close()
        await self.deployment.database.dispose()

    async def submit(self, order: Order | None = None, key: str | None = None) -> UUID:
        submission = self.submission(order or an_order(), key)
        answer = await self.front.intake.submit(submission)
        assert answer == Accepted(submission.subject_id, replayed=False)
        return submission.saga_id

    def submission(self, order: Order, key: str | None = None) -> Submission:
        new_id = self.deployment.new_id
        return Submission(NAME, order, order.customer_id, new_id(), new_id(), key)

    async def command(self, participant: str) -> tuple[Delivery, Command]:
        """The next command on a participant's queue."""
        if participant not in self._inboxes:
            queue = command_queue(participant)
            self._inboxes[participant] = await self.deployment.transport.subscribe(queue, 10)
        inbox = self._inboxes[participant]
        [delivery] = await asyncio.wait_for(inbox.receive(1), 20)
        inbox.acknowledge([delivery])
        return delivery, COMMANDS[delivery.type or ""].model_validate_json(delivery.body)

    async def answer(self, command: Command, event: type[OutcomeEvent], **fields: Any) -> None:
        """Answer a command as its participant would; returns when nothing else is to be done."""
        self.publish(self.outcome(command, event, **fields))

    def outcome(self, command: Command, event: type[OutcomeEvent], **fields: Any) -> Message:
        """The message with which a participant would answer a command."""
        body = event(
            saga_id=command.saga_id,
            order_id=command.order_id,
            step=command.step,
            direction=command.direction,
            **fields,
        )
        message_id = self.deployment.new_id()
        return event_message(body, message_id, message_id, datetime.now(UTC), "test")

    def publish(self, message: Message) -> None:
        self._publisher.publish([message], lambda _id, _receipt: None)

    async def until(self, saga_id: UUID, reached: Callable[[Saga], bool]) -> Saga:
        """The saga at its first change after which ``reached`` holds."""
        async with asyncio.timeout(20):
            while True:
                saga = await self.changed.get()
                if saga.saga_id == saga_id and reached(saga):
                    return saga

    async def row(self, query: str, **parameters: Any) -> Any:
        async with self.deployment.database.connect() as connection:
            return (await connection.execute(text(query), parameters)).one()

    async def eventually(self, query: str, expected: tuple[Any, ...], **parameters: Any) -> None:
        async with asyncio.timeout(20):
            while tuple(await self.row(query, **parameters)) != expected:
                await asyncio.sleep(0.02)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    await migrate_async("orchestrator", database_url)
    made = World(a_deployment(database_url))
    await made.start()
    yield made
    await made.stop()


def a_deployment(database_url: str, policy: StepPolicy | None = None) -> Deployment:
    rng = random.Random(7)
    return Deployment(
        registry=Registry([order_fulfillment(policy or StepPolicy())]),
        database=create_engine(database_url),
        transport=InProcessTransport(InProcessBroker()),
        new_id=time_ordered_ids(rng),
        rng=rng,
        retry_policy=RetryPolicy(),
        idempotency_key_lifetime_s=86400,
    )


async def to_the_charge(world: World) -> tuple[UUID, Command]:
    saga_id = await world.submit()
    _, reserve = await world.command("inventory")
    await world.answer(reserve, events.InventoryReservedEvent, lines=[{"sku": "SKU-1", "quantity": 2}])
    _, charge = await world.command("payment")
    return saga_id, charge


async def test_an_order_goes_through_reserve_charge_ship_and_commit(world: World) -> None:
    saga_id, charge = await to_the_charge(world)
    await world.answer(charge, events.PaymentSuccessfulEvent, amount=2598, currency="EUR", reference="ch_1")
    _, ship = await world.command("shipping")
    await world.answer(ship, events.OrderFulfilledEvent, reference="parcel")
    _, commit = await world.command("inventory")
    await world.answer(commit, events.InventoryReducedEvent, lines=[{"sku": "SKU-1", "quantity": 2}])

    saga = await world.until(saga_id, lambda saga: saga.status is Status.COMPLETED)

    assert saga.label == OrderStatus.COMPLETED
    assert saga.step("charge").result == {"reference": "ch_1"}


async def test_a_declined_payment_releases_the_reservation(world: World) -> None:
    saga_id, charge = await to_the_charge(world)
    await world.answer(charge, events.PaymentDeclinedEvent, code="card_declined")
    _, release = await world.command("inventory")
    assert type(release).__name__ == "ReleaseInventory"
    await world.answer(release, events.InventoryReleasedEvent, effect="undone")

    saga = await world.until(saga_id, lambda saga: saga.status is Status.COMPENSATED)

    assert saga.label == OrderStatus.REJECTED
    assert saga.failure is not None
    assert saga.failure.code == "payment_declined"


async def test_s15_the_history_folds_to_the_row(world: World) -> None:
    saga_id, charge = await to_the_charge(world)
    await world.answer(charge, events.PaymentDeclinedEvent, code="card_declined")
    _, release = await world.command("inventory")
    await world.answer(release, events.InventoryReleasedEvent, effect="undone")
    saga = await world.until(saga_id, lambda saga: saga.status is Status.COMPENSATED)

    async with world.deployment.database.connect() as connection:
        query = text(
            "SELECT at, kind, accepted FROM orchestrator.history WHERE saga_id = :id ORDER BY version"
        )
        rows = (await connection.execute(query, {"id": saga_id})).all()
    history = [(at, load_input(kind, accepted)) for at, kind, accepted in rows]
    definition = world.deployment.registry.latest(NAME)
    folded = machine.fold(definition, saga.saga_id, saga.subject_id, saga.input, history)

    assert (folded.status, folded.steps, folded.failure, folded.version) == (
        saga.status,
        saga.steps,
        saga.failure,
        saga.version,
    )


async def test_s1_a_duplicate_answer_changes_nothing(world: World) -> None:
    saga_id = await world.submit()
    _, reserve = await world.command("inventory")
    for _ in range(3):
        await world.answer(reserve, events.InventoryReservedEvent, lines=[{"sku": "SKU-1", "quantity": 2}])
    _, charge = await world.command("payment")
    await world.answer(charge, events.PaymentDeclinedEvent, code="card_declined")
    saga = await world.until(saga_id, lambda saga: saga.status is Status.COMPENSATING)

    assert saga.version == 3
    assert world.service.engine.counts["stale"] == 2


async def test_s14_two_submissions_with_one_key_at_once_start_one_saga(world: World) -> None:
    order = an_order()
    submissions = [world.submission(order, "key-1") for _ in range(8)]

    answers = await asyncio.gather(*(world.front.intake.submit(each) for each in submissions))

    assert len({answer.subject_id for answer in answers if isinstance(answer, Accepted)}) == 1
    assert [answer for answer in answers if isinstance(answer, Accepted) and not answer.replayed] == [
        answers[0]
    ]
    assert tuple(await world.row("SELECT count(*) FROM orchestrator.sagas")) == (1,)


async def test_s14_a_key_does_not_stand_for_another_order(world: World) -> None:
    await world.submit(an_order(), "key-1")
    other = world.submission(an_order(payment_method="pm_other"), "key-1")

    assert isinstance(await world.front.intake.submit(other), KeyReused)
    assert tuple(await world.row("SELECT count(*) FROM orchestrator.sagas")) == (1,)


async def test_s14_another_order_under_the_key_of_a_refused_one_is_taken(world: World) -> None:
    await world.submit(an_order(reference="R-1"))
    refused, repeat = (world.submission(an_order(reference="R-1", currency="USD"), "key-1") for _ in "ab")
    other = world.submission(an_order(reference="R-2"), "key-1")

    answers = await asyncio.gather(
        *(world.front.intake.submit(each) for each in (refused, repeat, other, refused))
    )

    assert [type(answer) for answer in answers] == [ReferenceTaken, ReferenceTaken, Accepted, ReferenceTaken]
    assert answers[2] == Accepted(other.subject_id, replayed=False)
    assert await world.front.intake.submit(repeat) == KeyReused(other.subject_id)


async def test_s14_a_key_belongs_to_its_customer(world: World) -> None:
    await world.submit(an_order(), "key-1")
    await world.submit(an_order(customer_id="c-2"), "key-1")

    assert tuple(await world.row("SELECT count(*) FROM orchestrator.sagas")) == (2,)


async def test_s17_a_submission_run_again_after_an_ambiguous_commit_is_found(world: World) -> None:
    submission = world.submission(an_order(), "key-1")
    first = await world.front.intake.store([submission])

    unit_of_work = world.deployment.unit_of_work(world.front.outbox, None)
    intake = world.front.intake

    async def again(transaction: Any) -> Any:
        committed = await transaction.existing_orders([submission.subject_id])
        return await intake._store_in(transaction, [submission], committed)

    assert await unit_of_work.run(again) == first == [Accepted(submission.subject_id, replayed=False)]
    assert tuple(await world.row("SELECT count(*) FROM orchestrator.sagas")) == (1,)


async def test_s9_a_cancel_undoes_the_step_awaited_first(world: World) -> None:
    saga_id, _ = await to_the_charge(world)

    done = await world.front.operations.cancel(saga_id, NOBODY)
    repeated = await world.front.operations.cancel(saga_id, NOBODY)

    assert done.changed
    assert not repeated.changed
    _, refund = await world.command("payment")
    assert type(refund).__name__ == "RefundPayment"


async def test_an_action_on_an_old_version_is_refused(world: World) -> None:
    saga_id, _ = await to_the_charge(world)

    with pytest.raises(StaleVersion) as stale:
        await world.front.operations.retry(saga_id, NOBODY, expected_version=1)

    assert stale.value.current == 2


async def test_s4_an_answer_that_is_in_our_hands_and_not_yet_served_is_waited_for(database_url: str) -> None:
    """The broker says that the queue is empty: of its two answers the first cannot be served just now."""
    await migrate_async("orchestrator", database_url)
    patience = StepPolicy(resend_after_s=1.0, deadline_s=1.0, grace_s=0.5)
    world = World(a_deployment(database_url, patience))
    await world.start()
    held, answered = await world.submit(), await world.submit()
    commands = {command.saga_id: command for _, command in [await world.command("inventory") for _ in "ab"]}
    async with world.deployment.database.begin() as elsewhere:
        lock = text("SELECT FROM orchestrator.sagas WHERE saga_id = :saga_id FOR UPDATE")
        await elsewhere.execute(lock, {"saga_id": held})
        for saga_id in (held, answered):
            lines = [{"sku": "SKU-1", "quantity": 2}]
            await world.answer(commands[saga_id], events.InventoryReservedEvent, lines=lines)
            await world.eventually(_WAITING, (1,))
        await world.eventually(_PAST_ITS_GRACE, (True,), saga_id=answered)
    saga = await world.until(answered, lambda saga: saga.step("reserve").forward is not Forward.AWAITED)
    await world.stop()

    assert saga.step("reserve").forward is Forward.SUCCEEDED


_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND state = 'active'
"""

_PAST_ITS_GRACE = """
SELECT direction <> 'forward'
    OR coalesce((state -> 'sending' ->> 'grace_since')::timestamptz < now() - interval '3 seconds', false)
FROM orchestrator.sagas WHERE saga_id = :saga_id
"""


async def test_m1_confirmed_rows_leave_the_outbox(world: World) -> None:
    await to_the_charge(world)

    await world.eventually("SELECT count(*) FROM orchestrator.outbox", (0,))


async def dead_letter_the(world: World, delivery: Delivery, error: Exception) -> None:
    """What a participant does when a command gives up."""
    new_id = world.deployment.new_id
    world.publish(after_failure(delivery, error, RetryPolicy((1,), 1), new_id(), datetime.now(UTC), "test"))


async def test_s10_d4_a_dead_command_opens_an_incident_and_its_replay_sends_it_anew(world: World) -> None:
    saga_id = await world.submit()
    delivery, reserve = await world.command("inventory")
    await dead_letter_the(world, delivery, PermanentFailure("payload_mismatch", "not what it was"))
    saga = await world.until(saga_id, lambda saga: bool(saga.incidents))
    [awaited] = saga.awaited
    assert awaited.held
    assert saga.due_at is None
    found = "SELECT dead_letter_id, status, error_type, step FROM orchestrator.dead_letters"
    dead_letter_id, status, error_type, step = await world.row(found)
    assert (status, error_type, step) == ("open", "payload_mismatch", "reserve")

    dry = await world.front.dead_letters.dry_run(dead_letter_id)
    assert "built anew" in dry.what
    await world.front.dead_letters.replay(dead_letter_id, NOBODY, expected_version=1)

    _, again = await world.command("inventory")
    assert again == reserve
    assert tuple(await world.row(found))[1] == "replaying"
    await world.answer(again, events.InventoryReservedEvent, lines=[{"sku": "SKU-1", "quantity": 2}])
    saga = await world.until(saga_id, lambda saga: saga.label == OrderStatus.RESERVED)
    assert saga.incidents == ()
    assert tuple(await world.row(found))[1] == "resolved"


async def test_d2_a_death_that_comes_again_after_a_retry_is_no_news(world: World) -> None:
    """Else the saga opens an incident for a copy that was given up before the retry."""
    saga_id = await world.submit()
    delivery, _ = await world.command("inventory")
    now, new_id = datetime.now(UTC), world.deployment.new_id
    death = after_failure(delivery, RuntimeError("no luck"), RetryPolicy((1,), 1), new_id(), now, "test")
    other = after_failure(delivery, RuntimeError("bad luck"), RetryPolicy((1,), 1), new_id(), now, "test")
    world.publish(death)
    await world.until(saga_id, lambda saga: bool(saga.incidents))
    await world.front.operations.retry(saga_id, NOBODY)

    world.publish(death)
    world.publish(other)

    saga = await world.until(saga_id, lambda saga: bool(saga.incidents))
    assert "bad luck" in saga.incidents[0].message
    await world.eventually("SELECT max(deaths) FROM orchestrator.dead_letters", (2,))


async def test_d2_a_repeat_counts_on_the_open_row(world: World) -> None:
    await world.submit()
    delivery, _ = await world.command("inventory")
    for _ in range(2):
        await dead_letter_the(world, delivery, RuntimeError("no luck"))

    await world.eventually("SELECT max(deaths), max(status) FROM orchestrator.dead_letters", (2, "open"))


async def test_s13_a_dead_letter_of_an_unknown_version_is_not_left_open_for_ever(world: World) -> None:
    await world.submit()
    delivery, _ = await world.command("inventory")
    async with world.deployment.database.begin() as connection:
        await connection.execute(text("UPDATE orchestrator.sagas SET definition_version = 2, revision = 99"))

    await dead_letter_the(world, delivery, RuntimeError("no luck"))

    told = "SELECT max(status), max(cause) FROM orchestrator.dead_letters"
    cause = "its saga's definition version was not known here; a re-send brings it again"
    await world.eventually(told, ("resolved", cause))


async def test_d4_a_dead_letter_whose_work_is_not_awaited_is_not_replayed(world: World) -> None:
    saga_id = await world.submit()
    delivery, _ = await world.command("inventory")
    await dead_letter_the(world, delivery, RuntimeError("no luck"))
    await world.until(saga_id, lambda saga: bool(saga.incidents))
    await world.front.operations.cancel(saga_id, NOBODY)
    dead_letter_id, status = await world.row("SELECT dead_letter_id, status FROM orchestrator.dead_letters")
    assert status == "resolved"

    with pytest.raises(NotAllowed):
        await world.front.dead_letters.replay(dead_letter_id, NOBODY)


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00\xff garbage", b"[]", b'{"saga_id": 1}', b"[" * 100_000, json.dumps({"a": "\x00"}).encode()],
)
async def test_s16_garbage_on_the_outcome_queue_becomes_a_dead_letter(world: World, body: bytes) -> None:
    new_id = world.deployment.new_id
    garbage = Message(
        message_id=new_id(),
        type="InventoryReservedEvent",
        exchange=DEFAULT_EXCHANGE,
        routing_key=OUTCOMES_QUEUE,
        body=body,
        correlation_id=new_id(),
        app_id="test",
        timestamp=datetime.now(UTC),
        mandatory=True,
    )
    world.publish(garbage)

    query = "SELECT count(*), max(error_type) FROM orchestrator.dead_letters WHERE status = 'open'"
    await world.eventually(query, (1, "undecodable"))
    await to_the_charge(world)


DEAD_MESSAGE = "SELECT status, deaths, cause FROM orchestrator.dead_letters"


async def replay_the_only_dead_letter(world: World) -> None:
    await world.eventually("SELECT count(*) FROM orchestrator.dead_letters", (1,))
    (dead_letter_id,) = await world.row("SELECT dead_letter_id FROM orchestrator.dead_letters")
    await world.front.dead_letters.replay(dead_letter_id, NOBODY)


async def test_d3_a_dead_outcome_ends_when_its_replay_is_handled(world: World) -> None:
    saga_id = await world.submit()
    _, reserve = await world.command("inventory")
    message = world.outcome(reserve, events.InventoryReservedEvent, lines=[{"sku": "SKU-1", "quantity": 2}])
    given_up = replace(message, exchange=DEFAULT_EXCHANGE, routing_key=dead_letter_queue(OUTCOMES_QUEUE))
    world.publish(given_up)

    await replay_the_only_dead_letter(world)

    await world.until(saga_id, lambda saga: saga.label == OrderStatus.RESERVED)
    await world.eventually(DEAD_MESSAGE, ("resolved", 1, "its replay was handled"))


async def test_d3_a_replay_that_dies_counts_on_its_row_which_is_open_again(world: World) -> None:
    new_id = world.deployment.new_id
    world.publish(
        Message(
            new_id(),
            "InventoryReservedEvent",
            DEFAULT_EXCHANGE,
            OUTCOMES_QUEUE,
            b"garbage",
            new_id(),
            "test",
            datetime.now(UTC),
            True,
        )
    )
    for deaths in (2, 3):
        await replay_the_only_dead_letter(world)
        await world.eventually(DEAD_MESSAGE, ("open", deaths, None))


async def test_garbage_put_on_a_dead_letter_queue_is_kept(world: World) -> None:
    new_id = world.deployment.new_id
    queue = dead_letter_queue(command_queue("payment"))
    garbage = Message(
        new_id(), "x" * 300, DEFAULT_EXCHANGE, queue, b"\x00", None, "test", datetime.now(UTC), True
    )
    world.publish(garbage)

    await world.eventually("SELECT count(*) FROM orchestrator.dead_letters WHERE body = '\\x00'", (1,))


async def test_s2_a_replica_that_remembers_a_saga_sees_what_another_has_written(
    world: World, database_url: str
) -> None:
    saga_id, charge = await to_the_charge(world)
    elsewhere = a_deployment(database_url)
    other = Front(elsewhere)
    await other.operations.cancel(saga_id, NOBODY)
    assert world.deployment.remembered.get(saga_id) is not None

    await world.answer(charge, events.PaymentSuccessfulEvent, amount=2598, currency="EUR", reference="ch_1")
    saga = await world.until(saga_id, lambda saga: saga.step("charge").result == {"reference": "ch_1"})

    assert saga.status is Status.COMPENSATING
    assert saga.cancel_requested_at is not None
    await elsewhere.database.dispose()


LOST = (
    "DELETE FROM orchestrator.history WHERE saga_id = :saga AND version = :version",
    "UPDATE orchestrator.history SET version = version - 1 WHERE saga_id = :saga AND version > :version",
    "UPDATE orchestrator.sagas SET version = version - 1, revision = revision - 1 WHERE saga_id = :saga",
)
"""A fail-over has lost a transition, and what another replica wrote instead stands under its numbers."""


async def test_s2_what_a_fail_over_has_lost_is_not_decided_on_although_it_is_remembered(
    world: World, database_url: str
) -> None:
    saga_id, charge = await to_the_charge(world)
    elsewhere = a_deployment(database_url)
    await Front(elsewhere).operations.cancel(saga_id, NOBODY)
    remembered = world.deployment.remembered.get(saga_id)
    assert remembered is not None
    async with elsewhere.database.begin() as connection:
        for statement in LOST:
            await connection.execute(text(statement), {"saga": saga_id, "version": remembered[1].version})

    await world.answer(charge, events.PaymentSuccessfulEvent, amount=2598, currency="EUR", reference="ch_1")
    saga = await world.until(saga_id, lambda saga: saga.step("charge").result == {"reference": "ch_1"})

    assert saga.status is Status.COMPENSATING
    assert saga.cancel_requested_at is not None
    await elsewhere.database.dispose()


async def test_s12_a_saga_that_only_waits_is_not_read_again_when_it_is_due(world: World) -> None:
    saga_id, _ = await to_the_charge(world)
    unit_of_work = world.deployment.unit_of_work(world.front.outbox, None)

    async def look(transaction: Any) -> Locked:
        due_now = "UPDATE orchestrator.sagas SET due_at = now() WHERE saga_id = %s RETURNING saga_id"
        await transaction.fetch(due_now, [saga_id])
        found: Locked = await transaction.lock_due_sagas(10, world.deployment.registry.known)
        return found

    locked = await unit_of_work.run(look)

    remembered = world.deployment.remembered.get(saga_id)
    assert remembered is not None
    assert locked.sagas[saga_id] is remembered[1]


async def test_s12_what_another_replica_wrote_and_lost_is_found_by_one_that_remembers_the_saga(
    database_url: str,
) -> None:
    await migrate_async("orchestrator", database_url)
    soon = StepPolicy(resend_after_s=0.2)
    world, elsewhere = World(a_deployment(database_url, soon)), a_deployment(database_url, soon)
    await world.start()
    saga_id, _ = await to_the_charge(world)

    await elsewhere.transport.declare(topology(elsewhere.registry, elsewhere.retry_policy))
    front = Front(elsewhere)
    await front.operations.cancel(saga_id, NOBODY)
    await front.stop()  # what it sent has gone to a broker from which nobody takes it
    sent = await world.command("payment")
    while sent[1].direction is Direction.FORWARD:
        sent = await world.command("payment")

    assert isinstance(sent[1], RefundPayment)
    await world.stop()
    await elsewhere.database.dispose()


async def test_an_ended_saga_is_not_remembered(world: World) -> None:
    saga_id, charge = await to_the_charge(world)
    await world.answer(charge, events.PaymentDeclinedEvent, code="card_declined")
    _, release = await world.command("inventory")
    await world.answer(release, events.InventoryReleasedEvent, effect="undone")
    await world.until(saga_id, lambda saga: saga.status is Status.COMPENSATED)

    assert len(world.deployment.remembered) == 0
