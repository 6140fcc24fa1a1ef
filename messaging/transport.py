"""What every transport offers: publish in batches, receive in batches, declare queues.

Two implementations keep these promises and pass one conformance suite: `messaging.rabbitmq` and
`messaging.in_process`. Publishing and acknowledging never wait: what the broker has not confirmed
is the outbox relay's business (M1, M2), and a lost acknowledgement means a redelivery, which is normal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

from contracts.envelope import CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class Message:
    """One message on its way out, with a message id of its own (M1)."""

    message_id: UUID
    type: str
    exchange: str
    routing_key: str
    body: bytes
    correlation_id: UUID | None
    app_id: str
    timestamp: datetime
    mandatory: bool
    """Unroutable, it comes back as `Receipt.RETURNED`; were it not mandatory, the broker would drop it."""
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = CONTENT_TYPE


@dataclass(slots=True, eq=False)
class Delivery:
    """One message as it arrived: nothing in it has been validated but the body's bytes."""

    queue: str
    body: bytes
    message_id: str | None
    type: str | None
    correlation_id: str | None
    headers: Mapping[str, Any]
    exchange: str
    routing_key: str
    redelivered: bool
    tag: Any = None
    """The transport's own handle for acknowledging."""
    span: Any = None
    """The tracing's own handle (`messaging.tracing`)."""
    died_of: str | None = None
    """Why the broker itself moved it here from another queue, in its own word: ``expired`` for instance."""
    flaw: str | None = None
    """What is wrong with a batch that cannot be taken apart, or with a part that cannot be read (M5)."""
    hop_id: UUID | None = None
    """The id of the message that takes it onwards, once it could not be served (S17)."""


class Receipt(StrEnum):
    """What became of a published message."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    """Mandatory and unroutable: no queue has it."""
    REFUSED = "refused"
    """The broker said no (a full queue, for instance), or the message cannot be written for it."""
    UNKNOWN = "unknown"
    """Not sent, or the connection was lost before the confirm: the broker may or may not have it."""


Confirm = Callable[[UUID, Receipt], None]
"""Called once for every published message, with its id and receipt.

It is called from the event loop and never from within `Publisher.publish`; it must not raise.
"""


class Publisher(Protocol):
    """A way out with a channel of its own.

    Several messages for one queue that asks for it travel together (`messaging.batches`); each has a receipt
    of its own even so. A message id must not be published again here while its receipt is outstanding.
    """

    @property
    def room(self) -> int:
        """How many messages would be sent just now: none while the broker is away or has stopped reading."""

    def publish(self, messages: Sequence[Message], confirm: Confirm) -> None:
        """Send a batch in one write. Never waits and never raises for the broker's sake.

        While the broker is away, has stopped reading, or has more unconfirmed messages than the
        publisher's bound, the messages get `Receipt.UNKNOWN` at once.
        """

    async def close(self) -> None:
        """Give the channel back; what is outstanding gets `Receipt.UNKNOWN`."""


class Subscription(Protocol):
    """A consumer on one queue that outlives reconnects.

    A batch is taken apart as it arrives: each part is a delivery. The broker is told of the whole when all of
    its parts are acknowledged (M5).
    """

    async def receive(self, limit: int) -> list[Delivery]:
        """Everything that has arrived, at most ``limit``; waits until there is something.

        A lone message is returned at once; what arrives while a batch is worked on forms the next.
        """

    @property
    def arrived(self) -> int:
        """How many deliveries `receive` would find now. To the broker they are not in the queue any more."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the broker that these are done, with as few frames as it takes. Stale ones are dropped."""

    async def pause(self) -> None:
        """Stop the flow of deliveries. What has arrived can still be received and acknowledged (P9)."""

    async def resume(self) -> None:
        """Let deliveries flow again."""

    async def close(self) -> None:
        """Leave. What was not acknowledged goes back to the queue."""


PAUSED_WITHIN_S: Final = 3.0
"""Seconds that the broker gets to stop deliveries when a process ends."""


async def let_nothing_in(subscriptions: Iterable[Subscription], within_s: float = PAUSED_WITHIN_S) -> None:
    """Pause before a process ends. Where the broker does not answer, what still comes goes back unread."""
    pausing = [asyncio.ensure_future(subscription.pause()) for subscription in subscriptions]
    if not pausing:
        return
    _, unanswered = await asyncio.wait(pausing, timeout=within_s)
    for task in unanswered:
        task.cancel()
    await asyncio.gather(*pausing, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """What a queue holds ready for delivery, and how many consumers it has."""

    ready: int
    consumers: int


class BrokerUnavailable(Exception):
    """The broker cannot be asked just now."""


class NoSuchQueue(BrokerUnavailable):
    """The broker was asked, and has no queue of that name."""


class TopologyMismatch(Exception):
    """A queue or exchange exists with other properties; the message names it and says what to do."""


class ForeignBroker(TopologyMismatch):
    """The virtual host is another installation's (M4).

    Attributes:
        owner: the installation that it belongs to; None where that cannot be known.
    """

    def __init__(self, ours: UUID, owner: str | None) -> None:
        whose = f"installation {owner}" if owner is not None else "another installation"
        super().__init__(
            f"this virtual host of the broker belongs to {whose}, and this database to installation {ours}: "
            "name a virtual host of its own in the broker URL (or, where that installation is no more, "
            "run `oms broker setup --take-over`)"
        )
        self.owner = owner


class Transport(Protocol):
    """One service's way to the broker."""

    async def declare(self, topology: Topology) -> Sequence[str]:
        """Make exchanges, queues and bindings exist; returns what was created, a line each.

        Waits for a broker that is not up yet. It is declared again after every reconnect.
        Bindings are not reported: AMQP does not tell whether one is new.

        Raises:
            TopologyMismatch: something of that name exists with other properties.
            ForeignBroker: the virtual host is another installation's; nothing leaves by here from then on.
        """

    def publisher(self) -> Publisher:
        """A new publisher with a channel of its own."""

    async def subscribe(self, queue: str, prefetch: int) -> Subscription:
        """Start consuming ``queue`` with about ``prefetch`` unacknowledged deliveries at most.

        Exactly so many where none is part of a batch; where some are, seldom more than twice as many.
        """

    async def depth(self, queue: str) -> QueueDepth:
        """Raises BrokerUnavailable when it cannot be known, NoSuchQueue where there is none."""

    @property
    def trouble(self) -> str | None:
        """Why the broker cannot be used just now, in a person's words; None when all is well."""

    @property
    def vanished(self) -> int:
        """How many exchanges and queues, once declared, were found gone and have been declared again."""

    async def close(self) -> None:
        """End all publishers, subscriptions and connections."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange; ``kind`` is ``direct`` or ``topic``."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable quorum queue. Dead letters go through the default exchange to the queue named."""

    name: str
    delivery_limit: int
    dead_letter_queue: str | None = None
    ttl_s: float | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """Routes what an exchange gets with ``key`` into a queue."""

    queue: str
    exchange: str
    key: str


@dataclass(frozen=True, slots=True)
class Topology:
    """What has to exist at the broker, as data."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()
    first_bindings: tuple[Binding, ...] = ()
    """Made where their queue is made, never for one that exists: who consumes it may be older than they."""
    installation: UUID | None = None
    """Whose it is: nothing of it is declared where another installation has been before (M4)."""

    @property
    def unasked(self) -> Topology:
        """The same for somebody who consumes none of its queues, and so asks for nothing on their behalf."""
        return replace(self, first_bindings=())

    def __add__(self, other: Topology) -> Topology:
        return Topology(
            tuple(dict.fromkeys(self.exchanges + other.exchanges)),
            tuple(dict.fromkeys(self.queues + other.queues)),
            tuple(dict.fromkeys(self.bindings + other.bindings)),
            tuple(dict.fromkeys(self.first_bindings + other.first_bindings)),
            self.installation or other.installation,
        )


NOTHING: Final = Topology()
"""Nothing has to exist."""
