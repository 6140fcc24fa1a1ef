"""Events: what has happened. A step's outcome and the domain event are one message."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from contracts.commands import Items, Verdict
from contracts.envelope import Body, StepBody
from contracts.findable import absent
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
    """Stock is held for the order.

    Attributes:
        taken: the same by where it is; empty where all of it is at ``default``.
    """

    key = "inventory.reserved"
    lines: Items
    taken: Annotated[tuple[()] | Items, Field(exclude_if=absent)] = ()


class InventoryRejectedEvent(Rejection):
    """Not enough stock (``out_of_stock``), no such product (``unknown_sku``), or at too many locations
    (``too_scattered``); nothing is held.
    """

    key = "inventory.rejected"
    skus: tuple[Text, ...] = ()


class InventoryReleasedEvent(CompensationOutcome):
    """The reservation no longer stands."""

    key = "inventory.released"
    lines: tuple[()] | Items = ()


class InventoryReducedEvent(OutcomeEvent):
    """Stock was reduced by what has left; ``released`` of what was reserved has not, and is held no more."""

    key = "inventory.reduced"
    lines: Items
    released: Annotated[tuple[()] | Items, Field(exclude_if=absent)] = ()


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


class RemainderVoidedEvent(OutcomeEvent):
    """What was left of an authorization after a capture is not set aside any more."""

    key = "payment.remainder_voided"
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


class RefundClaimedEvent(OutcomeEvent):
    """So much of what was taken for an order is set aside for a return."""

    key = "payment.refund_claimed"
    amount: Amount
    currency: Text


class RefundClaimRejectedEvent(Rejection):
    """With what other returns have claimed it would be more than was taken; nothing is set aside."""

    key = "payment.refund_claim_rejected"


class RefundClaimReleasedEvent(CompensationOutcome):
    """The claim no longer stands."""

    key = "payment.refund_claim_released"
    amount: Amount = 0


class PaymentPartlyRefundedEvent(OutcomeEvent):
    """What a return is worth is back."""

    key = "payment.partly_refunded"
    amount: Amount
    currency: Text
    reference: Reference


class PartialRefundRejectedEvent(Rejection):
    """The provider does not give this part back; no money moved."""

    key = "payment.partial_refund_rejected"


class ItemsRestockedEvent(OutcomeEvent):
    """Returned goods are in: in stock again, or written off."""

    key = "inventory.restocked"
    restocked: tuple[()] | Items = ()
    written_off: tuple[()] | Items = ()


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
    """Base of the ends of an order."""


class OrderCompletedEvent(OrderEnded):
    """Every step is done: reserved, paid, shipped, stock reduced."""

    key = "order.completed"


class OrderPartiallyFulfilledEvent(OrderEnded):
    """A part was shipped, and is paid and reduced; what could not be shipped is given back (S31)."""

    key = "order.partially_fulfilled"
    shipped: tuple[()] | Items
    not_shipped: tuple[()] | Items
    amount: Amount
    currency: Text


class OrderRejectedEvent(OrderEnded):
    """The order could not be fulfilled; whatever was done is undone."""

    key = "order.rejected"
    code: Code
    message: Message = ""


class OrderCancelledEvent(OrderEnded):
    """The order was cancelled; whatever was done is undone."""

    key = "order.cancelled"


class ReturnEvent(Event):
    """Base of what the world is told of a return; ``order_id`` is the return's own id, as of every saga."""

    returned_order_id: UUID


class ReturnRequestedEvent(ReturnEvent):
    """A return was accepted: its goods are waited for."""

    key = "order.return_requested"
    lines: Items
    amount: Amount
    currency: Text


class ReturnCompletedEvent(ReturnEvent):
    """The goods are in, the money is back."""

    key = "order.return_completed"
    amount: Amount
    currency: Text


class ReturnRejectedEvent(ReturnEvent):
    """Nothing was given back: the goods did not come, or the money could not be given back."""

    key = "order.return_rejected"
    code: Code
    message: Message = ""


class ReturnCancelledEvent(ReturnEvent):
    """The return was cancelled; nothing was given back."""

    key = "order.return_cancelled"


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
        RemainderVoidedEvent,
        OrderFulfilledEvent,
        ShipmentRejectedEvent,
        RefundClaimedEvent,
        RefundClaimRejectedEvent,
        RefundClaimReleasedEvent,
        PaymentPartlyRefundedEvent,
        PartialRefundRejectedEvent,
        ItemsRestockedEvent,
        StepRefused,
        StepSettled,
    )
}
"""Every answer to a command, by its type name on the wire."""

EVENTS: dict[str, type[Event]] = {
    **OUTCOMES,
    **{
        event.__name__: event
        for event in (
            OrderCreatedEvent,
            OrderCompletedEvent,
            OrderPartiallyFulfilledEvent,
            OrderRejectedEvent,
            OrderCancelledEvent,
            ReturnRequestedEvent,
            ReturnCompletedEvent,
            ReturnRejectedEvent,
            ReturnCancelledEvent,
        )
    },
}
"""Every event, by its type name on the wire."""
