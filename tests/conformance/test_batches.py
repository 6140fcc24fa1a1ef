"""M5: several messages for one queue in one message at the broker, which nobody but the transports sees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

import pytest

from contracts.envelope import BATCH_CONTENT_TYPE
from contracts.routing import (
    COMMANDS_EXCHANGE,
    DEFAULT_EXCHANGE,
    EVENTS_EXCHANGE,
    INVENTORY,
    OUTCOMES_QUEUE,
    command_queue,
    dead_letter_queue,
)
from messaging.batches import MAX_BYTES, MAX_PARTS
from messaging.topology import batches_of_commands, batches_of_outcomes, orchestrator_topology
from messaging.topology import participant_topology as topology_of
from messaging.transport import Binding, Delivery, Message, Queue, Receipt, Topology, Transport
from tests.conformance.conftest import Connect
from tests.conformance.correspondence import bodies, message, numbered, receive, send

COMMANDS: Final = command_queue(INVENTORY)
ASKING: Final = topology_of(INVENTORY, (1,))
"""A built-in participant's queue, which asks for batches when it is made."""

FOREIGN: Final = topology_of("registrar", (1,))
OUTCOMES: Final = orchestrator_topology(["inventory.reserved", "inventory.released"], (1,))


def commands(count: int, participant: str = INVENTORY, **properties: Any) -> list[Message]:
    """Commands whose bodies are 0, 1, 2, ..."""
    return numbered(count, exchange=COMMANDS_EXCHANGE, routing_key=participant, **properties)


def outcomes(count: int) -> list[Message]:
    """Outcomes of two kinds, as inventory sends them."""
    keys = ("inventory.reserved", "inventory.released")
    return [
        message(
            str(number).encode(), exchange=EVENTS_EXCHANGE, routing_key=keys[number % 2], app_id=INVENTORY
        )
        for number in range(count)
    ]


def in_a_batch(parts: Sequence[Any], **fields: Any) -> Message:
    """A batch as a stranger may write it, straight to the queue of commands."""
    body = json.dumps({"count": len(parts), "messages": list(parts), **fields}).encode()
    return message(body, routing_key=COMMANDS, content_type=BATCH_CONTENT_TYPE)


def part(body: str = "{}", **fields: Any) -> dict[str, Any]:
    """One part as it is to be."""
    return {
        "message_id": str(uuid4()),
        "type": "ReserveInventory",
        "exchange": COMMANDS_EXCHANGE,
        "routing_key": INVENTORY,
        "body": body,
        **fields,
    }


async def wholes(transport: Transport, queue: str = COMMANDS) -> int:
    """How many messages the broker holds ready."""
    return (await transport.depth(queue)).ready


async def test_what_is_sent_at_once_to_a_queue_that_asks_travels_together_and_arrives_one_by_one(
    connect: Connect,
) -> None:
    transport = connect()
    await transport.declare(ASKING)
    sent = commands(10, headers={"attempt": 3, "traceparent": "00-ab"}, correlation_id=uuid4())

    assert set(await send(transport.publisher(), *sent)) == {Receipt.CONFIRMED}

    assert await wholes(transport) == 1
    came = await receive(await transport.subscribe(COMMANDS, 100), 10)
    assert [as_sent(each) for each in came] == [as_written(each) for each in sent]
    assert not any(each.redelivered or each.flaw for each in came)


def as_written(message: Message) -> tuple[Any, ...]:
    return (
        message.body,
        str(message.message_id),
        message.type,
        str(message.correlation_id),
        message.headers,
        message.exchange,
        message.routing_key,
    )


def as_sent(delivery: Delivery) -> tuple[Any, ...]:
    return (
        delivery.body,
        delivery.message_id,
        delivery.type,
        delivery.correlation_id,
        delivery.headers,
        delivery.exchange,
        delivery.routing_key,
    )


async def test_a_lone_message_travels_as_ever(connect: Connect) -> None:
    transport = connect()
    await transport.declare(ASKING)
    publisher = transport.publisher()
    for each in commands(3):
        await send(publisher, each)

    assert await wholes(transport) == 3


async def test_a_queue_that_does_not_ask_gets_single_messages(connect: Connect) -> None:
    transport = connect()
    await transport.declare(FOREIGN)
    publisher = transport.publisher()

    for _ in range(2):
        assert set(await send(publisher, *commands(5, "registrar"))) == {Receipt.CONFIRMED}
    assert await wholes(transport, command_queue("registrar")) == 10


async def test_a_queue_that_stood_before_it_could_ask_gets_single_messages(connect: Connect) -> None:
    transport, later = connect(), connect()
    await transport.declare(Topology(ASKING.exchanges, ASKING.queues, ASKING.bindings))
    await later.declare(ASKING)

    await send(later.publisher(), *commands(5))

    assert await wholes(transport) == 5


async def test_who_consumes_none_of_its_queues_asks_for_nothing(connect: Connect) -> None:
    transport = connect()
    await transport.declare(ASKING.unasked)

    await send(transport.publisher(), *commands(5))

    assert await wholes(transport) == 5


async def test_a_queue_may_begin_to_ask(connect: Connect) -> None:
    transport = connect()
    await transport.declare(FOREIGN + Topology(bindings=(batches_of_commands("registrar"),)))

    await send(transport.publisher(), *commands(5, "registrar"))

    assert await wholes(transport, command_queue("registrar")) == 1


async def test_what_has_no_queue_at_all_comes_back_message_by_message(connect: Connect) -> None:
    transport = connect()
    await transport.declare(ASKING)

    assert await send(transport.publisher(), *commands(3, "nobody")) == [Receipt.RETURNED] * 3


async def test_a_batch_has_at_most_so_many_parts_and_bytes(connect: Connect) -> None:
    transport = connect()
    await transport.declare(ASKING)
    publisher = transport.publisher()
    many = commands(2 * MAX_PARTS + 2)
    large = [
        message(b'"%s"' % (b"x" * 10_000), exchange=COMMANDS_EXCHANGE, routing_key=INVENTORY)
        for _ in range(7)
    ]
    too_large = message(b'"' * MAX_BYTES, exchange=COMMANDS_EXCHANGE, routing_key=INVENTORY)

    await send(publisher, *many)
    assert await wholes(transport) == 3
    await send(publisher, too_large, *large)
    assert await wholes(transport) == 6

    came = await receive(await transport.subscribe(COMMANDS, 1000), len(many) + 8)
    assert not any(each.flaw for each in came)
    assert sorted(bodies(came)) == sorted(each.body for each in (*many, *large, too_large))


@pytest.mark.parametrize("odd", [{"ratio": 0.5}, {"list": [1]}, {"big": 2**70}])
async def test_what_json_would_not_give_back_as_it_was_travels_by_itself(
    connect: Connect, odd: dict[str, Any]
) -> None:
    transport = connect()
    await transport.declare(ASKING)
    binary = message(b"\xff\xfe", exchange=COMMANDS_EXCHANGE, routing_key=INVENTORY)
    strange = [] if "big" in odd else commands(1, headers=odd)

    await send(transport.publisher(), *commands(2), binary, *strange)

    assert await wholes(transport) == 2 + len(strange)


async def test_the_whole_is_acknowledged_when_all_of_its_parts_are(connect: Connect) -> None:
    transport = connect()
    await transport.declare(ASKING)
    await send(transport.publisher(), *commands(10))
    first = await transport.subscribe(COMMANDS, 100)
    came = await receive(first, 10)
    first.acknowledge(came[:9])
    first.acknowledge(came[:9])
    await first.close()

    second = await transport.subscribe(COMMANDS, 100)
    again = await receive(second, 10)
    assert bodies(again) == bodies(came)
    assert all(each.redelivered for each in again)
    second.acknowledge(again[5:])
    second.acknowledge(again[:5])
    await second.close()

    await send(transport.publisher(), *commands(1))
    assert bodies(await receive(await transport.subscribe(COMMANDS, 100), 1)) == [b"0"]


async def test_what_is_in_hand_is_counted_in_parts(connect: Connect) -> None:
    transport = connect()
    await transport.declare(ASKING)
    await send(transport.publisher(), *commands(40 * MAX_PARTS))
    subscription = await transport.subscribe(COMMANDS, 4 * MAX_PARTS)

    taken: list[Delivery] = []
    while len(taken) < 40 * MAX_PARTS:
        came = await subscription.receive(1000)
        taken += came
        assert len(came) <= 9 * MAX_PARTS  # twice the prefetch and a batch
        subscription.acknowledge(came)

    assert sorted(map(int, bodies(taken))) == list(range(40 * MAX_PARTS))


async def test_parts_that_wait_hold_back_their_batches_and_nothing_else(connect: Connect) -> None:
    transport = connect()
    await transport.declare(ASKING)
    await send(transport.publisher(), *commands(40 * MAX_PARTS))
    subscription = await transport.subscribe(COMMANDS, 4 * MAX_PARTS)

    slow: list[Delivery] = []
    for _ in range(40):
        batch = await receive(subscription, MAX_PARTS)
        slow.append(batch[7])
        subscription.acknowledge(batch[:7] + batch[8:])
    subscription.acknowledge(slow)
    await subscription.close()

    assert await wholes(transport) == 0


async def test_outcomes_travel_together_past_the_exchange_of_events_where_the_orchestrator_asks(
    connect: Connect,
) -> None:
    transport, third = connect(), Topology(queues=(Queue("third", 100),))
    third += Topology(bindings=(Binding("third", EVENTS_EXCHANGE, "#"),))
    await transport.declare(ASKING + OUTCOMES + third)
    publisher = transport.publisher()

    await send(publisher, *outcomes(4))
    assert (await wholes(transport, OUTCOMES_QUEUE), await wholes(transport, "third")) == (4, 4)

    asking = connect()
    await asking.declare(ASKING + OUTCOMES + Topology(bindings=(batches_of_outcomes(INVENTORY),)))
    await send(asking.publisher(), *outcomes(4))
    assert (await wholes(transport, OUTCOMES_QUEUE), await wholes(transport, "third")) == (5, 4)

    came = await receive(await transport.subscribe(OUTCOMES_QUEUE, 100), 8)
    assert [each.routing_key for each in came[4:]] == ["inventory.reserved", "inventory.released"] * 2


HOSTILE: Final = {
    "a wrong count": in_a_batch([part()], count=2),
    "no count": message(b'{"messages": [1]}', routing_key=COMMANDS, content_type=BATCH_CONTENT_TYPE),
    "no list": message(b'{"messages": {}}', routing_key=COMMANDS, content_type=BATCH_CONTENT_TYPE),
    "no parts": in_a_batch([]),
    "10,000 parts": in_a_batch([1] * 10_000),
    "no JSON": message(b'{"count": 1, "mess', routing_key=COMMANDS, content_type=BATCH_CONTENT_TYPE),
    "nothing": message(b"", routing_key=COMMANDS, content_type=BATCH_CONTENT_TYPE),
    "too deep": message(b"[" * 60_000, routing_key=COMMANDS, content_type=BATCH_CONTENT_TYPE),
    "too large": message(b"x" * (MAX_BYTES + 1), routing_key=COMMANDS, content_type=BATCH_CONTENT_TYPE),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_cannot_be_taken_apart_is_one_delivery_with_a_flaw(connect: Connect, name: str) -> None:
    transport = connect()
    await transport.declare(ASKING)
    await send(transport.publisher(), HOSTILE[name])
    subscription = await transport.subscribe(COMMANDS, 100)

    [whole] = await receive(subscription, 1)

    assert whole.flaw is not None
    assert whole.flaw.startswith("the batch cannot be taken apart: it ")
    assert whole.body == HOSTILE[name].body
    subscription.acknowledge([whole])
    await send(transport.publisher(), *commands(1))
    assert bodies(await receive(subscription, 1)) == [b"0"]


ROTTEN: Final = {
    "no object": 7,
    "no body": {key: value for key, value in part().items() if key != "body"},
    "a body that is no text": part(body={"saga_id": 1}),  # type: ignore[arg-type]
    "a nested batch": part(content_type=BATCH_CONTENT_TYPE),
    "a part for another queue": part(routing_key="payment"),
    "an event among commands": part(exchange=EVENTS_EXCHANGE),
    "straight to a queue": part(exchange=DEFAULT_EXCHANGE),
    "a header that is a table": part(headers={"x-death": [{}]}),
    "a huge number": part(headers={"attempt": 10**40}),
    "a name that AMQP has no room for": part(type="x" * 256),
    "letters that AMQP has no room for": part(type="\u00e4" * 200),
}


@pytest.mark.parametrize("name", ROTTEN)
async def test_a_rotten_part_among_good_ones_harms_itself_alone(connect: Connect, name: str) -> None:
    transport = connect()
    await transport.declare(ASKING)
    await send(transport.publisher(), in_a_batch([part("1"), ROTTEN[name], part("3")]))
    subscription = await transport.subscribe(COMMANDS, 100)

    one, rotten, three = await receive(subscription, 3)

    assert [one.flaw, three.flaw, one.body, three.body] == [None, None, b"1", b"3"]
    assert rotten.flaw is not None
    assert rotten.flaw.startswith("a part of a batch cannot be read: ")
    assert json.loads(rotten.body) == ROTTEN[name]
    subscription.acknowledge([rotten, one, three])
    await subscription.close()
    assert await wholes(transport) == 0


async def test_a_batch_that_the_broker_gave_up_is_taken_apart_in_the_dead_letters(connect: Connect) -> None:
    transport = connect()
    queues = tuple(
        Queue(each.name, 0, each.dead_letter_queue, each.ttl_s) if each.name == COMMANDS else each
        for each in ASKING.queues
    )
    await transport.declare(Topology(ASKING.exchanges, queues, ASKING.bindings, ASKING.first_bindings))
    await send(transport.publisher(), *commands(3))
    fragile = await transport.subscribe(COMMANDS, 100)
    await receive(fragile, 3)
    await fragile.close()

    dead = await receive(await transport.subscribe(dead_letter_queue(COMMANDS), 100), 3)

    assert bodies(dead) == [b"0", b"1", b"2"]
    assert {each.died_of for each in dead} == {"delivery_limit"}
    assert {each.flaw for each in dead} == {None}
