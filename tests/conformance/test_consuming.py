"""How messages are handed out, acknowledged and handed out again."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from messaging.transport import Publisher, Queue, Topology, Transport
from tests.conformance.conftest import Connect
from tests.conformance.correspondence import (
    PATIENCE_S,
    PLAIN,
    QUEUE,
    bodies,
    message,
    numbered,
    receive,
    send,
)


async def test_a_lone_message_is_handed_out_at_once(transport: Transport, publisher: Publisher) -> None:
    subscription = await transport.subscribe(QUEUE, 100)
    waiting = asyncio.ensure_future(subscription.receive(100))
    await send(publisher, message(b"alone"))

    async with asyncio.timeout(PATIENCE_S):
        assert bodies(await waiting) == [b"alone"]


async def test_a_flood_is_handed_out_in_batches_of_at_most_the_limit(
    transport: Transport, publisher: Publisher
) -> None:
    await send(publisher, *numbered(100))
    subscription = await transport.subscribe(QUEUE, 200)
    sizes: list[int] = []
    seen: list[bytes] = []
    while len(seen) < 100:
        batch = await subscription.receive(30)
        sizes.append(len(batch))
        seen += bodies(batch)

    assert seen == [each.body for each in numbered(100)]
    assert max(sizes) == 30


async def test_what_arrives_during_work_forms_the_next_batch(
    transport: Transport, publisher: Publisher
) -> None:
    subscription = await transport.subscribe(QUEUE, 200)
    await send(publisher, message(b"first"))
    first = await receive(subscription, 1)
    await send(publisher, *numbered(50))
    rest = await receive(subscription, 50)

    assert bodies(first) == [b"first"]
    assert bodies(rest) == [each.body for each in numbered(50)]


async def test_at_most_the_prefetch_is_out_at_once(transport: Transport, publisher: Publisher) -> None:
    await send(publisher, *numbered(20))
    subscription = await transport.subscribe(QUEUE, 5)
    first = await receive(subscription, 5)

    assert (await transport.depth(QUEUE)).ready == 15
    subscription.acknowledge(first[:2])
    assert bodies(await receive(subscription, 2)) == [b"5", b"6"]
    assert (await transport.depth(QUEUE)).ready == 13


async def test_what_was_acknowledged_is_gone(transport: Transport, publisher: Publisher) -> None:
    await send(publisher, *numbered(10))
    subscription = await transport.subscribe(QUEUE, 100)
    subscription.acknowledge(await receive(subscription, 10))
    await subscription.close()
    await send(publisher, message(b"next"))

    assert bodies(await receive(await transport.subscribe(QUEUE, 100), 1)) == [b"next"]


async def test_what_was_not_acknowledged_comes_back_marked(
    transport: Transport, publisher: Publisher
) -> None:
    await send(publisher, *numbered(10))
    first = await transport.subscribe(QUEUE, 100)
    await receive(first, 4)  # the others have arrived and were not asked for
    await first.close()

    again = await receive(await transport.subscribe(QUEUE, 100), 10)

    assert sorted(bodies(again)) == sorted(each.body for each in numbered(10))
    assert all(each.redelivered for each in again[:4])


async def test_what_a_lost_transport_held_comes_back(connect: Connect) -> None:
    lost, kept = connect(), connect()
    await lost.declare(PLAIN)
    await kept.declare(PLAIN)
    await send(kept.publisher(), *numbered(3))
    await receive(await lost.subscribe(QUEUE, 100), 3)
    await lost.close()

    again = await receive(await kept.subscribe(QUEUE, 100), 3)

    assert sorted(bodies(again)) == [b"0", b"1", b"2"]


@pytest.mark.parametrize("seed", range(6))
async def test_acknowledging_in_any_order_makes_room_for_as_many_and_leaves_exactly_the_rest(
    transport: Transport, publisher: Publisher, seed: int
) -> None:
    rng = Random(seed)
    messages = numbered(120)
    await send(publisher, *messages)
    subscription = await transport.subscribe(QUEUE, 60)
    deliveries = await receive(subscription, 60)
    kept = rng.sample(deliveries, 7)
    done = [each for each in deliveries if each not in kept]
    rng.shuffle(done)
    while done:
        size = rng.randint(1, 9)
        subscription.acknowledge(done[:size])
        done = done[size:]

    assert bodies(await receive(subscription, 53)) == [each.body for each in messages[60:113]]
    await subscription.close()
    again = await receive(await transport.subscribe(QUEUE, 100), 67)
    assert sorted(bodies(again)) == sorted(bodies(kept) + [each.body for each in messages[60:]])


async def test_acknowledging_twice_is_harmless(transport: Transport, publisher: Publisher) -> None:
    await send(publisher, *numbered(4))
    subscription = await transport.subscribe(QUEUE, 100)
    deliveries = await receive(subscription, 4)
    subscription.acknowledge(deliveries[1:3])
    subscription.acknowledge(deliveries[1:3])
    subscription.acknowledge(deliveries)
    subscription.acknowledge(deliveries)
    subscription.acknowledge([])

    await send(publisher, message(b"next"))
    assert bodies(await receive(subscription, 1)) == [b"next"]


async def test_an_acknowledgement_from_an_earlier_life_is_dropped(
    transport: Transport, publisher: Publisher
) -> None:
    await send(publisher, *numbered(3))
    first = await transport.subscribe(QUEUE, 100)
    stale = await receive(first, 3)
    await first.close()
    second = await transport.subscribe(QUEUE, 100)
    await receive(second, 3)

    first.acknowledge(stale)
    second.acknowledge(stale)
    await second.close()

    again = await receive(await transport.subscribe(QUEUE, 100), 3)
    assert sorted(bodies(again)) == [b"0", b"1", b"2"]


async def test_consumers_share_a_queue_fairly(connect: Connect) -> None:
    one, other = connect(), connect()
    await one.declare(PLAIN)
    await other.declare(PLAIN)
    subscriptions = [await one.subscribe(QUEUE, 5), await other.subscribe(QUEUE, 5)]
    await send(one.publisher(), *numbered(10))

    shares = [await receive(each, 5) for each in subscriptions]

    assert sorted(bodies(shares[0] + shares[1])) == sorted(each.body for each in numbered(10))
    assert (await one.depth(QUEUE)).consumers == 2


async def test_a_paused_subscription_gets_nothing_until_resumed(
    transport: Transport, publisher: Publisher
) -> None:
    subscription = await transport.subscribe(QUEUE, 100)
    await subscription.pause()
    await send(publisher, message(b"later"))
    depth = await transport.depth(QUEUE)
    assert (depth.ready, depth.consumers) == (1, 0)

    await subscription.resume()

    assert bodies(await receive(subscription, 1)) == [b"later"]


async def test_what_arrived_before_a_pause_can_be_received_and_acknowledged(
    transport: Transport, publisher: Publisher
) -> None:
    subscription = await transport.subscribe(QUEUE, 100)
    await send(publisher, *numbered(6))
    early = await receive(subscription, 1)
    await subscription.pause()
    depth = await transport.depth(QUEUE)
    arrived = early + await receive(subscription, 5 - depth.ready)
    subscription.acknowledge(arrived)
    await subscription.resume()

    rest = await receive(subscription, depth.ready)
    subscription.acknowledge(rest)
    await subscription.close()

    assert bodies(arrived + rest) == [each.body for each in numbered(6)]
    await send(publisher, message(b"next"))
    assert bodies(await receive(await transport.subscribe(QUEUE, 100), 1)) == [b"next"]


async def test_pausing_and_resuming_twice_changes_nothing(transport: Transport, publisher: Publisher) -> None:
    subscription = await transport.subscribe(QUEUE, 100)
    await subscription.pause()
    await subscription.pause()
    await subscription.resume()
    await subscription.resume()
    await send(publisher, *numbered(3))

    assert bodies(await receive(subscription, 3)) == [b"0", b"1", b"2"]
    assert (await transport.depth(QUEUE)).consumers == 1


async def test_a_retry_queue_hands_back_after_its_delay_with_headers_intact(
    transport: Transport, publisher: Publisher
) -> None:
    await transport.declare(Topology(queues=(Queue("orders.retry", 100, QUEUE, ttl_s=0.05),)))
    subscription = await transport.subscribe(QUEUE, 100)
    headers = {"attempt": 2, "event-id": "e-1", "error-type": "Timeout"}
    sent = [message(body, routing_key="orders.retry", headers=headers) for body in (b"1", b"2")]
    await send(publisher, *sent)

    back = await receive(subscription, 2)

    assert bodies(back) == [b"1", b"2"]
    for delivery, original in zip(back, sent, strict=True):
        assert delivery.headers.items() >= headers.items()
        assert delivery.message_id == str(original.message_id)
        assert (delivery.exchange, delivery.routing_key) == ("", QUEUE)
        assert not delivery.redelivered


async def test_a_message_that_keeps_coming_back_ends_in_the_dead_letters(
    transport: Transport, publisher: Publisher
) -> None:
    queues = (Queue("fragile", 2, "fragile.dlq"), Queue("fragile.dlq", 1_000_000))
    await transport.declare(Topology(queues=queues))
    dead_letters = await transport.subscribe("fragile.dlq", 10)
    sent = message(b"poison", routing_key="fragile", headers={"attempt": 1})
    await send(publisher, sent)

    for _ in range(3):
        subscription = await transport.subscribe("fragile", 10)
        await receive(subscription, 1)
        await subscription.close()

    [dead] = await receive(dead_letters, 1)
    assert dead.body == b"poison"
    assert dead.headers["attempt"] == 1
    assert dead.died_of == "delivery_limit"
    assert (await transport.depth("fragile")).ready == 0
