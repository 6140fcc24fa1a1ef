"""Courses of every shape, and everything that can happen to a saga on one, for properties."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from hypothesis import strategies as st

from contracts.commands import Verdict
from contracts.envelope import Direction
from orchestrator.core.definition import ForEach, Group, OnDeadline, SagaDefinition, Stage, StepKind, Wait
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
    SignalReceived,
    StepOverdue,
    WaitElapsed,
)
from orchestrator.core.soundness import validate
from tests.unit.core.courses import (
    COMPENSATABLE,
    PIVOT,
    RETRIABLE,
    Approval,
    Journey,
    booked,
    needs_approval,
    not_booked,
    of,
    refuses,
    step,
    travellers,
    unbooked,
)
from tests.unit.core.happenings import FORWARD, not_settled, refused, settled
from tests.unit.core.scenario import Scenario

ACTOR = Actor("somebody", "because")

# -- courses ----------------------------------------------------------------------------------------------


def _steps(kind: StepKind, name: str) -> st.SearchStrategy[Stage]:
    """A stage of steps of one kind: one, two side by side, or one for each traveller."""
    alone = step(name, kind)
    for_each = ForEach(f"each_{name}", travellers, alone)
    if kind is PIVOT:
        return st.sampled_from([alone, for_each])
    group = Group((step(f"{name}_a", kind), step(f"{name}_b", kind, milestone="half_way")))
    return st.sampled_from([alone, group, for_each])


def _waits(name: str, *, may_turn: bool) -> st.SearchStrategy[Stage]:
    """A wait for a signal or for time; past the pivot none that turns the saga round."""
    return st.builds(
        lambda signal, deadline, when, says_no: Wait(
            name,
            600,
            signal=Approval if signal else None,
            on_deadline=deadline if may_turn else OnDeadline.GO_ON,
            when=when,
            refuses=refuses if signal and may_turn and says_no else None,
            waiting="waiting",
        ),
        st.booleans(),
        st.sampled_from(OnDeadline),
        st.sampled_from([None, needs_approval]),
        st.booleans(),
    )


@st.composite
def courses(draw: st.DrawFn) -> SagaDefinition:
    """A sound course: stages that can be undone and waits, perhaps a pivot, stages that cannot fail and
    waits.
    """
    stages: list[Stage] = []
    for at in range(draw(st.integers(0, 3))):
        kinds = _steps(COMPENSATABLE, f"do{at}") | _waits(f"wait{at}", may_turn=True)
        stages.append(draw(kinds))
    final = draw(st.booleans())
    if final:
        stages.append(draw(_steps(PIVOT, "turn")))
    for at in range(draw(st.integers(0, 2))):
        after = final or at > 0
        kinds = _steps(RETRIABLE, f"finish{at}")
        stages.append(draw(kinds | _waits(f"rest{at}", may_turn=False) if after else kinds))
    if not any(not isinstance(stage, Wait) for stage in stages):
        stages.append(step("only"))
    definition = of(*stages)
    validate(definition)
    return definition


JOURNEYS = st.builds(
    Journey,
    travellers=st.sampled_from([(), ("ann",), ("ann", "bob", "cy")]),
    needs_approval=st.booleans(),
)

# -- what can happen --------------------------------------------------------------------------------------


def answers(definition: SagaDefinition, piece: str) -> Iterator[OutcomeReceived]:
    """Everything a participant can say of a piece of work."""
    asked = definition[piece]
    yield booked(piece)
    yield refused(piece)
    if asked.rejection is not None:
        yield not_booked(piece)
    if asked.compensation is not None:
        yield from (unbooked(piece), unbooked(piece, "nothing"))
    for direction, verdict in product(Direction, Verdict):
        yield settled(piece, direction, verdict)
        yield not_settled(piece, direction, verdict, "no proof")


def signals(wait: str) -> Iterator[SignalReceived]:
    """A yes and a no."""
    for yes in (True, False):
        yield SignalReceived(ACTOR, wait, Approval(yes=yes).model_dump(mode="json"))


def about(definition: SagaDefinition, piece: str) -> list[Input]:
    """Everything that can happen to a piece, in due time or not."""
    inputs: list[Input] = [OutcomeUnknown(piece), StepOverdue(piece), CompensationStuck(piece)]
    inputs += [WaitElapsed(wait=piece)] if piece in definition.waits else []
    inputs += signals(piece)
    inputs += answers(definition, piece) if piece in definition else []
    for direction, permanent in product(Direction, (True, False)):
        inputs.append(CommandDeadLettered(piece, direction, permanent, "broken"))
    inputs += [ResolveRequested(ACTOR, piece, verdict) for verdict in Verdict]
    return [*inputs, RetryRequested(ACTOR, piece)]


BESIDE: tuple[Input, ...] = (
    CancelRequested(ACTOR),
    RetryRequested(ACTOR),
    SagaStarted(),
    OutcomeReceived(event="", step="", direction=FORWARD),
    OutcomeReceived(event="StepSettled", step="do0[7]", direction=FORWARD),
    OutcomeUnknown("nowhere"),
)
"""What is about a whole saga, or about nothing of it."""


@dataclass(frozen=True)
class Move:
    """After so many seconds one thing happens, more likely than not to what the saga waits for."""

    seconds: int
    to_what_is_awaited: bool
    whom: int
    which: int

    def happens_to(self, scenario: Scenario) -> None:
        """Let it happen; the scenario checks the laws (see `laws`)."""
        awaited = [each.step for each in scenario.saga.awaited]
        pieces = (
            awaited if awaited and self.to_what_is_awaited else [each.name for each in scenario.saga.steps]
        )
        whom = self.whom % (len(pieces) + 1)
        if whom < len(pieces):
            inputs = about(scenario.definition, pieces[whom])
            scenario.after(self.seconds).when(inputs[self.which % len(inputs)])
        else:
            scenario.after(self.seconds).when(BESIDE[self.which % len(BESIDE)])


MOVES = st.builds(
    Move,
    st.sampled_from([0, 1, 30, 400]),
    st.sampled_from([True, True, False]),
    st.integers(0, 9),
    st.integers(0, 99),
)


def answered(scenario: Scenario) -> None:
    """Everything that is awaited is answered, as well as it can be."""
    for each in scenario.saga.awaited:
        if scenario.saga.waiting_for(each.step, each.direction) is None:
            continue
        if each.step in scenario.definition.waits:
            scenario.when(WaitElapsed(wait=each.step))
        else:
            scenario.when(booked(each.step) if each.direction is FORWARD else unbooked(each.step))


def lived(definition: SagaDefinition, journey: Journey, promptly: int, moves: list[Move]) -> Scenario:
    """A saga on this course that was answered so many times, and then lived through these moves."""
    scenario = Scenario(definition, journey)
    for _ in range(promptly):
        answered(scenario)
    for move in moves:
        move.happens_to(scenario)
    return scenario


LIVES = st.builds(lived, courses(), JOURNEYS, st.integers(0, 4), st.lists(MOVES, max_size=16))
