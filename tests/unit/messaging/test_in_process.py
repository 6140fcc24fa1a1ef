"""What the broker in this process offers beyond the promises of every transport."""

from __future__ import annotations

from messaging.in_process import InProcessBroker, InProcessTransport
from messaging.transport import Queue, Receipt, Topology
from tests.conformance.correspondence import QUEUE, bodies, message, numbered, receive, send

ORDERS = Topology(queues=(Queue(QUEUE, 100),))


async def test_purging_forgets_what_is_ready_but_not_what_is_held() -> None:
    broker = InProcessBroker()
    transport = InProcessTransport(broker)
    await transport.declare(ORDERS)
    await send(transport.publisher(), *numbered(5))
    subscription = await transport.subscribe(QUEUE, 2)
    held = await receive(subscription, 2)

    assert broker.purge(QUEUE) == 3
    await subscription.close()

    assert bodies(held) == [b"0", b"1"]
    assert (await transport.depth(QUEUE)).ready == 2


async def test_a_consumer_comes_back_when_its_deleted_queue_is_declared_again() -> None:
    broker = InProcessBroker()
    transport = InProcessTransport(broker)
    await transport.declare(ORDERS)
    publisher = transport.publisher()
    subscription = await transport.subscribe(QUEUE, 10)
    await send(publisher, message(b"lost with the queue"))
    broker.delete_queue(QUEUE)
    assert await send(publisher, message()) == [Receipt.RETURNED]

    assert await transport.declare(ORDERS) == [f"queue {QUEUE}"]
    await send(publisher, message(b"new"))

    assert bodies(await receive(subscription, 1)) == [b"new"]


async def test_a_consumer_may_wait_for_a_queue_that_does_not_exist_yet() -> None:
    transport = InProcessTransport(InProcessBroker())
    subscription = await transport.subscribe(QUEUE, 10)
    await transport.declare(ORDERS)
    await send(transport.publisher(), message(b"at last"))

    assert bodies(await receive(subscription, 1)) == [b"at last"]


async def test_brokers_know_nothing_of_each_other() -> None:
    one, other = InProcessBroker(), InProcessBroker()
    await InProcessTransport(one).declare(ORDERS)

    assert one.queues == (QUEUE,)
    assert other.queues == ()


async def test_a_message_without_a_dead_letter_queue_is_gone_after_its_last_failure() -> None:
    transport = InProcessTransport(InProcessBroker())
    await transport.declare(Topology(queues=(Queue(QUEUE, 1),)))
    await send(transport.publisher(), message())
    for _ in range(2):
        subscription = await transport.subscribe(QUEUE, 1)
        await receive(subscription, 1)
        await subscription.close()

    assert (await transport.depth(QUEUE)).ready == 0
