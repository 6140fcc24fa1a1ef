"""What policies at the broker do to our queues: the ones that we ship lose nothing, others are told apart."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from uuid import uuid4

import aiormq
import pytest
from aiormq.abc import AbstractChannel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.failures import ERROR_MESSAGE, ERROR_TYPE, PERMANENT
from contracts.routing import (
    COMMANDS_EXCHANGE,
    command_queue,
    dead_letter_queue,
    failure_exchange,
    retry_queue,
)
from messaging.background import BackgroundLoops
from messaging.outbox import Outbox
from messaging.postgresql import SqlUnitOfWork, create_engine
from messaging.rabbitmq import publisher as publishing
from messaging.rabbitmq.topology import Names, former_arguments
from messaging.relay import Relay
from messaging.topology import participant_topology
from messaging.transport import Delivery, Message, Queue, Receipt, Topology, TopologyMismatch
from orchestrator.core.registry import Registry
from orchestrator.dead_letters.collector import dead_letter
from orchestrator.postgresql import PostgresTransaction
from tests.conformance.correspondence import PATIENCE_S, message, numbered, receive, send
from tests.conformance.leftovers import TidyTransport
from tests.integration.rabbitmq_line import Journal, transport_to
from tests.support import servers
from tests.support.servers import PROJECT
from tools.servers.rabbitmq.broker import PrivateBroker

pytestmark = pytest.mark.rabbitmq

COMMANDS = command_queue("payment")
DEAD = dead_letter_queue(COMMANDS)
RETRY = retry_queue(COMMANDS, 1)
TOPOLOGY = participant_topology("payment", (1,))
LIMIT, SENT = 5, 30


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    """One whose policies are these tests' own. It tries dead letters again after a second, not after three
    minutes."""
    folder = tmp_path_factory.mktemp("rabbitmq")
    with servers.new_broker(folder) as broker:
        soon = "application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 1000)."
        broker.control("eval", soon)
        yield broker
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture(autouse=True)
def _channels_are_renewed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """RabbitMQ up to 3.13 goes on refusing what comes over a channel that it has refused before."""
    monkeypatch.setattr(publishing, "REFUSED_FOR_S", 0.1)


@pytest.fixture
async def transport(broker: PrivateBroker, journal: Journal) -> AsyncIterator[TidyTransport]:
    async with transport_to(broker.url, prefix="", journal=journal, tidy_at=broker.url) as transport:
        yield transport
    await asyncio.to_thread(_without_policies, broker)


def _without_policies(broker: PrivateBroker) -> None:
    listed = broker.control("list_policies")
    for name in ("oms-length", "oms-dead-letters", "theirs"):
        if name in listed:
            broker.control("clear_policy", name)


@asynccontextmanager
async def library(broker: PrivateBroker) -> AsyncIterator[AbstractChannel]:
    async with aiormq.connect(broker.url) as connection:
        yield await connection.channel(publisher_confirms=True)


def shipped(folder: Path) -> list[list[str]]:
    """The calls of `rabbitmqctl` in the script that we ship."""
    calls, stand_in = folder / "calls", folder / "rabbitmqctl"
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\037" "$@" >> {calls}\nprintf "\\036" >> {calls}\n')
    stand_in.chmod(0o755)
    path = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", PROJECT / "deploy/rabbitmq/policies.sh"], env=path, check=True)
    return [call.split("\x1f")[:-1] for call in calls.read_text().split("\x1e")[:-1]]


async def with_the_shipped_policies(broker: PrivateBroker, folder: Path, *limited: str) -> None:
    """As they are, but for the limit of those named."""
    for *arguments, definition in await asyncio.to_thread(shipped, folder):
        few = {"max-length": LIMIT} if set(limited) & set(arguments) else {}
        await asyncio.to_thread(broker.control, *arguments, json.dumps({**json.loads(definition), **few}))


async def policy(broker: PrivateBroker, queue: str, **definition: object) -> None:
    named = {key.replace("_", "-"): value for key, value in definition.items()}
    there = ("theirs", f"^{queue}$".replace(".", "\\."), json.dumps(named))
    await asyncio.to_thread(broker.control, "set_policy", "--apply-to", "queues", *there)


async def made_formerly(broker: PrivateBroker, *queues: Queue) -> None:
    async with library(broker) as channel:
        for queue in queues:
            arguments = former_arguments(queue, Names(""))
            await channel.queue_declare(queue.name, durable=True, arguments=arguments)


DEAD_LETTERS = next(queue for queue in TOPOLOGY.queues if queue.name == DEAD)


@pytest.mark.parametrize("queue", [DEAD, COMMANDS])
@pytest.mark.parametrize("former", [(), (DEAD_LETTERS,)], ids=["declared now", "of an earlier release"])
async def test_a_queue_at_the_limit_that_we_ship_refuses_and_loses_nothing(
    broker: PrivateBroker,
    transport: TidyTransport,
    tmp_path: Path,
    queue: str,
    former: tuple[Queue, ...],
) -> None:
    await made_formerly(broker, *former)
    await transport.declare(TOPOLOGY)
    await with_the_shipped_policies(broker, tmp_path, "oms-length", "oms-dead-letters")
    publisher, left = transport.publisher(), numbered(SENT, routing_key=queue)

    receipts = [(await send(publisher, each))[0] for each in left]
    left = [each for each, receipt in zip(left, receipts, strict=True) if receipt is not Receipt.CONFIRMED]
    assert len(left) >= SENT - LIMIT - 5, "a quorum queue takes a few more than its limit"
    subscription = await transport.subscribe(queue, 100)
    got = await receive(subscription, SENT - len(left))
    subscription.acknowledge(got)
    async with asyncio.timeout(PATIENCE_S):
        while left:
            if await send(publisher, left[0]) == [Receipt.CONFIRMED]:
                left.pop(0)
                more = await receive(subscription, 1)
                subscription.acknowledge(more)
                got += more

    assert sorted(int(each.body) for each in got) == list(range(SENT))


async def test_m2_what_a_full_queue_refused_goes_when_there_is_room_and_not_at_the_end_of_its_lease(
    broker: PrivateBroker, transport: TidyTransport, tmp_path: Path, migrated_database_url: str
) -> None:
    await transport.declare(TOPOLOGY)
    await with_the_shipped_policies(broker, tmp_path, "oms-length")
    database = create_engine(migrated_database_url)
    outbox = Outbox(transport.publisher())
    unit_of_work = SqlUnitOfWork(
        database, partial(PostgresTransaction, registry=Registry([])), outbox, Random(1)
    )
    relay = Relay(unit_of_work, outbox, transport.publisher())

    for each in numbered(SENT, exchange=COMMANDS_EXCHANGE, routing_key="payment"):
        await unit_of_work.run(_sending(each))
        await outbox.none_on_their_way()
    assert outbox.receipts[Receipt.REFUSED] > 0
    for _ in range(3):
        await relay.sweep_once()
        await _run(database, "UPDATE orchestrator.outbox SET claimed_until = created_at")
        await relay.run_once()
        await outbox.none_on_their_way()

    loops = BackgroundLoops(Random(1))
    loops.start("relay", relay.run_once, 0.1)
    loops.start("sweep", relay.sweep_once, 0.1)
    subscription, got = await transport.subscribe(COMMANDS, 100), set[bytes]()
    async with asyncio.timeout(PATIENCE_S):
        while len(got) < SENT:
            deliveries = await receive(subscription, 1)
            subscription.acknowledge(deliveries)
            got |= {each.body for each in deliveries}
    await loops.stop()
    await database.dispose()


def _sending(sent: Message) -> Callable[[PostgresTransaction], Awaitable[None]]:
    async def work(transaction: PostgresTransaction) -> None:
        transaction.send([sent])

    return work


async def _run(database: AsyncEngine, statement: str) -> None:
    async with database.begin() as connection:
        await connection.execute(text(statement))


async def test_what_the_broker_itself_gives_up_waits_for_room_among_the_dead_letters(
    broker: PrivateBroker, transport: TidyTransport, tmp_path: Path
) -> None:
    await transport.declare(TOPOLOGY)
    await with_the_shipped_policies(broker, tmp_path, "oms-dead-letters")
    publisher = transport.publisher()
    async with library(broker) as channel, asyncio.timeout(2 * PATIENCE_S):
        for each in numbered(SENT, routing_key=COMMANDS):
            while await send(publisher, each) != [Receipt.CONFIRMED]:
                pass
            await _rejected(channel)

    subscription, got = await transport.subscribe(DEAD, 100), list[Delivery]()
    while len(got) < SENT:
        more = await receive(subscription, 1)
        subscription.acknowledge(more)
        got += more

    assert {int(each.body) for each in got} == set(range(SENT))


async def _rejected(channel: AbstractChannel) -> None:
    """A consumer takes one command and does not want it."""
    while (got := await channel.basic_get(COMMANDS)).delivery_tag is None:
        pass
    await channel.basic_nack(got.delivery_tag, requeue=False)


async def _given_back(channel: AbstractChannel) -> None:
    """A consumer takes the command and fails, until the broker has had enough."""
    while (got := await channel.basic_get(COMMANDS)).delivery_tag is not None:
        await channel.basic_reject(got.delivery_tag, requeue=True)


async def _expired(broker: PrivateBroker) -> None:
    await policy(broker, COMMANDS, message_ttl=100)


async def _crowded_out(broker: PrivateBroker) -> None:
    await policy(broker, COMMANDS, max_length=0, overflow="drop-head")


async def _soon_given_up(broker: PrivateBroker) -> None:
    await policy(broker, COMMANDS, delivery_limit=1)


async def _no_policy(broker: PrivateBroker) -> None:
    """All as we have declared it."""


@pytest.mark.parametrize("headers", [{}, {ERROR_TYPE: "Timeout", ERROR_MESSAGE: "503", PERMANENT: True}])
@pytest.mark.parametrize(
    ("they", "consumer", "reason", "words"),
    [
        (_expired, None, "broker_expired", "time to live"),
        (_crowded_out, None, "broker_maxlen", "make room"),
        (_no_policy, _rejected, "broker_rejected", "a consumer at the broker rejected it"),
        (_soon_given_up, _given_back, "delivery_limit", "too many redeliveries"),
    ],
    ids=["expired", "maxlen", "rejected", "delivery_limit"],
)
async def test_a_dead_letter_tells_the_brokers_own_reason_also_after_an_attempt_that_failed(
    broker: PrivateBroker,
    transport: TidyTransport,
    they: Callable[[PrivateBroker], Awaitable[None]],
    consumer: Callable[[AbstractChannel], Awaitable[None]] | None,
    reason: str,
    words: str,
    headers: dict[str, object],
) -> None:
    """By way of a retry queue, where every message expires."""
    await transport.declare(TOPOLOGY)
    await they(broker)
    await send(transport.publisher(), replace(a_hop(), headers=headers))
    async with library(broker) as channel:
        if consumer is not None:
            await _arrived(transport)
            await consumer(channel)
    [died] = await receive(await transport.subscribe(DEAD, 10), 1)

    letter = dead_letter(died, uuid4(), datetime.now(UTC))

    assert letter.error_type == reason
    assert words in letter.error_message
    assert ("before that: Timeout: 503" in letter.error_message) is bool(headers)
    assert not letter.permanent
    assert letter.queue == COMMANDS


async def _arrived(transport: TidyTransport) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not (await transport.depth(COMMANDS)).ready:
            pass


async def test_a_dead_letter_queue_of_an_earlier_release_stays_as_it_is_and_this_is_told(
    broker: PrivateBroker, transport: TidyTransport, journal: Journal
) -> None:
    await made_formerly(broker, DEAD_LETTERS)

    created = await transport.declare(TOPOLOGY)

    assert f"queue {DEAD}" not in created
    told = await journal.says("queue is as an earlier release declared it: a length policy must refuse")
    assert told["queue"] == DEAD
    assert transport.trouble is None


async def test_a_queue_that_is_neither_as_now_nor_as_formerly_is_a_mismatch(
    broker: PrivateBroker, transport: TidyTransport
) -> None:
    await made_formerly(broker, Queue(DEAD, 7))

    with pytest.raises(TopologyMismatch, match=f"queue {DEAD} exists with another x-delivery-limit"):
        await transport.declare(TOPOLOGY)
    transport.declared += Topology(queues=(DEAD_LETTERS,))


async def test_a_queue_that_a_policy_has_expire_is_declared_again_and_this_is_told(
    broker: PrivateBroker, transport: TidyTransport, journal: Journal
) -> None:
    """Nobody consumes from a retry queue: that it is gone shows when a message comes back."""
    await transport.declare(TOPOLOGY)
    await policy(broker, RETRY, expires=100)
    publisher = transport.publisher()
    while await send(publisher, a_hop()) != [Receipt.RETURNED]:
        pass
    await asyncio.to_thread(broker.control, "clear_policy", "theirs")

    told = await journal.says("vanished from the broker with all it held, declared again")

    assert told["what"] == f"queue {RETRY}"
    assert transport.vanished >= 1
    async with asyncio.timeout(PATIENCE_S):
        while await send(publisher, a_hop()) != [Receipt.CONFIRMED]:
            pass


def a_hop() -> Message:
    return message(exchange=failure_exchange(COMMANDS), routing_key=RETRY)


async def test_a_consumed_queue_that_was_deleted_is_declared_again_and_this_is_told(
    broker: PrivateBroker, transport: TidyTransport, journal: Journal
) -> None:
    await transport.declare(TOPOLOGY)
    await transport.subscribe(COMMANDS, 10)
    async with library(broker) as channel:
        await channel.queue_delete(COMMANDS)

    told = await journal.says("vanished from the broker with all it held, declared again")

    assert told["what"] == f"queue {COMMANDS}"
    assert transport.vanished == 1
