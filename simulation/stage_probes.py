"""What an accepted input meant for the stages of its saga: which of S20 to S23 was kept, for the coverage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from contracts.envelope import Direction
from orchestrator.core.definition import ForEach, SagaDefinition, StepKind
from orchestrator.core.effects import Transition
from orchestrator.core.inputs import Leading, OutcomeReceived, SignalReceived
from orchestrator.core.state import Forward, Saga, Status

STAGE_RULES: Final = (
    "S20 one of several",
    "S20 several asked for",
    "S21 turn beside others",
    "S21 one of several undone",
    "S21 several to undo",
    "S22 branches worked out",
    "S22 no items",
    "S22 branch refused",
    "S22 none succeeded",
    "S22 some succeeded",
    "S23 early signal",
    "S23 not needed",
)
"""Every name that is told here."""


def stage_rules(definition: SagaDefinition, before: Saga | None, transition: Transition) -> Iterator[str]:
    """The rules that a transition has kept."""
    after = transition.saga
    yield from _of_sets(before, after)
    yield from _of_branches(definition, before, transition)
    yield from _of_waits(definition, before, transition)


def _of_sets(before: Saga | None, after: Saga) -> Iterator[str]:
    compensating = after.direction is Direction.COMPENSATING
    begun = [
        each
        for each in after.awaited
        if before is None or before.waiting_for(each.step, each.direction) is None
    ]
    if len(begun) > 1:
        yield "S21 several to undo" if compensating else "S20 several asked for"
    if before is None or len(before.awaited) < 2:
        return
    if before.direction is not after.direction:
        yield "S21 turn beside others"
    elif len(after.awaited) == len(before.awaited) - 1:
        yield "S21 one of several undone" if compensating else "S20 one of several"


def _of_branches(definition: SagaDefinition, before: Saga | None, transition: Transition) -> Iterator[str]:
    after, accepted = transition.saga, transition.accepted
    worked_out = accepted.worked_out if isinstance(accepted, Leading) else {}
    if [] in worked_out.values():
        yield "S22 no items"
    if any(isinstance(said, list) and said for said in worked_out.values()):
        yield "S22 branches worked out"
    if before is None or not isinstance(accepted, OutcomeReceived) or accepted.step not in definition:
        return
    of_pivot = definition[accepted.step].kind is StepKind.PIVOT
    if not of_pivot or not isinstance(definition.stage_of(accepted.step), ForEach):
        return
    if after.step(accepted.step).forward is Forward.REJECTED:
        yield "S22 branch refused"
    if before.status is Status.RUNNING and before.awaited and not _still_there(definition, after, accepted):
        yield "S22 none succeeded" if after.direction is Direction.COMPENSATING else "S22 some succeeded"


def _still_there(definition: SagaDefinition, after: Saga, accepted: OutcomeReceived) -> bool:
    stage = definition.stage_index(accepted.step)
    return any(definition.stage_index(each.step) == stage for each in after.awaited)


def _of_waits(definition: SagaDefinition, before: Saga | None, transition: Transition) -> Iterator[str]:
    accepted = transition.accepted
    if isinstance(accepted, SignalReceived) and before is not None:
        early = before.waiting_for(accepted.wait, Direction.FORWARD) is None
        yield from ("S23 early signal",) if early else ()
    worked_out = accepted.worked_out if isinstance(accepted, Leading) else {}
    if any(worked_out.get(name) is False for name in definition.waits):
        yield "S23 not needed"
