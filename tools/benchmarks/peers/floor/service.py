"""What the four processes of the floor have in common: their way to the broker, and their messages."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from contracts.routing import (
    COMMANDS_EXCHANGE,
    EVENTS_EXCHANGE,
    OUTCOMES_QUEUE,
    PARTICIPANTS,
    command_queue,
    failure_exchange,
)
from messaging.identifiers import NewId, time_ordered_ids
from messaging.rabbitmq import RabbitMqTransport
from messaging.topology import batches_of_commands, batches_of_outcomes
from messaging.transport import Binding, Delivery, Exchange, Message, Publisher, Queue, Topology
from tools.benchmarks.peers.floor.storage import Connection, Outbox

PREFETCH: Final = 500
BATCH: Final = 200

_QUEUES: Final = (OUTCOMES_QUEUE, *map(command_queue, PARTICIPANTS))

SINGLY: Final = Topology(
    (Exchange(COMMANDS_EXCHANGE, "direct"), Exchange(EVENTS_EXCHANGE, "topic")),
    tuple(Queue(name, 100) for name in _QUEUES),
    (
        Binding(OUTCOMES_QUEUE, EVENTS_EXCHANGE, "outcome.#"),
        *(Binding(command_queue(name), COMMANDS_EXCHANGE, name) for name in PARTICIPANTS),
    ),
)
"""Every message by itself."""

IN_BATCHES: Final = SINGLY + Topology(
    tuple(Exchange(failure_exchange(command_queue(name)), "direct") for name in PARTICIPANTS),
    bindings=(*map(batches_of_commands, PARTICIPANTS), *map(batches_of_outcomes, PARTICIPANTS)),
)
"""The queues ask for batches, of commands and of outcomes (M5)."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the servers are.

    Attributes:
        prefix: keeps the names at the broker apart from all others.
    """

    broker: str
    database: str
    prefix: str
    topology: Topology


@dataclass(frozen=True, slots=True)
class Service:
    """One process's way out and in."""

    name: str
    places: Places
    transport: RabbitMqTransport
    publisher: Publisher
    outbox: Outbox
    new_id: NewId

    @classmethod
    async def open(cls, name: str, places: Places) -> Service:
        """Connect and declare what has to be there."""
        transport = RabbitMqTransport([places.broker], prefix=places.prefix, name=f"floor {name}")
        await transport.declare(places.topology)
        new_id = time_ordered_ids(random.Random())
        return cls(name, places, transport, transport.publisher(), Outbox(name), new_id)

    async def connection(self) -> Connection:
        """A database connection of its own for one loop."""
        return await Connection.open(self.places.database)

    def message(
        self, saga_id: UUID, type_name: str, exchange: str, key: str, body: bytes, now: datetime
    ) -> Message:
        """A message with the properties and headers that the project's messages have."""
        message_id = self.new_id()
        headers: Mapping[str, object] = {"event-id": str(message_id), "schema-version": 1}
        mandatory = key != "order"
        return Message(
            message_id, type_name, exchange, key, body, saga_id, self.name, now, mandatory, headers
        )


def wall_clock() -> datetime:
    """The floor asks no database for the time."""
    return datetime.now(UTC)


def saga_of(delivery: Delivery) -> UUID:
    """Which saga a message belongs to."""
    return UUID(delivery.correlation_id or "")
