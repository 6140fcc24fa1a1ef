"""How exchanges and queues come to be, and what is known of them."""

from __future__ import annotations

from uuid import UUID

import pytest

from messaging.topology import orchestrator_topology, participant_topology
from messaging.transport import (
    Binding,
    BrokerUnavailable,
    Exchange,
    ForeignBroker,
    Publisher,
    Queue,
    Topology,
    TopologyMismatch,
    Transport,
)
from tests.conformance.conftest import Connect
from tests.conformance.correspondence import PLAIN, QUEUE, message, numbered, receive, send

WHOLE = participant_topology("inventory", (0.05, 1)) + orchestrator_topology(["inventory.reserved"], (1,))


async def test_declaring_says_what_it_made(connect: Connect) -> None:
    created = await connect().declare(WHOLE)

    assert list(created) == [
        *(f"exchange {each.name}" for each in WHOLE.exchanges),
        *(f"queue {each.name}" for each in WHOLE.queues),
    ]


async def test_declaring_again_makes_nothing(connect: Connect) -> None:
    await connect().declare(WHOLE)
    transport = connect()

    assert list(await transport.declare(WHOLE)) == []
    assert transport.trouble is None


async def test_declaring_more_names_only_what_is_new(connect: Connect) -> None:
    transport = connect()
    await transport.declare(Topology(queues=(Queue("a", 100),)))

    assert list(await transport.declare(Topology(queues=(Queue("a", 100), Queue("b", 100))))) == ["queue b"]


async def test_declaring_keeps_what_queues_hold(connect: Connect) -> None:
    transport = connect()
    await transport.declare(WHOLE)
    await send(transport.publisher(), message(exchange="oms.commands", routing_key="inventory"))
    await transport.declare(WHOLE)

    assert (await transport.depth("inventory.commands")).ready == 1


@pytest.mark.parametrize(
    ("other", "argument"),
    [
        (Queue("q", 100, "dlq", ttl_s=2), "x-message-ttl"),
        (Queue("q", 100, "elsewhere", ttl_s=1), "x-dead-letter-routing-key"),
    ],
)
async def test_a_queue_with_other_properties_is_a_clear_error(
    connect: Connect, other: Queue, argument: str
) -> None:
    await connect().declare(Topology(queues=(Queue("q", 100, "dlq", ttl_s=1), Queue("dlq", 100))))

    with pytest.raises(TopologyMismatch, match="queue q ") as caught:
        await connect().declare(Topology(queues=(other,)))

    assert argument in str(caught.value)


async def test_an_exchange_of_another_kind_is_a_clear_error(connect: Connect) -> None:
    await connect().declare(Topology((Exchange("events", "topic"),)))

    with pytest.raises(TopologyMismatch, match=r"exchange events .*type"):
        await connect().declare(Topology((Exchange("events", "direct"),)))


async def test_a_mismatch_leaves_the_transport_usable(connect: Connect) -> None:
    transport = connect()
    await transport.declare(Topology(queues=(Queue("q", 100, ttl_s=1), Queue(QUEUE, 100))))
    with pytest.raises(TopologyMismatch):
        await transport.declare(Topology(queues=(Queue("q", 100, ttl_s=2),)))

    await send(transport.publisher(), message(b"still here"))

    [delivery] = await receive(await transport.subscribe(QUEUE, 10), 1)
    assert delivery.body == b"still here"


async def test_a_binding_declared_later_routes_from_then_on(connect: Connect) -> None:
    transport = connect()
    await transport.declare(Topology((Exchange("events", "topic"),), (Queue("q", 100),)))
    publisher = transport.publisher()
    await send(publisher, message(exchange="events", routing_key="x", mandatory=False))
    await transport.declare(Topology((Exchange("events", "topic"),), (), (Binding("q", "events", "x"),)))
    await send(publisher, message(exchange="events", routing_key="x"))

    assert (await transport.depth("q")).ready == 1


async def test_depth_counts_what_is_ready_and_who_consumes(
    transport: Transport, publisher: Publisher
) -> None:
    before = await transport.depth(QUEUE)
    await send(publisher, *numbered(7))
    filled = await transport.depth(QUEUE)
    subscription = await transport.subscribe(QUEUE, 3)
    await receive(subscription, 3)
    consumed = await transport.depth(QUEUE)

    assert (before.ready, before.consumers) == (0, 0)
    assert (filled.ready, filled.consumers) == (7, 0)
    assert (consumed.ready, consumed.consumers) == (4, 1)


async def test_the_depth_of_a_missing_queue_cannot_be_known(transport: Transport) -> None:
    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match="missing"):
            await transport.depth("missing")

    assert (await transport.depth(QUEUE)).ready == 0


async def test_all_is_well(transport: Transport) -> None:
    assert transport.trouble is None


async def test_m4_the_first_installation_owns_the_virtual_host(connect: Connect) -> None:
    """M4."""
    ours, mark = Topology(installation=UUID(int=1)), f"mark of installation {UUID(int=1)}"

    assert list(await connect().declare(ours)) == [mark]
    assert list(await connect().declare(ours)) == []
    assert list(await connect().declare(ours + PLAIN)) == [f"queue {QUEUE}"]


async def test_m4_another_installation_is_told_whose_it_is_and_declares_nothing(connect: Connect) -> None:
    """M4."""
    await connect().declare(Topology(installation=UUID(int=1)))

    with pytest.raises(ForeignBroker) as refused:
        await connect().declare(Topology(installation=UUID(int=2)) + PLAIN)

    assert refused.value.owner == str(UUID(int=1))
    assert f"belongs to installation {UUID(int=1)}, and this database to installation {UUID(int=2)}" in str(
        refused.value
    )
    assert list(await connect().declare(PLAIN)) == [f"queue {QUEUE}"]


async def test_m4_who_does_not_know_its_installation_declares_anywhere(connect: Connect) -> None:
    """Services of the release before do, and work beside new ones while they are replaced."""
    await connect().declare(Topology(installation=UUID(int=1)))

    assert list(await connect().declare(PLAIN)) == [f"queue {QUEUE}"]
