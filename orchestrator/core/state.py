"""What a saga instance is at one moment: plain immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from contracts.commands import Verdict
from contracts.envelope import Direction
from contracts.orders import AcceptedOrder


class Status(StrEnum):
    """Where a saga stands (S8); the last two are final."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"


ENDED = frozenset({Status.COMPLETED, Status.COMPENSATED})


class OrderStatus(StrEnum):
    """What the customer sees (S8)."""

    PENDING = "pending"
    RESERVED = "reserved"
    PAID = "paid"
    SHIPPED = "shipped"
    COMPLETED = "completed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


END_STATUSES = frozenset({OrderStatus.COMPLETED, OrderStatus.REJECTED, OrderStatus.CANCELLED})


class Forward(StrEnum):
    """What is known of a step's own effect."""

    PENDING = "pending"
    AWAITED = "awaited"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class Undo(StrEnum):
    """What is known of a step's compensation."""

    NONE = "none"
    AWAITED = "awaited"
    UNDONE = "undone"
    NOTHING = "nothing"
    SETTLED = "settled"
    """A person found that it had been put right outside (S19)."""


class IncidentKind(StrEnum):
    """What a person has to look at (S8)."""

    OVERDUE = "overdue"
    """A pivot or retriable step is past its deadline (S4)."""
    COMPENSATION_STUCK = "compensation_stuck"
    """A compensation has been asked for several times without an answer (S7)."""
    DEAD_LETTER = "dead_letter"
    """The awaited command gave up (S10)."""
    STEP_REFUSED = "step_refused"
    """The participant refused the awaited step because it had been compensated before (P5)."""
    ORPHANED_EFFECT = "orphaned_effect"
    """The world holds an effect that the ledger said was not there (S5)."""
    UNREADABLE = "unreadable"
    """What is stored of the saga cannot be read, or nothing can be made of it: it stands still (S25)."""
    VERDICT_REFUSED = "verdict_refused"
    """The participant did not accept a person's verdict (P10, S19)."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something open that concerns one piece of work of the saga."""

    kind: IncidentKind
    step: str
    direction: Direction
    since: datetime
    message: str


@dataclass(frozen=True)
class StepState:
    """What is known of one step."""

    name: str
    forward: Forward = Forward.PENDING
    undo: Undo = Undo.NONE
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def may_hold_something(self) -> bool:
        """Whether the step has, or may have, an effect that has not been undone."""
        return self.forward in (Forward.SUCCEEDED, Forward.UNKNOWN) and self.undo in (Undo.NONE, Undo.AWAITED)


@dataclass(frozen=True)
class Awaiting:
    """The one piece of work whose outcome the saga waits for (S1).

    Attributes:
        since: when the current deadline began; a person's retry begins a new one (S10).
        held: a permanent failure stopped re-sends and deadline until a person decides (S10).
        dead_lettered: there are dead letters that end with this wait (D3).
    """

    step: str
    direction: Direction
    since: datetime
    held: bool = False
    dead_lettered: bool = False


@dataclass(frozen=True)
class Settlement:
    """A person's verdict on its way to the participant (S19).

    It judges what the saga awaits or, once the saga has ended, an orphaned effect.

    Attributes:
        dead_lettered: there are dead letters that end with this verdict (D3); where the work judged is
            awaited, its `Awaiting` says so instead.
    """

    step: str
    direction: Direction
    verdict: Verdict
    since: datetime
    reference: str | None = None
    amount: int | None = None
    dead_lettered: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the order will not be fulfilled; the first cause wins (S8)."""

    code: str
    message: str
    ends_as: OrderStatus


@dataclass(frozen=True)
class Sending:
    """How often the awaited command has gone out. Stands outside the fold of the history (S15).

    Attributes:
        attempts: copies sent of what is awaited now.
        message_id: the latest copy.
        resend_at: when the next copy is wanted.
        final_at: when the copy after the deadline was written to the outbox; None before (S4).
        grace_since: when that copy was first seen to have left the outbox; None before (S4).
    """

    attempts: int = 0
    message_id: UUID | None = None
    resend_at: datetime | None = None
    final_at: datetime | None = None
    grace_since: datetime | None = None


@dataclass(frozen=True)
class Saga:
    """One run of a saga definition for one order.

    Attributes:
        version: number of history entries; changes only with what their fold reproduces (S15).
        sending: the timers of what is awaited, outside the fold.
        attempts: copies sent in all, by ``step`` or ``step:compensating``, outside the fold.
        due_at: when the saga next wants to be looked at (S11), outside the fold. It may be earlier than
            necessary: an early look does nothing but move it.
        traceparent: the trace context in which the order came, outside the fold.
    """

    saga_id: UUID
    order_id: UUID
    definition: str
    definition_version: int
    order: AcceptedOrder
    created_at: datetime
    updated_at: datetime
    status: Status = Status.RUNNING
    order_status: OrderStatus = OrderStatus.PENDING
    direction: Direction = Direction.FORWARD
    version: int = 0
    ended_at: datetime | None = None
    steps: tuple[StepState, ...] = ()
    awaiting: Awaiting | None = None
    settling: Settlement | None = None
    failure: Failure | None = None
    cancel_requested_at: datetime | None = None
    incidents: tuple[Incident, ...] = ()
    sending: Sending = field(default_factory=Sending)
    attempts: Mapping[str, int] = field(default_factory=dict)
    due_at: datetime | None = None
    traceparent: str | None = None

    @property
    def work(self) -> Awaiting | Settlement | None:
        """The one piece of work whose answer the saga waits for; None when it waits for nothing."""
        return self.awaiting or self.settling

    def step(self, name: str) -> StepState:
        """The state of one step. Raises KeyError for a step that the saga does not have."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def steps_with(self, changed: StepState) -> tuple[StepState, ...]:
        """The saga's steps, one of them changed."""
        return tuple([changed if step.name == changed.name else step for step in self.steps])

    def awaits(self, step: str, direction: Direction) -> bool:
        """Whether exactly this piece of work is awaited (S1)."""
        awaiting = self.awaiting
        return awaiting is not None and awaiting.step == step and awaiting.direction == direction

    def has_incident(self, kind: IncidentKind, step: str, direction: Direction) -> bool:
        """Whether an incident of this kind is open for this piece of work."""
        return any((i.kind, i.step, i.direction) == (kind, step, direction) for i in self.incidents)
