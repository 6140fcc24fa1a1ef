"""The orchestrator as a process: its parts, and the loops that feed its heart."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.routing import ORCHESTRATOR, OUTCOMES_QUEUE, command_queue, dead_letter_queue
from messaging.background import BackgroundLoops
from messaging.consumer import Consumer, FailurePolicy, Handler, Hops
from messaging.identifiers import NewId
from messaging.installation import Identity, IdentityTransaction
from messaging.measures import VANISHED, Distribution, Reading, read_traffic
from messaging.outbox import Outbox
from messaging.postgresql import SqlUnitOfWork
from messaging.relay import Relay, RelayTransaction
from messaging.retries import RetryPolicy
from messaging.topology import installation_of, orchestrator_topology, participant_topology
from messaging.tracing import UNTRACED, Tracing
from messaging.transport import Subscription, Topology, Transport, let_nothing_in
from messaging.unit_of_work import IdentifiedUnitOfWork, UnitOfWork
from orchestrator.core.registry import Registry
from orchestrator.core.state import Saga
from orchestrator.dead_letters.collector import BareRecords, Collector
from orchestrator.dead_letters.replay import DeadLetterOperations
from orchestrator.disclosure import Disclosures
from orchestrator.engine import Engine
from orchestrator.intake import Intake
from orchestrator.jobs.operations import JobOperations
from orchestrator.jobs.postgresql import JobPostgresTransaction
from orchestrator.jobs.runner import JobRunner
from orchestrator.jobs.storage import JobTransaction
from orchestrator.jobs.tasks import Tasks
from orchestrator.operations import Operations
from orchestrator.outcomes import OutcomeHandler
from orchestrator.postgresql import PostgresTransaction
from orchestrator.reconciler import Reconciler
from orchestrator.saga_cache import SagaCache
from orchestrator.storage import OrchestratorTransaction
from orchestrator.webhooks.addresses import Reach
from orchestrator.webhooks.operations import WebhookOperations
from orchestrator.webhooks.storage import WebhookTransaction

log = structlog.get_logger(__name__)

BATCH_LIMIT = 200
PREFETCH = 500
"""Two to three batches: the next one is here when the last one is done."""

SUBMISSIONS = "submissions"
"""What the metrics call the queue of orders that have come over HTTP; it is in memory."""


class ServiceTransaction(OrchestratorTransaction, RelayTransaction, IdentityTransaction, Protocol):
    """All that a process of the orchestrator needs of its storage."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two looks at what nobody announces, while there is nothing to do."""

    due_s: float = 0.5
    relay_s: float = 1.0
    sweep_s: float = 0.5
    jobs_s: float | None = 0.5
    """None: this process works on no jobs."""
    webhooks_s: float = 1.0


class Sending(Protocol):
    """Sends events to receivers of webhooks, see `orchestrator.webhooks.sender`."""

    async def run_once(self) -> None:
        """Begin what there is to send."""

    async def stop(self) -> None:
        """Finish what is under way."""

    def readings(self) -> Iterator[Reading]:
        """What was sent."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a process of the orchestrator is made with.

    Attributes:
        patience_s: seconds of database trouble after which a caller of the HTTP API is told to come back.
        reach: how far webhooks may go.
        random_bytes: so many that nobody can guess.
    """

    registry: Registry
    database: AsyncEngine
    transport: Transport
    new_id: NewId
    rng: random.Random
    retry_policy: RetryPolicy
    idempotency_key_lifetime_s: float
    patience_s: float = 5.0
    pace: Pace = Pace()
    remembered: SagaCache = field(default_factory=SagaCache)
    tracing: Tracing = UNTRACED
    reach: Reach = Reach.PUBLIC
    random_bytes: Callable[[int], bytes] = secrets.token_bytes

    def unit_of_work(self, outbox: Outbox, patience_s: float | None) -> UnitOfWork[ServiceTransaction]:
        """Transactions on the orchestrator's schema."""
        transaction = partial(PostgresTransaction, registry=self.registry, remembered=self.remembered)
        return SqlUnitOfWork(self.database, transaction, outbox, self.rng, patience_s)

    def job_unit_of_work(self, outbox: Outbox, patience_s: float | None) -> UnitOfWork[JobTransaction]:
        """Transactions on the orchestrator's schema, jobs included."""
        transaction = partial(JobPostgresTransaction, registry=self.registry, remembered=self.remembered)
        return SqlUnitOfWork(self.database, transaction, outbox, self.rng, patience_s)

    def webhook_unit_of_work(
        self, outbox: Outbox, patience_s: float | None
    ) -> UnitOfWork[WebhookTransaction]:
        """Transactions on the orchestrator's schema, webhooks included."""
        transaction = partial(WebhookTransaction, registry=self.registry, remembered=self.remembered)
        return SqlUnitOfWork(self.database, transaction, outbox, self.rng, patience_s)


def topology(registry: Registry, retry_policy: RetryPolicy) -> Topology:
    """What must exist at the broker for commands to arrive and outcomes to come back."""
    delays_s = retry_policy.delays_s
    participants = (participant_topology(name, delays_s) for name in registry.participants)
    return reduce(Topology.__add__, participants, orchestrator_topology(registry.outcome_keys, delays_s))


class Front:
    """What the HTTP API does with sagas: take orders in, and let people act."""

    def __init__(
        self, deployment: Deployment, on_progress: Callable[[Sequence[Saga]], None] | None = None
    ) -> None:
        self._deployment = deployment
        self._loops = BackgroundLoops(deployment.rng)
        self.loops = (self._loops,)
        self.outbox = Outbox(deployment.transport.publisher(), deployment.tracing)
        asking = deployment.unit_of_work(self.outbox, deployment.patience_s)
        identify = partial(self.outbox.identity.learn, asking)
        unit_of_work = IdentifiedUnitOfWork(asking, identify)
        new_id = deployment.new_id
        self.engine = Engine(deployment.registry, new_id, deployment.rng, on_progress)
        self.intake = Intake(
            unit_of_work,
            self.engine,
            deployment.idempotency_key_lifetime_s,
        )
        self.operations = Operations(unit_of_work, self.engine, new_id)
        self.dead_letters = DeadLetterOperations(unit_of_work, self.engine, self.operations, new_id)
        jobs = deployment.job_unit_of_work(self.outbox, deployment.patience_s)
        tasks = Tasks(self.dead_letters, self.operations)
        self.jobs = JobOperations(IdentifiedUnitOfWork(jobs, identify), tasks, new_id)
        hooks = IdentifiedUnitOfWork(
            deployment.webhook_unit_of_work(self.outbox, deployment.patience_s), identify
        )
        self.webhooks = WebhookOperations(hooks, new_id, deployment.random_bytes, deployment.reach)
        self.disclosures = Disclosures(unit_of_work, new_id)
        self._relay = Relay(unit_of_work, self.outbox, deployment.transport.publisher())

    async def start(self) -> None:
        """Begin to take orders in; neither the broker nor the database need be up."""
        self._loops.start("submissions", self.intake.run_once)
        sweep_s = self._deployment.pace.sweep_s
        self._loops.start("confirmed outbox rows of submissions", self._relay.sweep_once, sweep_s)

    async def identity(self) -> Identity:
        """Whose the orders are; waits for the database (M4)."""
        await self.outbox.identity.learn(self._deployment.unit_of_work(self.outbox, None))
        return self.outbox.identity

    def readings(self) -> Iterator[Reading]:
        """What this part of the process has counted."""
        yield from read_traffic(ORCHESTRATOR, self.outbox, {SUBMISSIONS: self.intake.batches})
        yield from self.engine.readings()

    async def stop(self) -> None:
        """Finish what has begun, and have it confirmed."""
        await self._loops.stop()
        await self._relay.finish()


class OrchestratorService:
    """Consumes outcomes and dead letters, looks at due sagas, relays what was left in the outbox."""

    def __init__(
        self,
        deployment: Deployment,
        on_progress: Callable[[Sequence[Saga]], None] | None = None,
        webhooks: Sending | None = None,
    ) -> None:
        """
        Args:
            webhooks: None: this process sends none.
        """
        self._deployment = deployment
        self._webhooks = webhooks
        self._loops = BackgroundLoops(deployment.rng)
        self.loops = (self._loops,)
        self._subscriptions: list[Subscription] = []
        self._batches: dict[str, Distribution] = {}
        self.outbox = Outbox(deployment.transport.publisher(), deployment.tracing)
        self._unit_of_work = deployment.unit_of_work(self.outbox, None)
        self.engine = Engine(deployment.registry, deployment.new_id, deployment.rng, on_progress)
        self._relay = Relay(self._unit_of_work, self.outbox, deployment.transport.publisher())
        self._hops = Hops(
            deployment.retry_policy, deployment.new_id, ORCHESTRATOR, deployment.registry.sensitive
        )
        self._jobs = self._job_runner()

    async def start(self) -> None:
        """Declare the topology, waiting for database and broker, and begin to work.

        Raises:
            TopologyMismatch: the broker's queues are not ours, or its virtual host is another installation's.
        """
        deployment, identity = self._deployment, self.outbox.identity
        await identity.learn(self._unit_of_work)
        wanted = topology(deployment.registry, deployment.retry_policy).unasked
        await deployment.transport.declare(installation_of(identity) + wanted)
        outcomes = await self._consume(OUTCOMES_QUEUE, OutcomeHandler(self.engine), self._hops, identity)
        collector = Collector(self.engine, deployment.new_id, identity)
        for queue in (OUTCOMES_QUEUE, *map(command_queue, deployment.registry.participants)):
            await self._consume(dead_letter_queue(queue), collector, BareRecords(deployment.new_id))
        reconciler = Reconciler(self._unit_of_work, self.engine, deployment.transport, outcomes)
        pace = self._deployment.pace
        self._loops.start("due sagas", reconciler.run_once, pace.due_s)
        self._loops.start("outbox relay", self._relay.run_once, pace.relay_s)
        self._loops.start("confirmed outbox rows", self._relay.sweep_once, pace.sweep_s)
        if pace.jobs_s is not None:
            self._loops.start("jobs", self._jobs.run_once, pace.jobs_s)
        if self._webhooks is not None:
            self._loops.start("webhooks", self._webhooks.run_once, pace.webhooks_s)

    def readings(self) -> Iterator[Reading]:
        """What this part of the process has counted."""
        yield from read_traffic(ORCHESTRATOR, self.outbox, self._batches)
        yield VANISHED.of(ORCHESTRATOR), self._deployment.transport.vanished
        yield from self.engine.readings()
        yield from self._jobs.readings()
        if self._webhooks is not None:
            yield from self._webhooks.readings()

    async def stop(self) -> None:
        """Finish the batch, have it confirmed, acknowledge, leave."""
        await let_nothing_in(self._subscriptions)
        await self._loops.stop()
        if self._webhooks is not None:
            await self._webhooks.stop()
        await self._relay.finish()
        await asyncio.gather(*(subscription.close() for subscription in self._subscriptions))

    async def _consume(
        self,
        queue: str,
        handler: Handler[ServiceTransaction],
        failure_policy: FailurePolicy,
        identity: Identity | None = None,
    ) -> Consumer[ServiceTransaction]:
        subscription = await self._deployment.transport.subscribe(queue, PREFETCH)
        self._subscriptions.append(subscription)
        tracing = self._deployment.tracing
        consumer = Consumer(
            subscription, self._unit_of_work, handler, failure_policy, BATCH_LIMIT, tracing, identity
        )
        self._batches[queue] = consumer.batches
        self._loops.start(f"consumer of {queue}", consumer.run_once)
        return consumer

    def _job_runner(self) -> JobRunner:
        new_id = self._deployment.new_id
        operations = Operations(self._unit_of_work, self.engine, new_id)
        dead_letters = DeadLetterOperations(self._unit_of_work, self.engine, operations, new_id)
        tasks = Tasks(dead_letters, operations)
        return JobRunner(self._deployment.job_unit_of_work(self.outbox, None), tasks, new_id)
