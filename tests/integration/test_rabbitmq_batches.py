"""M5: queues of a real broker ask for batches when somebody says so, and publishers find out."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Final
from uuid import UUID

import pytest

from contracts.routing import (
    COMMANDS_EXCHANGE,
    EVENTS_EXCHANGE,
    INVENTORY,
    OUTCOMES_QUEUE,
    Batches,
    command_queue,
)
from messaging.rabbitmq import publisher as publishing
from messaging.topology import batches_of_commands, participant_topology
from messaging.transport import Message, Receipt, Topology, Transport
from oms.broker_setup import set_up
from oms.settings import Settings, load_settings
from tests.conformance.correspondence import bodies, message, numbered, receive, send
from tests.integration.rabbitmq_line import transport_to
from tests.support import servers
from tools.servers.rabbitmq.broker import PrivateBroker

pytestmark = pytest.mark.rabbitmq

COMMANDS: Final = command_queue(INVENTORY)
TOPOLOGY: Final = participant_topology(INVENTORY, (1,))
OF_AN_EARLIER_RELEASE: Final = Topology(TOPOLOGY.exchanges, TOPOLOGY.queues, TOPOLOGY.bindings)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    """One whose queues have their real names."""
    folder = tmp_path_factory.mktemp("rabbitmq")
    with servers.new_broker(folder) as broker:
        yield broker
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def settings(broker: PrivateBroker) -> Settings:
    return load_settings(broker_url=broker.url, retry_delays_s="1")


@pytest.fixture
async def transport(broker: PrivateBroker) -> AsyncIterator[Transport]:
    async with transport_to(broker.url, prefix="", tidy_at=broker.url) as transport:
        yield transport


def commands(count: int) -> list[Message]:
    return numbered(count, exchange=COMMANDS_EXCHANGE, routing_key=INVENTORY)


def outcomes(count: int) -> list[Message]:
    key = "inventory.reserved"
    return [message(exchange=EVENTS_EXCHANGE, routing_key=key, app_id=INVENTORY) for _ in range(count)]


async def held(transport: Transport) -> tuple[int, int]:
    """How many messages lie in the queue of commands, and in that of outcomes."""
    return (await transport.depth(COMMANDS)).ready, (await transport.depth(OUTCOMES_QUEUE)).ready


@pytest.mark.parametrize(
    ("asked", "found"), [(Batches.NONE, (4, 3)), (Batches.COMMANDS, (1, 3)), (Batches.ALL, (1, 1))]
)
async def test_broker_setup_says_which_queues_ask(
    transport: Transport, settings: Settings, asked: Batches, found: tuple[int, int]
) -> None:
    ours = UUID(int=1)
    await set_up(settings, ours)
    await set_up(settings, ours, Batches.ALL)

    assert await set_up(settings, ours, asked) == [f"batches: {asked}"]

    await transport.declare(TOPOLOGY)
    before = await held(transport)
    assert set(await send(transport.publisher(), *commands(4), *outcomes(3))) == {Receipt.CONFIRMED}
    after = await held(transport)
    assert (after[0] - before[0], after[1] - before[1]) == found


async def test_a_batch_that_nobody_asked_for_goes_singly_is_no_trouble_and_is_offered_again_later(
    broker: PrivateBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with transport_to(broker.url, prefix="own.", tidy_at=broker.url) as transport:
        await transport.declare(OF_AN_EARLIER_RELEASE)
        publisher = transport.publisher()
        for _ in range(2):
            assert set(await send(publisher, *commands(3))) == {Receipt.CONFIRMED}
        assert (await transport.depth(COMMANDS)).ready == 6
        await transport.rebind([batches_of_commands(INVENTORY)], [])
        await send(publisher, *commands(3))
        assert (await transport.depth(COMMANDS)).ready == 9

        monkeypatch.setattr(publishing, "ASKED_AGAIN_S", 0.0)
        asking = transport.publisher()
        await send(asking, *commands(3))
        assert (await transport.depth(COMMANDS)).ready == 10
        await transport.rebind([], [batches_of_commands(INVENTORY)])
        await send(asking, *commands(3))
        await transport.rebind([batches_of_commands(INVENTORY)], [])
        await send(asking, *commands(3))
        assert (await transport.depth(COMMANDS)).ready == 14

        came = await receive(await transport.subscribe(COMMANDS, 100), 18)
        assert bodies(came) == [b"0", b"1", b"2"] * 6
        assert transport.trouble is None
