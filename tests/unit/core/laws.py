"""What must hold at every step of every saga, whatever happens. Used by the scenarios and the properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from contracts.envelope import Direction
from orchestrator.core import machine
from orchestrator.core.asking import awaited_command
from orchestrator.core.definition import SagaDefinition, StepKind
from orchestrator.core.effects import Decision, ResolveDeadLetters, SendCommand, Transition
from orchestrator.core.inputs import Input
from orchestrator.core.state import END_STATUSES, ENDED, Forward, Saga, Sending, Undo

History = Sequence[tuple[datetime, Input]]


def check_step(
    definition: SagaDefinition, before: Saga, happened: Input, decision: Decision, history: History
) -> None:
    """Raises AssertionError when one decision breaks a law."""
    if not isinstance(decision, Transition):
        return
    after = decision.saga
    _follows_the_table(definition, before, happened, after)
    _moves_one_version(before, after, history)
    _keeps_what_is_final(before, after)
    _awaits_at_most_one_thing(definition, after, decision)
    _never_undoes_past_the_pivot(definition, after)
    _ends_dead_letters_with_their_wait(before, decision)
    assert without_timers(replayed(definition, after, history)) == without_timers(after)


def without_timers(saga: Saga) -> Saga:
    """The part of a saga that its history reproduces (S15)."""
    return replace(saga, sending=Sending(), attempts={}, due_at=None)


def replayed(definition: SagaDefinition, saga: Saga, history: History) -> Saga:
    """The saga that its history leads to."""
    return machine.fold(definition, saga.saga_id, saga.order_id, saga.order, history)


def _follows_the_table(definition: SagaDefinition, before: Saga, happened: Input, after: Saga) -> None:
    trigger = machine.classify(definition, happened)
    assert trigger is not None
    assert after.status in machine.TABLE[before.status, trigger].leads_to


def _moves_one_version(before: Saga, after: Saga, history: History) -> None:
    assert after.version == before.version + 1 == len(history)
    assert after.updated_at == history[-1][0]


def _keeps_what_is_final(before: Saga, after: Saga) -> None:
    for identity in ("saga_id", "order_id", "definition", "definition_version", "order", "created_at"):
        assert getattr(after, identity) == getattr(before, identity)
    if before.status in ENDED:
        assert (after.status, after.order_status) == (before.status, before.order_status)
        assert (after.ended_at, after.awaiting) == (before.ended_at, None)
    if before.failure is not None:
        assert after.failure == before.failure, "the first cause wins (S8)"
    assert (after.status in ENDED) == (after.order_status in END_STATUSES) == (after.ended_at is not None)


def _awaits_at_most_one_thing(definition: SagaDefinition, after: Saga, decision: Transition) -> None:
    assert (after.awaiting is None) == (after.status in ENDED)
    commands = [effect for effect in decision.effects if isinstance(effect, SendCommand)]
    assert len(commands) <= 1
    if commands:
        assert commands[0] == awaited_command(definition, after)
    asked_for = [step.name for step in after.steps if step.forward is Forward.AWAITED]
    undone = [step.name for step in after.steps if step.undo is Undo.AWAITED]
    waits_for = [after.awaiting.step] if after.awaiting else []
    assert asked_for + undone == waits_for
    if after.settling is not None and after.awaiting is not None:
        assert after.awaits(after.settling.step, after.settling.direction)


def _never_undoes_past_the_pivot(definition: SagaDefinition, after: Saga) -> None:
    if after.direction is Direction.FORWARD:
        assert all(step.undo is Undo.NONE for step in after.steps)
        return
    first_final = definition.point_of_no_return
    kinds = [definition[step.name].kind for step in after.steps]
    assert all(step.undo is not Undo.AWAITED for step in after.steps[first_final:])
    later = zip(after.steps, kinds, strict=True)
    assert all(step.forward is Forward.PENDING for step, kind in later if kind is StepKind.RETRIABLE)


def _ends_dead_letters_with_their_wait(before: Saga, decision: Transition) -> None:
    old, new = before.work, decision.saga.work
    gone = old is not None and (new is None or (new.step, new.direction) != (old.step, old.direction))
    expected = [(old.step, old.direction)] if old is not None and gone and old.dead_lettered else []
    closed = [effect for effect in decision.effects if isinstance(effect, ResolveDeadLetters)]
    assert [(each.step, each.direction) for each in closed] == expected
