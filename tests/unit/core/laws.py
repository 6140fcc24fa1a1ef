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
from orchestrator.core.state import ENDED, NOT_SENT, Awaited, Forward, Saga, Undo

History = Sequence[tuple[datetime, Input]]
Work = tuple[str, Direction]


def check_step(
    definition: SagaDefinition, before: Saga, happened: Input, decision: Decision, history: History
) -> None:
    """Raises AssertionError when one decision breaks a law."""
    if not isinstance(decision, Transition):
        return
    after = decision.saga
    _follows_the_table(definition, before, happened, after)
    _moves_one_version(before, after, history)
    _keeps_what_is_final(definition, before, after)
    _awaits_one_stage_alone(definition, after)
    _asks_for_what_it_awaits(definition, before, decision)
    _disturbs_nothing_else(definition, before, happened, after)
    _never_undoes_past_the_pivot(definition, after)
    _ends_dead_letters_with_their_wait(before, decision)
    assert without_timers(replayed(definition, after, history)) == without_timers(after)


def without_timers(saga: Saga) -> Saga:
    """The part of a saga that its history reproduces (S15)."""
    awaited = tuple(replace(each, sending=NOT_SENT) for each in saga.awaited)
    return replace(saga, awaited=awaited, attempts={}, due_at=None)


def replayed(definition: SagaDefinition, saga: Saga, history: History) -> Saga:
    """The saga that its history leads to."""
    return machine.fold(definition, saga.saga_id, saga.subject_id, saga.input, history)


def _follows_the_table(definition: SagaDefinition, before: Saga, happened: Input, after: Saga) -> None:
    trigger = machine.classify(definition, happened)
    assert trigger is not None
    assert after.status in machine.TABLE[before.status, trigger].leads_to


def _moves_one_version(before: Saga, after: Saga, history: History) -> None:
    assert after.version == before.version + 1 == len(history)
    assert after.updated_at == history[-1][0]


def _keeps_what_is_final(definition: SagaDefinition, before: Saga, after: Saga) -> None:
    for identity in ("saga_id", "subject_id", "definition", "definition_version", "input", "created_at"):
        assert getattr(after, identity) == getattr(before, identity)
    if before.status in ENDED:
        assert (after.status, after.label) == (before.status, before.label)
        assert after.ended_at == before.ended_at
    if before.failure is not None:
        assert after.failure == before.failure, "the first cause wins (S8)"
    labels = definition.labels
    ends = {*labels.completes_as, *labels.undone_as}
    assert (after.status in ENDED) == (after.label in ends) == (after.ended_at is not None)
    for wait, signal in before.signals.items():
        assert after.signals[wait] == signal, "a signal is taken once (S23)"
    items = {piece.name: piece.item for piece in before.steps}
    assert {piece.name: piece.item for piece in after.steps if piece.name in items} == items, "S22"


def _awaits_one_stage_alone(definition: SagaDefinition, after: Saga) -> None:
    """What is awaited is what the pieces say, all of it of one stage and in one direction (S20, S21)."""
    if after.status in ENDED:
        assert all(each.settling is not None for each in after.awaited), "only verdicts (S19)"
        assert not [piece for piece in after.steps if piece.forward is Forward.AWAITED]
        assert not [piece for piece in after.steps if piece.undo is Undo.AWAITED]
        return
    assert after.awaited
    assert {each.direction for each in after.awaited} == {after.direction}
    assert len({definition.stage_index(each.step) for each in after.awaited}) == 1
    asked_for = [piece.name for piece in after.steps if piece.forward is Forward.AWAITED]
    undone = [piece.name for piece in after.steps if piece.undo is Undo.AWAITED]
    assert asked_for + undone == [each.step for each in after.awaited], "in the order of the course"


def _asks_for_what_it_awaits(definition: SagaDefinition, before: Saga, decision: Transition) -> None:
    """At most one command a piece; a piece that is newly awaited is asked for, unless it is a wait."""
    commands = [effect.command for effect in decision.effects if isinstance(effect, SendCommand)]
    sent = {(command.step, command.direction): command for command in commands}
    assert len(sent) == len(commands)
    for work, command in sent.items():
        awaited = decision.saga.waiting_for(*work)
        assert awaited is not None
        assert command == awaited_command(definition, decision.saga, awaited).command
    new = works(decision.saga.awaited) - works(before.awaited)
    assert {work for work in new if work[0] in definition} <= set(sent)


def works(awaited: Sequence[Awaited]) -> set[Work]:
    """The pieces of work that are awaited."""
    return {(each.step, each.direction) for each in awaited}


def _disturbs_nothing_else(definition: SagaDefinition, before: Saga, happened: Input, after: Saga) -> None:
    """What is about one piece leaves every other that is still awaited as it was, its command too (S20)."""
    about = getattr(happened, "step", None) or getattr(happened, "wait", None)
    for each in before.awaited:
        now = after.waiting_for(each.step, each.direction)
        if about is None or each.step == about or now is None:
            continue
        assert now == each
        if each.step in definition:
            assert awaited_command(definition, after, now) == awaited_command(definition, before, each)
        incidents = [one for one in before.incidents if one.step == each.step]
        assert [one for one in after.incidents if one.step == each.step] == incidents


def _never_undoes_past_the_pivot(definition: SagaDefinition, after: Saga) -> None:
    if after.direction is Direction.FORWARD:
        assert all(piece.undo in (Undo.NONE, Undo.SETTLED) for piece in after.steps)
        return
    for piece in after.steps:
        if definition.stage_index(piece.name) >= definition.point_of_no_return:
            assert piece.undo is not Undo.AWAITED
            kind = definition[piece.name].kind if piece.name in definition else None
            assert kind is StepKind.PIVOT or piece.forward is Forward.PENDING


def _ends_dead_letters_with_their_wait(before: Saga, decision: Transition) -> None:
    left = works(decision.saga.awaited)
    gone = [each for each in before.awaited if (each.step, each.direction) not in left]
    expected = [(each.step, each.direction) for each in gone if each.dead_lettered]
    closed = [effect for effect in decision.effects if isinstance(effect, ResolveDeadLetters)]
    assert [(each.step, each.direction) for each in closed] == expected
