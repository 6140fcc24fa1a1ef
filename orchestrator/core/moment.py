"""One input meeting one saga: all that a rule may look at, and how it accepts the input."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from dataclasses import replace as changed
from datetime import datetime
from typing import Any, Final

from contracts.envelope import Direction
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.effects import Effect, ResolveDeadLetters, Transition
from orchestrator.core.state import Awaited, Incident, IncidentKind, Saga
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


class DefinitionFault(Exception):
    """A definition's own function did what none may; it harms the saga that it was asked for (S25)."""


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
    _worked_out: dict[str, Any] = field(default_factory=dict)

    def work_out(self, name: str, function: Callable[[], Any]) -> Any:
        """What a function of the definition says, as a plain value; in a fold, what it said then (S15).

        Raises:
            DefinitionFault: it failed, or said something that JSON does not have.
        """
        known = self.happened.worked_out
        if name in known:
            return known[name]
        try:
            text = json.dumps(function(), allow_nan=False, ensure_ascii=False).encode()
            said = json.loads(text)
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"[:300]
            raise DefinitionFault(f"{self.saga.definition}: {name} cannot be worked out: {fault}") from error
        self._worked_out[name] = said
        return said

    def accept(self, saga: Saga, effects: tuple[Effect, ...] = ()) -> Transition:
        """The decision that this input leads to ``saga``.

        Adds what every accepted input brings: the next version (S15) and, for each piece of work that is not
        awaited any more, the end of the incidents (S10) and dead letters (D3) that hung on it.
        """
        before = self.saga
        incidents = saga.incidents
        for ended in before.awaited:
            if saga.waiting_for(ended.step, ended.direction) is not None:
                continue
            incidents = tuple([each for each in incidents if not _ends(each, ended, before)])
            if ended.dead_lettered:
                effects = (*effects, ResolveDeadLetters(ended.step, ended.direction, self.cause))
        after = replace(saga, version=before.version + 1, updated_at=self.now, incidents=incidents)
        happened = self.happened
        if self._worked_out:
            happened = changed(happened, worked_out={**happened.worked_out, **self._worked_out})
        return Transition(after, effects, happened)

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


def _ends(incident: Incident, ended: Awaited, before: Saga) -> bool:
    """Whether an incident ends with a wait; one that this very input opened does not."""
    return (
        incident.step == ended.step
        and incident.direction == ended.direction
        and incident.kind in END_WITH_THE_WAIT
        and incident in before.incidents
    )
