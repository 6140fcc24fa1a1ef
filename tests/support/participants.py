"""What tests of participants share: commands as deliveries, a way out that remembers, units of work."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.commands import (
    ChargePayment,
    Command,
    CommitInventory,
    ItemQuantity,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
    SettleStep,
    ShipOrder,
    Verdict,
)
from contracts.envelope import Direction
from contracts.orders import ShippingAddress
from contracts.routing import command_queue
from messaging.compose import command_message
from messaging.identifiers import time_ordered_ids
from messaging.outbox import Outbox
from messaging.postgresql import SqlTransaction, SqlUnitOfWork
from messaging.transport import Confirm, Delivery, Message, Receipt

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
ADDRESS: Final = ShippingAddress(
    name="A. Person", line1="1 Street", city="Town", postal_code="12345", country="DE"
)
new_id: Final = time_ordered_ids(random.Random(7))

T = TypeVar("T", bound=SqlTransaction)


@dataclass(frozen=True, slots=True)
class Case:
    """One saga's commands to its participants."""

    saga_id: UUID = field(default_factory=new_id)
    order_id: UUID = field(default_factory=new_id)

    def _ids(self, step: str, direction: Direction) -> dict[str, Any]:
        return {"saga_id": self.saga_id, "order_id": self.order_id, "step": step, "direction": direction}

    def reserve(self, **lines: int) -> ReserveInventory:
        items = tuple(ItemQuantity(sku=sku, quantity=quantity) for sku, quantity in lines.items())
        return ReserveInventory(**self._ids("reserve", Direction.FORWARD), lines=items)

    def release(self) -> ReleaseInventory:
        return ReleaseInventory(**self._ids("reserve", Direction.COMPENSATING))

    def commit(self) -> CommitInventory:
        return CommitInventory(**self._ids("commit", Direction.FORWARD))

    def charge(self, amount: int = 2598, payment_method: str = "pm_card_visa") -> ChargePayment:
        return ChargePayment(
            **self._ids("charge", Direction.FORWARD),
            customer_id="c-42",
            amount=amount,
            currency="EUR",
            payment_method=payment_method,
        )

    def refund(self) -> RefundPayment:
        return RefundPayment(**self._ids("charge", Direction.COMPENSATING))

    def ship(self, postal_code: str = "12345") -> ShipOrder:
        address = ADDRESS.model_copy(update={"postal_code": postal_code})
        lines = (ItemQuantity(sku="SKU-1", quantity=2),)
        return ShipOrder(**self._ids("ship", Direction.FORWARD), lines=lines, shipping_address=address)

    def settle(
        self,
        step: str,
        direction: Direction,
        verdict: Verdict,
        reference: str | None = None,
        amount: int | None = None,
    ) -> SettleStep:
        return SettleStep(**self._ids(step, direction), verdict=verdict, reference=reference, amount=amount)


def delivered(command: Command, participant: str = "inventory", **changes: Any) -> Delivery:
    """A command as it arrives, under a message id of its own; ``changes`` spoil or alter the delivery."""
    sent = command_message(command, participant, new_id(), NOW, "orchestrator")
    return replace(delivery_of(sent, command_queue(participant)), **changes)


def delivery_of(message: Message, queue: str) -> Delivery:
    """A message as it arrives from a queue."""
    return Delivery(
        queue=queue,
        body=message.body,
        message_id=str(message.message_id),
        type=message.type,
        correlation_id=str(message.correlation_id),
        headers=dict(message.headers),
        exchange=message.exchange,
        routing_key=message.routing_key,
        redelivered=False,
    )


class Sent:
    """A publisher that remembers; ``receipt`` is what the broker says to each message."""

    def __init__(self, receipt: Receipt = Receipt.CONFIRMED) -> None:
        self.messages: list[Message] = []
        self.receipt = receipt
        self.room = 1000

    def publish(self, messages: Sequence[Message], confirm: Confirm) -> None:
        self.messages.extend(messages)
        for message in messages:
            confirm(message.message_id, self.receipt)

    async def close(self) -> None:
        pass

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """Type and body of what was sent since the last look."""
        taken, self.messages = self.messages, []
        return [(message.type, json.loads(message.body)) for message in taken]


def unit_of_work(
    engine: AsyncEngine, transaction: Callable[..., T], sent: Sent | None = None
) -> SqlUnitOfWork[T]:
    """A unit of work over a real database, with a patience that no test needs."""
    return SqlUnitOfWork(engine, transaction, Outbox(sent or Sent()), random.Random(1), patience_s=30)
