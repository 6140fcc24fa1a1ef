"""One input meeting one saga: all that a rule may look at, and how it accepts the input."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from contracts.envelope import Direction
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.effects import Effect, ResolveDeadLetters, Transition
from orchestrator.core.state import Awaiting, Incident, IncidentKind, Saga, Settlement
from orchestrator.core.values import replace

END_WITH_THE_WAIT: Final = frozenset(
    {
        IncidentKind.OVERDUE,
        IncidentKind.COMPENSATION_STUCK,
        IncidentKind.DEAD_LETTER,
        IncidentKind.STEP_REFUSED,
        IncidentKind.VERDICT_REFUSED,
    }
)
"""Incidents about a piece of work that has no answer yet; an orphaned effect outlives every wait (S5)."""


@dataclass(frozen=True, slots=True)
class Moment:
    """All that a rule may look at.

    Attributes:
        happened: the input; each rule knows its type from its row in the table.
        cause: what the input means to the machine, in a person's words.
    """

    definition: SagaDefinition
    saga: Saga
    happened: Any
    now: datetime
    cause: str

    def accept(self, saga: Saga, effects: tuple[Effect, ...] = ()) -> Transition:
        """The decision that this input leads to ``saga``.

        Adds what every accepted input brings: the next version (S15) and, where the work waited for has
        changed, the end of the incidents (S10) and dead letters (D3) that hung on it.
        """
        before = self.saga
        incidents, ended = saga.incidents, before.work
        if ended is not None and not _same_work(ended, saga.work):
            incidents = tuple([each for each in incidents if not _ends(each, ended, before)])
            if ended.dead_lettered:
                effects = (*effects, ResolveDeadLetters(ended.step, ended.direction, self.cause))
        after = replace(saga, version=before.version + 1, updated_at=self.now, incidents=incidents)
        return Transition(after, effects, self.happened)

    def with_incident(
        self, saga: Saga, kind: IncidentKind, step: str, direction: Direction, message: str
    ) -> Saga:
        """The saga with an incident open; one open already keeps its time and takes the new message."""
        since = self.now
        for each in saga.incidents:
            if (each.kind, each.step, each.direction) == (kind, step, direction):
                since = each.since
        others = without_incident(saga, kind, step, direction)
        return replace(saga, incidents=(*others, Incident(kind, step, direction, since, message)))


def without_incident(saga: Saga, kind: IncidentKind, step: str, direction: Direction) -> tuple[Incident, ...]:
    """The saga's incidents less one: each action closes only its own kind (S8)."""
    return tuple(i for i in saga.incidents if (i.kind, i.step, i.direction) != (kind, step, direction))


def _same_work(one: Awaiting | Settlement, other: Awaiting | Settlement | None) -> bool:
    return other is not None and one.step == other.step and one.direction == other.direction


def _ends(incident: Incident, ended: Awaiting | Settlement, before: Saga) -> bool:
    """Whether an incident ends with a wait; one that this very input opened does not."""
    return (
        incident.step == ended.step
        and incident.direction == ended.direction
        and incident.kind in END_WITH_THE_WAIT
        and incident in before.incidents
    )
