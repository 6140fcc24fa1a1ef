"""What happens in the world, as plain values: what checkers look at and what a trace is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from messaging.transport import Delivery, Message
from simulation.storage.database import Change
from simulation.weather import Fault


@dataclass(frozen=True, slots=True)
class Committed:
    """A transaction of a service has become durable and visible."""

    service: str
    changes: Sequence[Change]
    at: datetime | None = None
    """The database's time, where it is told."""
    _by_table: dict[str, list[Change]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for change in self.changes:
            table = change.table if change.after is not None else f"-{change.table}"
            self._by_table.setdefault(table, []).append(change)

    def of(self, table: str) -> Sequence[Change]:
        """The rows of one table that were written."""
        return self._by_table.get(table, ())

    def removed_from(self, table: str) -> Sequence[Change]:
        """The rows of one table that were removed."""
        return self._by_table.get(f"-{table}", ())


@dataclass(frozen=True, slots=True)
class Aged:
    """Days go by in which nothing happens: every database's clock is set forward."""

    by: timedelta


@dataclass(frozen=True, slots=True)
class Deadlocked:
    """Transactions of a service waited for each other in a circle, and the database ended one of them."""

    service: str


@dataclass(frozen=True, slots=True)
class Published:
    """A process gave a message to its connection."""

    service: str
    message: Message


@dataclass(frozen=True, slots=True)
class Arrived:
    """The broker has taken a message."""

    message: Message


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker has not taken a message: its queue is full."""

    message: Message


@dataclass(frozen=True, slots=True)
class HandedOut:
    """The broker has given a message to a consumer: it is on its way, and no longer ready in its queue."""

    queue: str
    message: Message


@dataclass(frozen=True, slots=True)
class Delivered:
    """A process has received a message from the broker."""

    who: str
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A process has told the broker that it is done with a message."""

    who: str
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class TakenOff:
    """The broker has taken a message off its queue for good: whoever it was handed to is done with it."""

    side: object
    """To whom it was handed, as the broker knows them."""
    tag: int
    message: Message


@dataclass(frozen=True, slots=True)
class Effected:
    """A participant has done a piece of work, or a person has in its stead."""

    participant: str
    saga_id: UUID
    piece: str


@dataclass(frozen=True, slots=True)
class Reversed:
    """A participant has undone a piece of work, or a person has in its stead."""

    participant: str
    saga_id: UUID
    piece: str


@dataclass(frozen=True, slots=True)
class Authorized:
    """The gateway set money aside; ``renewed`` where what had been set aside before has expired."""

    order_id: str
    key: str
    amount: int
    currency: str
    renewed: bool = False


@dataclass(frozen=True, slots=True)
class Expired:
    """The gateway says that what was set aside stands no more."""

    order_id: str
    amount: int


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The gateway gave up money that was set aside; ``by_hand`` where a person had it do so.

    Attributes:
        renewed: it had been set aside anew, after the parcel had left.
    """

    order_id: str
    amount: int
    by_hand: bool = False
    renewed: bool = False


@dataclass(frozen=True, slots=True)
class Charged:
    """The gateway took money; ``captured`` where it had been set aside."""

    order_id: str
    key: str
    amount: int
    currency: str
    captured: bool = False


@dataclass(frozen=True, slots=True)
class Refunded:
    """The gateway gave money back; ``by_hand`` where a person had it do so, else ``key`` is the request's."""

    order_id: str
    amount: int
    by_hand: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class AskedForNothing:
    """The gateway was asked for an amount of 0, which it refuses."""

    path: str
    key: str


@dataclass(frozen=True, slots=True)
class Shipped:
    """The carrier took the parcel."""

    order_id: str
    key: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asks for a saga to be started, under ids of its own for each try (S24)."""

    definition: str
    owner: str
    idempotency_key: str
    subject_id: UUID


@dataclass(frozen=True, slots=True)
class Started:
    """Somebody was told which saga's subject stands for what they asked."""

    definition: str
    owner: str
    idempotency_key: str
    fingerprint: bytes
    subject_id: UUID | None
    """None where the key was refused because it stands for another input."""


@dataclass(frozen=True, slots=True)
class Signalled:
    """Somebody was told what came of a signal (S23).

    Attributes:
        came: ``taken``, ``taken before``, or the code of the refusal.
    """

    saga_id: UUID
    wait: str
    body: Mapping[str, Any]
    came: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """A customer was told which order stands for a submission."""

    customer_id: str
    idempotency_key: str | None
    fingerprint: bytes
    order_id: UUID | None
    """None where the key was refused because it stands for another order."""


@dataclass(frozen=True, slots=True)
class NamedBefore:
    """A customer was told that another order has the reference."""

    customer_id: str
    reference: str
    order_id: UUID
    """The order that has it."""


@dataclass(frozen=True, slots=True)
class Acted:
    """A person did something, and what came of it."""

    who: str
    action: str
    saga_id: UUID | None
    came: str


@dataclass(frozen=True, slots=True)
class Blundered:
    """A person was shown an error that is neither a refusal nor a failure to answer."""

    error: str


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault struck."""

    fault: Fault
    who: str
    saga_id: Any = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A rule of the production code decided something; only for the coverage and the story."""

    rule: str
    what: str
    saga_id: UUID
    direction: str


Fact = (
    Committed
    | Aged
    | Deadlocked
    | Published
    | Arrived
    | Refused
    | HandedOut
    | Delivered
    | Acknowledged
    | TakenOff
    | Effected
    | Reversed
    | Asked
    | Started
    | Signalled
    | Authorized
    | Expired
    | GivenUp
    | Charged
    | Refunded
    | AskedForNothing
    | Shipped
    | Submitted
    | NamedBefore
    | Acted
    | Blundered
    | Struck
    | Decided
)
