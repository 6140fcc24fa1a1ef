"""What a participant answers with: events built once, stored, and sent as often as asked for (P2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from contracts.envelope import Direction
from contracts.events import OUTCOMES, Effect, OutcomeEvent, StepRefused
from contracts.wire import written
from messaging.compose import stored_event_message
from messaging.identifiers import NewId
from messaging.transport import Message
from participants.commands import Offer, Received
from participants.ledger import LedgerRow, StoredOutcome


def stored(event: OutcomeEvent, event_id: UUID) -> StoredOutcome:
    """An event in the form in which it is kept and sent."""
    return StoredOutcome(type(event).__name__, event_id, written(event))


def identity(received: Received) -> dict[str, Any]:
    """The fields that tie an answer to its question."""
    command = received.command
    return {
        "saga_id": command.saga_id,
        "order_id": command.order_id,
        "step": command.step,
        "direction": command.direction,
    }


def step_of(row: LedgerRow, direction: Direction) -> dict[str, Any]:
    """The same fields, for an answer to a command of which only the row is at hand."""
    return {
        "saga_id": row.saga_id,
        "order_id": row.order_id,
        "step": row.step,
        "direction": direction,
    }


def refused(received: Received) -> StoredOutcome:
    """The answer to a forward command that came after its compensation (P5).

    Its event id is made from what it answers, so that it stays the same without being stored.
    """
    event = StepRefused(**identity(received), reason="this step has been compensated")
    return stored(event, uuid5(received.saga_id, f"{received.step}:{StepRefused.__name__}"))


def nothing_to_undo(work: Offer, row: LedgerRow, event_id: UUID) -> StoredOutcome:
    """The answer of a compensation that found no effect (P4)."""
    return undone(work, row, event_id, effect=Effect.NOTHING)


def undone(work: Offer, row: LedgerRow, event_id: UUID, **said: Any) -> StoredOutcome:
    """The answer of a compensation.

    Args:
        said: the fields of its event; ``effect`` is `Effect.UNDONE` unless given.
    """
    if work.undone is None:
        raise AssertionError(f"{work.name} has no compensation")
    fields = {"effect": Effect.UNDONE, **said}
    return stored(work.undone(**step_of(row, Direction.COMPENSATING), **fields), event_id)


@dataclass(frozen=True, slots=True)
class Sender:
    """Puts outcomes into messages of one participant."""

    app_id: str
    new_id: NewId
    outcomes: Mapping[str, type[OutcomeEvent]] = field(default_factory=lambda: OUTCOMES)
    """The events that it may send, by type."""

    def message(self, outcome: StoredOutcome, received: Received, now: datetime) -> Message:
        """The outcome in answer to a delivery: the same event id always, a message id of its own (M1)."""
        return stored_event_message(
            outcome.type,
            self.outcomes[outcome.type].key,
            outcome.body,
            received.saga_id,
            self.new_id(),
            outcome.event_id,
            now,
            self.app_id,
            mandatory=True,
            causation_id=received.delivery.message_id,
            traceparent=received.traceparent,
        )
