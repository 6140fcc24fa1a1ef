"""The saga state machine: one transition table, one function that decides, one that folds a history.

**What lives here.** `TABLE`, from (status, trigger) to the rule that answers; `start`, `decide` and `fold`.
What each rule does is in `rules`, which piece of work comes next in `course`, which command or event that
is in `asking`, when to look again in `timers`. Nothing here reads a clock, a database or the network, and
nothing knows of orders.

**How it works.** `decide` is total: whatever arrives, it answers with a `Transition` (the new saga, effects
as plain values, the input for the history), with `Stale` (nothing changes) or, to a person, with `Refused`.
A saga awaits a *set* of pieces of work, each answered for itself; its stage is left when the set is empty.
What a definition's functions said is kept in the accepted input, so that `fold` gives the same whatever
became of the functions.

**What must never happen.** An answer that is credited to another piece of work (S1, S20). A saga that turns
round twice, or goes forward again (S8). A compensation of a stage while a later one may still hold
something (S3, S21). An undo after the point of no return (S6). A change that the history does not reproduce
(S15).

Rules: S1, S3 to S11, S15, S19 to S23.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from contracts.envelope import Direction
from contracts.events import StepRefused, StepSettled
from orchestrator.core import rules, waits
from orchestrator.core.course import begin
from orchestrator.core.definition import SagaDefinition, Wait
from orchestrator.core.effects import Decision, Refused, Stale, Transition
from orchestrator.core.inputs import (
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
from orchestrator.core.moment import Moment
from orchestrator.core.state import Forward, Saga, Status, StepState


class Trigger(StrEnum):
    """What an input means to the machine."""

    SUCCEEDED = "step succeeded"
    REJECTED = "step rejected"
    UNDONE = "compensation answered"
    REFUSED = "step refused"
    SETTLED = "verdict answered"
    UNKNOWN = "outcome unknown"
    OVERDUE = "step overdue"
    STUCK = "compensation stuck"
    DEAD_LETTERED = "command dead-lettered"
    CANCEL = "cancel"
    SIGNAL = "signal"
    ELAPSED = "wait elapsed"
    RETRY = "retry"
    RESOLVE = "resolve"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: its rule, and the statuses that it may lead to: none where it only answers."""

    rule: Callable[[Moment], Decision]
    leads_to: tuple[Status, ...]


_R, _C, _DONE, _UNDONE = Status.RUNNING, Status.COMPENSATING, Status.COMPLETED, Status.COMPENSATED

TABLE: Final[Mapping[tuple[Status, Trigger], Row]] = {
    (_R, Trigger.SUCCEEDED): Row(rules.advance, (_R, _C, _DONE)),
    (_R, Trigger.REJECTED): Row(rules.reject, (_R, _C, _DONE, _UNDONE)),
    (_R, Trigger.UNKNOWN): Row(rules.give_up_waiting, (_C,)),
    (_R, Trigger.SIGNAL): Row(waits.take_signal, (_R, _C, _DONE, _UNDONE)),
    (_R, Trigger.ELAPSED): Row(waits.end_wait, (_R, _C, _DONE, _UNDONE)),
    (_R, Trigger.CANCEL): Row(rules.cancel, (_C, _UNDONE)),
    (_R, Trigger.OVERDUE): Row(rules.report_overdue, (_R,)),
    (_R, Trigger.REFUSED): Row(rules.report_refusal, (_R,)),
    (_R, Trigger.DEAD_LETTERED): Row(rules.report_dead_letter, (_R,)),
    (_R, Trigger.RETRY): Row(rules.retry, (_R,)),
    (_R, Trigger.RESOLVE): Row(rules.resolve, (_R,)),
    (_R, Trigger.SETTLED): Row(rules.settle, (_R, _C, _DONE, _UNDONE)),
    (_C, Trigger.UNDONE): Row(rules.undone, (_C, _UNDONE)),
    (_C, Trigger.SUCCEEDED): Row(rules.late_success, (_C,)),
    (_C, Trigger.CANCEL): Row(rules.cancel_again, ()),
    (_C, Trigger.SIGNAL): Row(waits.signal_again, ()),
    (_C, Trigger.STUCK): Row(rules.report_stuck, (_C,)),
    (_C, Trigger.DEAD_LETTERED): Row(rules.report_dead_letter, (_C,)),
    (_C, Trigger.RETRY): Row(rules.retry, (_C,)),
    (_C, Trigger.RESOLVE): Row(rules.resolve, (_C,)),
    (_C, Trigger.SETTLED): Row(rules.settle, (_C, _UNDONE)),
    (_UNDONE, Trigger.SUCCEEDED): Row(rules.late_success, (_UNDONE,)),
    (_UNDONE, Trigger.DEAD_LETTERED): Row(rules.report_dead_letter, (_UNDONE,)),
    (_UNDONE, Trigger.CANCEL): Row(rules.cancel_again, ()),
    (_UNDONE, Trigger.SIGNAL): Row(waits.signal_again, ()),
    (_UNDONE, Trigger.RETRY): Row(rules.retry, (_UNDONE,)),
    (_UNDONE, Trigger.RESOLVE): Row(rules.resolve, (_UNDONE,)),
    (_UNDONE, Trigger.SETTLED): Row(rules.settle, (_UNDONE,)),
    (_DONE, Trigger.SUCCEEDED): Row(rules.late_success, (_DONE,)),
    (_DONE, Trigger.DEAD_LETTERED): Row(rules.report_dead_letter, (_DONE,)),
    (_DONE, Trigger.CANCEL): Row(rules.cancel_again, ()),
    (_DONE, Trigger.SIGNAL): Row(waits.signal_again, ()),
    (_DONE, Trigger.RETRY): Row(rules.retry, (_DONE,)),
    (_DONE, Trigger.RESOLVE): Row(rules.resolve, (_DONE,)),
    (_DONE, Trigger.SETTLED): Row(rules.settle, (_DONE,)),
}
"""Whatever has no row changes nothing: stale for a message, refused for a person."""

_BY_PEOPLE: Final = frozenset({Trigger.CANCEL, Trigger.RETRY, Trigger.RESOLVE, Trigger.SIGNAL})


_STARTED: Final = SagaStarted()


def start(
    definition: SagaDefinition,
    saga_id: UUID,
    subject_id: UUID,
    given: Any,
    now: datetime,
    started: SagaStarted = _STARTED,
) -> Transition:
    """A new saga that awaits its first stage, with what announces it on its way (S14).

    Args:
        given: its input, as the definition's accepted model reads it.
        started: in a fold, what the history has of it.

    Raises:
        DefinitionFault: a function of the definition failed on this input.
    """
    saga = Saga(
        saga_id=saga_id,
        subject_id=subject_id,
        definition=definition.name,
        definition_version=definition.version,
        input=given,
        created_at=now,
        updated_at=now,
        label=definition.labels.started,
        steps=tuple(StepState(name) for name in definition.first_pieces),
    )
    at = Moment(definition, saga, started, now, "started")
    return at.accept(*begin(at))


def decide(definition: SagaDefinition, saga: Saga, happened: Input, now: datetime) -> Decision:
    """What an input means for a saga at a moment. Pure: the same arguments always give the same answer.

    Args:
        definition: the definition that the saga runs, at the saga's version.
        now: read after the saga's row was locked, and not earlier than its last history entry (S11).
    """
    trigger = classify(definition, happened)
    if trigger is None:
        return Stale("it answers nothing that this saga could ask")
    row = TABLE.get((saga.status, trigger))
    if row is None:
        if trigger in _BY_PEOPLE:
            return Refused("not_allowed", f"{trigger.value} is not allowed while the saga is {saga.status}")
        return Stale(f"{trigger.value} means nothing while the saga is {saga.status}")
    return row.rule(Moment(definition, saga, happened, now, trigger.value))


def classify(definition: SagaDefinition, happened: Input) -> Trigger | None:
    """The trigger an input pulls; None for one about a command that the definition does not have."""
    match happened:
        case OutcomeReceived():
            return _classify_outcome(definition, happened)
        case OutcomeUnknown() | StepOverdue() | CompensationStuck() | CommandDeadLettered():
            return _TROUBLE[type(happened)] if happened.step in definition else None
        case SignalReceived():
            return Trigger.SIGNAL
        case WaitElapsed():
            return Trigger.ELAPSED
        case CancelRequested():
            return Trigger.CANCEL
        case RetryRequested():
            return Trigger.RETRY
        case ResolveRequested():
            return Trigger.RESOLVE
        case SagaStarted():
            return None


_TROUBLE: Final = {
    OutcomeUnknown: Trigger.UNKNOWN,
    StepOverdue: Trigger.OVERDUE,
    CompensationStuck: Trigger.STUCK,
    CommandDeadLettered: Trigger.DEAD_LETTERED,
}


def _classify_outcome(definition: SagaDefinition, outcome: OutcomeReceived) -> Trigger | None:
    if outcome.step not in definition:
        return None
    step = definition[outcome.step]
    if outcome.event == StepSettled.__name__:
        return Trigger.SETTLED
    if outcome.direction is Direction.COMPENSATING:
        undone = step.compensation is not None and outcome.event == step.compensation.outcome.__name__
        return Trigger.UNDONE if undone else None
    if outcome.event == step.success.__name__:
        return Trigger.SUCCEEDED
    if step.rejection is not None and outcome.event == step.rejection.__name__:
        return Trigger.REJECTED
    return Trigger.REFUSED if outcome.event == StepRefused.__name__ else None


def allowed_actions(definition: SagaDefinition, saga: Saga) -> tuple[str, ...]:
    """What a person may do to the saga now: of ``cancel``, ``retry``, ``resolve``, ``signal``."""
    actions = []
    if saga.status is Status.RUNNING and rules.cancellable(definition, saga):
        actions.append("cancel")
    if any(awaited.step in definition for awaited in saga.awaited):
        actions.append("retry")
    if any(rules.resolvable(definition, saga, step.name) for step in saga.steps):
        actions.append("resolve")
    if any(True for _ in open_waits(definition, saga)):
        actions.append("signal")
    return tuple(actions)


def open_waits(definition: SagaDefinition, saga: Saga) -> Iterator[Wait]:
    """The waits for which a signal would be taken now, for the first time (S23)."""
    if saga.status is not Status.RUNNING:
        return
    for name, wait in definition.waits.items():
        waited = saga.step(name).forward in (Forward.PENDING, Forward.AWAITED)
        if wait.signal is not None and waited and name not in saga.signals:
            yield wait


def fold(
    definition: SagaDefinition,
    saga_id: UUID,
    subject_id: UUID,
    given: Any,
    history: Iterable[tuple[datetime, Input]],
) -> Saga:
    """The saga that a history of (time, accepted input) leads to (S15).

    Raises:
        ValueError: the history does not begin with `SagaStarted`, or holds an input that is not accepted.
    """
    entries = tuple(history)
    at, started = entries[0] if entries else (None, None)
    if at is None or not isinstance(started, SagaStarted):
        raise ValueError("a history begins with SagaStarted")
    saga = start(definition, saga_id, subject_id, given, at, started).saga
    for at, happened in entries[1:]:
        decision = decide(definition, saga, happened, at)
        if not isinstance(decision, Transition):
            raise ValueError(
                f"entry {saga.version + 1} ({type(happened).__name__}) is not accepted: {decision}"
            )
        saga = decision.saga
    return saga
