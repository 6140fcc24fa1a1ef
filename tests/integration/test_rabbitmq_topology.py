"""What RabbitMQ is asked to make, argument by argument, and what it says when something else is there."""

from __future__ import annotations

from uuid import UUID

import pytest

from contracts.routing import command_queue
from messaging.rabbitmq.topology import Names, queue_arguments
from messaging.topology import participant_topology
from messaging.transport import Exchange, ForeignBroker, Queue, Topology, TopologyMismatch
from tests.conformance.leftovers import remove
from tests.integration.rabbitmq_line import Journal, open_proxy, transport_to

NAMES = Names("p.")


def test_a_consumed_queue_dead_letters_at_least_once_without_a_detour() -> None:
    assert queue_arguments(Queue("q", 100, dead_letter_queue="q.dlq"), NAMES) == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 100,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "p.q.dlq",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def test_a_retry_queue_lives_as_long_as_its_delay() -> None:
    arguments = queue_arguments(Queue("q.retry", 100, dead_letter_queue="q", ttl_s=0.25), NAMES)

    assert arguments["x-message-ttl"] == 250


def test_a_dead_letter_queue_leads_nowhere() -> None:
    assert queue_arguments(Queue("q.dlq", 1_000_000), NAMES) == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 1_000_000,
        "x-overflow": "reject-publish",
    }


def test_names_are_prefixed_on_the_wire_alone() -> None:
    assert NAMES.exchange("") == ""
    assert NAMES.exchange("oms.events") == "p.oms.events"
    assert NAMES.key("", "q") == "p.q"
    assert NAMES.key("oms.events", "inventory.reserved") == "inventory.reserved"
    assert NAMES.read("", "p.q") == ("", "q")
    assert NAMES.read("p.oms.events", "inventory.reserved") == ("oms.events", "inventory.reserved")


async def test_a_mismatch_found_at_a_reconnect_is_trouble_until_it_is_mended_and_no_reconnect_loop(
    broker_url: str, unique_prefix: str
) -> None:
    journal = Journal()
    ours, theirs = Topology((Exchange("e", "topic"),)), Topology((Exchange("e", "direct"),))
    async with (
        open_proxy(broker_url) as proxy,
        transport_to(proxy.url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport,
        transport_to(broker_url, prefix=unique_prefix, tidy_at=broker_url) as other,
    ):
        await transport.declare(ours)
        journal.clear()
        await proxy.shut()
        await _delete(broker_url, unique_prefix, "e")
        await other.declare(theirs)
        await proxy.open()

        told = await journal.says("topology in trouble")
        assert "exchange e exists with another type" in told["trouble"]
        await journal.says("broker connected", link="oms consuming")
        await journal.says("broker connected", link="oms publishing")
        assert transport.trouble == told["trouble"]
        assert transport.publisher().room > 0, "the relay goes on with what can be sent"

        await _delete(broker_url, unique_prefix, "e")
        await journal.says("topology in order again")
        assert transport.trouble is None
        with pytest.raises(TopologyMismatch):
            await other.declare(theirs)


async def test_everything_is_declared_again_at_a_reconnect(broker_url: str, unique_prefix: str) -> None:
    journal, topology = Journal(), participant_topology("inventory", (1,))
    async with (
        open_proxy(broker_url) as proxy,
        transport_to(proxy.url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport,
    ):
        await transport.declare(topology)
        journal.clear()
        await proxy.shut()
        await _delete(broker_url, unique_prefix, *(each.name for each in topology.queues))
        await proxy.open()
        await journal.says("broker connected", link="oms consuming")

        assert (await transport.depth(command_queue("inventory"))).ready == 0
        assert list(await transport.declare(topology)) == []


async def _delete(url: str, prefix: str, *names: str) -> None:
    """Somebody deletes these while nobody looks."""
    exchanges = tuple(Exchange(name, "") for name in names)
    await remove(url, prefix, Topology(exchanges, tuple(Queue(name, 0) for name in names)))


async def test_m4_nothing_leaves_for_another_installations_virtual_host_until_that_has_let_go_of_it(
    broker_url: str, unique_prefix: str
) -> None:
    journal = Journal()
    ours, theirs = Topology(installation=UUID(int=1)), Topology(installation=UUID(int=2))
    async with (
        transport_to(broker_url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport,
        transport_to(broker_url, prefix=unique_prefix, tidy_at=broker_url) as other,
    ):
        publisher = transport.publisher()
        await other.declare(theirs)
        with pytest.raises(ForeignBroker) as refused:
            await transport.declare(ours)
        assert (transport.trouble, publisher.room) == (str(refused.value), 0)

        await other.take_over(ForeignBroker(UUID(int=1), str(UUID(int=2))))
        await journal.says("topology in order again")

        assert (transport.trouble, publisher.room > 0) == (None, True)
        with pytest.raises(ForeignBroker):
            await other.declare(theirs)


async def test_m4_a_virtual_host_that_was_given_away_is_noticed_at_a_reconnect(
    broker_url: str, unique_prefix: str
) -> None:
    journal = Journal()
    async with (
        open_proxy(broker_url) as proxy,
        transport_to(proxy.url, prefix=unique_prefix, journal=journal, tidy_at=broker_url) as transport,
        transport_to(broker_url, prefix=unique_prefix, tidy_at=broker_url) as other,
    ):
        await transport.declare(Topology(installation=UUID(int=1)))
        journal.clear()
        await proxy.shut()
        await other.take_over(ForeignBroker(UUID(int=2), str(UUID(int=1))))
        await other.declare(Topology(installation=UUID(int=2)))
        await proxy.open()

        told = await journal.says("topology in trouble")

        assert f"belongs to installation {UUID(int=2)}" in told["trouble"]
        assert transport.publisher().room == 0
