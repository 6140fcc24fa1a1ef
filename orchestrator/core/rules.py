"""What each row of the transition table does. Every function here is pure and cites its rule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contracts.commands import ItemQuantity, SettleStep, Verdict
from contracts.envelope import Direction
from contracts.events import (
    Effect as CompensationEffect,
)
from contracts.events import (
    Event,
    OrderCancelledEvent,
    OrderCompletedEvent,
    OrderCreatedEvent,
    OrderRejectedEvent,
)
from orchestrator.core.definition import SagaDefinition, Step, StepKind
from orchestrator.core.effects import Decision, Effect, PublishEvent, Refused, SendCommand, Stale, Transition
from orchestrator.core.inputs import (
    CancelRequested,
    CommandDeadLettered,
    Input,
    OutcomeReceived,
    ResolveRequested,
)
from orchestrator.core.state import (
    Awaiting,
    Failure,
    Forward,
    Incident,
    IncidentKind,
    OrderStatus,
    Saga,
    Sending,
    Settlement,
    Status,
    Undo,
)
from orchestrator.core.values import replace

FORWARD, COMPENSATING = Direction.FORWARD, Direction.COMPENSATING
Effects = tuple[Effect, ...]


@dataclass(frozen=True)
class Moment:
    """All that a rule may look at."""

    definition: SagaDefinition
    saga: Saga
    happened: Any
    now: datetime

    def accept(self, saga: Saga, effects: Effects = ()) -> Transition:
        """The decision that this input leads to ``saga``."""
        accepted: Input = self.happened
        return Transition(saga, effects, accepted)


# -- forward --------------------------------------------------------------------------------------------


def begin(at: Moment) -> tuple[Saga, Effects]:
    """Start with the first step; tell the world that there is an order."""
    saga = at.saga
    created = OrderCreatedEvent(
        saga_id=saga.saga_id,
        order_id=saga.order_id,
        customer_id=saga.order.customer_id,
        currency=saga.order.currency,
        total=saga.order.total,
        lines=tuple(ItemQuantity(sku=line.sku, quantity=line.quantity) for line in saga.order.lines),
    )
    saga, effects = _ask(at, saga, at.definition.steps[0])
    return saga, (PublishEvent(created), *effects)


def advance(at: Moment) -> Decision:
    """The awaited step succeeded: go on with the next, or complete (S1, S6)."""
    outcome: OutcomeReceived = at.happened
    if not at.saga.awaits(outcome.step, FORWARD):
        return _not_awaited(outcome)
    return at.accept(*_succeed(at, outcome.step, outcome.data))


def reject(at: Moment) -> Decision:
    """The awaited step was rejected and had no effect: undo the steps before it (S3)."""
    outcome: OutcomeReceived = at.happened
    if not at.saga.awaits(outcome.step, FORWARD):
        return _not_awaited(outcome)
    code = at.definition[outcome.step].failure_code or str(outcome.data["code"])
    failure = Failure(code, str(outcome.data.get("message", "")), OrderStatus.REJECTED)
    saga = at.saga.with_step(outcome.step, forward=Forward.REJECTED)
    return at.accept(*_compensate(at, saga, failure))


def give_up_waiting(at: Moment) -> Decision:
    """The outcome is unknown: undo this step together with those before it (S4)."""
    step = at.definition[at.happened.step]
    if not at.saga.awaits(step.name, FORWARD) or step.kind is not StepKind.COMPENSATABLE:
        return Stale(f"{step.name} is not given up")
    message = f"{step.name} was not answered within its deadline"
    failure = Failure("step_deadline", message, OrderStatus.REJECTED)
    saga = at.saga.with_step(step.name, forward=Forward.UNKNOWN)
    return at.accept(*_compensate(at, saga, failure))


def cancellable(definition: SagaDefinition, saga: Saga) -> bool:
    """Whether the pivot's command has not been written yet (S9)."""
    awaiting = saga.awaiting
    return awaiting is not None and definition.index(awaiting.step) < definition.pivot_index


def cancel(at: Moment) -> Decision:
    """Undo the order; the step awaited counts as unknown and is undone first (S9)."""
    requested: CancelRequested = at.happened
    if at.saga.awaiting is None or not cancellable(at.definition, at.saga):
        awaited = at.saga.awaiting.step if at.saga.awaiting else "nothing"
        return Refused("too_late", f"the order can no longer be cancelled: {awaited} has been asked for")
    failure = Failure("cancelled", requested.actor.reason, OrderStatus.CANCELLED)
    saga = at.saga.with_step(at.saga.awaiting.step, forward=Forward.UNKNOWN)
    saga = replace(saga, cancel_requested_at=at.now)
    return at.accept(*_compensate(at, saga, failure))


def already_undoing(at: Moment) -> Decision:
    """A cancel while the order is being undone changes nothing: the first cause wins (S8, S9)."""
    return Stale("the order is being undone already")


def already_ended(at: Moment) -> Decision:
    """Repeating the cancel of a cancelled order is fine; any other end stays what it is (S9)."""
    if at.saga.order_status is OrderStatus.CANCELLED:
        return Stale("the order is cancelled already")
    return Refused("ended", f"the order has ended as {at.saga.order_status}")


# -- compensating ---------------------------------------------------------------------------------------


def undone(at: Moment) -> Decision:
    """The awaited compensation answered: go on with the step before, or end (S3, S7)."""
    outcome: OutcomeReceived = at.happened
    if not at.saga.awaits(outcome.step, COMPENSATING):
        return _not_awaited(outcome)
    nothing = outcome.data.get("effect") == CompensationEffect.NOTHING
    disagree = nothing and at.saga.step(outcome.step).forward is Forward.SUCCEEDED
    saga = at.saga.with_step(outcome.step, undo=Undo.NOTHING if nothing else Undo.UNDONE)
    if disagree:
        saga = _orphaned(at, saga, outcome.step)
    return at.accept(*_undo_next(at, saga))


def late_success(at: Moment) -> Decision:
    """A step given up turns out to have succeeded: recorded, never resumed (S5)."""
    outcome: OutcomeReceived = at.happened
    step = at.saga.step(outcome.step)
    if step.forward not in (Forward.UNKNOWN, Forward.REJECTED):
        return _not_awaited(outcome)
    result = _result(at.definition[step.name], outcome.data)
    saga = at.saga.with_step(step.name, forward=Forward.SUCCEEDED, result=result)
    believed_without_effect = step.forward is Forward.REJECTED or step.undo is Undo.NOTHING
    return at.accept(_orphaned(at, saga, step.name) if believed_without_effect else saga)


def _orphaned(at: Moment, saga: Saga, step: str) -> Saga:
    held = _held(at.definition[step], saga)
    message = f"{step} took effect although its participant had answered that there was none; held: {held}"
    return _with_incident(at, saga, IncidentKind.ORPHANED_EFFECT, step, COMPENSATING, message)


# -- trouble --------------------------------------------------------------------------------------------


def report_overdue(at: Moment) -> Decision:
    """A step that is never given up is past its deadline: somebody should look (S4)."""
    step = at.definition[at.happened.step]
    known = at.saga.has_incident(IncidentKind.OVERDUE, step.name, FORWARD)
    if known or step.kind is StepKind.COMPENSATABLE or not at.saga.awaits(step.name, FORWARD):
        return Stale(f"{step.name} is not newly overdue")
    message = (
        f"{step.participant} has not answered {step.command.__name__} within {step.policy.deadline_s:g} s"
    )
    return at.accept(_with_incident(at, at.saga, IncidentKind.OVERDUE, step.name, FORWARD, message))


def report_stuck(at: Moment) -> Decision:
    """A compensation goes unanswered: an incident says what is still held (S7)."""
    step = at.definition[at.happened.step]
    known = at.saga.has_incident(IncidentKind.COMPENSATION_STUCK, step.name, COMPENSATING)
    if known or not at.saga.awaits(step.name, COMPENSATING):
        return Stale(f"the compensation of {step.name} is not newly stuck")
    held = still_held(at.definition, at.saga)
    message = f"{step.participant} does not confirm that {step.name} is undone; {held}"
    kind = IncidentKind.COMPENSATION_STUCK
    return at.accept(_with_incident(at, at.saga, kind, step.name, COMPENSATING, message))


def report_refusal(at: Moment) -> Decision:
    """The awaited step was refused because its participant had compensated it before (P5)."""
    outcome: OutcomeReceived = at.happened
    if not at.saga.awaits(outcome.step, FORWARD):
        return _not_awaited(outcome)
    if at.saga.has_incident(IncidentKind.STEP_REFUSED, outcome.step, FORWARD):
        return Stale("the refusal is known")
    message = f"{outcome.step} was refused: its participant holds it as compensated"
    return at.accept(_with_incident(at, at.saga, IncidentKind.STEP_REFUSED, outcome.step, FORWARD, message))


def report_dead_letter(at: Moment) -> Decision:
    """The awaited command gave up; a permanent failure also stops its re-sends and deadline (S10)."""
    dead: CommandDeadLettered = at.happened
    awaiting = at.saga.awaiting
    if awaiting is None or not at.saga.awaits(dead.step, dead.direction):
        return Stale("that command is no longer awaited")
    known = at.saga.has_incident(IncidentKind.DEAD_LETTER, dead.step, dead.direction)
    if known and (awaiting.held or not dead.permanent):
        return Stale("that dead letter is known")
    held = awaiting.held or dead.permanent
    saga = replace(at.saga, awaiting=replace(awaiting, held=held, dead_lettered=True))
    kind = IncidentKind.DEAD_LETTER
    message = f"{'permanent failure' if dead.permanent else 'gave up after its attempts'}: {dead.error}"
    if dead.direction is COMPENSATING:
        message = f"{message}; {still_held(at.definition, at.saga)}"
    return at.accept(_with_incident(at, saga, kind, dead.step, dead.direction, message))


# -- people ---------------------------------------------------------------------------------------------


def retry(at: Moment) -> Decision:
    """Send what is awaited once more, with a full deadline; closes the dead letter's incident (S10)."""
    awaiting = at.saga.awaiting
    if awaiting is None:
        return Refused("not_allowed", "the saga awaits nothing that could be sent again")
    incidents = _without(at.saga, IncidentKind.DEAD_LETTER, awaiting.step, awaiting.direction)
    saga = replace(
        at.saga,
        awaiting=replace(awaiting, since=at.now, held=False),
        settling=None,
        incidents=incidents,
        sending=Sending(),
    )
    return at.accept(saga, (awaited_command(at.definition, saga),))


_TROUBLE = frozenset(
    {
        IncidentKind.OVERDUE,
        IncidentKind.COMPENSATION_STUCK,
        IncidentKind.DEAD_LETTER,
        IncidentKind.STEP_REFUSED,
        IncidentKind.VERDICT_REFUSED,
    }
)


def resolvable(definition: SagaDefinition, saga: Saga, step: str) -> Direction | None:
    """The direction in which a person may judge a step now; None where there is nothing to judge (S19)."""
    if saga.has_incident(IncidentKind.ORPHANED_EFFECT, step, COMPENSATING):
        return COMPENSATING
    awaiting = saga.awaiting
    if awaiting is None or awaiting.step != step:
        return None
    troubled = any(
        i.kind in _TROUBLE and (i.step, i.direction) == (step, awaiting.direction) for i in saga.incidents
    )
    judgeable = awaiting.direction is COMPENSATING or definition[step].kind is StepKind.PIVOT
    return awaiting.direction if troubled and judgeable else None


def resolve(at: Moment) -> Decision:
    """Take a person's verdict to the participant; the saga moves on its answer alone (S19)."""
    asked: ResolveRequested = at.happened
    if asked.step not in at.definition:
        return Refused("unknown_step", f"the saga has no step {asked.step!r}")
    direction = resolvable(at.definition, at.saga, asked.step)
    if direction is None:
        return Refused("not_stuck", f"{asked.step} is not stuck: there is nothing to resolve")
    settling = Settlement(asked.step, direction, asked.verdict, at.now, asked.reference, asked.amount)
    incidents = _without(at.saga, IncidentKind.VERDICT_REFUSED, asked.step, direction)
    saga = replace(at.saga, settling=settling, incidents=incidents, sending=Sending())
    return at.accept(saga, (settle_command(at.definition, saga, settling),))


def settle(at: Moment) -> Decision:
    """The participant answered a verdict: act on it, or report why it was refused (S19, P10)."""
    outcome: OutcomeReceived = at.happened
    settling = at.saga.settling
    asked = (outcome.step, outcome.direction, outcome.data.get("verdict"))
    if settling is None or asked != (settling.step, settling.direction, settling.verdict):
        return _not_awaited(outcome)
    saga = replace(at.saga, settling=None, sending=Sending())
    if not outcome.data.get("accepted"):
        reason = str(outcome.data.get("reason", ""))
        kind = IncidentKind.VERDICT_REFUSED
        saga = _with_incident(at, saga, kind, settling.step, settling.direction, reason)
        return at.accept(saga)
    if at.saga.awaits(settling.step, settling.direction):
        return at.accept(*_act_on_verdict(at, saga, settling, outcome))
    incidents = _without(saga, IncidentKind.ORPHANED_EFFECT, settling.step, settling.direction)
    return at.accept(replace(saga.with_step(settling.step, undo=Undo.SETTLED), incidents=incidents))


def _act_on_verdict(
    at: Moment, saga: Saga, settling: Settlement, outcome: OutcomeReceived
) -> tuple[Saga, Effects]:
    """What an accepted verdict on the awaited work means."""
    if settling.direction is COMPENSATING:
        undo = {
            Verdict.TOOK_EFFECT: Undo.UNDONE,
            Verdict.SETTLED_OUTSIDE: Undo.SETTLED,
            Verdict.NO_EFFECT: Undo.NOTHING,
        }
        return _undo_next(at, saga.with_step(settling.step, undo=undo[settling.verdict]))
    if settling.verdict is not Verdict.NO_EFFECT:
        return _succeed(replace(at, saga=saga), settling.step, outcome.data)
    failure = Failure(
        "operator_verdict", f"{settling.step} was found to have had no effect", OrderStatus.REJECTED
    )
    return _compensate(at, saga.with_step(settling.step, forward=Forward.REJECTED), failure)


# -- what the rules are made of ---------------------------------------------------------------------------


def awaited_command(definition: SagaDefinition, saga: Saga) -> SendCommand:
    """The command whose outcome the saga awaits, built anew from the saga (D4)."""
    if saga.settling is not None:
        return settle_command(definition, saga, saga.settling)
    if saga.awaiting is None:
        raise ValueError(f"saga {saga.saga_id} awaits nothing")
    step = definition[saga.awaiting.step]
    if saga.awaiting.direction is FORWARD:
        command, arguments = step.command, step.arguments(saga.order)
    elif step.compensation is not None:
        command, arguments = step.compensation.command, {}
    else:
        raise ValueError(f"step {step.name} has no compensation")
    built = command(
        saga_id=saga.saga_id,
        order_id=saga.order_id,
        step=step.name,
        direction=saga.awaiting.direction,
        **arguments,
    )
    return SendCommand(step.participant, built)


def settle_command(definition: SagaDefinition, saga: Saga, settling: Settlement) -> SendCommand:
    """The command that takes a verdict to its participant (S19)."""
    command = SettleStep(
        saga_id=saga.saga_id,
        order_id=saga.order_id,
        step=settling.step,
        direction=settling.direction,
        verdict=settling.verdict,
        reference=settling.reference,
        amount=settling.amount,
    )
    return SendCommand(definition[settling.step].participant, command)


def still_held(definition: SagaDefinition, saga: Saga) -> str:
    """What a stuck compensation keeps from others: reserved SKUs, money (S7)."""
    held = [
        _held(definition[step.name], saga)
        for step in saga.steps
        if step.may_hold_something and definition[step.name].kind is StepKind.COMPENSATABLE
    ]
    return f"still held: {', '.join(held)}"


def _held(step: Step, saga: Saga) -> str:
    return step.holds(saga.order) if step.holds else step.name


def _succeed(at: Moment, name: str, data: Any) -> tuple[Saga, Effects]:
    step = at.definition[name]
    saga = at.saga.with_step(name, forward=Forward.SUCCEEDED, result=_result(step, data))
    if step.milestone is not None:
        saga = replace(saga, order_status=OrderStatus(step.milestone))
    following = at.definition.index(name) + 1
    if following < len(at.definition.steps):
        return _ask(at, saga, at.definition.steps[following])
    return _end(at, saga, Status.COMPLETED, OrderStatus.COMPLETED, OrderCompletedEvent)


def _ask(at: Moment, saga: Saga, step: Step) -> tuple[Saga, Effects]:
    saga = saga.with_step(step.name, forward=Forward.AWAITED)
    saga = replace(saga, awaiting=Awaiting(step.name, FORWARD, at.now), settling=None, sending=Sending())
    return saga, (awaited_command(at.definition, saga),)


def _compensate(at: Moment, saga: Saga, failure: Failure) -> tuple[Saga, Effects]:
    saga = replace(
        saga,
        status=Status.COMPENSATING,
        direction=COMPENSATING,
        failure=saga.failure or failure,
    )
    return _undo_next(at, saga)


def _undo_next(at: Moment, saga: Saga) -> tuple[Saga, Effects]:
    """Undo the last step that may hold something, one at a time, in reverse order (S3)."""
    for step in reversed(saga.steps):
        if step.may_hold_something and at.definition[step.name].compensation is not None:
            saga = saga.with_step(step.name, undo=Undo.AWAITED)
            awaiting = Awaiting(step.name, COMPENSATING, at.now)
            saga = replace(saga, awaiting=awaiting, settling=None, sending=Sending())
            return saga, (awaited_command(at.definition, saga),)
    return _end_undone(at, saga)


def _end_undone(at: Moment, saga: Saga) -> tuple[Saga, Effects]:
    failure = saga.failure
    if failure is None:
        raise ValueError(f"saga {saga.saga_id} was undone for no cause")
    if failure.ends_as is OrderStatus.CANCELLED:
        return _end(at, saga, Status.COMPENSATED, failure.ends_as, OrderCancelledEvent)
    details = {"code": failure.code, "message": failure.message}
    return _end(at, saga, Status.COMPENSATED, failure.ends_as, OrderRejectedEvent, details)


def _end(
    at: Moment,
    saga: Saga,
    status: Status,
    order_status: OrderStatus,
    event: type[Event],
    details: dict[str, Any] | None = None,
) -> tuple[Saga, Effects]:
    saga = replace(
        saga,
        status=status,
        order_status=order_status,
        ended_at=at.now,
        awaiting=None,
        settling=None,
        sending=Sending(),
    )
    said = event(saga_id=saga.saga_id, order_id=saga.order_id, **(details or {}))
    return saga, (PublishEvent(said),)


def _result(step: Step, data: Any) -> dict[str, Any]:
    return {name: data[name] for name in step.keeps if data.get(name) is not None}


def _with_incident(
    at: Moment, saga: Saga, kind: IncidentKind, step: str, direction: Direction, message: str
) -> Saga:
    others = tuple(i for i in saga.incidents if (i.kind, i.step, i.direction) != (kind, step, direction))
    return replace(saga, incidents=(*others, Incident(kind, step, direction, at.now, message)))


def _without(saga: Saga, kind: IncidentKind, step: str, direction: Direction) -> tuple[Incident, ...]:
    return tuple(i for i in saga.incidents if (i.kind, i.step, i.direction) != (kind, step, direction))


def _not_awaited(outcome: OutcomeReceived) -> Stale:
    return Stale(f"{outcome.event} for {outcome.step} ({outcome.direction}) is not awaited")
