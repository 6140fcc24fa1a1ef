"""A participant of the floor: batches of commands in, a ledger row and an outcome each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from contracts.routing import EVENTS_EXCHANGE, command_queue
from messaging.transport import Delivery, Message
from tools.benchmarks.peers.floor.service import BATCH, PREFETCH, Service, saga_of, wall_clock
from tools.benchmarks.peers.floor.storage import Batch

REFERENCE: Final = b'{"saga_id":"%s","reference":"0192aaaa-0000-7000-8000-000000000000","amount":1000}'

_INSERT_LEDGER: Final = """
INSERT INTO floor.{service}_ledger SELECT * FROM unnest(
    %s::uuid[], %s::text[], %s::text[], %s::uuid[], %s::bytea[], %s::bytea[], %s::timestamptz[])"""

_FINISH_LEDGER: Final = """
UPDATE floor.{service}_ledger l SET state = 'done', outcome = n.outcome, request = NULL
FROM unnest(%s::uuid[], %s::bytea[]) AS n (saga_id, outcome) WHERE l.saga_id = n.saga_id"""

_CONSUME: Final = """
UPDATE floor.inventory_ledger SET state = 'consumed' WHERE saga_id = ANY(%s::uuid[]) AND step = 'reserve'"""

_STOCK: Final = """
UPDATE floor.stock s SET on_hand = s.on_hand + n.on_hand, reserved = s.reserved + n.reserved
FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS n (sku, on_hand, reserved) WHERE s.sku = n.sku"""

_MOVEMENTS: Final = """
INSERT INTO floor.stock_movements (sku, quantity, saga_id, at)
SELECT * FROM unnest(%s::text[], %s::bigint[], %s::uuid[], %s::timestamptz[])"""

Lines = list[tuple[str, int]]


class Participant:
    """Payment and shipping: a call that costs nothing, its intent and its result."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._insert = _INSERT_LEDGER.format(service=service.name)
        self._finish = _FINISH_LEDGER.format(service=service.name)

    async def run(self) -> None:
        """For ever: receive, commit, acknowledge, publish."""
        connection = await self.service.connection()
        subscription = await self.service.transport.subscribe(command_queue(self.service.name), PREFETCH)
        while True:
            deliveries = await subscription.receive(BATCH)
            batch = Batch()
            outcomes = self.work(batch, deliveries, wall_clock())
            self.service.outbox.into(batch, outcomes)
            await connection.commit(batch)
            subscription.acknowledge(deliveries)
            self.service.publisher.publish(outcomes, self.service.outbox.confirm)

    def work(self, batch: Batch, deliveries: Sequence[Delivery], now: datetime) -> list[Message]:
        """An intent with the request, then the result in its place: the rows of an external effect."""
        sagas = [saga_of(delivery) for delivery in deliveries]
        outcomes = [self.outcome(saga_id, "done", REFERENCE % saga_id.hex.encode(), now) for saga_id in sagas]
        self.enter(batch, sagas, outcomes, self.service.name, [delivery.body for delivery in deliveries], now)
        batch.write(self._finish, sagas, [outcome.body for outcome in outcomes])
        return outcomes

    def outcome(self, saga_id: UUID, what: str, body: bytes, now: datetime) -> Message:
        """What the orchestrator is waiting for."""
        key = f"outcome.{self.service.name}.{what}"
        return self.service.message(saga_id, key, EVENTS_EXCHANGE, key, body, now)

    def enter(
        self,
        batch: Batch,
        sagas: Sequence[UUID],
        outcomes: Sequence[Message],
        step: str,
        requests: Sequence[bytes | None],
        now: datetime,
    ) -> None:
        """New ledger rows."""
        size = len(sagas)
        ids = [outcome.message_id for outcome in outcomes]
        bodies = [outcome.body for outcome in outcomes]
        batch.write(
            self._insert, sagas, [step] * size, ["intent"] * size, ids, bodies, requests, [now] * size
        )


class Inventory(Participant):
    """Holds stock, then reduces it. What is held is remembered in memory, not read back."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._held: dict[UUID, Lines] = {}

    def work(self, batch: Batch, deliveries: Sequence[Delivery], now: datetime) -> list[Message]:
        """All reservations of the batch, then all reductions."""
        reserve = [delivery for delivery in deliveries if delivery.type == "reserve"]
        commit = [saga_of(delivery) for delivery in deliveries if delivery.type != "reserve"]
        outcomes = self._reserve(batch, reserve, now) if reserve else []
        return outcomes + (self._commit(batch, commit, now) if commit else [])

    def _reserve(self, batch: Batch, deliveries: Sequence[Delivery], now: datetime) -> list[Message]:
        sagas = [saga_of(delivery) for delivery in deliveries]
        reserved: Counter[str] = Counter()
        for saga_id, delivery in zip(sagas, deliveries, strict=True):
            lines = [(line["sku"], line["quantity"]) for line in json.loads(delivery.body)["lines"]]
            self._held[saga_id] = lines
            for sku, quantity in lines:
                reserved[sku] += quantity
        outcomes = [
            self.outcome(saga_id, "reserved", delivery.body, now)
            for saga_id, delivery in zip(sagas, deliveries, strict=True)
        ]
        self.enter(batch, sagas, outcomes, "reserve", [None] * len(sagas), now)
        skus = sorted(reserved)
        batch.write(_STOCK, skus, [0] * len(skus), [reserved[sku] for sku in skus])
        return outcomes

    def _commit(self, batch: Batch, sagas: Sequence[UUID], now: datetime) -> list[Message]:
        held = {saga_id: self._held.pop(saga_id) for saga_id in sagas}
        moved = [(sku, quantity, saga_id) for saga_id, lines in held.items() for sku, quantity in lines]
        reduced: Counter[str] = Counter()
        for sku, quantity, _ in moved:
            reduced[sku] += quantity
        outcomes = [
            self.outcome(saga_id, "reduced", _lines_body(saga_id, lines), now)
            for saga_id, lines in held.items()
        ]
        self.enter(batch, sagas, outcomes, "commit", [None] * len(sagas), now)
        batch.write(_CONSUME, sagas)
        skus = sorted(reduced)
        batch.write(_STOCK, skus, [-reduced[sku] for sku in skus], [-reduced[sku] for sku in skus])
        batch.write(
            _MOVEMENTS,
            [sku for sku, _, _ in moved],
            [-quantity for _, quantity, _ in moved],
            [saga_id for _, _, saga_id in moved],
            [now] * len(moved),
        )
        return outcomes


def _lines_body(saga_id: UUID, held: Lines) -> bytes:
    lines = [{"sku": sku, "quantity": quantity} for sku, quantity in held]
    return json.dumps({"saga_id": str(saga_id), "lines": lines}).encode()
