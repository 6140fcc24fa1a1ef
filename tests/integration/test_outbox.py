"""Outbox, relay and patience with the database, on real PostgreSQL and a publisher that the test plays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from psycopg import OperationalError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.routing import COMMANDS_EXCHANGE
from messaging.consumer import Consumer, Failed, Hops
from messaging.identifiers import time_ordered_ids
from messaging.in_process import InProcessBroker, InProcessTransport
from messaging.obstructions import LONGEST_PAUSE_S
from messaging.outbox import Outbox
from messaging.postgresql import SqlUnitOfWork, create_engine
from messaging.relay import REFUSED_PAUSE_CAP_S, Relay
from messaging.retries import RetryPolicy
from messaging.topology import participant_topology
from messaging.transport import Confirm, Delivery, Message, Receipt
from messaging.unit_of_work import StorageUnavailable
from migrations.run import migrate_async
from orchestrator.core.registry import Registry
from orchestrator.postgresql import PostgresTransaction

pytestmark = pytest.mark.postgresql

RNG = random.Random(3)
new_id = time_ordered_ids(RNG)
TRANSACTION = partial(PostgresTransaction, registry=Registry([]))


class PlayedPublisher:
    """Answers every message as the test says."""

    def __init__(self, receipt: Receipt = Receipt.CONFIRMED) -> None:
        self.receipt = receipt
        self.room = 1000
        self.published: list[Message] = []
        self.hopeless: UUID | None = None

    def publish(self, messages: Sequence[Message], confirm: Confirm) -> None:
        self.published += messages
        for message in messages:
            refused = message.message_id == self.hopeless
            confirm(message.message_id, Receipt.REFUSED if refused else self.receipt)

    async def close(self) -> None:
        """Nothing to give back."""


class SlowPublisher(PlayedPublisher):
    """Keeps the receipts back until the test wants them."""

    def publish(self, messages: Sequence[Message], confirm: Confirm) -> None:
        self.published += messages
        self._confirm = confirm

    def answer(self) -> None:
        for message in self.published:
            self._confirm(message.message_id, self.receipt)


class Service:
    """One process with an outbox."""

    def __init__(
        self,
        database: AsyncEngine,
        receipt: Receipt,
        patience_s: float | None = None,
        publisher: PlayedPublisher | None = None,
    ) -> None:
        self.database = database
        self.publisher = publisher or PlayedPublisher(receipt)
        self.outbox = Outbox(self.publisher)
        self.unit_of_work = SqlUnitOfWork(database, TRANSACTION, self.outbox, RNG, patience_s)
        self.relaying = PlayedPublisher()
        self.time_s = 0.0
        self.relay = Relay(self.unit_of_work, self.outbox, self.relaying, lambda: self.time_s)

    async def send(self, *messages: Message) -> None:
        async def work(transaction: PostgresTransaction) -> None:
            transaction.send(messages)

        await self.unit_of_work.run(work)

    async def rows(self) -> int:
        async with self.database.connect() as connection:
            count = await connection.scalar(text("SELECT count(*) FROM orchestrator.outbox"))
            return int(count or 0)

    async def leased_for_s(self) -> float:
        left = "SELECT extract(epoch FROM max(claimed_until) - clock_timestamp()) FROM orchestrator.outbox"
        async with self.database.connect() as connection:
            return float(await connection.scalar(text(left)) or 0)

    async def relay_once_more(self) -> int:
        """As it is when some seconds have gone by."""
        self.time_s += LONGEST_PAUSE_S
        return await self.relay.run_once()

    async def leases_run_out(self) -> None:
        async with self.database.begin() as connection:
            await connection.execute(text("UPDATE orchestrator.outbox SET claimed_until = created_at"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    await migrate_async("orchestrator", database_url)
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


def a_message() -> Message:
    return Message(
        message_id=new_id(),
        type="ReserveInventory",
        exchange=COMMANDS_EXCHANGE,
        routing_key="inventory",
        body=b'{"a": "\xc3\xa4\\""}',
        correlation_id=new_id(),
        app_id="test",
        timestamp=datetime.now(UTC),
        mandatory=True,
        headers={"attempt": 1, "causation-id": 'quoted " and \\'},
    )


async def test_m1_what_is_confirmed_leaves_with_the_next_transaction(database: AsyncEngine) -> None:
    service = Service(database, Receipt.CONFIRMED)
    await service.send(a_message())
    assert await service.rows() == 1

    second = a_message()
    await service.send(second)

    assert await service.rows() == 1
    assert await service.relay.sweep_once()
    assert await service.rows() == 0
    assert not await service.relay.sweep_once()


async def test_m1_a_confirmation_is_remembered_when_its_deletion_does_not_commit(
    database: AsyncEngine,
) -> None:
    service = Service(database, Receipt.CONFIRMED)
    await service.send(a_message())

    async def failing(transaction: PostgresTransaction) -> None:
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError):
        await service.unit_of_work.run(failing)

    assert await service.relay.sweep_once()
    assert await service.rows() == 0


async def test_m1_what_is_rolled_back_is_never_published(database: AsyncEngine) -> None:
    service = Service(database, Receipt.CONFIRMED)

    async def failing(transaction: PostgresTransaction) -> None:
        transaction.send([a_message()])
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError):
        await service.unit_of_work.run(failing)

    assert service.publisher.published == []
    assert await service.rows() == 0


@pytest.mark.parametrize("receipt", [Receipt.UNKNOWN, Receipt.REFUSED, Receipt.RETURNED])
async def test_m2_what_was_not_confirmed_is_relayed_as_it_was(
    database: AsyncEngine, receipt: Receipt
) -> None:
    service = Service(database, receipt)
    message = a_message()
    await service.send(message)
    assert await service.relay.run_once() == 0, "its writer's lease has not run out"
    await service.leases_run_out()

    assert await service.relay.run_once() == 1

    assert service.relaying.published == [message]
    await service.relay.sweep_once()
    assert await service.rows() == 0


async def test_m2_two_relays_do_not_publish_one_row(database: AsyncEngine) -> None:
    first, second = Service(database, Receipt.UNKNOWN), Service(database, Receipt.UNKNOWN)
    await first.send(a_message())
    await first.leases_run_out()

    assert await first.relay.run_once() == 1
    assert await second.relay.run_once() == 0


async def test_m2_no_more_is_leased_than_can_be_sent(database: AsyncEngine) -> None:
    service = Service(database, Receipt.UNKNOWN)
    await service.send(a_message(), a_message(), a_message())
    await service.leases_run_out()

    for room, published in ((0, 0), (1, 1), (10, 2)):
        service.relaying.room = room
        assert await service.relay.run_once() == published


async def test_m2_a_refused_row_waits_a_while(database: AsyncEngine) -> None:
    service = Service(database, Receipt.REFUSED)
    service.relaying.receipt = Receipt.REFUSED
    await service.send(a_message())
    await service.leases_run_out()

    assert await service.relay.run_once() == 1
    assert await service.relay.run_once() == 0
    assert await service.rows() == 1


@pytest.mark.parametrize("receipt", [Receipt.REFUSED, Receipt.RETURNED])
async def test_m2_a_row_that_was_not_taken_is_free_again_within_seconds(
    database: AsyncEngine, receipt: Receipt
) -> None:
    """However often that happened; by a process that relays, and by one that does not."""
    service = Service(database, receipt)
    service.relaying.receipt = receipt
    await service.send(a_message())
    for _ in range(6):
        assert await service.relay.sweep_once()
        assert await service.leased_for_s() <= REFUSED_PAUSE_CAP_S
        await service.leases_run_out()
        await service.relay_once_more()
    assert await service.leased_for_s() > REFUSED_PAUSE_CAP_S, "nobody else takes it while it is on its way"


async def test_m2_a_relayed_row_of_unknown_fate_is_free_again_within_seconds(database: AsyncEngine) -> None:
    service = Service(database, Receipt.UNKNOWN)
    service.relaying.receipt = Receipt.UNKNOWN
    await service.send(a_message())
    assert not await service.relay.sweep_once(), "its first lease is short, and it costs no write"
    await service.leases_run_out()
    assert await service.relay.run_once() == 1

    assert await service.relay.sweep_once()

    assert await service.leased_for_s() <= REFUSED_PAUSE_CAP_S


async def test_m2_of_many_rows_for_a_full_queue_one_is_tried_and_all_follow_once_it_is_free(
    database: AsyncEngine,
) -> None:
    service = Service(database, Receipt.UNKNOWN)
    service.relaying.receipt = Receipt.REFUSED
    await service.send(*(a_message() for _ in range(10)))
    await service.leases_run_out()
    assert await service.relay.run_once() == 10, "so it learns that the queue is full"
    await service.leases_run_out()
    assert await service.relay.run_once() == 0

    assert await service.relay_once_more() == 1
    service.relaying.receipt = Receipt.CONFIRMED
    await service.leases_run_out()
    assert await service.relay_once_more() == 1
    assert await service.relay.run_once() == 9

    await service.relay.sweep_once()
    assert await service.rows() == 0


async def test_m2_a_full_queue_delays_no_row_for_another(database: AsyncEngine) -> None:
    service = Service(database, Receipt.UNKNOWN)
    service.relaying.receipt = Receipt.REFUSED
    await service.send(*(a_message() for _ in range(3)))
    await service.leases_run_out()
    await service.relay.run_once()

    elsewhere = replace(a_message(), routing_key="shipping")
    await service.send(elsewhere)
    await service.leases_run_out()

    assert await service.relay.run_once() == 1
    assert service.relaying.published[-1] == elsewhere


async def test_m2_a_row_that_is_never_taken_keeps_no_other_from_its_queue(database: AsyncEngine) -> None:
    service = Service(database, Receipt.UNKNOWN)
    hopeless, *others = (a_message() for _ in range(4))
    service.relaying.hopeless = hopeless.message_id
    await service.send(hopeless, *others)
    await service.leases_run_out()
    await service.relay.run_once()
    for _ in range(3):
        await service.send(late := a_message())
        await service.leases_run_out()
        while late not in service.relaying.published:
            await service.relay_once_more()

    await service.relay.sweep_once()
    assert await service.rows() == 1


async def test_s17_a_lost_connection_runs_the_unit_of_work_again(database: AsyncEngine) -> None:
    service = Service(database, Receipt.CONFIRMED)
    runs = 0

    async def work(transaction: PostgresTransaction) -> None:
        nonlocal runs
        runs += 1
        transaction.send([a_message()])
        if runs == 1:
            [[backend]] = await transaction.fetch("SELECT pg_backend_pid()")
            async with database.connect() as other:
                await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": backend})

    await service.unit_of_work.run(work)

    assert runs == 2
    assert len(service.publisher.published) == 1
    assert await service.rows() == 1


async def test_s17_a_server_that_may_not_be_written_to_any_more_is_left(
    database: AsyncEngine, database_url: str
) -> None:
    """Its sessions stay as they are; at the same address another server, or the same by now, takes writes."""
    service = Service(database, Receipt.CONFIRMED, patience_s=5)
    operator = create_engine(database_url, pool_size=1)
    name = operator.url.database
    async with operator.connect() as connection:
        await connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        await connection.commit()
        await service.rows()  # by a session that remains in the pool
        await connection.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
        await connection.commit()

    await service.send(a_message())

    assert await service.rows() == 1
    await operator.dispose()


async def test_s17_a_caller_is_told_when_the_database_stays_away() -> None:
    away = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    service = Service(away, Receipt.CONFIRMED, patience_s=0.01)

    with pytest.raises(StorageUnavailable):
        await service.send(a_message())
    await away.dispose()


async def test_s2_only_the_culprit_of_a_batch_fails(database: AsyncEngine) -> None:
    service = Service(database, Receipt.CONFIRMED)
    transport = InProcessTransport(InProcessBroker())
    await transport.declare(participant_topology("inventory", (1,)))
    good = [a_message() for _ in range(4)]
    transport.publisher().publish(good, lambda _id, _receipt: None)
    culprit = str(good[2].message_id)
    served: list[str | None] = []

    async def handler(transaction: PostgresTransaction, deliveries: Sequence[Delivery]) -> Sequence[Failed]:
        if any(delivery.message_id == culprit for delivery in deliveries):
            raise RuntimeError("cannot be served")
        served.extend(delivery.message_id for delivery in deliveries)
        return ()

    subscription = await transport.subscribe("inventory.commands", 10)
    hops = Hops(RetryPolicy((1,), 3), new_id, "test")
    consumer: Consumer[Any] = Consumer(subscription, service.unit_of_work, handler, hops)
    await consumer.run_once()

    assert sorted(served, key=str) == sorted(str(m.message_id) for m in good if str(m.message_id) != culprit)
    [hop] = service.publisher.published
    assert hop.routing_key == "inventory.commands.retry.1s"
    assert hop.headers["original-message-id"] == culprit
    assert (await transport.depth("inventory.commands")).ready == 0
    await transport.close()


async def test_s17_a_delivery_has_one_hop_however_often_its_commit_is_uncertain(
    database: AsyncEngine,
) -> None:
    """The connection is lost behind the commit: what was committed is not sent a second time."""
    service = Service(database, Receipt.CONFIRMED)
    commits = 0

    class Uncertain(PostgresTransaction):
        async def commit(self, confirmed: Sequence[UUID]) -> None:
            nonlocal commits
            await super().commit(confirmed)
            commits += 1
            if commits < 3:
                raise OperationalError("the connection is lost")

    uncertain = partial(Uncertain, registry=Registry([]))
    unit_of_work = SqlUnitOfWork(database, uncertain, service.outbox, RNG)
    hops = Hops(RetryPolicy((1,), 3), new_id, "test")
    failing, waiting = a_delivery(), a_delivery()

    async def work(transaction: Any) -> None:
        await hops.after_failures(transaction, [Failed(failing, RuntimeError("no luck"))])
        await hops.postpone(transaction, [waiting])

    await unit_of_work.run(work)

    assert commits == 3
    assert await service.rows() == 2
    await service.leases_run_out()
    await service.relay.run_once()
    assert {each.message_id for each in service.relaying.published} == {failing.hop_id, waiting.hop_id}


def a_delivery() -> Delivery:
    return Delivery("inventory.commands", b"{}", str(new_id()), "X", None, {}, "", "", redelivered=False)


async def test_m1_a_process_that_ends_waits_for_its_confirms_and_leaves_no_row(database: AsyncEngine) -> None:
    slow = SlowPublisher()
    service = Service(database, Receipt.CONFIRMED, publisher=slow)
    await service.send(a_message(), a_message())

    ending = asyncio.create_task(service.relay.finish(within_s=60))
    await asyncio.sleep(0)
    slow.answer()
    await ending

    assert await service.rows() == 0


async def test_m2_what_is_not_confirmed_when_a_process_ends_is_left_to_others(database: AsyncEngine) -> None:
    service = Service(database, Receipt.CONFIRMED, publisher=SlowPublisher())
    await service.send(a_message())

    await service.relay.finish(within_s=0.01)

    assert await service.rows() == 1
    await service.leases_run_out()
    assert await Service(database, Receipt.CONFIRMED).relay.run_once() == 1
