"""The course of a saga: what is asked for or undone next, with which command, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from contracts.commands import Command, ItemQuantity, SettleStep
from contracts.envelope import Direction
from contracts.events import (
    Event,
    OrderCancelledEvent,
    OrderCompletedEvent,
    OrderCreatedEvent,
    OrderRejectedEvent,
)
from contracts.orders import AcceptedOrder
from orchestrator.core.definition import SagaDefinition, Step
from orchestrator.core.effects import Effect, PublishEvent, SendCommand
from orchestrator.core.moment import Moment
from orchestrator.core.state import (
    Awaiting,
    Failure,
    Forward,
    OrderStatus,
    Saga,
    Sending,
    Settlement,
    Status,
    StepState,
    Undo,
)
from orchestrator.core.values import replace

FORWARD, COMPENSATING = Direction.FORWARD, Direction.COMPENSATING

Course = tuple[Saga, tuple[Effect, ...]]
"""The changed saga, and what to send."""

NOT_SENT: Final = Sending()
"""The timers of a command that is only now being written."""


def begin(at: Moment) -> Course:
    """Start with the first step; tell the world that there is an order (S14)."""
    order = at.saga.order
    created = OrderCreatedEvent(
        saga_id=at.saga.saga_id,
        order_id=at.saga.order_id,
        customer_id=order.customer_id,
        currency=order.currency,
        total=order.total,
        lines=tuple(ItemQuantity(sku=line.sku, quantity=line.quantity) for line in order.lines),
    )
    saga, effects = _ask(at, at.saga, 0)
    return saga, (PublishEvent(created), *effects)


def succeed(at: Moment, name: str, data: Mapping[str, Any]) -> Course:
    """A step has succeeded: ask for the next one, or complete (S6)."""
    step = at.definition[name]
    done = replace(at.saga.step(name), forward=Forward.SUCCEEDED, result=result_of(step, data))
    order_status = step.milestone or at.saga.order_status
    saga = replace(at.saga, steps=at.saga.steps_with(done), order_status=order_status)
    following = at.definition.index(name) + 1
    if following < len(at.definition.steps):
        return _ask(at, saga, following)
    return _end(at, saga, Status.COMPLETED, OrderStatus.COMPLETED, OrderCompletedEvent)


def compensate(at: Moment, step: StepState, failure: Failure) -> Course:
    """Turn round, knowing something new of a step. Only a running saga turns: the first cause wins (S8)."""
    saga = replace(
        at.saga,
        status=Status.COMPENSATING,
        direction=COMPENSATING,
        failure=failure,
        steps=at.saga.steps_with(step),
    )
    return undo_next(at, saga)


def undo_next(at: Moment, saga: Saga) -> Course:
    """Undo the last step that may hold something, one at a time, in reverse order; or end (S3)."""
    for step in reversed(saga.steps):
        if step.may_hold_something and at.definition[step.name].compensation is not None:
            return _await(at, saga, replace(step, undo=Undo.AWAITED), COMPENSATING)
    return _end_undone(at, saga)


def result_of(step: Step, data: Mapping[str, Any]) -> dict[str, Any]:
    """What the saga remembers of a step's success."""
    return {name: data[name] for name in step.keeps if data.get(name) is not None}


def awaited_command(definition: SagaDefinition, saga: Saga) -> SendCommand:
    """The command whose answer the saga waits for, built anew from the saga (D4).

    Raises:
        ValueError: the saga waits for nothing.
    """
    work = saga.settling or saga.awaiting
    if work is None:
        raise ValueError(f"saga {saga.saga_id} awaits nothing")
    step = definition[work.step]
    command, arguments = _order_for(step, work, saga.order)
    built = command(
        saga_id=saga.saga_id, order_id=saga.order_id, step=work.step, direction=work.direction, **arguments
    )
    return SendCommand(step.participant, built)


def _order_for(
    step: Step, work: Awaiting | Settlement, order: AcceptedOrder
) -> tuple[type[Command], Mapping[str, Any]]:
    """The command for a piece of work, and its fields beside the identities."""
    if isinstance(work, Settlement):
        return SettleStep, {"verdict": work.verdict, "reference": work.reference, "amount": work.amount}
    if work.direction is FORWARD:
        return step.command, step.arguments(order)
    if step.compensation is None:
        raise ValueError(f"step {step.name} has no compensation")
    return step.compensation.command, {}


def _ask(at: Moment, saga: Saga, index: int) -> Course:
    return _await(at, saga, replace(saga.steps[index], forward=Forward.AWAITED), FORWARD)


def _await(at: Moment, saga: Saga, step: StepState, direction: Direction) -> Course:
    saga = replace(
        saga,
        steps=saga.steps_with(step),
        awaiting=Awaiting(step.name, direction, at.now),
        settling=None,
        sending=NOT_SENT,
    )
    return saga, (awaited_command(at.definition, saga),)


def _end_undone(at: Moment, saga: Saga) -> Course:
    failure = saga.failure
    if failure is None:
        raise ValueError(f"saga {saga.saga_id} was undone for no cause")
    if failure.ends_as is OrderStatus.CANCELLED:
        return _end(at, saga, Status.COMPENSATED, failure.ends_as, OrderCancelledEvent)
    said = {"code": failure.code, "message": failure.message}
    return _end(at, saga, Status.COMPENSATED, failure.ends_as, OrderRejectedEvent, said)


def _end(
    at: Moment,
    saga: Saga,
    status: Status,
    order_status: OrderStatus,
    event: type[Event],
    said: Mapping[str, Any] = MappingProxyType({}),
) -> Course:
    saga = replace(
        saga,
        status=status,
        order_status=order_status,
        ended_at=at.now,
        awaiting=None,
        settling=None,
        sending=NOT_SENT,
    )
    return saga, (PublishEvent(event(saga_id=saga.saga_id, order_id=saga.order_id, **said)),)
