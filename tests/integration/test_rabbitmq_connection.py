"""Connections to RabbitMQ: lost, refused, misconfigured, blocked; and how they come back."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest
from yarl import URL

from messaging.rabbitmq import RabbitMqTransport
from messaging.transport import BrokerUnavailable, Receipt, Transport
from tests.conformance.correspondence import (
    PLAIN,
    QUEUE,
    Receipts,
    bodies,
    message,
    numbered,
    receive,
    send,
)
from tests.integration.rabbitmq_line import Journal, Proxy, open_proxy, transport_to
from tools.servers.rabbitmq.broker import PrivateBroker

CONSUMING = {"link": "oms consuming"}
PUBLISHING = {"link": "oms publishing"}


async def test_a_connection_cut_in_mid_flight_leaves_fates_unknown_and_comes_back(
    broker_url: str, unique_prefix: str
) -> None:
    journal = Journal()
    async with (
        open_proxy(broker_url) as proxy,
        transport_to(proxy.url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport,
    ):
        await transport.declare(PLAIN)
        publisher = transport.publisher()
        subscription = await transport.subscribe(QUEUE, 100)
        await send(publisher, message(b"before"))
        held = await receive(subscription, 1)

        journal.clear()
        proxy.mute()
        receipts, lost = Receipts(), numbered(50)
        publisher.publish(lost, receipts.confirm)
        proxy.cut()

        assert await receipts.all(lost) == [Receipt.UNKNOWN] * 50
        subscription.acknowledge(held)  # from an earlier life: dropped
        await journal.says("consuming")
        await _confirmed(publisher_of=transport)
        again = await receive(subscription, 1)
        assert again[0].body == b"before" or not again[0].redelivered


async def test_what_was_held_at_the_cut_is_delivered_again(broker_url: str, unique_prefix: str) -> None:
    journal = Journal()
    async with (
        open_proxy(broker_url) as proxy,
        transport_to(proxy.url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport,
    ):
        await transport.declare(PLAIN)
        await send(transport.publisher(), *numbered(10))
        subscription = await transport.subscribe(QUEUE, 100)
        first = await receive(subscription, 4)
        journal.clear()
        proxy.cut()
        await journal.says("broker trouble", **CONSUMING)
        subscription.acknowledge(first)

        again = await receive(subscription, 10)

        assert sorted(bodies(again)) == sorted(each.body for each in numbered(10))
        assert all(each.redelivered for each in again)
        subscription.acknowledge(again)
        await subscription.close()
        await journal.says("broker connected", **PUBLISHING)
        assert await send(transport.publisher(), message(b"next")) == [Receipt.CONFIRMED]
        assert bodies(await receive(await transport.subscribe(QUEUE, 100), 1)) == [b"next"]


async def test_a_paused_subscription_stays_paused_over_a_reconnect(
    broker_url: str, unique_prefix: str
) -> None:
    journal = Journal()
    async with (
        open_proxy(broker_url) as proxy,
        transport_to(proxy.url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport,
    ):
        await transport.declare(PLAIN)
        subscription = await transport.subscribe(QUEUE, 100)
        await journal.says("consuming")
        await subscription.pause()
        journal.clear()
        proxy.cut()
        await journal.says("consuming")
        await _confirmed(publisher_of=transport)

        depth = await transport.depth(QUEUE)
        assert (depth.ready, depth.consumers) == (1, 0)
        await subscription.resume()
        await receive(subscription, 1)


async def test_while_the_broker_is_away_nothing_waits_and_trouble_says_why(
    broker_url: str, unique_prefix: str
) -> None:
    journal = Journal()
    async with (
        open_proxy(broker_url) as proxy,
        transport_to(proxy.url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport,
    ):
        await transport.declare(PLAIN)
        publisher = transport.publisher()
        assert await send(publisher, message()) == [Receipt.CONFIRMED]
        journal.clear()
        await proxy.shut()
        await journal.says("broker trouble", **PUBLISHING)

        assert await send(publisher, *numbered(3)) == [Receipt.UNKNOWN] * 3
        assert "127.0.0.1" in str(transport.trouble)
        with pytest.raises(BrokerUnavailable):
            await transport.depth(QUEUE)

        await proxy.open()
        await journal.says("broker connected", **PUBLISHING)
        await journal.says("broker connected", **CONSUMING)
        assert transport.trouble is None


async def test_declaring_waits_for_a_broker_that_is_not_up_yet(broker_url: str, unique_prefix: str) -> None:
    journal, proxy = Journal(), Proxy(broker_url)
    await proxy.open()
    await proxy.shut()
    async with transport_to(
        proxy.url, prefix=unique_prefix, journal=journal, tidy_at=broker_url
    ) as transport:
        declaring = asyncio.ensure_future(transport.declare(PLAIN))
        told = await journal.says("broker trouble")
        assert "cannot be reached" in told["trouble"]
        assert transport.trouble == told["trouble"]
        assert not declaring.done()

        await proxy.open()

        assert list(await declaring) == [f"queue {QUEUE}"]
        assert transport.trouble is None
    await proxy.shut()


async def test_the_next_url_is_tried_when_one_node_is_down(broker_url: str, unique_prefix: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = str(URL(broker_url).with_host("127.0.0.1").with_port(taken.getsockname()[1]))
    async with transport_to(nobody, broker_url, prefix=unique_prefix, tidy_at=broker_url) as transport:
        await transport.declare(PLAIN)

        assert await send(transport.publisher(), message()) == [Receipt.CONFIRMED]


async def test_a_wrong_password_is_told_from_a_broker_that_is_down(
    broker_url: str, unique_prefix: str
) -> None:
    wrong = str(URL(broker_url).with_user("nobody").with_password("s3cret-and-wrong"))
    told = await _trouble(wrong, unique_prefix)

    assert "login" in told
    assert "'nobody'" in told
    assert "s3cret" not in told


async def test_a_missing_virtual_host_is_named(broker_url: str, unique_prefix: str) -> None:
    told = await _trouble(str(URL(broker_url).with_path("/no-such-host")), unique_prefix)

    assert "virtual host 'no-such-host'" in told


async def test_what_does_not_speak_amqp_is_no_broker(unique_prefix: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.read(8)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        told = await _trouble(f"amqp://guest:guest@127.0.0.1:{port}/", unique_prefix)

    assert "cannot be reached" in told


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost", "amqp://", "amqp:///x", "5672"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="amqp://"):
        RabbitMqTransport([url])


def test_a_password_is_not_shown_when_its_url_is_refused() -> None:
    with pytest.raises(ValueError, match="amqp://") as caught:
        RabbitMqTransport(["amqp://user:s3cret@host:not-a-port/"])

    assert "s3cret" not in str(caught.value)


async def test_an_alarm_settles_at_once_and_is_told(private_broker: PrivateBroker) -> None:
    journal = Journal()
    async with transport_to(private_broker.url, prefix="", journal=journal) as transport:
        await transport.declare(PLAIN)
        publisher, receipts = transport.publisher(), Receipts()
        assert await send(publisher, message(b"1")) == [Receipt.CONFIRMED]
        await asyncio.to_thread(private_broker.control, "set_vm_memory_high_watermark", "0.0000001")

        noticed = message(b"2")
        publisher.publish([noticed], receipts.confirm)  # RabbitMQ tells only who publishes
        await journal.says("broker has stopped reading")
        assert await send(publisher, message(b"3")) == [Receipt.UNKNOWN]
        assert "memory" in str(transport.trouble)

        await asyncio.to_thread(private_broker.control, "set_vm_memory_high_watermark", "0.6")
        await journal.says("broker reads again")
        assert await receipts.all([noticed]) == [Receipt.CONFIRMED]
        assert transport.trouble is None
        assert await send(publisher, message(b"4")) == [Receipt.CONFIRMED]


async def test_a_killed_broker_is_found_again_with_what_it_had_confirmed(
    private_broker: PrivateBroker,
) -> None:
    journal = Journal()
    async with transport_to(private_broker.url, prefix="", journal=journal) as transport:
        await transport.declare(PLAIN)
        journal.clear()
        # An orderly end first: RabbitMQ 3.10 forgets a quorum queue declared seconds before a SIGKILL.
        await asyncio.to_thread(private_broker.restart)
        await journal.says("broker connected", **PUBLISHING)
        await _confirmed(publisher_of=transport)
        publisher = transport.publisher()
        assert await send(publisher, *numbered(99)) == [Receipt.CONFIRMED] * 99

        journal.clear()
        await asyncio.to_thread(private_broker.kill)
        await journal.says("broker trouble", **PUBLISHING)
        assert await send(publisher, message()) == [Receipt.UNKNOWN]
        await asyncio.to_thread(private_broker.restart)
        await journal.says("broker connected", **PUBLISHING)

        deliveries = await receive(await transport.subscribe(QUEUE, 1000), 100)
        assert bodies(deliveries)[-99:] == [each.body for each in numbered(99)]
        await _confirmed(publisher_of=transport)


async def test_a_connection_that_answers_nothing_is_given_up_though_its_heart_beats(
    broker_url: str, unique_prefix: str
) -> None:
    journal = Journal()
    async with open_proxy(broker_url) as proxy:
        url = str(URL(proxy.url).update_query(heartbeat="600"))
        async with transport_to(url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport:
            await transport.declare(PLAIN)
            journal.clear()
            proxy.deafen()
            publisher = transport.publisher()
            await journal.says("broker trouble", **PUBLISHING)
            proxy.restore()
            await journal.says("broker connected", **PUBLISHING)
            await publisher.close()
            await _confirmed(publisher_of=transport)


async def _trouble(url: str, prefix: str) -> str:
    """What the transport says instead of getting ready."""
    journal = Journal()
    async with transport_to(url, prefix=prefix, journal=journal) as transport:
        declaring = asyncio.ensure_future(transport.declare(PLAIN))
        told = await journal.says("broker trouble")
        assert transport.trouble == told["trouble"]
        declaring.cancel()
    return str(told["trouble"])


async def _confirmed(*, publisher_of: Transport) -> None:
    """Publish until the broker has it: the way to it is being opened."""
    publisher = publisher_of.publisher()
    while await send(publisher, message()) != [Receipt.CONFIRMED]:
        pass
    await publisher.close()
