"""Messages to send and ways to wait for what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from contracts.envelope import CONTENT_TYPE
from contracts.routing import DEFAULT_EXCHANGE
from messaging.transport import Delivery, Message, Publisher, Queue, Receipt, Subscription, Topology

PATIENCE_S: Final = 30.0
"""How long a test waits for what must happen; a guard, not a measure."""

QUEUE: Final = "orders"
PLAIN: Final = Topology(queues=(Queue(QUEUE, 100),))


def message(
    body: bytes = b"{}",
    *,
    exchange: str = DEFAULT_EXCHANGE,
    routing_key: str = QUEUE,
    mandatory: bool = True,
    headers: Mapping[str, Any] | None = None,
    correlation_id: UUID | None = None,
    app_id: str = "tests",
    content_type: str = CONTENT_TYPE,
) -> Message:
    """One message with a fresh id."""
    return Message(
        message_id=uuid4(),
        type="ReserveInventory",
        exchange=exchange,
        routing_key=routing_key,
        body=body,
        correlation_id=correlation_id,
        app_id=app_id,
        timestamp=datetime.now(UTC),
        mandatory=mandatory,
        headers=headers or {},
        content_type=content_type,
    )


def numbered(count: int, **properties: Any) -> list[Message]:
    """Messages whose bodies are 0, 1, 2, ..."""
    return [message(str(number).encode(), **properties) for number in range(count)]


class Raw(str):
    """A header's name that is no text: whoever writes it writes bytes that are no UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff" * len(self)


def bodies(deliveries: Sequence[Delivery]) -> list[bytes]:
    """What they say, in order."""
    return [delivery.body for delivery in deliveries]


class Receipts:
    """Collects receipts, and makes sure that each message gets one only."""

    def __init__(self) -> None:
        self.of: dict[UUID, Receipt] = {}
        self._more = asyncio.Event()

    def confirm(self, message_id: UUID, receipt: Receipt) -> None:
        assert message_id not in self.of, "settled twice"
        self.of[message_id] = receipt
        self._more.set()

    async def all(self, messages: Sequence[Message]) -> list[Receipt]:
        """The receipts of these messages, in their order, once all are there."""
        async with asyncio.timeout(PATIENCE_S):
            while any(each.message_id not in self.of for each in messages):
                self._more.clear()
                await self._more.wait()
        return [self.of[each.message_id] for each in messages]


async def send(publisher: Publisher, *messages: Message) -> list[Receipt]:
    """Publish one batch and wait for its receipts."""
    receipts = Receipts()
    publisher.publish(messages, receipts.confirm)
    return await receipts.all(messages)


async def receive(subscription: Subscription, count: int, limit: int = 1000) -> list[Delivery]:
    """The next ``count`` deliveries, in as many batches as they come."""
    deliveries: list[Delivery] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(deliveries) < count:
            deliveries += await subscription.receive(min(limit, count - len(deliveries)))
    return deliveries
