"""What a broker that does not let us do something is heard to say: one line that names what is missing."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator

import pytest
from yarl import URL

from contracts.routing import COMMANDS_EXCHANGE, EVENTS_EXCHANGE, command_queue
from messaging.topology import participant_topology
from messaging.transport import Message, Receipt
from tests.conformance.correspondence import PATIENCE_S, message, receive, send
from tests.integration.rabbitmq_line import Journal, transport_to
from tests.support import servers
from tools.servers.rabbitmq.broker import PrivateBroker

pytestmark = pytest.mark.rabbitmq

COMMANDS = command_queue("payment")
TOPOLOGY = participant_topology("payment", (1,))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    """One that takes a delivery back after a second without an acknowledgement."""
    folder = tmp_path_factory.mktemp("rabbitmq")
    with servers.new_broker(folder) as broker:
        for name in ("consumer_timeout", "channel_tick_interval"):
            broker.control("eval", f"application:set_env(rabbit, {name}, 1000).")
        yield broker
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def virtual_host(broker: PrivateBroker, unique_prefix: str) -> Iterator[URL]:
    """The URL of a virtual host of this test's own, for a user who may do everything there."""
    name = unique_prefix.rstrip(".")
    broker.control("add_vhost", name)
    broker.control("add_user", name, name)
    broker.control("set_permissions", "-p", name, name, ".*", ".*", ".*")
    yield URL(broker.url).with_user(name).with_password(name).with_path(f"/{name}")
    broker.control("delete_user", name)
    broker.control("delete_vhost", name)


async def control(broker: PrivateBroker, command: str, host: URL, *arguments: str) -> None:
    await asyncio.to_thread(broker.control, command, "-p", host.path[1:], *arguments)


def a_command() -> Message:
    return message(exchange=COMMANDS_EXCHANGE, routing_key="payment")


async def test_no_room_for_another_queue_is_trouble_that_passes_and_no_mismatch(
    broker: PrivateBroker, virtual_host: URL
) -> None:
    journal = Journal()
    await control(broker, "set_vhost_limits", virtual_host, json.dumps({"max-queues": 2}))
    async with transport_to(str(virtual_host), prefix="", journal=journal) as transport:
        declaring = asyncio.create_task(transport.declare(TOPOLOGY))
        told = await journal.says("topology in trouble")
        assert "queue limit in vhost" in told["trouble"]
        assert "cannot be declared" in told["trouble"]

        await control(broker, "clear_vhost_limits", virtual_host)

        async with asyncio.timeout(PATIENCE_S):
            await declaring
        assert transport.trouble is None


@pytest.mark.parametrize("mays", ["^$", f"^{EVENTS_EXCHANGE}$"])
async def test_a_missing_right_to_write_is_trouble_until_it_is_given(
    broker: PrivateBroker, virtual_host: URL, mays: str
) -> None:
    async with transport_to(str(virtual_host), prefix="") as transport:
        await transport.declare(TOPOLOGY)
        user = virtual_host.user or ""
        await control(broker, "set_permissions", virtual_host, user, ".*", mays, ".*")
        publisher = transport.publisher()

        assert await send(publisher, a_command()) == [Receipt.UNKNOWN]

        async with asyncio.timeout(PATIENCE_S):
            while transport.trouble is None:
                await asyncio.sleep(0)
        assert f"access to exchange '{COMMANDS_EXCHANGE}'" in transport.trouble
        await control(broker, "set_permissions", virtual_host, user, ".*", ".*", ".*")
        async with asyncio.timeout(PATIENCE_S):
            while await send(publisher, a_command()) != [Receipt.CONFIRMED]:
                pass
        assert transport.trouble is None


async def test_a_delivery_held_for_too_long_comes_again_and_the_brokers_reason_is_told(
    virtual_host: URL,
) -> None:
    journal = Journal()
    async with transport_to(str(virtual_host), prefix="", journal=journal) as transport:
        await transport.declare(TOPOLOGY)
        subscription = await transport.subscribe(COMMANDS, 10)
        await send(transport.publisher(), message(routing_key=COMMANDS))
        held = await receive(subscription, 1)

        told = await journal.says("consumer's channel closed by the broker", queue=COMMANDS)
        assert "timed out" in told["why"]

        again = await receive(subscription, 1)
        assert again[0].message_id == held[0].message_id
