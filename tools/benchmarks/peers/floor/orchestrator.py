"""The orchestrator of the floor: starts sagas by the batch and sends the next command for each outcome."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle
from typing import Any, Final
from uuid import UUID

from contracts.routing import COMMANDS_EXCHANGE, EVENTS_EXCHANGE, OUTCOMES_QUEUE
from messaging.batching import Arrivals
from messaging.transport import Message
from tools.benchmarks.closed_loop import ClosedLoop
from tools.benchmarks.peers.floor.service import (
    BATCH,
    PREFETCH,
    Service,
    saga_of,
    wall_clock,
)
from tools.benchmarks.peers.floor.storage import Batch
from tools.benchmarks.workload import Order

_INSERT_ORDERS: Final = """
INSERT INTO floor.orders
SELECT o, s, d::json, t
FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::timestamptz[]) AS n (o, s, d, t)"""

_INSERT_SAGAS: Final = """
INSERT INTO floor.sagas SELECT s, o, 'running', 1, t, st::json
FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[], %s::text[]) AS n (s, o, t, st)"""

_UPDATE_SAGAS: Final = """
UPDATE floor.sagas s SET version = n.version, status = n.status, at = n.at, state = n.state::json
FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::timestamptz[], %s::text[])
AS n (saga_id, version, status, at, state) WHERE s.saga_id = n.saga_id"""

_INSERT_HISTORY: Final = """
INSERT INTO floor.history SELECT s, v, t, k, a::json, l::json
FROM unnest(%s::uuid[], %s::int[], %s::timestamptz[], %s::text[], %s::text[], %s::text[])
AS n (s, v, t, k, a, l)"""

_STATE: Final = '{"steps": {"reserve": {"status": "done"}, "charge": {"status": "awaited"}}, "attempts": 1}'
_LED_TO: Final = '{"status": "running", "order_status": "reserved", "step": "charge", "sent": ["%s"]}'

_NEXT: Final = {
    "outcome.inventory.reserved": (2, "payment", "charge"),
    "outcome.payment.done": (3, "shipping", "ship"),
    "outcome.shipping.done": (4, "inventory", "commit"),
}
"""By outcome: the saga's next version, whom to command, and what."""


@dataclass(frozen=True, slots=True)
class Bodies:
    """What an order's messages carry, made beforehand: it costs nothing later."""

    document: str
    by_command: dict[str, bytes]

    @classmethod
    def of(cls, order: Order) -> Bodies:
        """The bodies of an order's commands, as large as the project's."""
        ids = {"saga_id": "0" * 36, "order_id": "0" * 36, "direction": "forward"}
        lines = [{"sku": line["sku"], "quantity": line["quantity"]} for line in order["lines"]]
        charge = {"customer_id": order["customer_id"], "amount": 12345, "currency": order["currency"]}
        address = {"shipping_address": order["shipping_address"]}
        bodies = {
            "reserve": {**ids, "step": "reserve", "lines": lines},
            "charge": {**ids, "step": "charge", **charge, "payment_method": order["payment_method"]},
            "ship": {**ids, "step": "ship", "lines": lines, **address},
            "commit": {**ids, "step": "commit"},
            "created": {**ids, **charge, "lines": lines},
            "completed": ids,
        }
        return cls(_json(order), {name: _json(body).encode() for name, body in bodies.items()})


class Orchestrator:
    """Starts and moves sagas; in memory it keeps only which bodies a saga sends."""

    def __init__(self, service: Service, orders: Sequence[Order]) -> None:
        self.loop = ClosedLoop(self._launch)
        self._service = service
        self._bodies = cycle([Bodies.of(order) for order in orders])
        self._open: dict[UUID, Bodies] = {}
        self._arrivals: Arrivals[UUID] = Arrivals()

    def _launch(self, count: int) -> None:
        ids = [self._service.new_id() for _ in range(count)]
        for saga_id in ids:
            self._open[saga_id] = next(self._bodies)
            self.loop.began(saga_id)
        self._arrivals.extend(ids)

    async def start_sagas(self) -> None:
        """For ever: whatever has been launched, in one transaction."""
        connection = await self._service.connection()
        while True:
            ids = await self._arrivals.take(BATCH)
            now, size, batch = wall_clock(), len(ids), Batch()
            documents = [self._open[saga_id].document for saga_id in ids]
            orders = [self._service.new_id() for _ in ids]
            batch.write(_INSERT_ORDERS, orders, ids, documents, [now] * size)
            batch.write(_INSERT_SAGAS, ids, orders, [now] * size, [_STATE] * size)
            messages = [self._message(saga_id, "created", now) for saga_id in ids]
            messages += [self._message(saga_id, "reserve", now, "inventory") for saga_id in ids]
            self._enter(batch, ids, [1] * size, "saga_started", documents, messages[size:], now)
            self._service.outbox.into(batch, messages)
            await connection.commit(batch)
            self._service.publisher.publish(messages, self._service.outbox.confirm)

    async def move_sagas(self) -> None:
        """For ever: receive outcomes, commit, acknowledge, publish."""
        connection = await self._service.connection()
        subscription = await self._service.transport.subscribe(OUTCOMES_QUEUE, PREFETCH)
        while True:
            deliveries = await subscription.receive(BATCH)
            now, batch = wall_clock(), Batch()
            sagas = [saga_of(delivery) for delivery in deliveries]
            moves = [_NEXT.get(delivery.routing_key) for delivery in deliveries]
            versions = [move[0] if move else 5 for move in moves]
            messages = [
                self._message(saga_id, move[2], now, move[1])
                if move
                else self._message(saga_id, "completed", now)
                for saga_id, move in zip(sagas, moves, strict=True)
            ]
            states = ["running" if move else "completed" for move in moves]
            accepted = [delivery.body.decode() for delivery in deliveries]
            batch.write(_UPDATE_SAGAS, sagas, versions, states, [now] * len(sagas), [_STATE] * len(sagas))
            self._enter(batch, sagas, versions, "outcome_received", accepted, messages, now)
            self._service.outbox.into(batch, messages)
            await connection.commit(batch)
            subscription.acknowledge(deliveries)
            self._service.publisher.publish(messages, self._service.outbox.confirm)
            self._note_ended([saga_id for saga_id, move in zip(sagas, moves, strict=True) if not move])

    def _note_ended(self, ended: Sequence[UUID]) -> None:
        for saga_id in ended:
            del self._open[saga_id]
            self.loop.ended(saga_id, "completed")

    def _enter(
        self,
        batch: Batch,
        sagas: Sequence[UUID],
        versions: Sequence[int],
        kind: str,
        accepted: Sequence[str],
        sent: Sequence[Message],
        now: datetime,
    ) -> None:
        """A history entry for each saga."""
        size = len(sagas)
        led_to = [_LED_TO % message.message_id for message in sent]
        batch.write(_INSERT_HISTORY, sagas, versions, [now] * size, [kind] * size, accepted, led_to)

    def _message(self, saga_id: UUID, what: str, now: datetime, to: str | None = None) -> Message:
        """A command to a participant, or an event of the order's."""
        body = self._open[saga_id].by_command[what]
        exchange, key = (COMMANDS_EXCHANGE, to) if to else (EVENTS_EXCHANGE, "order")
        return self._service.message(saga_id, what, exchange, key, body, now)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
