"""What each row of the transition table does. Every function here is pure and cites its rule."""

from __future__ import annotations

from typing import Final

from contracts.commands import Verdict
from contracts.envelope import Direction
from contracts.events import Effect
from orchestrator.core.asking import awaited_command
from orchestrator.core.course import (
    COMPENSATING,
    FORWARD,
    Course,
    branch_rejected,
    is_branch_of_pivot,
    remember,
    result_of,
    succeed,
    turn,
    undo_next,
)
from orchestrator.core.definition import SagaDefinition, StepKind
from orchestrator.core.effects import Decision, Refused, Stale
from orchestrator.core.inputs import (
    CancelRequested,
    CommandDeadLettered,
    OutcomeReceived,
    ResolveRequested,
    RetryRequested,
)
from orchestrator.core.moment import END_WITH_THE_WAIT, Moment, without_incident
from orchestrator.core.state import (
    ENDED,
    NOT_SENT,
    Awaited,
    End,
    Failure,
    Forward,
    IncidentKind,
    Saga,
    Settlement,
    Status,
    StepState,
    Undo,
)
from orchestrator.core.values import replace

# -- forward --------------------------------------------------------------------------------------------


def advance(at: Moment) -> Decision:
    """An awaited step succeeded: go on when its stage awaits nothing else, or complete (S1, S6, S20)."""
    outcome: OutcomeReceived = at.happened
    if at.saga.awaits(outcome.step, FORWARD):
        return at.accept(*succeed(at, outcome.step, outcome.data))
    if at.saga.knows(outcome.step) and at.saga.step(outcome.step).forward is Forward.REJECTED:
        return late_success(at)
    return _not_awaited(outcome)


def reject(at: Moment) -> Decision:
    """An awaited step was rejected and had no effect: undo what else was done (S3, S21).

    A branch of a for-each pivot is a result like the others (S22).
    """
    outcome: OutcomeReceived = at.happened
    if not at.saga.awaits(outcome.step, FORWARD):
        return _not_awaited(outcome)
    code = at.definition[outcome.step].failure_code or str(outcome.data.get("code", "rejected"))
    failure = Failure(code, str(outcome.data.get("message", "")), End.REJECTED)
    return at.accept(*_said_no(at, outcome.step, failure))


def _said_no(at: Moment, name: str, failure: Failure) -> Course:
    if is_branch_of_pivot(at, name):
        return branch_rejected(at, name, failure)
    return turn(at, at.saga, (replace(at.saga.step(name), forward=Forward.REJECTED),), failure)


def give_up_waiting(at: Moment) -> Decision:
    """The outcome is unknown: undo this step together with those before it (S4)."""
    name: str = at.happened.step
    if not _waits_on_time(at.saga, name, FORWARD) or at.definition[name].kind is not StepKind.COMPENSATABLE:
        return Stale(f"{name} is not given up")
    failure = Failure("step_deadline", f"{name} was not answered within its deadline", End.REJECTED)
    step = replace(at.saga.step(name), forward=Forward.UNKNOWN)
    return at.accept(*turn(at, at.saga, (step,), failure))


def cancellable(definition: SagaDefinition, saga: Saga) -> bool:
    """Whether the command of the first step that cannot be undone has not been written yet (S9)."""
    awaited = saga.awaited
    return bool(awaited) and definition.stage_index(awaited[0].step) < definition.point_of_no_return


def cancel(at: Moment) -> Decision:
    """Undo what was done; what is awaited counts as unknown and is undone first (S9)."""
    requested: CancelRequested = at.happened
    if not cancellable(at.definition, at.saga):
        asked = " and ".join(each.step for each in at.saga.awaited) or "nothing"
        return Refused("too_late", f"it can no longer be cancelled: {asked} has been asked for")
    failure = Failure("cancelled", requested.actor.reason, End.CANCELLED)
    saga, effects = turn(at, at.saga, (), failure)
    return at.accept(replace(saga, cancel_requested_at=at.now), effects)


def cancel_again(at: Moment) -> Decision:
    """Repeating a cancel is fine; a saga that is undone for another cause is not cancelled (S8, S9)."""
    failure = at.saga.failure
    if failure is not None and failure.ends_as is End.CANCELLED:
        return Stale("it is cancelled already")
    if at.saga.status in ENDED:
        return Refused("ended", f"it has ended as {at.saga.label}")
    cause = failure.code if failure else "unknown"
    return Refused("too_late", f"it is being undone already: {cause}")


# -- compensating ---------------------------------------------------------------------------------------


def undone(at: Moment) -> Decision:
    """An awaited compensation answered: go on when the stage is undone, or end (S3, S7, S21).

    That there was nothing to undo of a step that had reported its success is an orphaned effect (S5).
    """
    outcome: OutcomeReceived = at.happened
    if not at.saga.awaits(outcome.step, COMPENSATING):
        return _not_awaited(outcome)
    step = at.saga.step(outcome.step)
    nothing = outcome.data.get("effect") == Effect.NOTHING
    saga = _with_undone(at.saga, replace(step, undo=Undo.NOTHING if nothing else Undo.UNDONE))
    if nothing and step.forward is Forward.SUCCEEDED:
        saga = _with_orphan(at, saga, step.name)
    return at.accept(*_undo_rest(at, saga))


def _with_undone(saga: Saga, step: StepState) -> Saga:
    left = saga.awaited_without(step.name, COMPENSATING)
    return replace(saga, steps=saga.steps_with(step), awaited=left)


def _undo_rest(at: Moment, saga: Saga) -> Course:
    return (saga, ()) if saga.awaited else undo_next(at, saga)


def late_success(at: Moment) -> Decision:
    """A step given up turns out to have succeeded: recorded, never resumed (S5).

    It is an orphaned effect unless its compensation has undone it, or is still to come. While the saga goes
    forward, a rejected branch (S22) stays one: what was asked for because of it is sent again as it was.
    """
    outcome: OutcomeReceived = at.happened
    if not at.saga.knows(outcome.step):
        return _not_awaited(outcome)
    step = at.saga.step(outcome.step)
    if step.forward not in (Forward.UNKNOWN, Forward.REJECTED):
        return _not_awaited(outcome)
    if at.saga.direction is FORWARD:
        orphan_known = at.saga.has_incident(IncidentKind.ORPHANED_EFFECT, step.name, COMPENSATING)
        if orphan_known or step.undo is Undo.SETTLED:
            return _not_awaited(outcome)
        return at.accept(_with_orphan(at, at.saga, step.name))
    definition = at.definition[step.name]
    known = replace(step, forward=Forward.SUCCEEDED, result=result_of(definition, outcome.data))
    saga = remember(at.saga, known)
    will_be_undone = definition.compensation is not None and saga.status is Status.COMPENSATING
    orphaned = step.undo is Undo.NOTHING or (known.may_hold_something and not will_be_undone)
    return at.accept(_with_orphan(at, saga, step.name) if orphaned else saga)


def _with_orphan(at: Moment, saga: Saga, name: str) -> Saga:
    held = at.definition[name].held(saga.input)
    message = f"{name} took effect although its participant had answered that there was none; held: {held}"
    return at.with_incident(saga, IncidentKind.ORPHANED_EFFECT, name, COMPENSATING, message)


# -- trouble --------------------------------------------------------------------------------------------


def report_overdue(at: Moment) -> Decision:
    """A step that is never given up is past its deadline: somebody should look (S4)."""
    name: str = at.happened.step
    known = at.saga.has_incident(IncidentKind.OVERDUE, name, FORWARD)
    if known or not _waits_on_time(at.saga, name, FORWARD):
        return Stale(f"{name} is not newly overdue")
    step = at.definition[name]
    if step.kind is StepKind.COMPENSATABLE:
        return Stale(f"{name} is given up rather than waited for")
    deadline = f"{step.policy.deadline_s:g} s"
    message = f"{step.participant} has not answered {step.command.__name__} within {deadline}"
    return at.accept(at.with_incident(at.saga, IncidentKind.OVERDUE, name, FORWARD, message))


def report_stuck(at: Moment) -> Decision:
    """A compensation goes unanswered: an incident says what is still held (S7)."""
    name: str = at.happened.step
    known = at.saga.has_incident(IncidentKind.COMPENSATION_STUCK, name, COMPENSATING)
    if known or not _waits_on_time(at.saga, name, COMPENSATING):
        return Stale(f"the compensation of {name} is not newly stuck")
    participant, held = at.definition[name].participant, still_held(at.definition, at.saga)
    message = f"{participant} does not confirm that {name} is undone; {held}"
    kind = IncidentKind.COMPENSATION_STUCK
    return at.accept(at.with_incident(at.saga, kind, name, COMPENSATING, message))


def report_refusal(at: Moment) -> Decision:
    """The awaited step was refused because its participant had compensated it before (P5)."""
    outcome: OutcomeReceived = at.happened
    if not at.saga.awaits(outcome.step, FORWARD):
        return _not_awaited(outcome)
    if at.saga.has_incident(IncidentKind.STEP_REFUSED, outcome.step, FORWARD):
        return Stale("the refusal is known")
    message = f"{outcome.step} was refused: its participant holds it as compensated"
    kind = IncidentKind.STEP_REFUSED
    return at.accept(at.with_incident(at.saga, kind, outcome.step, FORWARD, message))


def report_dead_letter(at: Moment) -> Decision:
    """A command the saga waits for gave up; a permanent failure also stops re-sends and deadline (S10)."""
    dead: CommandDeadLettered = at.happened
    saga, awaited = at.saga, at.saga.waiting_for(dead.step, dead.direction)
    if awaited is None:
        return Stale("that command is no longer awaited")
    known = saga.has_incident(IncidentKind.DEAD_LETTER, dead.step, dead.direction)
    if known and (awaited.held or saga.has_ended or not dead.permanent):
        return Stale("that dead letter is known")
    held = dead.permanent and not saga.has_ended
    saga = replace(saga, awaited=saga.awaited_with(replace(awaited, held=held, dead_lettered=True)))
    message = f"{'permanent failure' if dead.permanent else 'gave up after its attempts'}: {dead.error}"
    if dead.direction is COMPENSATING and not saga.has_ended:
        message = f"{message.removesuffix('.')}; {still_held(at.definition, saga)}"
    return at.accept(at.with_incident(saga, IncidentKind.DEAD_LETTER, dead.step, dead.direction, message))


# -- people ---------------------------------------------------------------------------------------------


def retry(at: Moment) -> Decision:
    """Send what is awaited once more, with a full deadline; closes the dead letter's incident (S10).

    While a verdict is on its way it is the verdict that is sent again; work that was held stays held.
    """
    asked: RetryRequested = at.happened
    chosen = [
        each for each in at.saga.awaited if asked.step in (None, each.step) and each.step in at.definition
    ]
    if not chosen:
        what = (
            f"{asked.step} is not awaited"
            if asked.step
            else "the saga awaits nothing that could be sent again"
        )
        return Refused("not_allowed", what)
    saga = at.saga
    for awaited in chosen:
        if awaited.settling is not None:
            again = replace(awaited, sending=NOT_SENT)
        else:
            again = replace(awaited, since=at.now, held=False, sending=NOT_SENT)
            kind = IncidentKind.DEAD_LETTER
            incidents = without_incident(saga, kind, awaited.step, awaited.direction)
            saga = replace(saga, incidents=incidents)
        saga = replace(saga, awaited=saga.awaited_with(again))
    commands = [
        awaited_command(at.definition, saga, each)
        for each in saga.awaited
        if any(each.is_for(one.step, one.direction) for one in chosen)
    ]
    return at.accept(saga, tuple(commands))


def resolvable(definition: SagaDefinition, saga: Saga, step: str) -> Direction | None:
    """The direction in which a person may judge a step now; None where there is nothing to judge (S19).

    Judged are a stuck pivot, a stuck compensation, a later step whose participant refuses it for good, and,
    once the saga has ended, an orphaned effect.
    """
    if saga.has_ended:
        orphaned = saga.has_incident(IncidentKind.ORPHANED_EFFECT, step, COMPENSATING)
        return COMPENSATING if orphaned else None
    awaited = next((each for each in saga.awaited if each.step == step and step in definition), None)
    if awaited is None:
        return None
    stuck = any(
        each.step == step and each.direction == awaited.direction and each.kind in END_WITH_THE_WAIT
        for each in saga.incidents
    )
    kind = definition[step].kind
    judgeable = awaited.direction is COMPENSATING or kind is StepKind.PIVOT
    refused_for_good = kind is StepKind.RETRIABLE and awaited.held
    return awaited.direction if stuck and (judgeable or refused_for_good) else None


def resolve(at: Moment) -> Decision:
    """Take a person's verdict to the participant; the saga moves on its answer alone (S19)."""
    asked: ResolveRequested = at.happened
    saga = at.saga
    if asked.step not in at.definition or not saga.knows(asked.step):
        return Refused("unknown_step", f"the saga has no step {asked.step!r}")
    direction = resolvable(at.definition, saga, asked.step)
    if direction is None:
        if saga.status is Status.COMPLETED:
            return Refused("not_allowed", f"{at.cause} is not allowed while the saga is {saga.status}")
        if saga.has_incident(IncidentKind.ORPHANED_EFFECT, asked.step, COMPENSATING):
            return Refused("not_ended", "an orphaned effect is settled once the saga has ended")
        return Refused("not_stuck", f"{asked.step} is not stuck: there is nothing to resolve")
    final = direction is FORWARD and at.definition[asked.step].kind is StepKind.RETRIABLE
    if final and asked.verdict is Verdict.NO_EFFECT:
        said = "say took_effect or settled_outside once it is right, or retry it"
        return Refused("not_allowed", f"{asked.step} is past the point of no return: {said}")
    verdict = Settlement(asked.verdict, at.now, asked.reference, asked.amount)
    awaited = saga.waiting_for(asked.step, direction)
    if awaited is None:
        judged = Awaited(asked.step, direction, at.now, settling=verdict)
        waiting = (*saga.awaited, judged)
    else:
        judged = replace(awaited, settling=verdict, sending=NOT_SENT)
        waiting = saga.awaited_with(judged)
    incidents = without_incident(saga, IncidentKind.VERDICT_REFUSED, asked.step, direction)
    saga = replace(saga, awaited=waiting, incidents=incidents)
    return at.accept(saga, (awaited_command(at.definition, saga, judged),))


def settle(at: Moment) -> Decision:
    """The participant answered a verdict: act on it, or report why it was refused (S19, P10)."""
    outcome: OutcomeReceived = at.happened
    awaited = at.saga.waiting_for(outcome.step, outcome.direction)
    settling = awaited.settling if awaited is not None else None
    if awaited is None or settling is None or settling.verdict != outcome.data.get("verdict"):
        return _not_awaited(outcome)
    accepted = bool(outcome.data.get("accepted"))
    if accepted and not at.saga.has_ended:
        return at.accept(*_act_on_verdict(at, awaited, settling, outcome))
    saga = _without_verdict(at.saga, awaited)
    if accepted:
        settled = replace(saga.step(awaited.step), undo=Undo.SETTLED)
        incidents = without_incident(saga, IncidentKind.ORPHANED_EFFECT, awaited.step, awaited.direction)
        return at.accept(replace(saga, steps=saga.steps_with(settled), incidents=incidents))
    reason = str(outcome.data.get("reason", ""))
    kind = IncidentKind.VERDICT_REFUSED
    return at.accept(at.with_incident(saga, kind, awaited.step, awaited.direction, reason))


def _without_verdict(saga: Saga, awaited: Awaited) -> Saga:
    """The work that was judged is awaited as before; of an ended saga nothing is."""
    if saga.has_ended:
        return replace(saga, awaited=saga.awaited_without(awaited.step, awaited.direction))
    return replace(saga, awaited=saga.awaited_with(replace(awaited, settling=None, sending=NOT_SENT)))


_UNDO_BY_VERDICT: Final = {
    Verdict.TOOK_EFFECT: Undo.UNDONE,
    Verdict.SETTLED_OUTSIDE: Undo.SETTLED,
    Verdict.NO_EFFECT: Undo.NOTHING,
}


def _act_on_verdict(at: Moment, awaited: Awaited, settling: Settlement, outcome: OutcomeReceived) -> Course:
    """What an accepted verdict on the awaited work means."""
    if awaited.direction is COMPENSATING:
        judged = replace(at.saga.step(awaited.step), undo=_UNDO_BY_VERDICT[settling.verdict])
        return _undo_rest(at, _with_undone(at.saga, judged))
    if settling.verdict is not Verdict.NO_EFFECT:
        return succeed(at, awaited.step, outcome.data)
    message = f"{awaited.step} was found to have had no effect"
    return _said_no(at, awaited.step, Failure("operator_verdict", message, End.REJECTED))


# -- what the rules ask -----------------------------------------------------------------------------------


def still_held(definition: SagaDefinition, saga: Saga) -> str:
    """What a stuck compensation keeps from others: reserved SKUs, money (S7)."""
    held = [
        definition[step.name].held(saga.input)
        for step in saga.steps
        if step.may_hold_something
        and step.name in definition
        and definition[step.name].compensation is not None
    ]
    return f"still held: {', '.join(held)}"


def _waits_on_time(saga: Saga, step: str, direction: Direction) -> bool:
    """Whether time may still tell something of this work: a permanent failure stops its clock (S10)."""
    awaited = saga.waiting_for(step, direction)
    return awaited is not None and not awaited.held and not saga.has_ended


def _not_awaited(outcome: OutcomeReceived) -> Stale:
    return Stale(f"{outcome.event} for {outcome.step} ({outcome.direction}) is not awaited")
