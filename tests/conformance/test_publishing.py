"""What becomes of published messages."""

from __future__ import annotations

from uuid import uuid4

import pytest

from messaging.transport import Binding, Exchange, Message, Publisher, Queue, Receipt, Topology, Transport
from tests.conformance.correspondence import (
    QUEUE,
    Receipts,
    bodies,
    message,
    numbered,
    receive,
    send,
)


async def test_a_message_arrives_as_it_was_sent(transport: Transport, publisher: Publisher) -> None:
    sent = message(b'{"a": 1}', correlation_id=uuid4())
    assert await send(publisher, sent) == [Receipt.CONFIRMED]

    [delivery] = await receive(await transport.subscribe(QUEUE, 10), 1)

    assert delivery.queue == QUEUE
    assert delivery.body == sent.body
    assert delivery.message_id == str(sent.message_id)
    assert delivery.correlation_id == str(sent.correlation_id)
    assert delivery.type == sent.type
    assert (delivery.exchange, delivery.routing_key) == ("", QUEUE)
    assert not delivery.redelivered


async def test_a_message_need_not_belong_to_a_saga(transport: Transport, publisher: Publisher) -> None:
    await send(publisher, message(correlation_id=None))

    [delivery] = await receive(await transport.subscribe(QUEUE, 10), 1)

    assert delivery.correlation_id is None


@pytest.mark.parametrize(
    "body",
    [b"", bytes(range(256)), b"\xce\x00\x01" * 1000, b"x" * 1_048_576, b"y" * 131_064, b"z" * 131_065],
    ids=["empty", "every byte", "frame ends", "1 MiB", "one full frame", "one byte more"],
)
async def test_any_body_is_kept(transport: Transport, publisher: Publisher, body: bytes) -> None:
    await send(publisher, message(body), message(b"next"))

    deliveries = await receive(await transport.subscribe(QUEUE, 10), 2)

    assert bodies(deliveries) == [body, b"next"]


async def test_headers_are_kept(transport: Transport, publisher: Publisher) -> None:
    headers = {
        "text": "grüße ☃",
        "empty": "",
        "long": "x" * 5000,
        "attempt": 3,
        "zero": 0,
        "negative": -129,
        "half a million": 40_000 * 13,
        "unsigned": 40_000,
        "large": 2**40,
        "yes": True,
        "pi": 3.141592653589793,
    }
    await send(publisher, message(headers=headers))

    [delivery] = await receive(await transport.subscribe(QUEUE, 10), 1)

    assert delivery.headers == headers
    assert delivery.headers["yes"] is True


async def test_a_batch_keeps_its_order(transport: Transport, publisher: Publisher) -> None:
    messages = numbered(500)
    assert await send(publisher, *messages) == [Receipt.CONFIRMED] * 500

    deliveries = await receive(await transport.subscribe(QUEUE, 1000), 500)

    assert bodies(deliveries) == [each.body for each in messages]


async def test_batches_keep_their_order_without_waiting_for_receipts(
    transport: Transport, publisher: Publisher
) -> None:
    receipts, messages = Receipts(), numbered(300)
    for start in range(0, 300, 7):
        publisher.publish(messages[start : start + 7], receipts.confirm)

    assert await receipts.all(messages) == [Receipt.CONFIRMED] * 300
    deliveries = await receive(await transport.subscribe(QUEUE, 1000), 300)
    assert bodies(deliveries) == [each.body for each in messages]


async def test_an_empty_batch_is_nothing(publisher: Publisher) -> None:
    receipts = Receipts()
    publisher.publish([], receipts.confirm)

    assert await send(publisher, message()) == [Receipt.CONFIRMED]
    assert receipts.of == {}


async def test_nothing_is_settled_while_publishing(publisher: Publisher) -> None:
    receipts, sent = Receipts(), [message(), message(routing_key="nowhere")]
    publisher.publish(sent, receipts.confirm)

    assert receipts.of == {}
    assert await receipts.all(sent) == [Receipt.CONFIRMED, Receipt.RETURNED]


async def test_a_receipt_may_lead_to_the_next_message(publisher: Publisher) -> None:
    receipts, first, second = Receipts(), message(b"1"), message(b"2")

    def confirm(message_id: object, receipt: Receipt) -> None:
        publisher.publish([second], receipts.confirm)

    publisher.publish([first], confirm)

    assert await receipts.all([second]) == [Receipt.CONFIRMED]


async def test_an_unroutable_mandatory_message_comes_back(transport: Transport, publisher: Publisher) -> None:
    batch = [message(b"1"), message(b"lost", routing_key="nowhere"), message(b"2")]

    assert await send(publisher, *batch) == [Receipt.CONFIRMED, Receipt.RETURNED, Receipt.CONFIRMED]

    deliveries = await receive(await transport.subscribe(QUEUE, 10), 2)
    assert bodies(deliveries) == [b"1", b"2"]


async def test_a_returned_message_may_be_sent_again(publisher: Publisher) -> None:
    lost = message(routing_key="nowhere")

    assert await send(publisher, lost) == [Receipt.RETURNED]
    assert await send(publisher, lost) == [Receipt.RETURNED]


async def test_an_unroutable_message_that_is_not_mandatory_is_dropped(publisher: Publisher) -> None:
    assert await send(publisher, message(routing_key="nowhere", mandatory=False)) == [Receipt.CONFIRMED]


async def test_a_missing_exchange_leaves_the_fate_unknown_and_the_publisher_usable(
    publisher: Publisher,
) -> None:
    assert await send(publisher, message(exchange="missing")) == [Receipt.UNKNOWN]

    while await send(publisher, message()) != [Receipt.CONFIRMED]:
        pass  # its channel is being opened again


async def test_a_direct_exchange_routes_by_the_whole_key(transport: Transport, publisher: Publisher) -> None:
    await transport.declare(
        Topology(
            (Exchange("commands", "direct"),),
            (Queue("a", 100), Queue("b", 100)),
            (Binding("a", "commands", "a.*"), Binding("b", "commands", "b")),
        )
    )
    receipts = await send(
        publisher,
        message(b"1", exchange="commands", routing_key="a.*"),
        message(b"2", exchange="commands", routing_key="a.x"),
        message(b"3", exchange="commands", routing_key="b"),
    )

    assert receipts == [Receipt.CONFIRMED, Receipt.RETURNED, Receipt.CONFIRMED]
    [to_a] = await receive(await transport.subscribe("a", 10), 1)
    [to_b] = await receive(await transport.subscribe("b", 10), 1)
    assert (to_a.body, to_a.exchange, to_a.routing_key) == (b"1", "commands", "a.*")
    assert (to_b.body, to_b.exchange, to_b.routing_key) == (b"3", "commands", "b")


@pytest.mark.parametrize(
    ("pattern", "taken", "left"),
    [
        ("a.b", ["a.b"], ["a", "a.b.c", "a.c", ""]),
        ("a.*", ["a.b", "a."], ["a", "a.b.c", "b.a"]),
        ("*.b", ["a.b", ".b"], ["b", "a.a.b"]),
        ("#", ["", "a", "a.b.c"], []),
        ("a.#", ["a", "a.b", "a.b.c"], ["b", "ab"]),
        ("#.c", ["c", "a.c", "a.b.c"], ["a.b", "cc"]),
        ("a.#.c", ["a.c", "a.b.c", "a.b.b.c"], ["a", "a.b", "c"]),
        ("*.#", ["a", "a.b"], []),
    ],
)
async def test_a_topic_exchange_routes_by_pattern(
    transport: Transport, publisher: Publisher, pattern: str, taken: list[str], left: list[str]
) -> None:
    await transport.declare(
        Topology((Exchange("events", "topic"),), (Queue("q", 100),), (Binding("q", "events", pattern),))
    )
    expected = [Receipt.CONFIRMED] * len(taken) + [Receipt.RETURNED] * len(left)

    assert await send(publisher, *_events(taken + left)) == expected
    deliveries = await receive(await transport.subscribe("q", 100), len(taken))
    assert [each.routing_key for each in deliveries] == taken


async def test_every_bound_queue_gets_one_copy(transport: Transport, publisher: Publisher) -> None:
    bindings = (Binding("a", "events", "x"), Binding("a", "events", "*"), Binding("b", "events", "#"))
    await transport.declare(
        Topology((Exchange("events", "topic"),), (Queue("a", 100), Queue("b", 100)), bindings)
    )
    await send(publisher, *_events(["x"]))

    assert (await transport.depth("a")).ready == 1
    assert (await transport.depth("b")).ready == 1


async def test_a_closed_publisher_has_settled_everything(transport: Transport) -> None:
    publisher, receipts, sent = transport.publisher(), Receipts(), numbered(100)
    publisher.publish(sent, receipts.confirm)

    await publisher.close()

    assert {receipts.of[each.message_id] for each in sent} <= {Receipt.CONFIRMED, Receipt.UNKNOWN}
    assert await send(publisher, message()) == [Receipt.UNKNOWN]


async def test_publishers_do_not_disturb_each_other(transport: Transport) -> None:
    one, other = transport.publisher(), transport.publisher()
    same = message()
    receipts_of_one, receipts_of_other = Receipts(), Receipts()
    one.publish([same], receipts_of_one.confirm)
    other.publish([same], receipts_of_other.confirm)

    assert await receipts_of_one.all([same]) == [Receipt.CONFIRMED]
    assert await receipts_of_other.all([same]) == [Receipt.CONFIRMED]


def _events(keys: list[str]) -> list[Message]:
    return [message(exchange="events", routing_key=key) for key in keys]
