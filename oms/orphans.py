"""Taking back what is held for orders that are gone, on an installation's own database and broker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from contracts.commands import (
    AuthorizePayment,
    ChargePayment,
    ClaimRefund,
    Command,
    RefundPart,
    RefundPayment,
    ReleaseInventory,
    ReleaseRefundClaim,
    ReserveInventory,
    SettleStep,
    ShipOrder,
    Verdict,
    VoidAuthorization,
)
from contracts.envelope import Direction
from contracts.routing import PARTICIPANTS, SHIPPING, command_queue, retry_queue
from messaging.outbox import Outbox
from messaging.postgresql import SqlUnitOfWork
from messaging.transport import BrokerUnavailable, NoSuchQueue, Topology, TopologyMismatch, Transport
from oms.audit.orphans import NOBODY, Held, Orphan, Undoing
from oms.definitions import registry
from oms.embedded.installation import ids_of, own_database
from oms.failures import Failure
from oms.identity import known_installation
from oms.observing.logs import configure_logs
from oms.retention import LeftToTheRelay
from oms.settings import Settings
from oms.wiring import over_rabbitmq
from orchestrator.core.inputs import Actor
from orchestrator.orphans import Compensation, OrphanOperations
from orchestrator.postgresql import PostgresTransaction

PATIENCE_S: Final = 30.0
"""Seconds of trouble with database or broker after which a run gives up; it can be repeated."""


@asynccontextmanager
async def orphan_operations(settings: Settings, folder: Path) -> AsyncIterator[OrphanOperations]:
    """What takes back, on the orchestrator's database; its relay sends. Raises what `own_database` raises."""
    async with own_database(settings, folder) as database:
        rng = random.SystemRandom()
        outbox = Outbox(LeftToTheRelay())
        transaction = partial(PostgresTransaction, registry=registry(settings))
        unit_of_work = SqlUnitOfWork(database, transaction, outbox, rng, PATIENCE_S)
        yield OrphanOperations(unit_of_work, await ids_of(database, rng))


async def take_back(
    operations: OrphanOperations, orphans: Sequence[Orphan], actor: Actor, undoing: Undoing = NOBODY
) -> int:
    """Have the participants undo what they hold for these orders; returns for how many they were asked."""
    return await operations.take_back([_compensations(orphan, undoing) for orphan in orphans], actor)


async def check_nothing_under_way(settings: Settings, installed: Collection[str] = ()) -> None:
    """Old commands that still wait could have effects after all is taken back: a parcel could leave.

    Args:
        installed: participants that other distributions bring; one that was never set up has no queue.

    Raises:
        Failure: some wait, the broker cannot be asked, or it is another installation's.
    """
    configure_logs(settings, "orphans")
    transport = over_rabbitmq(settings)("orphans")
    delays_s = settings.retry_policy.delays_s
    try:
        async with asyncio.timeout(PATIENCE_S):
            await transport.declare(Topology(installation=await known_installation(settings)))
        for name in (*PARTICIPANTS, *installed):
            queue = command_queue(name)
            for each in (queue, *(retry_queue(queue, delay_s) for delay_s in delays_s)):
                if waiting := await _ready(transport, each, may_be_missing=name in installed):
                    raise Failure(
                        f"{each} holds {waiting} messages, perhaps of orders that are gone: let the "
                        "participants work until it is empty, then look again"
                    )
    except TimeoutError:
        raise Failure(transport.trouble or "the broker does not answer") from None
    except (BrokerUnavailable, TopologyMismatch) as error:
        raise Failure(str(error)) from None
    finally:
        await transport.close()


async def _ready(transport: Transport, queue: str, *, may_be_missing: bool) -> int:
    """How many messages wait. Raises BrokerUnavailable."""
    try:
        return (await transport.depth(queue)).ready
    except NoSuchQueue:
        if may_be_missing:
            return 0
        raise


def _compensations(orphan: Orphan, undoing: Undoing) -> list[Compensation]:
    """What undoes it. A call to the carrier that is in doubt is closed, so that no parcel leaves (S19)."""
    asked = (_undoing(orphan, held, undoing) for held in reversed(orphan.held))
    work = [command for command in asked if command is not None]
    if not work:
        parcel = any(held.participant == SHIPPING for held in orphan.held)
        why = "its parcel has left" if parcel else "no command undoes what is held"
        raise Failure(f"nothing of saga {orphan.saga_id} can be taken back: {why}")
    return work


def _undoing(orphan: Orphan, held: Held, undoing: Undoing) -> Compensation | None:
    identity: dict[str, Any] = {"saga_id": orphan.saga_id, "order_id": orphan.order_id, "step": held.step}
    command: Command
    match held.command:
        case ReserveInventory.__name__:
            command = ReleaseInventory(**identity, direction=Direction.COMPENSATING)
        case ChargePayment.__name__:
            command = RefundPayment(**identity, direction=Direction.COMPENSATING)
        case AuthorizePayment.__name__:
            command = VoidAuthorization(**identity, direction=Direction.COMPENSATING)
        case ClaimRefund.__name__ if not any(each.command == RefundPart.__name__ for each in orphan.held):
            command = ReleaseRefundClaim(**identity, direction=Direction.COMPENSATING)
        case ShipOrder.__name__ if not held.is_certain:
            command = SettleStep(**identity, direction=Direction.FORWARD, verdict=Verdict.NO_EFFECT)
        case _:
            undo = undoing.get(held.participant, {}).get(held.command)
            if undo is None:
                return None
            command = undo(**identity, direction=Direction.COMPENSATING)
    return Compensation(held.participant, command)
