"""Consumers on RabbitMQ that lose their queue or their channel, and messages that nobody can read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiormq
import pytest
from aiormq.abc import AbstractChannel
from pamqp import commands
from pamqp.common import FieldTable

from messaging.transport import Queue, Topology
from tests.conformance.correspondence import PLAIN, QUEUE, bodies, message, numbered, receive, send
from tests.integration.rabbitmq_line import Journal, open_proxy, transport_to


@asynccontextmanager
async def _library(url: str) -> AsyncIterator[AbstractChannel]:
    async with aiormq.connect(url) as connection:
        yield await connection.channel()


async def test_a_consumer_comes_back_when_its_queue_was_deleted(broker_url: str, unique_prefix: str) -> None:
    journal = Journal()
    async with (
        transport_to(broker_url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport,
        _library(broker_url) as library,
    ):
        await transport.declare(PLAIN)
        publisher = transport.publisher()
        subscription = await transport.subscribe(QUEUE, 100)
        await journal.says("consuming", queue=QUEUE)
        await library.queue_delete(unique_prefix + QUEUE)

        await journal.says("consumer cancelled by the broker", queue=QUEUE)
        await journal.says("consuming", queue=QUEUE)
        await send(publisher, message(b"after"))

        assert bodies(await receive(subscription, 1)) == [b"after"]
        assert transport.trouble is None


async def test_a_pause_that_the_broker_does_not_answer_leaves_no_dead_consumer(
    broker_url: str, unique_prefix: str
) -> None:
    journal = Journal()
    async with (
        open_proxy(broker_url) as line,
        transport_to(line.url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport,
    ):
        await transport.declare(PLAIN)
        publisher = transport.publisher()
        subscription = await transport.subscribe(QUEUE, 100)
        await journal.says("consuming", queue=QUEUE)
        line.mute()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await subscription.pause()
        line.restore()
        await subscription.resume()

        await journal.says("consuming", queue=QUEUE)
        await send(publisher, message(b"after"))
        assert bodies(await receive(subscription, 1)) == [b"after"]


async def test_a_pause_outlives_the_connection_that_is_lost_over_it(
    broker_url: str, unique_prefix: str
) -> None:
    """Whoever stops a service pauses first: a lost connection must not keep it from the rest."""
    journal, name = Journal(), unique_prefix + QUEUE
    async with (
        open_proxy(broker_url) as line,
        transport_to(line.url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport,
        _library(broker_url) as library,
    ):
        await transport.declare(PLAIN)
        subscription = await transport.subscribe(QUEUE, 100)
        await journal.says("consuming", queue=QUEUE)
        line.mute()
        pausing = asyncio.ensure_future(subscription.pause())
        await asyncio.sleep(0)
        line.cut()
        await pausing

        await journal.says("consuming", queue=QUEUE)
        await library.basic_publish(b"later", routing_key=name)
        assert (await library.queue_declare(name, passive=True)).consumer_count == 0
        await subscription.resume()
        assert bodies(await receive(subscription, 1)) == [b"later"]


async def test_a_consumer_waits_for_a_queue_that_does_not_exist_and_says_so(
    broker_url: str, unique_prefix: str
) -> None:
    journal, late = Journal(), Topology(queues=(Queue("late", 100),))
    async with transport_to(
        broker_url, prefix=unique_prefix, journal=journal, tidy_at=broker_url
    ) as transport:
        await transport.declare(PLAIN)
        subscribing = asyncio.ensure_future(transport.subscribe("late", 10))
        told = await journal.says("subscription in trouble")
        assert "late" in told["trouble"]
        assert transport.trouble == told["trouble"]

        await transport.declare(late)
        subscription = await subscribing
        await send(transport.publisher(), message(b"at last", routing_key="late"))

        assert bodies(await receive(subscription, 1)) == [b"at last"]
        assert transport.trouble is None


async def test_a_stranger_s_message_is_delivered_whatever_its_properties(
    broker_url: str, unique_prefix: str
) -> None:
    async with (
        transport_to(broker_url, prefix=unique_prefix, tidy_at=broker_url) as transport,
        _library(broker_url) as library,
    ):
        await transport.declare(PLAIN)
        subscription = await transport.subscribe(QUEUE, 100)
        nested: FieldTable = {
            "list": [1, "two", {"three": 3}],
            "table": {"of": {"tables": True}},
            "bytes": bytearray(b"\xff"),
        }
        for properties in (
            commands.Basic.Properties(),
            commands.Basic.Properties(headers=nested, priority=3, expiration="60000", user_id="guest"),
            commands.Basic.Properties(message_id="not a uuid", message_type="?", correlation_id="x" * 255),
        ):
            await library.basic_publish(b"odd", routing_key=unique_prefix + QUEUE, properties=properties)

        bare, rich, strange = await receive(subscription, 3)

        assert (bare.message_id is not None, bare.type, bare.correlation_id) == (True, None, None)
        assert rich.headers == nested
        assert (strange.message_id, strange.type, strange.correlation_id) == ("not a uuid", "?", "x" * 255)


async def test_subscriptions_of_one_transport_do_not_disturb_each_other(
    broker_url: str, unique_prefix: str
) -> None:
    two = Topology(queues=(Queue(QUEUE, 100), Queue("other", 100)))
    async with transport_to(broker_url, prefix=unique_prefix, tidy_at=broker_url) as transport:
        await transport.declare(two)
        publisher = transport.publisher()
        one, other = await transport.subscribe(QUEUE, 100), await transport.subscribe("other", 100)
        await send(publisher, *numbered(20), *numbered(20, routing_key="other"))
        of_one, of_other = await receive(one, 20), await receive(other, 20)
        other.acknowledge(of_one)  # not theirs: dropped
        one.acknowledge(of_one)
        await one.close()
        other.acknowledge(of_other[:10])
        await other.close()

        await send(publisher, message(b"next"))
        assert bodies(await receive(await transport.subscribe(QUEUE, 100), 1)) == [b"next"]
        left = await receive(await transport.subscribe("other", 100), 10)
        assert sorted(bodies(left)) == sorted(bodies(of_other[10:]))
