"""Properties of any saga, under any definition, whatever happens in whatever order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.commands import SettleStep, Verdict
from contracts.envelope import Direction
from orchestrator.core import machine, timers
from orchestrator.core.asking import awaited_command
from orchestrator.core.definition import SagaDefinition, Step, StepKind
from orchestrator.core.effects import SendCommand, Transition
from orchestrator.core.inputs import (
    Actor,
    CancelRequested,
    CommandDeadLettered,
    CompensationStuck,
    Input,
    OutcomeReceived,
    OutcomeUnknown,
    ResolveRequested,
    RetryRequested,
    SagaStarted,
    StepOverdue,
)
from orchestrator.core.soundness import validate
from orchestrator.core.state import ENDED, Forward, IncidentKind, Status, Undo
from orchestrator.core.timers import Observed
from tests.unit.core.happenings import COMPENSATING, DEFINITION, FORWARD, NOON
from tests.unit.core.laws import without_timers
from tests.unit.core.scenario import Scenario

ACTOR = Actor("somebody", "because")

# -- definitions of every shape ---------------------------------------------------------------------------

RESERVE, CHARGE, SHIP, COMMIT = DEFINITION.steps


def shaped(compensatable: int, pivots: int, retriable: int) -> SagaDefinition:
    """A sound saga of so many steps of each kind."""
    steps = (
        *(replace((RESERVE, CHARGE)[at % 2], name=f"do{at}") for at in range(compensatable)),
        *(replace(SHIP, name="turn") for _ in range(pivots)),
        *(replace(COMMIT, name=f"finish{at}") for at in range(retriable)),
    )
    definition = SagaDefinition("any_saga", 1, steps)
    validate(definition)
    return definition


DEFINITIONS = [shaped(*shape) for shape in product(range(4), range(2), range(3)) if any(shape)]

# -- inputs of every kind ---------------------------------------------------------------------------------


def success(step: Step) -> OutcomeReceived:
    data = {name: f"{name} of {step.name}" for name in step.keeps}
    return OutcomeReceived(step.success.__name__, step.name, FORWARD, data)


def undone(step: Step, effect: str) -> OutcomeReceived:
    assert step.compensation is not None
    return OutcomeReceived(step.compensation.outcome.__name__, step.name, COMPENSATING, {"effect": effect})


def answers(step: Step) -> Iterator[OutcomeReceived]:
    """Everything a participant can say of a step."""
    yield success(step)
    yield OutcomeReceived("StepRefused", step.name, FORWARD)
    if step.rejection is not None:
        yield OutcomeReceived(step.rejection.__name__, step.name, FORWARD, {"code": "no"})
    if step.compensation is not None:
        yield undone(step, "undone")
        yield undone(step, "nothing")
    for direction, verdict, accepted in product(Direction, Verdict, (True, False)):
        said = {"verdict": verdict, "accepted": accepted}
        yield OutcomeReceived("StepSettled", step.name, direction, said)


def about(step: Step) -> Iterator[Input]:
    """Everything that can happen to a step, in due time or not."""
    name = step.name
    yield from answers(step)
    yield from (OutcomeUnknown(name), StepOverdue(name), CompensationStuck(name))
    for direction, permanent in product(Direction, (True, False)):
        yield CommandDeadLettered(name, direction, permanent, "broken")
    for verdict in Verdict:
        yield ResolveRequested(ACTOR, name, verdict)


@cache
def pool(shape: int, step: str | None) -> tuple[Input, ...]:
    """Everything that can happen to one step, or to a whole saga and beside it."""
    definition = DEFINITIONS[shape]
    if step is not None:
        return tuple(about(definition[step]))
    people = (CancelRequested(ACTOR), RetryRequested(ACTOR))
    noise = (SagaStarted(), OutcomeReceived("", "", FORWARD), OutcomeReceived("StepSettled", "?", FORWARD))
    return (*people, *noise, *(each for step in definition.steps for each in about(step)))


# -- lives ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Move:
    """After so many seconds one thing happens, more likely than not to what the saga waits for."""

    seconds: int
    to_what_is_awaited: bool
    which: int

    def happens_to(self, scenario: Scenario, shape: int) -> None:
        """Let it happen; the scenario checks the laws (see `laws`)."""
        work = scenario.saga.work
        inputs = pool(shape, work.step if work is not None and self.to_what_is_awaited else None)
        scenario.after(self.seconds).when(inputs[self.which % len(inputs)])


MOVES = st.builds(
    Move, st.sampled_from([0, 1, 30, 400]), st.sampled_from([True, True, False]), st.integers(0, 499)
)


def lived(shape: int, moves: list[Move]) -> Scenario:
    """A saga of this shape after these moves."""
    scenario = Scenario(DEFINITIONS[shape])
    for move in moves:
        move.happens_to(scenario, shape)
    return scenario


SHAPES = st.integers(0, len(DEFINITIONS) - 1)
LIVES = st.builds(lived, SHAPES, st.lists(MOVES, max_size=20))

thoroughly = settings(deadline=None, max_examples=100)


@thoroughly
@given(LIVES)
def test_any_sequence_of_inputs_keeps_the_laws(life: Scenario) -> None:
    assert life.saga.version == len(life.history)


@thoroughly
@given(SHAPES, st.lists(MOVES, max_size=20), MOVES)
def test_s1_what_is_not_accepted_changes_nothing(shape: int, moves: list[Move], last: Move) -> None:
    life = lived(shape, moves)
    before, entries = life.saga, len(life.history)
    last.happens_to(life, shape)
    assert isinstance(life.decision, Transition) or (life.saga is before and len(life.history) == entries)


@thoroughly
@given(LIVES)
def test_s1_an_answer_delivered_twice_never_moves_the_saga_twice(life: Scenario) -> None:
    once = life.saga
    work = once.work
    if work is None:
        return
    for answer in answers(life.definition[work.step]):
        life.saga, history = once, list(life.history)
        moved = life.when(answer).saga
        life.when(answer)
        assert (life.saga.status, life.saga.awaiting) == (moved.status, moved.awaiting)
        life.history = history


@thoroughly
@given(LIVES)
def test_s3_compensations_are_asked_for_in_reverse_order(life: Scenario) -> None:
    """Last done, first undone; only a success that came too late may break the row (S5)."""
    undone_in_order: list[str] = []
    late = False
    saga = machine.start(life.definition, life.saga.saga_id, life.saga.order_id, life.saga.order, NOON).saga
    for at, happened in life.history[1:]:
        decision = machine.decide(life.definition, saga, happened, at)
        assert isinstance(decision, Transition)
        late = late or (
            saga.status is Status.COMPENSATING
            and machine.classify(life.definition, happened) is machine.Trigger.SUCCEEDED
        )
        saga = decision.saga
        commands = [each.command for each in decision.effects if isinstance(each, SendCommand)]
        undoing = [each for each in commands if each.direction is COMPENSATING]
        undone_in_order += [each.step for each in undoing if not isinstance(each, SettleStep)]
    order = [life.definition.index(name) for name in undone_in_order]
    assert late or order == sorted(order, reverse=True)


@thoroughly
@given(LIVES)
def test_s7_compensated_means_that_nothing_is_left_to_undo(life: Scenario) -> None:
    if life.saga.status is not Status.COMPENSATED:
        return
    for step in life.saga.steps:
        undoable = life.definition[step.name].kind is StepKind.COMPENSATABLE
        if undoable and step.may_hold_something:
            assert life.saga.has_incident(IncidentKind.ORPHANED_EFFECT, step.name, COMPENSATING)


@thoroughly
@given(LIVES)
def test_s6_completed_means_that_every_step_succeeded_and_none_was_undone(life: Scenario) -> None:
    if life.saga.status is Status.COMPLETED:
        assert all((step.forward, step.undo) == (Forward.SUCCEEDED, Undo.NONE) for step in life.saga.steps)


@thoroughly
@given(LIVES)
def test_s10_held_work_has_an_open_incident_or_a_verdict_under_way(life: Scenario) -> None:
    awaiting = life.saga.awaiting
    if awaiting is not None and awaiting.held:
        assert life.saga.has_incident(IncidentKind.DEAD_LETTER, awaiting.step, awaiting.direction)


@thoroughly
@given(LIVES)
def test_every_saga_that_has_not_ended_can_be_moved_by_time_an_answer_or_a_person(life: Scenario) -> None:
    saga, actions = life.saga, machine.allowed_actions(life.definition, life.saga)
    if saga.status in ENDED:
        return
    assert awaited_command(life.definition, saga).command.saga_id == saga.saga_id
    assert "retry" in actions
    assert saga.due_at is not None or saga.incidents


@thoroughly
@given(LIVES)
def test_what_is_said_to_be_allowed_is_allowed(life: Scenario) -> None:
    allowed = machine.allowed_actions(life.definition, life.saga)
    asked: dict[str, list[Input]] = {
        "cancel": [CancelRequested(ACTOR)],
        "retry": [RetryRequested(ACTOR)],
        "resolve": [ResolveRequested(ACTOR, step.name, Verdict.NO_EFFECT) for step in life.definition.steps],
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
        if isinstance(life.finding, timers.Wait | timers.Resend):
            assert without_timers(life.saga) == without_timers(before)
        else:
            assert life.saga.version == before.version + 1, "a finding is never refused by the machine"


@thoroughly
@given(LIVES)
def test_s12_answered_promptly_every_saga_ends(life: Scenario) -> None:
    """From wherever it is: retry what is held, answer what is awaited, and it comes to its end."""
    for _ in range(2 * len(life.definition.steps) + 2):
        if life.saga.awaiting is None:
            break
        step = life.definition[life.saga.awaiting.step]
        forward = life.saga.awaiting.direction is FORWARD
        life.when(success(step) if forward else undone(step, "undone"))
    assert life.saga.status in ENDED


@thoroughly
@given(LIVES, st.integers(0, 400))
def test_looks_alone_never_cancel_an_order_while_the_outcome_queue_is_not_empty(
    life: Scenario, seconds: int
) -> None:
    before = life.saga.status
    for _ in range(10):
        observed = Observed(copy_in_outbox=False, outcomes_empty_at=None)
        life.after(seconds).acted_on(timers.look(life.definition, life.saga, observed, life.now))
    assert life.saga.status is before
