"""A participant on a stage: its service over a real database, the in-process broker, and an observer."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.commands import Command
from contracts.routing import EVENTS_EXCHANGE, command_queue, dead_letter_queue
from messaging.compose import command_message
from messaging.in_process import InProcessBroker, InProcessSubscription, InProcessTransport
from messaging.retries import RetryPolicy
from messaging.topology import EXCHANGES, participant_topology
from messaging.transport import Binding, Delivery, Message, Queue, Topology
from participants.breaker import BreakerPolicy
from participants.kit.participant import Participant
from participants.kit.service import kit_service, kit_storage
from participants.payment.handlers import payment
from participants.service import ParticipantDeployment, ParticipantPace, ParticipantService
from participants.shipping.handlers import shipping
from tests.support.participants import NOW, new_id
from tests.support.providers import Carrier, Gateway

OBSERVER = "observer"
RETRIES = RetryPolicy(delays_s=(0.01,), max_attempts=3)
CALM = BreakerPolicy(minimum_calls=1_000_000)
"""A breaker that never opens."""

PACE = ParticipantPace(longest_call_s=5.0, finish_within_s=5.0, relay_s=0.05, sweep_s=0.05)


@dataclass(frozen=True, slots=True)
class Seen:
    """One event that the observer got."""

    type: str
    body: dict[str, Any]
    event_id: str


async def until(condition: Callable[[], bool]) -> None:
    """Let everybody else work until something is so; the test's own time limit bounds it."""
    while not condition():
        await asyncio.sleep(0)


class Stage:
    """One participant, any number of replicas of it, and everything that it says."""

    def __init__(
        self,
        participant: Participant,
        engine: AsyncEngine,
        provider: Any = None,
        breaker: BreakerPolicy = CALM,
        pace: ParticipantPace = PACE,
    ) -> None:
        self.name = participant.name
        self.engine = engine
        self.broker = InProcessBroker()
        self.pace = pace
        self._participant = participant
        self._provider = provider
        self._breaker = breaker
        self._transport = InProcessTransport(self.broker)
        self._services: list[ParticipantService] = []
        self._observer: InProcessSubscription | None = None
        self._dead: InProcessSubscription | None = None

    async def __aenter__(self) -> Stage:
        topology = Topology(EXCHANGES, (Queue(OBSERVER, 100),), (Binding(OBSERVER, EVENTS_EXCHANGE, "#"),))
        await self._transport.declare(participant_topology(self.name, RETRIES.delays_s) + topology)
        self._observer = await self._transport.subscribe(OBSERVER, 10_000)
        self._dead = await self._transport.subscribe(dead_letter_queue(command_queue(self.name)), 10_000)
        return self

    async def __aexit__(self, *_: object) -> None:
        for service in self._services:
            await service.stop()
        await self._transport.close()

    async def replica(self) -> ParticipantService:
        """Start one more process of the participant."""
        deployment = ParticipantDeployment(
            InProcessTransport(self.broker), new_id, random.Random(5), RETRIES, self.pace
        )
        storage = kit_storage(self._participant, self.engine, random.Random(6))
        service = kit_service(deployment, storage, self._participant, self._provider, self._breaker)
        await service.start()
        self._services.append(service)
        return service

    async def crash(self, service: ParticipantService) -> None:
        """End a replica without letting it finish anything."""
        self._services.remove(service)
        await service.stop()

    def send(self, *commands: Command, traceparent: str | None = None) -> None:
        """Put commands on the participant's queue."""
        for command in commands:
            self.publish(
                command_message(command, self.name, new_id(), NOW, "orchestrator", None, traceparent)
            )

    def publish(self, message: Message) -> None:
        """Put any message on the broker."""
        self.broker.publish(message)

    async def seen(self, count: int = 1) -> list[Seen]:
        """The next events, as many as asked for."""
        assert self._observer is not None
        seen: list[Seen] = []
        while len(seen) < count:
            deliveries = await self._observer.receive(count - len(seen))
            self._observer.acknowledge(deliveries)
            seen.extend(
                Seen(str(each.type), json.loads(each.body), each.headers["event-id"]) for each in deliveries
            )
        return seen

    async def answer(self, command: Command) -> Seen:
        """Send one command and see its answer."""
        self.send(command)
        [seen] = await self.seen()
        return seen

    async def types(self, count: int) -> list[str]:
        """The types of the next events."""
        return [seen.type for seen in await self.seen(count)]

    async def dead_letter(self) -> Delivery:
        """The next dead letter."""
        assert self._dead is not None
        [dead] = await self._dead.receive(1)
        self._dead.acknowledge([dead])
        return dead

    async def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query on the participant's database."""
        async with self.engine.begin() as connection:
            return [dict(row) for row in (await connection.execute(text(query))).mappings()]

    async def execute(self, statement: str) -> None:
        """Change something behind the participant's back."""
        async with self.engine.begin() as connection:
            await connection.execute(text(statement))

    async def ledger(self, saga_id: UUID) -> dict[str, Any]:
        """The one ledger row of a saga."""
        [row] = await self.rows(f"SELECT * FROM {self.name}.ledger WHERE saga_id = '{saga_id}'")
        return row

    async def age(self, days: int) -> None:
        """Let the ledger's times be so many days in the past."""
        await self.execute(
            f"UPDATE {self.name}.ledger SET intent_at = intent_at - interval '{days} days', "
            f"undo_intent_at = undo_intent_at - interval '{days} days', "
            f"called_at = called_at - interval '{days} days'"
        )


def payment_stage(
    engine: AsyncEngine, gateway: Gateway, breaker: BreakerPolicy = CALM, pace: ParticipantPace = PACE
) -> Stage:
    """Payment with a gateway."""
    return Stage(payment, engine, gateway, breaker, pace)


def shipping_stage(engine: AsyncEngine, carrier: Carrier, breaker: BreakerPolicy = CALM) -> Stage:
    """Shipping with a carrier."""
    return Stage(shipping, engine, carrier, breaker)
