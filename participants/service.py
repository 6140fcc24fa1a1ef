"""A participant as a process: its parts, and the loops that keep them going."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from contracts.routing import command_queue
from contracts.sensitive import SENSITIVE_NAMES
from messaging.background import BackgroundLoops
from messaging.consumer import Consumer, Hops
from messaging.identifiers import NewId
from messaging.installation import Identity
from messaging.measures import VANISHED, Reading, read_traffic
from messaging.outbox import Outbox
from messaging.relay import Relay
from messaging.retries import RetryPolicy
from messaging.topology import installation_of, participant_topology
from messaging.tracing import UNTRACED, Tracing
from messaging.transport import NOTHING, Subscription, Topology, Transport, let_nothing_in
from messaging.unit_of_work import UnitOfWork
from participants.breaker import BreakerState
from participants.measures import read_calls, read_pruned
from participants.provider_consumer import ProviderConsumer
from participants.retention import (
    WALKS,
    Pruner,
    Walk,
)


@dataclass(frozen=True, slots=True)
class ParticipantPace:
    """Limits and intervals of one process.

    Attributes:
        batch_limit: most commands in one transaction.
        prefetch: most commands held unacknowledged: two to three batches, and all that wait for calls.
        concurrency: most calls to the provider under way at once.
        longest_call_s: seconds within which every call to the provider ends; above its client's own timeout.
        finish_within_s: seconds that calls under way get to end when the process stops.
        relay_s: seconds between two looks at the outbox while nothing is left behind there.
        sweep_s: seconds between two looks for confirmed rows while no batch deletes them.
        prune_s: seconds between two looks for what may be pruned while there is nothing.
        prune_after_s: seconds that a low-water mark stands before anything behind it is pruned.
        prune_breath_s: seconds between two batches of pruning, for others' work.
    """

    batch_limit: int = 200
    prefetch: int = 500
    concurrency: int = 64
    longest_call_s: float = 30.0
    finish_within_s: float = 15.0
    relay_s: float = 1.0
    sweep_s: float = 0.5
    prune_s: float = 60.0
    prune_after_s: float = 60.0
    prune_breath_s: float = 0.1


@dataclass(frozen=True, slots=True)
class ParticipantDeployment:
    """What a process of a participant is made with, whichever one it is."""

    transport: Transport
    new_id: NewId
    rng: random.Random
    retry_policy: RetryPolicy
    pace: ParticipantPace = ParticipantPace()
    tracing: Tracing = UNTRACED


Storage = Callable[[Outbox], UnitOfWork[Any]]
"""Makes the unit of work of one participant, given what publishes its messages."""


class Worker(Protocol):
    """What serves the commands of a participant."""

    async def run_once(self) -> int:
        """Wait for commands and serve one batch."""


MakeWorker = Callable[[Subscription, UnitOfWork[Any], Hops, Identity], Worker]
"""Makes what serves the commands of one subscription, given whose commands these are (M4)."""


class ParticipantService:
    """Consumes one participant's commands, relays what was left in its outbox.

    Made by `participants.kit.service.kit_service`.
    """

    def __init__(
        self,
        name: str,
        deployment: ParticipantDeployment,
        storage: Storage,
        worker: MakeWorker,
        walks: Mapping[str, Walk] = WALKS,
        asking: Topology = NOTHING,
        sensitive: Collection[str] = SENSITIVE_NAMES,
    ) -> None:
        """
        Args:
            asking: what is declared beside the participant's queues.
            sensitive: names of fields whose values no failure repeats.
        """
        self.name = name
        self._asking = asking
        self.outbox = Outbox(deployment.transport.publisher(), deployment.tracing)
        self._deployment = deployment
        self._make_worker = worker
        self._unit_of_work = storage(self.outbox)
        self._relay = Relay(self._unit_of_work, self.outbox, deployment.transport.publisher())
        self._pruner = Pruner(self._unit_of_work, walks, deployment.pace.prune_after_s)
        self._hops = Hops(deployment.retry_policy, deployment.new_id, name, sensitive)
        self._consuming = BackgroundLoops(deployment.rng)
        self._answering = BackgroundLoops(deployment.rng)
        self.loops = (self._consuming, self._answering)
        self._subscription: Subscription | None = None
        self._worker: Worker | None = None

    async def start(self) -> None:
        """Declare the topology, waiting for database and broker, and begin to work.

        Raises:
            TopologyMismatch: the broker's queues are not ours, or its virtual host is another installation's.
        """
        transport, pace = self._deployment.transport, self._deployment.pace
        identity = self.outbox.identity
        await identity.learn(self._unit_of_work)
        topology = participant_topology(self.name, self._deployment.retry_policy.delays_s)
        await transport.declare(installation_of(identity) + topology + self._asking)
        queue = command_queue(self.name)
        self._subscription = await transport.subscribe(queue, pace.prefetch)
        self._worker = self._make_worker(self._subscription, self._unit_of_work, self._hops, identity)
        if isinstance(self._worker, ProviderConsumer):
            self._answering.start(f"answers to {self.name}", self._worker.answer_once)
        self._answering.start(f"outbox relay of {self.name}", self._relay.run_once, pace.relay_s)
        self._answering.start(f"confirmed outbox rows of {self.name}", self._relay.sweep_once, pace.sweep_s)
        self._answering.start(f"pruning of {self.name}", self._prune_once, pace.prune_s)
        self._consuming.start(f"consumer of {queue}", self._worker.run_once)

    async def stop(self) -> None:
        """Finish the batch and the calls under way, have it confirmed, acknowledge, leave."""
        subscriptions = [] if self._subscription is None else [self._subscription]
        await let_nothing_in(subscriptions)
        await self._consuming.stop()
        if isinstance(self._worker, ProviderConsumer):
            await self._worker.stop(self._deployment.pace.finish_within_s)
        await self._answering.stop()
        await self._relay.finish()
        for subscription in subscriptions:
            await subscription.close()

    def readings(self) -> Iterator[Reading]:
        """What this participant has counted."""
        worker = self._worker
        yield VANISHED.of(self.name), self._deployment.transport.vanished
        if isinstance(worker, Consumer | ProviderConsumer):
            yield from read_traffic(self.name, self.outbox, {command_queue(self.name): worker.batches})
        if isinstance(worker, ProviderConsumer):
            yield from read_calls(self.name, worker)
        yield from read_pruned(self.name, self._pruner)

    @property
    def breaker(self) -> BreakerState | None:
        """Where the circuit breaker at the provider stands; None for a participant without one."""
        return self._worker.breaker_state if isinstance(self._worker, ProviderConsumer) else None

    @property
    def calls_under_way(self) -> int:
        """Calls to the provider that are not answered yet."""
        return self._worker.under_way if isinstance(self._worker, ProviderConsumer) else 0

    @property
    def troubles(self) -> tuple[str, ...]:
        """What keeps this participant from working fully, in a person's words; for readiness."""
        troubles = []
        if self._worker is None:
            troubles.append(f"{self.name} has not started yet")
        if self._deployment.transport.trouble is not None:
            troubles.append(self._deployment.transport.trouble)
        if self.breaker not in (None, BreakerState.CLOSED):
            troubles.append(f"{self.name}: its provider does not answer (circuit breaker {self.breaker})")
        return tuple(troubles)

    async def _prune_once(self) -> bool:
        """One batch of pruning, and a breath after it."""
        more = await self._pruner.run_once()
        if more:
            await asyncio.sleep(self._deployment.pace.prune_breath_s)
        return more
