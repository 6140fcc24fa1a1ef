"""What a saga instance is at one moment: plain immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from contracts.commands import Verdict
from contracts.envelope import Direction


class Status(StrEnum):
    """Where a saga stands (S8); the last two are final."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"


ENDED = frozenset({Status.COMPLETED, Status.COMPENSATED})


class End(StrEnum):
    """How a saga may end; what its customers are told of it is the definition's own label (S8)."""

    COMPLETED = "completed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class Forward(StrEnum):
    """What is known of a step's own effect."""

    PENDING = "pending"
    AWAITED = "awaited"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    LEFT_OUT = "left_out"
    """A wait that was not waited for: there was no need, or the saga turned round first (S21, S23)."""


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
    """What is known of one piece of a saga's course: a step, a branch of a for-each, or a wait.

    Attributes:
        name: the step's or wait's own; of a branch with its number, from 1, as in ``ship[2]``.
        result: what the saga remembers of its success: of a wait, the body of its signal.
        item: what a branch is about, as it was worked out when its stage began (S22).
    """

    name: str
    forward: Forward = Forward.PENDING
    undo: Undo = Undo.NONE
    result: Mapping[str, Any] = field(default_factory=dict)
    item: Any = None

    @property
    def may_hold_something(self) -> bool:
        """Whether it has, or may have, an effect that has not been undone."""
        return self.forward in (Forward.SUCCEEDED, Forward.UNKNOWN) and self.undo in (Undo.NONE, Undo.AWAITED)


@dataclass(frozen=True)
class Settlement:
    """A person's verdict on its way to the participant (S19)."""

    verdict: Verdict
    since: datetime
    reference: str | None = None
    amount: int | None = None


@dataclass(frozen=True)
class Sending:
    """How often an awaited command has gone out. Stands outside the fold of the history (S15).

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


NOT_SENT: Final = Sending()
"""The timers of a command that is only now being written."""


@dataclass(frozen=True)
class Awaited:
    """One of the pieces of work that a saga waits for, each with its own deadline and copies (S1, S20).

    Attributes:
        since: when the present deadline began; a person's retry begins a new one (S10).
        held: a permanent failure stopped re-sends and deadline until a person decides (S10).
        dead_lettered: there are dead letters that end with this wait (D3).
        settling: the verdict that is asked for instead of the command, if any. Of an ended saga only verdicts
            on orphaned effects are awaited (S19).
        sending: the timers of what is asked for, outside the fold.
    """

    step: str
    direction: Direction
    since: datetime
    held: bool = False
    dead_lettered: bool = False
    settling: Settlement | None = None
    sending: Sending = NOT_SENT

    def is_for(self, step: str, direction: Direction) -> bool:
        """Whether it is exactly this piece of work."""
        return self.step == step and self.direction == direction


@dataclass(frozen=True)
class Signal:
    """What came from outside for one wait, kept for good: accepted once (S23)."""

    body: Mapping[str, Any]
    sender: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the saga turned round; the first cause wins (S8)."""

    code: str
    message: str
    ends_as: End


@dataclass(frozen=True)
class Saga:
    """One run of a saga definition.

    Attributes:
        subject_id: what the saga is about, an order for instance; the saga's own id where there is nothing.
        input: the document that started it, as the definition's input model reads it.
        label: the customer's word for where it stands, the definition's own (S8).
        version: number of history entries; changes only with what their fold reproduces (S15).
        awaited: the pieces of work that it waits for, in the order of its course (S20).
        signals: what came from outside, by the wait that it is for (S23).
        attempts: copies sent in all, by ``step`` or ``step:compensating``, outside the fold.
        due_at: when the saga next wants to be looked at (S11), outside the fold. It may be earlier than
            necessary: an early look does nothing but move it.
        traceparent: the trace context in which the input came, outside the fold.
    """

    saga_id: UUID
    subject_id: UUID
    definition: str
    definition_version: int
    input: Any
    created_at: datetime
    updated_at: datetime
    status: Status = Status.RUNNING
    label: str = "pending"
    direction: Direction = Direction.FORWARD
    version: int = 0
    ended_at: datetime | None = None
    steps: tuple[StepState, ...] = ()
    awaited: tuple[Awaited, ...] = ()
    signals: Mapping[str, Signal] = field(default_factory=dict)
    failure: Failure | None = None
    cancel_requested_at: datetime | None = None
    incidents: tuple[Incident, ...] = ()
    attempts: Mapping[str, int] = field(default_factory=dict)
    due_at: datetime | None = None
    traceparent: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether its status is final."""
        return self.status in ENDED

    def step(self, name: str) -> StepState:
        """The state of one piece. Raises KeyError for one that the saga does not have."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def knows(self, name: str) -> bool:
        """Whether the saga has a piece of this name by now."""
        return any(step.name == name for step in self.steps)

    def steps_with(self, *changed: StepState) -> tuple[StepState, ...]:
        """The saga's pieces, some of them changed."""
        if len(changed) == 1:
            one = changed[0]
            return tuple([one if step.name == one.name else step for step in self.steps])
        by_name = {step.name: step for step in changed}
        return tuple([by_name.get(step.name, step) for step in self.steps])

    def waiting_for(self, step: str, direction: Direction | str) -> Awaited | None:
        """This piece of work among those awaited; None where it is not awaited (S1)."""
        for awaited in self.awaited:
            if awaited.step == step and awaited.direction == direction:
                return awaited
        return None

    def awaits(self, step: str, direction: Direction) -> bool:
        """Whether an answer to this piece of work would count (S1); of an ended saga only verdicts do."""
        return self.waiting_for(step, direction) is not None and self.status not in ENDED

    def awaited_with(self, changed: Awaited) -> tuple[Awaited, ...]:
        """What is awaited, one piece of it changed."""
        return tuple(
            [changed if each.is_for(changed.step, changed.direction) else each for each in self.awaited]
        )

    def awaited_without(self, step: str, direction: Direction) -> tuple[Awaited, ...]:
        """What is awaited beside this piece."""
        return tuple([each for each in self.awaited if not each.is_for(step, direction)])

    def has_incident(self, kind: IncidentKind, step: str, direction: Direction) -> bool:
        """Whether an incident of this kind is open for this piece of work."""
        return any((i.kind, i.step, i.direction) == (kind, step, direction) for i in self.incidents)
