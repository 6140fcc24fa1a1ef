"""`oms broker setup`: what must exist at the broker, and whose its virtual host is (M4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import structlog

from contracts.routing import Batches
from messaging.rabbitmq import RabbitMqTransport
from messaging.topology import batches_of_commands, batches_of_outcomes
from messaging.transport import BrokerUnavailable, ForeignBroker, Queue, Topology, TopologyMismatch
from oms.definitions import registry
from oms.failures import Failure
from oms.identity import known_installation
from oms.installed_participants import takes_batches
from oms.observing.logs import configure_logs
from oms.settings import Settings
from oms.wiring import over_rabbitmq
from orchestrator.service import topology

log = structlog.get_logger(__name__)


def queues(settings: Settings) -> Sequence[Queue]:
    """All that `oms broker setup` declares."""
    return topology(registry(settings), settings.retry_policy).queues


async def set_up(
    settings: Settings, installation: UUID | None = None, batches: Batches | None = None
) -> list[str]:
    """`oms broker setup`: declare the topology; returns what was created, a line each.

    Args:
        installation: whose the virtual host is to be; by default that of the databases of the settings (M4).
        batches: which queues ask for batches from now on; None leaves that as it is (M5).

    Raises:
        Failure: it is another one's, or its queues are not ours.
    """
    return await _set_up(settings, installation, batches, _declared)


async def take_over(
    settings: Settings, installation: UUID | None = None, batches: Batches | None = None
) -> list[str]:
    """`oms broker setup --take-over`: the same, in a virtual host of an installation that is no more."""
    return await _set_up(settings, installation, batches, _declared_anyway)


async def _set_up(
    settings: Settings,
    installation: UUID | None,
    batches: Batches | None,
    declare: Callable[[RabbitMqTransport, Topology], Awaitable[list[str]]],
) -> list[str]:
    configure_logs(settings, "broker setup")
    transport = over_rabbitmq(settings)("setup")
    ours = Topology(installation=installation or await known_installation(settings))
    if ours.installation is None:
        log.warning("no database is named, so the virtual host is not marked as this installation's")
    try:
        changes = await declare(transport, ours + topology(registry(settings), settings.retry_policy))
        if batches is not None:
            changes += await agree(transport, batches, settings)
        return changes
    except (TopologyMismatch, BrokerUnavailable) as error:
        raise Failure(str(error)) from None
    finally:
        await transport.close()


async def agree(transport: RabbitMqTransport, batches: Batches, settings: Settings) -> list[str]:
    """Have the queues ask for such batches and no others (M5); they have been declared.

    Raises BrokerUnavailable.
    """
    participants = registry(settings).participants
    commands = [batches_of_commands(name) for name in participants if takes_batches(name)]
    outcomes = [batches_of_outcomes(name) for name in participants]
    asked = {Batches.NONE: [], Batches.COMMANDS: commands, Batches.ALL: commands + outcomes}[batches]
    possible = [*map(batches_of_commands, participants), *outcomes]
    await transport.rebind(asked, [each for each in possible if each not in asked])
    return [f"batches: {batches}"]


async def _declared(transport: RabbitMqTransport, wanted: Topology) -> list[str]:
    return list(await transport.declare(wanted))


async def _declared_anyway(transport: RabbitMqTransport, wanted: Topology) -> list[str]:
    try:
        return await _declared(transport, wanted)
    except ForeignBroker as foreign:
        await transport.take_over(foreign)
        return await _declared(transport, wanted)
