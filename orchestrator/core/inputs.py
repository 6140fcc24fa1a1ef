"""Everything that can happen to a saga, as plain values. Accepted ones are kept in its history (S15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from contracts.commands import Verdict
from contracts.envelope import Direction
from contracts.events import OutcomeEvent
from contracts.wire import said


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for something, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leading:
    """Base of the inputs that may lead a saga on to its next stages.

    Attributes:
        worked_out: what the definition's functions said when the input was accepted, by the stage that asked:
            the items of a for-each, whether a wait is needed. The fold takes these, so that a function which
            changed later does not change what has happened (S15).
    """

    worked_out: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SagaStarted(Leading):
    """Its input was accepted."""


@dataclass(frozen=True, slots=True)
class OutcomeReceived(Leading):
    """A participant answered: ``event`` is the message's type, ``data`` its fields beside the identities.

    Attributes:
        data: as `said` has it. Earlier releases left out what had its default; their histories stay so.
        event_id: the same for each copy of the message (P2, M3); None where it had none that can be one.
    """

    event: str
    step: str
    direction: Direction
    data: Mapping[str, Any] = field(default_factory=dict)
    event_id: UUID | None = None


def outcome_of(event: OutcomeEvent, event_id: UUID | None = None) -> OutcomeReceived:
    """What a saga takes from a participant's answer."""
    return OutcomeReceived(type(event).__name__, event.step, event.direction, said(event), event_id)


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """Deadline and grace have passed without an answer, and the outcome queue was seen empty (S4)."""

    step: str


@dataclass(frozen=True, slots=True)
class StepOverdue:
    """A step that is never given up has passed its deadline (S4)."""

    step: str


@dataclass(frozen=True, slots=True)
class CompensationStuck:
    """A compensation has been sent several times without an answer (S7)."""

    step: str


@dataclass(frozen=True, slots=True)
class CommandDeadLettered:
    """A command for this saga gave up; ``permanent`` means that trying again is pointless (S10)."""

    step: str
    direction: Direction
    permanent: bool
    error: str


@dataclass(frozen=True, slots=True)
class SignalReceived(Leading):
    """Somebody outside said what a wait waits for (S23)."""

    actor: Actor
    wait: str
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WaitElapsed(Leading):
    """The time of a wait has run out (S23)."""

    wait: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The customer, or an operator, wants what was done undone (S9)."""

    actor: Actor


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """An operator wants awaited commands sent again, with a full deadline (S10).

    Attributes:
        step: which of them; None for all.
    """

    actor: Actor
    step: str | None = None


@dataclass(frozen=True, slots=True)
class ResolveRequested:
    """An operator says what became of a stuck piece of work (S19)."""

    actor: Actor
    step: str
    verdict: Verdict
    reference: str | None = None
    amount: int | None = None


Input = (
    SagaStarted
    | OutcomeReceived
    | OutcomeUnknown
    | StepOverdue
    | CompensationStuck
    | CommandDeadLettered
    | SignalReceived
    | WaitElapsed
    | CancelRequested
    | RetryRequested
    | ResolveRequested
)
