"""A participant as a process: whichever it is, it is served in the same way."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.consumer import Consumer, Hops
from messaging.installation import Identity
from messaging.outbox import Outbox
from messaging.postgresql import SqlUnitOfWork
from messaging.topology import batches_of_commands
from messaging.transport import Subscription, Topology
from messaging.unit_of_work import UnitOfWork
from participants.breaker import BreakerPolicy, CircuitBreaker
from participants.kit.errands import StepAtProvider
from participants.kit.handler import KitHandler
from participants.kit.participant import Participant
from participants.kit.postgresql import SqlKitTransaction, transaction_in
from participants.provider_consumer import ProviderConsumer
from participants.service import ParticipantDeployment, ParticipantService, Storage, Worker


def kit_service(
    deployment: ParticipantDeployment,
    storage: Storage,
    participant: Participant,
    provider: Any = None,
    breaker_policy: BreakerPolicy | None = None,
) -> ParticipantService:
    """Consumes a participant's commands.

    Args:
        provider: the client of its provider; None for a participant without provider steps.
    """

    def worker(
        subscription: Subscription, unit_of_work: UnitOfWork[Any], hops: Hops, identity: Identity
    ) -> Worker:
        return worker_of(
            deployment, participant, provider, breaker_policy, subscription, unit_of_work, hops, identity
        )

    asked = (batches_of_commands(participant.name),) if participant.takes_batches else ()
    asking = Topology(bindings=asked)
    own = (participant.walks, asking, participant.sensitive)
    return ParticipantService(participant.name, deployment, storage, worker, *own)


def worker_of(
    deployment: ParticipantDeployment,
    participant: Participant,
    provider: Any,
    breaker_policy: BreakerPolicy | None,
    subscription: Subscription,
    unit_of_work: UnitOfWork[Any],
    hops: Hops,
    identity: Identity,
) -> Worker:
    """What serves a participant's commands: one that calls its provider where it has one."""
    handler = KitHandler(participant, deployment.new_id)
    pace, tracing = deployment.pace, deployment.tracing
    if not participant.at_provider:
        return Consumer(subscription, unit_of_work, handler, hops, pace.batch_limit, tracing, identity)
    return ProviderConsumer(
        subscription,
        unit_of_work,
        participant.works,
        [StepAtProvider(each, provider) for each in participant.at_provider],
        handler,
        participant.outcomes,
        CircuitBreaker(breaker_policy),
        hops,
        asyncio.get_running_loop().time,
        pace.concurrency,
        pace.longest_call_s,
        tracing,
        identity,
    )


def kit_storage(participant: Participant, database: AsyncEngine, rng: Random) -> Storage:
    """The storage of a participant in its schema of a PostgreSQL database."""
    transaction = transaction_in(participant.name, participant.transaction)

    def storage(outbox: Outbox) -> SqlUnitOfWork[SqlKitTransaction]:
        return SqlUnitOfWork(database, transaction, outbox, rng)

    return storage
