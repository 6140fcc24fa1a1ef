"""Each checker of stages, branches, waits and starts objects to a trace that breaks its rule (S20–S24)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from contracts.envelope import Direction
from messaging.compose import command_message
from messaging.transport import Message
from orchestrator.core import machine
from orchestrator.core.asking import awaited_command
from orchestrator.core.definition import (
    Compensation,
    ForEach,
    Group,
    OnDeadline,
    SagaDefinition,
    Step,
    StepKind,
    StepPolicy,
    Wait,
)
from orchestrator.core.effects import Transition
from orchestrator.core.inputs import (
    Actor,
    CancelRequested,
    Input,
    OutcomeReceived,
    SagaStarted,
    SignalReceived,
    WaitElapsed,
)
from orchestrator.core.state import Awaited, Forward, Incident, IncidentKind, Saga, Signal
from orchestrator.core.values import replace as replaced
from participants.fence import State
from participants.ledger import LedgerRow, StoredOutcome
from simulation.cast import Cast
from simulation.checkers import stages, starts, waits
from simulation.courses.trades import COMMANDS, TRADES, Approval
from simulation.facts import Asked, Committed, Effected, Reversed, Signalled, Started
from simulation.servers import BEGINNING
from simulation.storage.database import Change
from tests.simulation.bad_traces import ORDER_ID, SAGA_ID, Trace, entry, outgoing

FORWARD, COMPENSATING = Direction.FORWARD, Direction.COMPENSATING
SOMEBODY: Final = Actor("somebody", "why")


class Job(BaseModel):
    """What starts the sagas of these traces."""

    items: tuple[str, ...] = ("x", "y")


def _arguments(job: Job, results: Any, *item: Any) -> Mapping[str, Any]:
    return {"seen": "", "item": item[0] if item else None}


def step(name: str, trade: str, kind: StepKind = StepKind.COMPENSATABLE) -> Step:
    work, undo = TRADES[trade], None
    if kind is StepKind.COMPENSATABLE:
        assert work.compensation is not None
        assert work.undone is not None
        undo = Compensation(work.compensation, work.undone)
    rejection = None if kind is StepKind.RETRIABLE else work.rejection
    return Step(
        name,
        trade,
        kind,
        COMMANDS[trade],
        work.success,
        StepPolicy(),
        _arguments,
        rejection=rejection,
        compensation=undo,
    )


COURSE: Final = SagaDefinition(
    "course",
    1,
    (
        Group((step("left", "baker"), step("right", "carter"))),
        Wait("pause", 10.0, Approval, OnDeadline.GO_ON),
        ForEach("each", lambda job, results: list(job.items), step("part", "dyer", StepKind.PIVOT)),
    ),
    input=Job,
    examples=(Job(),),
)
CAST: Final = Cast("tests", (COURSE,))
BEGUN: Final[Saga] = machine.start(COURSE, SAGA_ID, ORDER_ID, Job(), BEGINNING).saga
LEFT, RIGHT = (("left", "baker"), ("right", "carter"))


def after(saga: Saga, *inputs: Input) -> Saga:
    """The saga once these have happened."""
    for happened in inputs:
        decision = machine.decide(COURSE, saga, happened, saga.updated_at + timedelta(seconds=1))
        assert isinstance(decision, Transition), decision
        saga = decision.saga
    return saga


def worked(piece: str, trade: str) -> OutcomeReceived:
    return OutcomeReceived(f"{trade.title()}Worked", piece, FORWARD, {"reference": "r"})


def declined(piece: str, trade: str) -> OutcomeReceived:
    return OutcomeReceived(f"{trade.title()}Declined", piece, FORWARD, {"code": "no"})


def unworked(piece: str, trade: str) -> OutcomeReceived:
    return OutcomeReceived(f"{trade.title()}Unworked", piece, COMPENSATING, {"effect": "undone"})


WAITING: Final = after(BEGUN, worked(*LEFT), worked(*RIGHT))
PARTS: Final = after(WAITING, WaitElapsed("pause"))
TURNED: Final = after(BEGUN, CancelRequested(SOMEBODY))


def traced(checker: Any, *steps: Change) -> Trace:
    """A trace in which the saga has begun, and these rows stand."""
    trace = Trace(checker, CAST)
    assert trace.commits("orchestrator", trace.saga(BEGUN), entry(SagaStarted(), 1)) == []
    for change in steps:
        assert trace.commits(str(change.after.command), change) == []
    return trace


def row(piece: str, trade: str, state: State) -> Change:
    said = StoredOutcome(f"{trade.title()}Worked", UUID(int=9), b"{}")
    undone = StoredOutcome(f"{trade.title()}Unworked", UUID(int=10), b"{}")
    written = LedgerRow(
        saga_id=SAGA_ID,
        step=piece,
        order_id=ORDER_ID,
        command=trade,
        state=state,
        updated_at=BEGINNING,
        forward=said if state in (State.DONE, State.UNDONE) else None,
        compensation=undone if state is State.UNDONE else None,
    )
    return Change("ledger", written.key, None, written)


def asks(saga: Saga, piece: str, direction: Direction = FORWARD, number: int = 50) -> Message:
    asked = awaited_command(COURSE, saga, Awaited(piece, direction, BEGINNING))
    return command_message(asked.command, asked.participant, UUID(int=number), BEGINNING, "orchestrator")


DONE: Final = (row("left", "baker", State.DONE), row("right", "carter", State.DONE))


# -- S20 ------------------------------------------------------------------------------------------------


def test_s20_an_answer_that_ends_another_piece_beside_its_own() -> None:
    trace = traced(stages.Disturbs)
    right = after(BEGUN, worked(*LEFT))
    assert trace.commits("orchestrator", trace.saga(right), entry(worked(*LEFT), 2)) == []
    trace = traced(stages.Disturbs)
    wrong = replaced(right, awaited=())
    assert trace.commits("orchestrator", trace.saga(wrong), entry(worked(*LEFT), 2)) == [
        "right (forward) is disturbed: it is None"
    ]


def test_s20_an_answer_that_is_credited_to_the_piece_beside() -> None:
    trace = traced(stages.Disturbs)
    credited = after(BEGUN, worked(*RIGHT))
    found = trace.commits("orchestrator", trace.saga(credited), entry(worked(*LEFT), 2))
    assert found[0] == "right (forward) is disturbed: it is None"
    assert len(found) == 2


def test_s20_a_saga_that_takes_for_done_what_no_ledger_has() -> None:
    trace = traced(stages.BelievesTheLedgers, row("left", "baker", State.DONE))
    assert trace.commits("orchestrator", trace.saga(after(BEGUN, worked(*LEFT)))) == []
    assert trace.commits("orchestrator", trace.saga(after(BEGUN, worked(*LEFT), worked(*RIGHT)))) == [
        "right is taken for succeeded/none, its ledger: None"
    ]


def test_s20_a_stage_that_is_left_before_all_of_it_is_done() -> None:
    trace = traced(stages.LeavesAStageWhole, DONE[0])
    parts = after(after(BEGUN, worked(*LEFT), worked(*RIGHT)), WaitElapsed("pause"))
    both = (asks(parts, "part[1]"), asks(parts, "part[2]", number=51))
    found = trace.commits("orchestrator", trace.saga(parts), *map(outgoing, both))
    assert found == [
        "part[1] is asked for while right is not done",
        "part[2] is asked for while right is not done",
    ]


def test_s20_a_stage_that_is_asked_for_in_part() -> None:
    trace = traced(stages.LeavesAStageWhole)
    second = replaced(BEGUN.step("right"), forward=Forward.PENDING)
    half = replaced(BEGUN, steps=BEGUN.steps_with(second))
    assert trace.commits("orchestrator", trace.saga(half), outgoing(asks(BEGUN, "left"))) == [
        "left is asked for and right beside it is not"
    ]


def test_s20_a_saga_that_is_due_with_the_last_of_its_pieces() -> None:
    trace = Trace(waits.LookedAtInTime, CAST)
    wanted = BEGINNING + timedelta(seconds=10)
    saga = replaced(WAITING, due_at=WAITING.awaited[0].since + timedelta(seconds=10))
    assert trace.see(Committed("orchestrator", [trace.saga(saga)], BEGINNING)) == []
    late = replaced(saga, due_at=wanted + timedelta(hours=1), version=9)
    assert len(trace.see(Committed("orchestrator", [trace.saga(late)], BEGINNING))) == 1


# -- S21 ------------------------------------------------------------------------------------------------


def test_s21_a_saga_that_ends_while_something_it_asked_for_is_unanswered() -> None:
    trace = traced(stages.UndoesInOrder, row("left", "baker", State.UNDONE))
    asked = (asks(BEGUN, "left"), asks(BEGUN, "right", number=51))
    assert trace.commits("orchestrator", *map(outgoing, asked)) == []
    ended = after(TURNED, unworked(*LEFT), unworked(*RIGHT))
    assert trace.commits("orchestrator", trace.saga(ended)) == [
        "it has ended while right is asked for and unanswered"
    ]


def test_s21_a_stage_that_is_undone_before_the_one_after_it() -> None:
    trace = traced(stages.UndoesInOrder, *DONE, row("part[1]", "dyer", State.DONE))
    trace.commits("orchestrator", trace.saga(PARTS), outgoing(asks(PARTS, "part[1]")))
    assert trace.commits("orchestrator", outgoing(asks(TURNED, "left", COMPENSATING, 52))) == [
        "left is undone while part[1] is done",
        "left is undone and right beside it is not",
    ]


# -- S22 ------------------------------------------------------------------------------------------------


def test_s22_branches_that_are_worked_out_anew() -> None:
    trace = traced(stages.BranchesStay)
    assert trace.commits("orchestrator", trace.saga(PARTS)) == []
    other = replaced(PARTS, steps=PARTS.steps_with(replaced(PARTS.step("part[2]"), item="z")))
    assert trace.commits("orchestrator", trace.saga(other)) == [
        "its branches [('part[1]', 'x'), ('part[2]', 'y')] have become [('part[1]', 'x'), ('part[2]', 'z')]"
    ]


def test_s22_a_branch_that_is_asked_for_in_two_ways() -> None:
    trace = traced(stages.AsksTheSameAgain)
    trace.commits("orchestrator", trace.saga(PARTS))
    assert trace.commits("orchestrator", outgoing(asks(PARTS, "part[1]"))) == []
    assert trace.commits("orchestrator", outgoing(asks(PARTS, "part[1]", number=51))) == []
    other = replaced(PARTS, steps=PARTS.steps_with(replaced(PARTS.step("part[1]"), item="z")))
    assert trace.commits("orchestrator", outgoing(asks(other, "part[1]", number=52))) == [
        "part[1] (forward) is asked for in two ways"
    ]


def test_s22_a_saga_that_turns_round_although_a_branch_of_its_pivot_is_done() -> None:
    trace = traced(stages.PivotDecides, row("part[1]", "dyer", State.DONE))
    trace.commits("orchestrator", trace.saga(PARTS))
    turned = after(PARTS, declined("part[1]", "dyer"), declined("part[2]", "dyer"))
    assert trace.commits("orchestrator", trace.saga(turned)) == ["it turns round although part[1] is done"]


def test_s22_an_effect_that_is_missing_or_left_at_the_end() -> None:
    trace = traced(starts.EndsWhole)
    for piece in ("left", "right", "part[1]"):
        assert trace.see(Effected("somebody", SAGA_ID, piece)) == []
    assert trace.see(Effected("somebody", SAGA_ID, "left")) == ["left is done for the second time"]
    assert trace.see(Reversed("somebody", SAGA_ID, "part[2]")) == [
        "part[2] is undone without having been done"
    ]
    done = after(PARTS, worked("part[1]", "dyer"), declined("part[2]", "dyer"))
    trace.commits("orchestrator", trace.saga(done))
    assert trace.at_the_end() == [
        "completed, but left (succeeded) stands 2 times",
        "completed, but part[2] (rejected) stands -1 times",
    ]
    trace.commits("orchestrator", trace.saga(after(TURNED, unworked(*LEFT), unworked(*RIGHT))))
    assert "compensated, but right stands" in trace.at_the_end()


# -- S23 ------------------------------------------------------------------------------------------------


def said(**body: Any) -> SignalReceived:
    return SignalReceived(actor=SOMEBODY, wait="pause", body=body)


def test_s23_an_early_signal_that_is_lost() -> None:
    trace = traced(waits.SignalsAreTakenOnce)
    kept = after(BEGUN, said(yes=True))
    assert trace.commits("orchestrator", trace.saga(kept), entry(said(yes=True), 2)) == []
    assert trace.commits("orchestrator", trace.saga(replaced(kept, signals={}))) == [
        "signals {'pause': {'yes': True}} were taken, {} are kept"
    ]
    assert trace.commits("orchestrator", entry(WaitElapsed("pause"), 3)) == [
        "the time of pause runs out although its signal had come"
    ]


def test_s23_a_signal_that_is_taken_twice() -> None:
    trace = traced(waits.SignalsAreTakenOnce)
    kept = after(BEGUN, said(yes=True))
    trace.commits("orchestrator", trace.saga(kept), entry(said(yes=True), 2))
    other = replaced(kept, signals={"pause": Signal({"yes": False}, "somebody", BEGINNING)})
    assert trace.commits("orchestrator", trace.saga(other), entry(said(yes=False), 3)) == [
        "the signal for pause is taken twice"
    ]


def test_s23_a_sender_who_is_told_what_is_not_so() -> None:
    trace = traced(waits.SignalsAreTakenOnce)
    body = {"yes": True}
    assert trace.see(Signalled(SAGA_ID, "pause", body, "taken")) == [
        "{'yes': True} is said to be taken for pause, which has None"
    ]
    kept = after(BEGUN, said(**body))
    trace.commits("orchestrator", trace.saga(kept), entry(said(**body), 2))
    assert trace.see(Signalled(SAGA_ID, "pause", body, "taken before")) == []
    assert trace.see(Signalled(SAGA_ID, "pause", {"yes": False}, "signalled")) == []
    for come_back in ("unknown_version", "unreadable"):
        assert trace.see(Signalled(SAGA_ID, "pause", body, come_back)) == []
    assert trace.see(Signalled(SAGA_ID, "pause", body, "too_late")) == [
        "the same signal for pause again is refused: too_late"
    ]


def test_s23_a_wait_that_ends_before_its_time_or_has_an_incident() -> None:
    trace = traced(waits.WaitsInPeace, *DONE)
    assert trace.commits("orchestrator", trace.saga(WAITING)) == []
    since = WAITING.awaited[0].since
    early = entry(WaitElapsed("pause"), 4, at=since + timedelta(seconds=9))
    assert len(trace.commits("orchestrator", early)) == 1
    in_time = entry(WaitElapsed("pause"), 4, at=since + timedelta(seconds=10))
    assert trace.commits("orchestrator", in_time) == []
    incident = Incident(IncidentKind.OVERDUE, "pause", FORWARD, BEGINNING, "")
    assert trace.commits("orchestrator", trace.saga(replaced(WAITING, incidents=(incident,)))) == [
        "overdue about pause, which is a wait"
    ]


def test_s23_something_that_is_asked_for_while_nothing_but_a_wait_is_awaited() -> None:
    trace = traced(waits.WaitsInPeace)
    trace.commits("orchestrator", trace.saga(WAITING))
    assert trace.commits("orchestrator", outgoing(asks(WAITING, "left"))) == [
        "left (forward) is asked for and not awaited"
    ]


# -- S24 ------------------------------------------------------------------------------------------------


def started(fingerprint: bytes, subject_id: UUID | None) -> Started:
    return Started("course", "me", "key", fingerprint, subject_id)


def test_s24_a_key_that_has_two_sagas() -> None:
    trace = Trace(starts.StartedOnce, CAST)
    other = replace(BEGUN, saga_id=UUID(int=3), subject_id=UUID(int=4))
    trace.see(Asked("course", "me", "key", ORDER_ID))
    trace.see(Asked("course", "me", "key", other.subject_id))
    assert trace.commits("orchestrator", Change("sagas", SAGA_ID, None, BEGUN)) == []
    assert trace.commits("orchestrator", Change("sagas", other.saga_id, None, other)) == [
        "('course', 'me', 'key') has a second saga"
    ]


def test_s24_a_key_of_another_definition_that_stands_in_the_way() -> None:
    trace = Trace(starts.StartedOnce, CAST)
    assert trace.see(started(b"1", None)) == ["it is refused although it stands for nothing"]


def test_s24_a_saga_that_nobody_asked_for_and_an_answer_that_changes() -> None:
    trace = Trace(starts.StartedOnce, CAST)
    assert trace.commits("orchestrator", Change("sagas", SAGA_ID, None, BEGUN)) == [
        "a saga of course that nobody asked for"
    ]
    trace.see(Asked("course", "me", "key", ORDER_ID))
    trace.commits("orchestrator", Change("sagas", SAGA_ID, None, BEGUN))
    assert trace.see(started(b"1", ORDER_ID)) == []
    assert trace.see(started(b"2", None)) == []
    assert trace.see(started(b"1", None)) == ["the same input again was refused"]
    assert len(trace.see(started(b"1", UUID(int=77)))) == 1
