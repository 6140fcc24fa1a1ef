"""Events: what has happened. A step's outcome and the domain event are one message."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from contracts.commands import Items, Verdict
from contracts.envelope import Body, StepBody
from contracts.limits import Amount, Code, Message, Reference, Text


class Event(Body):
    """Base of every event. ``key`` is its routing key on the topic exchange."""

    key: ClassVar[str]


class Effect(StrEnum):
    """What a compensation found to undo."""

    UNDONE = "undone"
    NOTHING = "nothing"


class OutcomeEvent(StepBody, Event):
    """Base of the events that answer a command."""


class Rejection(OutcomeEvent):
    """A business rejection: the step had no effect (S3, P8)."""

    code: Code
    message: Message = ""


class CompensationOutcome(OutcomeEvent):
    """A compensation's answer: undone, or there was nothing to undo (P3, P4)."""

    effect: Effect


class InventoryReservedEvent(OutcomeEvent):
    """Stock is held for the order."""

    key = "inventory.reserved"
    lines: Items


class InventoryRejectedEvent(Rejection):
    """Not enough stock (``out_of_stock``) or no such product (``unknown_sku``); nothing is held."""

    key = "inventory.rejected"
    skus: tuple[Text, ...] = ()


class InventoryReleasedEvent(CompensationOutcome):
    """The reservation no longer stands."""

    key = "inventory.released"
    lines: tuple[()] | Items = ()


class InventoryReducedEvent(OutcomeEvent):
    """Stock was reduced by what was reserved."""

    key = "inventory.reduced"
    lines: Items


class PaymentSuccessfulEvent(OutcomeEvent):
    """The total was taken."""

    key = "payment.successful"
    amount: Amount
    currency: Text
    reference: Reference


class PaymentDeclinedEvent(Rejection):
    """The provider said no to a charge or an authorization; no money moved."""

    key = "payment.declined"


class PaymentRefundedEvent(CompensationOutcome):
    """The money is back, or none had been taken."""

    key = "payment.refunded"
    amount: Amount = 0
    reference: Reference | None = None


class PaymentAuthorizedEvent(OutcomeEvent):
    """The total is set aside; no money has moved."""

    key = "payment.authorized"
    amount: Amount
    currency: Text
    reference: Reference


class PaymentVoidedEvent(CompensationOutcome):
    """Nothing is set aside any more, or nothing had been."""

    key = "payment.voided"
    amount: Amount = 0
    reference: Reference | None = None


class PaymentCapturedEvent(OutcomeEvent):
    """Money that was set aside is taken; ``reference`` names it as a charge's does."""

    key = "payment.captured"
    amount: Amount
    currency: Text
    reference: Reference


class OrderFulfilledEvent(OutcomeEvent):
    """The parcel is with the carrier."""

    key = "shipping.fulfilled"
    reference: Reference


class ShipmentRejectedEvent(Rejection):
    """The carrier refused; nothing was shipped."""

    key = "shipping.rejected"


class StepRefused(OutcomeEvent):
    """A forward command came after its compensation; it had no effect (P5)."""

    key = "step.refused"
    reason: Message = ""


class StepSettled(OutcomeEvent):
    """The answer to a verdict: written into the ledger, or refused with the reason (S19, P10)."""

    key = "step.settled"
    verdict: Verdict
    accepted: bool
    reason: Message = ""
    reference: Reference | None = None


class OrderCreatedEvent(Event):
    """An order was accepted and its saga started."""

    key = "order.created"
    customer_id: Text
    currency: Text
    total: Amount
    lines: Items


class OrderEnded(Event):
    """Base of the three ends of an order."""


class OrderCompletedEvent(OrderEnded):
    """Every step is done: reserved, paid, shipped, stock reduced."""

    key = "order.completed"


class OrderRejectedEvent(OrderEnded):
    """The order could not be fulfilled; whatever was done is undone."""

    key = "order.rejected"
    code: Code
    message: Message = ""


class OrderCancelledEvent(OrderEnded):
    """The order was cancelled; whatever was done is undone."""

    key = "order.cancelled"


OUTCOMES: dict[str, type[OutcomeEvent]] = {
    event.__name__: event
    for event in (
        InventoryReservedEvent,
        InventoryRejectedEvent,
        InventoryReleasedEvent,
        InventoryReducedEvent,
        PaymentSuccessfulEvent,
        PaymentDeclinedEvent,
        PaymentRefundedEvent,
        PaymentAuthorizedEvent,
        PaymentVoidedEvent,
        PaymentCapturedEvent,
        OrderFulfilledEvent,
        ShipmentRejectedEvent,
        StepRefused,
        StepSettled,
    )
}
"""Every answer to a command, by its type name on the wire."""

EVENTS: dict[str, type[Event]] = {
    **OUTCOMES,
    **{
        event.__name__: event
        for event in (OrderCreatedEvent, OrderCompletedEvent, OrderRejectedEvent, OrderCancelledEvent)
    },
}
"""Every event, by its type name on the wire."""
