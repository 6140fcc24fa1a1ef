"""Properties of any saga, on any course, whatever happens in whatever order."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.commands import SettleStep, Verdict
from orchestrator.codec import dump_input, dump_state, kind_of, load_input, load_saga
from orchestrator.core import machine, timers
from orchestrator.core.asking import awaited_command
from orchestrator.core.definition import ForEach, StepKind
from orchestrator.core.effects import SendCommand, Transition
from orchestrator.core.inputs import CancelRequested, Input, ResolveRequested, RetryRequested
from orchestrator.core.state import ENDED, Forward, IncidentKind, Status, Undo
from orchestrator.core.timers import Observed
from tests.unit.core.happenings import COMPENSATING, NOON
from tests.unit.core.laws import without_timers
from tests.unit.core.random_courses import ACTOR, LIVES, MOVES, Move, answered, answers, signals
from tests.unit.core.scenario import Scenario

thoroughly = settings(deadline=None, max_examples=100)


@thoroughly
@given(LIVES)
def test_any_sequence_of_inputs_keeps_the_laws(life: Scenario) -> None:
    assert life.saga.version == len(life.history)


@thoroughly
@given(LIVES, MOVES)
def test_s1_what_is_not_accepted_changes_nothing(life: Scenario, last: Move) -> None:
    before, entries = life.saga, len(life.history)
    last.happens_to(life)
    assert isinstance(life.decision, Transition) or (life.saga is before and len(life.history) == entries)


@thoroughly
@given(LIVES)
def test_s1_an_answer_delivered_twice_never_moves_the_saga_twice(life: Scenario) -> None:
    once = life.saga
    for awaited in once.awaited:
        if awaited.step not in life.definition:
            continue
        for answer in answers(life.definition, awaited.step):
            life.saga, history = once, list(life.history)
            moved = life.when(answer).saga
            life.when(answer)
            assert (life.saga.status, life.saga.awaited) == (moved.status, moved.awaited)
            life.history = history


@thoroughly
@given(LIVES)
def test_s3_s21_compensations_are_asked_for_stage_by_stage_in_reverse_order(life: Scenario) -> None:
    """Last done, first undone; only a success that came too late may break the row (S5)."""
    undone_in_order: list[str] = []
    late = False
    saga = machine.start(life.definition, life.saga.saga_id, life.saga.subject_id, life.saga.input, NOON).saga
    for at, happened in life.history[1:]:
        decision = machine.decide(life.definition, saga, happened, at)
        assert isinstance(decision, Transition)
        late = late or (
            saga.status is Status.COMPENSATING
            and machine.classify(life.definition, happened) is machine.Trigger.SUCCEEDED
        )
        saga = decision.saga
        if isinstance(happened, RetryRequested):
            continue
        commands = [each.command for each in decision.effects if isinstance(each, SendCommand)]
        undoing = [each for each in commands if each.direction is COMPENSATING]
        undone_in_order += [each.step for each in undoing if not isinstance(each, SettleStep)]
    order = [life.definition.stage_index(name) for name in undone_in_order]
    assert late or order == sorted(order, reverse=True)


@thoroughly
@given(LIVES)
def test_s7_compensated_means_that_nothing_is_left_to_undo(life: Scenario) -> None:
    if life.saga.status is not Status.COMPENSATED:
        return
    for piece in life.saga.steps:
        if piece.name not in life.definition:
            continue
        undoable = life.definition[piece.name].kind is StepKind.COMPENSATABLE
        if undoable and piece.may_hold_something:
            assert life.saga.has_incident(IncidentKind.ORPHANED_EFFECT, piece.name, COMPENSATING)


@thoroughly
@given(LIVES)
def test_s6_s22_completed_means_that_all_succeeded_but_branches_of_the_pivot_and_waits(
    life: Scenario,
) -> None:
    if life.saga.status is not Status.COMPLETED:
        return
    pivots: list[Forward] = []
    for piece in life.saga.steps:
        stage = life.definition.stage_of(piece.name)
        if piece.name in life.definition.waits:
            assert piece.forward in (Forward.SUCCEEDED, Forward.LEFT_OUT)
        elif isinstance(stage, ForEach) and stage.step.kind is StepKind.PIVOT:
            assert piece.forward in (Forward.SUCCEEDED, Forward.REJECTED)
            pivots.append(piece.forward)
        else:
            assert (piece.forward, piece.undo) == (Forward.SUCCEEDED, Undo.NONE)
    assert not pivots or Forward.SUCCEEDED in pivots


@thoroughly
@given(LIVES)
def test_s10_held_work_has_an_open_incident_or_a_verdict_under_way(life: Scenario) -> None:
    for awaited in life.saga.awaited:
        if awaited.held:
            assert life.saga.has_incident(IncidentKind.DEAD_LETTER, awaited.step, awaited.direction)


@thoroughly
@given(LIVES)
def test_every_piece_that_is_awaited_can_be_moved_by_time_an_answer_or_a_person(life: Scenario) -> None:
    saga, actions = life.saga, machine.allowed_actions(life.definition, life.saga)
    if saga.status in ENDED:
        return
    for awaited in saga.awaited:
        if awaited.step in life.definition.waits:
            assert saga.due_at is not None
        else:
            assert awaited_command(life.definition, saga, awaited).command.saga_id == saga.saga_id
            assert "retry" in actions
            assert saga.due_at is not None or saga.incidents


@thoroughly
@given(LIVES)
def test_what_is_said_to_be_allowed_is_allowed(life: Scenario) -> None:
    allowed = machine.allowed_actions(life.definition, life.saga)
    waits = life.definition.waits
    asked: dict[str, list[Input]] = {
        "cancel": [CancelRequested(ACTOR)],
        "retry": [RetryRequested(ACTOR)],
        "resolve": [
            ResolveRequested(ACTOR, each.name, verdict) for each in life.saga.steps for verdict in Verdict
        ],
        "signal": [each for wait in waits for each in signals(wait)],
    }
    for action, inputs in asked.items():
        decisions = [machine.decide(life.definition, life.saga, each, life.now) for each in inputs]
        assert (action in allowed) == any(isinstance(each, Transition) for each in decisions), action


@thoroughly
@given(LIVES, st.integers(0, 30), st.booleans())
def test_s4_looks_change_nothing_but_timers_or_go_through_the_machine(
    life: Scenario, looks: int, copy_in_outbox: bool
) -> None:
    for _ in range(looks):
        if life.saga.due_at is None:
            break
        before = life.saga
        life.until_due().looked_at(copy_in_outbox=copy_in_outbox)
        found = life.findings.values()
        told = [each for each in found if not isinstance(each, timers.StayAsItIs | timers.Resend)]
        assert life.saga.version == before.version + len(told), "a finding is never refused by the machine"
        if not told:
            assert without_timers(life.saga) == without_timers(before)


@thoroughly
@given(LIVES)
def test_s11_the_next_look_always_lies_ahead(life: Scenario) -> None:
    for _ in range(5):
        life.after(500).seen(Observed(frozenset(), None))
        assert life.saga.due_at is None or life.saga.due_at > life.now


@thoroughly
@given(LIVES)
def test_s12_answered_promptly_every_saga_ends(life: Scenario) -> None:
    """From wherever it is: answer what is awaited, and it comes to its end."""
    for _ in range(2 * len(life.definition.course) + 2):
        if life.saga.status in ENDED:
            break
        answered(life)
    assert life.saga.status in ENDED


@thoroughly
@given(LIVES, st.integers(0, 400))
def test_looks_alone_never_cancel_a_saga_while_the_outcome_queue_is_not_empty(
    life: Scenario, seconds: int
) -> None:
    if any(each.step in life.definition.waits for each in life.saga.awaited):
        return
    before = life.saga.status
    for _ in range(10):
        life.after(seconds).seen(Observed(frozenset(), outcomes_empty_at=None))
    assert life.saga.status is before


@thoroughly
@given(LIVES)
def test_s15_a_saga_and_its_history_are_read_back_as_they_were_written(life: Scenario) -> None:
    saga = life.saga
    columns = {
        name: getattr(saga, name)
        for name in (
            *("saga_id", "subject_id", "definition", "definition_version", "created_at", "updated_at"),
            *("status", "label", "direction", "version", "ended_at", "due_at"),
        )
    }
    assert load_saga(columns, json.loads(dump_state(saga)), saga.input) == saga
    for _, happened in life.history:
        assert load_input(kind_of(happened), json.loads(dump_input(happened))) == happened
