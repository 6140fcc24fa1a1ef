"""The contract with the library's inner parts, from the publishing side: every kind of answer, in any mix."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import aiormq
import pytest
from aiormq.abc import AbstractChannel
from pamqp.common import FieldTable

from contracts.failures import ERROR_TYPE
from contracts.routing import dead_letter_queue, failure_exchange
from messaging.errors import Poison
from messaging.rabbitmq import publisher as publishing
from messaging.retries import RetryPolicy, after_failure
from messaging.transport import Binding, Exchange, Message, Queue, Receipt, Topology
from tests.conformance.correspondence import (
    PATIENCE_S,
    PLAIN,
    QUEUE,
    Raw,
    Receipts,
    message,
    numbered,
    receive,
    send,
)
from tests.integration.rabbitmq_line import Journal, open_proxy, transport_to
from tools.servers.rabbitmq.broker import PrivateBroker


@asynccontextmanager
async def _library(url: str) -> AsyncIterator[AbstractChannel]:
    """A channel of the library alone."""
    async with aiormq.connect(url) as connection:
        yield await connection.channel()


async def test_thousands_in_flight_are_each_settled_once(broker_url: str, unique_prefix: str) -> None:
    async with transport_to(broker_url, prefix=unique_prefix, tidy_at=broker_url) as transport:
        await transport.declare(PLAIN)
        publisher, receipts, sent = transport.publisher(), Receipts(), numbered(3000)
        for start in range(0, 3000, 200):
            publisher.publish(sent[start : start + 200], receipts.confirm)

        assert set(await receipts.all(sent)) == {Receipt.CONFIRMED}
        assert (await transport.depth(QUEUE)).ready == 3000


async def test_confirms_and_returns_in_one_batch_find_their_messages(
    broker_url: str, unique_prefix: str
) -> None:
    async with transport_to(broker_url, prefix=unique_prefix, tidy_at=broker_url) as transport:
        await transport.declare(PLAIN)
        batch = [message(routing_key=QUEUE if each % 3 else "nowhere") for each in range(200)]

        receipts = await send(transport.publisher(), *batch)

        assert receipts == [Receipt.CONFIRMED if each % 3 else Receipt.RETURNED for each in range(200)]


async def test_a_full_queue_refuses_and_the_publisher_goes_on(broker_url: str, unique_prefix: str) -> None:
    async with (
        transport_to(broker_url, prefix=unique_prefix, tidy_at=broker_url) as transport,
        _library(broker_url) as library,
    ):
        await transport.declare(PLAIN)
        full = f"{unique_prefix}full"
        limits: FieldTable = {"x-queue-type": "quorum", "x-max-length": 5, "x-overflow": "reject-publish"}
        await library.queue_declare(full, durable=True, arguments=limits)
        publisher = transport.publisher()

        refused = Receipt.CONFIRMED
        while refused is not Receipt.REFUSED:
            refused, to_orders = await send(publisher, message(routing_key="full"), message())
            assert to_orders is Receipt.CONFIRMED
        await library.queue_delete(full)


async def test_a_queue_whose_limit_was_taken_away_takes_messages_again(
    private_broker: PrivateBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ up to 3.13 goes on refusing what comes over a channel that it has refused before."""
    limit = '{"max-length":0, "overflow":"reject-publish"}'
    monkeypatch.setattr(publishing, "REFUSED_FOR_S", 0.1)
    async with transport_to(private_broker.url, prefix="") as transport:
        await transport.declare(PLAIN)
        publisher = transport.publisher()
        assert await send(publisher, message()) == [Receipt.CONFIRMED]
        await asyncio.to_thread(private_broker.control, "set_policy", "full", f"^{QUEUE}$", limit)
        while await send(publisher, message()) != [Receipt.REFUSED]:
            pass
        await asyncio.to_thread(private_broker.control, "clear_policy", "full")

        async with asyncio.timeout(PATIENCE_S):
            while await send(publisher, message()) != [Receipt.CONFIRMED]:
                pass


async def test_a_channel_that_breaks_in_mid_batch_leaves_fates_unknown_and_is_opened_again(
    broker_url: str, unique_prefix: str
) -> None:
    async with transport_to(broker_url, prefix=unique_prefix, tidy_at=broker_url) as transport:
        await transport.declare(PLAIN)
        publisher = transport.publisher()
        batch: list[Message] = [*numbered(20), message(exchange="missing"), *numbered(20)]

        receipts = await send(publisher, *batch)

        assert set(receipts) <= {Receipt.CONFIRMED, Receipt.UNKNOWN}
        assert receipts[20:] == [Receipt.UNKNOWN] * 21
        await _until_confirmed(publisher)


async def test_a_deleted_exchange_is_declared_again(broker_url: str, unique_prefix: str) -> None:
    journal, topology = Journal(), Topology((Exchange("events", "topic"),))
    async with (
        transport_to(broker_url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport,
        _library(broker_url) as library,
    ):
        await transport.declare(topology)
        publisher = transport.publisher()
        assert await send(publisher, _event()) == [Receipt.CONFIRMED]
        await library.exchange_delete(f"{unique_prefix}events")

        assert await send(publisher, _event()) == [Receipt.UNKNOWN]

        while await send(publisher, _event()) != [Receipt.CONFIRMED]:
            pass
        assert await transport.declare(topology) == []


async def test_what_cannot_be_written_is_refused_alone(broker_url: str, unique_prefix: str) -> None:
    async with transport_to(broker_url, prefix=unique_prefix, tidy_at=broker_url) as transport:
        await transport.declare(PLAIN)
        batch = [
            message(),
            message(headers={"id": uuid4()}),
            message(routing_key="k" * 300),
            message(headers={"number": 2**70}),
            message(headers={"number": math.nan}),
            message(headers={"number": -math.inf}),
            message(),
        ]

        receipts = await send(transport.publisher(), *batch)

        assert receipts == [Receipt.CONFIRMED, *[Receipt.REFUSED] * 5, Receipt.CONFIRMED]


async def test_whatever_headers_a_message_came_with_its_hop_is_taken_and_nothing_else_is_disturbed(
    broker_url: str, unique_prefix: str
) -> None:
    """Over a frame that is too large the broker would end the connection, and with it all that is on it."""
    almost_a_frame = {f"large-{number}": "x" * 3990 for number in range(32)}
    no_text = {Raw("n" * 128): 1, Raw("m" * 255): 1, "plain": 1}
    full = {f"own-{number}": number for number in range(64)}
    dead_letters = Queue(dead_letter_queue(QUEUE), 100)
    topology = PLAIN + Topology(
        (Exchange(failure_exchange(QUEUE), "direct"),),
        (dead_letters,),
        (Binding(dead_letters.name, failure_exchange(QUEUE), dead_letters.name),),
    )
    async with transport_to(broker_url, prefix=unique_prefix, tidy_at=broker_url) as transport:
        await transport.declare(topology)
        publisher, subscription = transport.publisher(), await transport.subscribe(QUEUE, 100)
        came = [message(headers=headers) for headers in (almost_a_frame, no_text, full)]
        assert set(await send(publisher, *came)) == {Receipt.CONFIRMED}
        gave_up = await transport.subscribe(dead_letters.name, 100)
        for delivery in await receive(subscription, 3):
            error = Poison("undecodable", "no JSON")
            hop = after_failure(delivery, error, RetryPolicy(), uuid4(), datetime.now(UTC), "tests")
            assert await send(publisher, hop, message(b"beside")) == [Receipt.CONFIRMED] * 2

        for delivery, plain in zip(await receive(gave_up, 3), ("large-0", "plain", "own-0"), strict=True):
            assert delivery.headers[ERROR_TYPE] == "undecodable"
            assert plain in delivery.headers
        large = {f"large-{number}": "x" * 3990 for number in range(33)}
        receipts = await send(publisher, message(headers=large), message())
        assert receipts == [Receipt.REFUSED, Receipt.CONFIRMED]


async def test_more_than_the_bound_is_settled_at_once(broker_url: str, unique_prefix: str) -> None:
    async with (
        open_proxy(broker_url) as proxy,
        transport_to(proxy.url, prefix=unique_prefix, tidy_at=broker_url) as transport,
    ):
        await transport.declare(PLAIN)
        publisher, receipts = transport.publisher(), Receipts()
        assert await send(publisher, message()) == [Receipt.CONFIRMED]
        proxy.mute()
        sent = numbered(publishing.MAX_UNCONFIRMED + 7)
        publisher.publish(sent, receipts.confirm)

        assert await receipts.all(sent[-7:]) == [Receipt.UNKNOWN] * 7
        assert len(receipts.of) == 7
        proxy.cut()
        assert await receipts.all(sent) == [Receipt.UNKNOWN] * len(sent)


async def test_a_peer_that_stopped_reading_makes_nothing_wait(broker_url: str, unique_prefix: str) -> None:
    async with (
        open_proxy(broker_url) as proxy,
        transport_to(proxy.url, prefix=unique_prefix, tidy_at=broker_url) as transport,
    ):
        await transport.declare(PLAIN)
        publisher, receipts = transport.publisher(), Receipts()
        assert await send(publisher, message()) == [Receipt.CONFIRMED]
        proxy.deafen()
        large = [message(bytes(4 * 1024 * 1024)) for _ in range(12)]
        for each in large:
            publisher.publish([each], receipts.confirm)

        assert await receipts.all(large[-1:]) == [Receipt.UNKNOWN]
        proxy.cut()
        await receipts.all(large)


def _event() -> Message:
    return message(exchange="events", routing_key="x", mandatory=False)


async def _until_confirmed(publisher: publishing.RabbitMqPublisher) -> None:
    while await send(publisher, message()) != [Receipt.CONFIRMED]:
        pass
