"""What each row of the transition table does. Every function here is pure and cites its rule."""

from __future__ import annotations

from typing import Final

from contracts.commands import Verdict
from contracts.envelope import Direction
from contracts.events import Effect
from orchestrator.core.course import (
    COMPENSATING,
    FORWARD,
    NOT_SENT,
    Course,
    compensate,
    result_of,
    succeed,
    undo_next,
)
from orchestrator.core.course import awaited_command as awaited_command
from orchestrator.core.definition import SagaDefinition, StepKind
from orchestrator.core.effects import Decision, Refused, Stale
from orchestrator.core.inputs import CancelRequested, CommandDeadLettered, OutcomeReceived, ResolveRequested
from orchestrator.core.moment import END_WITH_THE_WAIT, Moment, without_incident
from orchestrator.core.state import (
    ENDED,
    Failure,
    Forward,
    IncidentKind,
    OrderStatus,
    Saga,
    Settlement,
    Undo,
)
from orchestrator.core.values import replace

# -- forward --------------------------------------------------------------------------------------------


def advance(at: Moment) -> Decision:
    """The awaited step succeeded: go on with the next, or complete (S1, S6)."""
    outcome: OutcomeReceived = at.happened
    if not at.saga.awaits(outcome.step, FORWARD):
        return _not_awaited(outcome)
    return at.accept(*succeed(at, outcome.step, outcome.data))


def reject(at: Moment) -> Decision:
    """The awaited step was rejected and had no effect: undo the steps before it (S3)."""
    outcome: OutcomeReceived = at.happened
    if not at.saga.awaits(outcome.step, FORWARD):
        return _not_awaited(outcome)
    code = at.definition[outcome.step].failure_code or str(outcome.data.get("code", "rejected"))
    failure = Failure(code, str(outcome.data.get("message", "")), OrderStatus.REJECTED)
    step = replace(at.saga.step(outcome.step), forward=Forward.REJECTED)
    return at.accept(*compensate(at, step, failure))


def give_up_waiting(at: Moment) -> Decision:
    """The outcome is unknown: undo this step together with those before it (S4)."""
    name: str = at.happened.step
    if not _waits_on_time(at.saga, name, FORWARD) or at.definition[name].kind is not StepKind.COMPENSATABLE:
        return Stale(f"{name} is not given up")
    failure = Failure("step_deadline", f"{name} was not answered within its deadline", OrderStatus.REJECTED)
    step = replace(at.saga.step(name), forward=Forward.UNKNOWN)
    return at.accept(*compensate(at, step, failure))


def cancellable(definition: SagaDefinition, saga: Saga) -> bool:
    """Whether the command of the first step that cannot be undone has not been written yet (S9)."""
    awaiting = saga.awaiting
    return awaiting is not None and definition.index(awaiting.step) < definition.point_of_no_return


def cancel(at: Moment) -> Decision:
    """Undo the order; the step awaited counts as unknown and is undone first (S9)."""
    requested: CancelRequested = at.happened
    awaiting = at.saga.awaiting
    if awaiting is None or not cancellable(at.definition, at.saga):
        awaited = awaiting.step if awaiting else "nothing"
        return Refused("too_late", f"the order can no longer be cancelled: {awaited} has been asked for")
    failure = Failure("cancelled", requested.actor.reason, OrderStatus.CANCELLED)
    step = replace(at.saga.step(awaiting.step), forward=Forward.UNKNOWN)
    saga, effects = compensate(at, step, failure)
    return at.accept(replace(saga, cancel_requested_at=at.now), effects)


def cancel_again(at: Moment) -> Decision:
    """Repeating a cancel is fine; an order that is undone for another cause is not cancelled (S8, S9)."""
    failure = at.saga.failure
    if failure is not None and failure.ends_as is OrderStatus.CANCELLED:
        return Stale("the order is cancelled already")
    if at.saga.status in ENDED:
        return Refused("ended", f"the order has ended as {at.saga.order_status}")
    cause = failure.code if failure else "unknown"
    return Refused("too_late", f"the order is being undone already: {cause}")


# -- compensating ---------------------------------------------------------------------------------------


def undone(at: Moment) -> Decision:
    """The awaited compensation answered: go on with the step before, or end (S3, S7).

    That there was nothing to undo of a step that had reported its success is an orphaned effect (S5).
    """
    outcome: OutcomeReceived = at.happened
    if not at.saga.awaits(outcome.step, COMPENSATING):
        return _not_awaited(outcome)
    step = at.saga.step(outcome.step)
    nothing = outcome.data.get("effect") == Effect.NOTHING
    steps = at.saga.steps_with(replace(step, undo=Undo.NOTHING if nothing else Undo.UNDONE))
    saga = replace(at.saga, steps=steps)
    if nothing and step.forward is Forward.SUCCEEDED:
        saga = _with_orphan(at, saga, step.name)
    return at.accept(*undo_next(at, saga))


def late_success(at: Moment) -> Decision:
    """A step given up turns out to have succeeded: recorded, never resumed (S5).

    It is an orphaned effect unless its compensation has undone it, or is still to come.
    """
    outcome: OutcomeReceived = at.happened
    step = at.saga.step(outcome.step)
    if step.forward not in (Forward.UNKNOWN, Forward.REJECTED):
        return _not_awaited(outcome)
    definition = at.definition[step.name]
    known = replace(step, forward=Forward.SUCCEEDED, result=result_of(definition, outcome.data))
    saga = replace(at.saga, steps=at.saga.steps_with(known))
    will_be_undone = definition.compensation is not None and saga.status not in ENDED
    orphaned = step.undo is Undo.NOTHING or (known.may_hold_something and not will_be_undone)
    return at.accept(_with_orphan(at, saga, step.name) if orphaned else saga)


def _with_orphan(at: Moment, saga: Saga, name: str) -> Saga:
    held = at.definition[name].held(saga.order)
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
    saga, work = at.saga, at.saga.work
    if work is None or (work.step, work.direction) != (dead.step, dead.direction):
        return Stale("that command is no longer awaited")
    held = saga.awaiting is not None and saga.awaiting.held
    known = saga.has_incident(IncidentKind.DEAD_LETTER, dead.step, dead.direction)
    if known and (held or saga.awaiting is None or not dead.permanent):
        return Stale("that dead letter is known")
    if saga.awaiting is not None:
        waiting = replace(saga.awaiting, held=dead.permanent, dead_lettered=True)
        saga = replace(saga, awaiting=waiting)
    elif saga.settling is not None:
        saga = replace(saga, settling=replace(saga.settling, dead_lettered=True))
    message = f"{'permanent failure' if dead.permanent else 'gave up after its attempts'}: {dead.error}"
    if saga.awaiting is not None and dead.direction is COMPENSATING:
        message = f"{message.removesuffix('.')}; {still_held(at.definition, saga)}"
    return at.accept(at.with_incident(saga, IncidentKind.DEAD_LETTER, dead.step, dead.direction, message))


# -- people ---------------------------------------------------------------------------------------------


def retry(at: Moment) -> Decision:
    """Send what is awaited once more, with a full deadline; closes the dead letter's incident (S10).

    While a verdict is on its way it is the verdict that is sent again; work that was held stays held.
    """
    saga, awaiting = at.saga, at.saga.awaiting
    if saga.settling is not None:
        again = replace(saga, sending=NOT_SENT)
    elif awaiting is not None:
        again = replace(
            saga,
            awaiting=replace(awaiting, since=at.now, held=False),
            incidents=without_incident(saga, IncidentKind.DEAD_LETTER, awaiting.step, awaiting.direction),
            sending=NOT_SENT,
        )
    else:
        return Refused("not_allowed", "the saga awaits nothing that could be sent again")
    return at.accept(again, (awaited_command(at.definition, again),))


def resolvable(definition: SagaDefinition, saga: Saga, step: str) -> Direction | None:
    """The direction in which a person may judge a step now; None where there is nothing to judge (S19).

    Judged are a stuck pivot, a stuck compensation and, once the saga has ended, an orphaned effect.
    """
    awaiting = saga.awaiting
    if awaiting is None:
        orphaned = saga.has_incident(IncidentKind.ORPHANED_EFFECT, step, COMPENSATING)
        return COMPENSATING if orphaned else None
    if awaiting.step != step:
        return None
    stuck = any(
        each.step == step and each.direction == awaiting.direction and each.kind in END_WITH_THE_WAIT
        for each in saga.incidents
    )
    judgeable = awaiting.direction is COMPENSATING or definition[step].kind is StepKind.PIVOT
    return awaiting.direction if stuck and judgeable else None


def resolve(at: Moment) -> Decision:
    """Take a person's verdict to the participant; the saga moves on its answer alone (S19)."""
    asked: ResolveRequested = at.happened
    saga = at.saga
    if asked.step not in at.definition:
        return Refused("unknown_step", f"the saga has no step {asked.step!r}")
    direction = resolvable(at.definition, saga, asked.step)
    if direction is None:
        if saga.has_incident(IncidentKind.ORPHANED_EFFECT, asked.step, COMPENSATING):
            return Refused("not_ended", "an orphaned effect is settled once the saga has ended")
        return Refused("not_stuck", f"{asked.step} is not stuck: there is nothing to resolve")
    saga = replace(
        saga,
        settling=Settlement(asked.step, direction, asked.verdict, at.now, asked.reference, asked.amount),
        incidents=without_incident(saga, IncidentKind.VERDICT_REFUSED, asked.step, direction),
        sending=NOT_SENT,
    )
    return at.accept(saga, (awaited_command(at.definition, saga),))


def settle(at: Moment) -> Decision:
    """The participant answered a verdict: act on it, or report why it was refused (S19, P10)."""
    outcome: OutcomeReceived = at.happened
    settling = at.saga.settling
    asked = (outcome.step, outcome.direction, outcome.data.get("verdict"))
    if settling is None or asked != (settling.step, settling.direction, settling.verdict):
        return _not_awaited(outcome)
    if outcome.data.get("accepted") and at.saga.awaiting is not None:
        return at.accept(*_act_on_verdict(at, settling, outcome))
    saga = replace(at.saga, settling=None, sending=NOT_SENT)
    if outcome.data.get("accepted"):
        settled = replace(saga.step(settling.step), undo=Undo.SETTLED)
        kind = IncidentKind.ORPHANED_EFFECT
        incidents = without_incident(saga, kind, settling.step, settling.direction)
        return at.accept(replace(saga, steps=saga.steps_with(settled), incidents=incidents))
    reason = str(outcome.data.get("reason", ""))
    kind = IncidentKind.VERDICT_REFUSED
    return at.accept(at.with_incident(saga, kind, settling.step, settling.direction, reason))


_UNDO_BY_VERDICT: Final = {
    Verdict.TOOK_EFFECT: Undo.UNDONE,
    Verdict.SETTLED_OUTSIDE: Undo.SETTLED,
    Verdict.NO_EFFECT: Undo.NOTHING,
}


def _act_on_verdict(at: Moment, settling: Settlement, outcome: OutcomeReceived) -> Course:
    """What an accepted verdict on the awaited work means."""
    step = at.saga.step(settling.step)
    if settling.direction is COMPENSATING:
        judged = replace(step, undo=_UNDO_BY_VERDICT[settling.verdict])
        return undo_next(at, replace(at.saga, steps=at.saga.steps_with(judged)))
    if settling.verdict is not Verdict.NO_EFFECT:
        return succeed(at, settling.step, outcome.data)
    message = f"{settling.step} was found to have had no effect"
    failure = Failure("operator_verdict", message, OrderStatus.REJECTED)
    return compensate(at, replace(step, forward=Forward.REJECTED), failure)


# -- what the rules ask -----------------------------------------------------------------------------------


def still_held(definition: SagaDefinition, saga: Saga) -> str:
    """What a stuck compensation keeps from others: reserved SKUs, money (S7)."""
    held = [
        definition[step.name].held(saga.order)
        for step in saga.steps
        if step.may_hold_something and definition[step.name].compensation is not None
    ]
    return f"still held: {', '.join(held)}"


def _waits_on_time(saga: Saga, step: str, direction: Direction) -> bool:
    """Whether time may still tell something of this work: a permanent failure stops its clock (S10)."""
    awaiting = saga.awaiting
    return awaiting is not None and saga.awaits(step, direction) and not awaiting.held


def _not_awaited(outcome: OutcomeReceived) -> Stale:
    return Stale(f"{outcome.event} for {outcome.step} ({outcome.direction}) is not awaited")
