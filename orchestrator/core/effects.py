"""Everything that a decision can ask of the world, and the three shapes of a decision."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.commands import Command
from contracts.envelope import Direction
from contracts.events import Event
from orchestrator.core.inputs import Input
from orchestrator.core.state import Saga


@dataclass(frozen=True, slots=True)
class SendCommand:
    """Put a command on its participant's queue."""

    participant: str
    command: Command


@dataclass(frozen=True, slots=True)
class PublishEvent:
    """Tell whoever listens."""

    event: Event


@dataclass(frozen=True, slots=True)
class ResolveDeadLetters:
    """Close the dead letters of a piece of work that is no longer awaited (D3)."""

    step: str
    direction: Direction
    cause: str


Effect = SendCommand | PublishEvent | ResolveDeadLetters


@dataclass(frozen=True, slots=True)
class Transition:
    """The input was accepted: the new saga, what to do, and the input for the history (S15)."""

    saga: Saga
    effects: tuple[Effect, ...]
    accepted: Input


@dataclass(frozen=True, slots=True)
class Stale:
    """The input changes nothing: a duplicate or a late answer. Normal, never an error (S1)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A person asked for something that is not allowed now: a code for programs, a reason for people."""

    code: str
    reason: str


Decision = Transition | Stale | Refused
