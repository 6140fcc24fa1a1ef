"""The saga of a gift: the course of any order, with a note, in words of its own, and its own events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oms.kit import (
    Announcement,
    Compensation,
    Event,
    Labels,
    Line,
    Results,
    SagaDefinition,
    Step,
    StepKind,
    StepPolicy,
    Text,
)
from oms.kit import orders as say


class Gift(say.AcceptedOrder):
    """A gift as it was accepted, whatever the rules were then."""

    note: Text


class GiftOrder(say.Order, Gift):
    """What starts the saga: an order, and what is written on the card."""

    note: Line


class GiftGiven(Event):
    """It is with the carrier, and paid."""

    key = "gift_order.given"
    note: Text
    parcel: Text


class GiftTakenBack(Event):
    """It comes to nothing."""

    key = "gift_order.taken_back"
    code: Text
    message: Text


def _items(given: Gift, results: Results) -> Mapping[str, Any]:
    return {"lines": [{"sku": line.sku, "quantity": line.quantity} for line in given.lines]}


def _parcel(given: Gift, results: Results) -> Mapping[str, Any]:
    return {**_items(given, results), "shipping_address": given.shipping_address}


def _price(given: Gift, results: Results) -> Mapping[str, Any]:
    return {
        "customer_id": given.customer_id,
        "amount": given.total,
        "currency": given.currency,
        "payment_method": given.payment_method,
    }


def _given(given: Gift, results: Results) -> Mapping[str, Any]:
    return {"note": given.note, "parcel": results["ship"]["reference"]}


EXAMPLE = GiftOrder(
    customer_id="c-42",
    currency="EUR",
    lines=(say.OrderLine(sku="SKU-1", quantity=1, unit_price=1299),),
    payment_method="pm_card_visa",
    shipping_address=say.ShippingAddress(
        name="A. Friend", line1="1 Street", city="Town", postal_code="12345", country="DE"
    ),
    note="Many happy returns",
)


def gift_order(policy: StepPolicy) -> SagaDefinition:
    """The definition at its present version."""
    reserve = Step(
        name="reserve",
        participant=say.INVENTORY,
        kind=StepKind.COMPENSATABLE,
        command=say.ReserveInventory,
        arguments=_items,
        success=say.InventoryReservedEvent,
        rejection=say.InventoryRejectedEvent,
        compensation=Compensation(say.ReleaseInventory, say.InventoryReleasedEvent),
        milestone="set_aside",
        policy=policy,
    )
    charge = Step(
        name="charge",
        participant=say.PAYMENT,
        kind=StepKind.COMPENSATABLE,
        command=say.ChargePayment,
        arguments=_price,
        success=say.PaymentSuccessfulEvent,
        rejection=say.PaymentDeclinedEvent,
        compensation=Compensation(say.RefundPayment, say.PaymentRefundedEvent),
        milestone="paid",
        keeps=("reference",),
        policy=policy,
    )
    ship = Step(
        name="ship",
        participant=say.SHIPPING,
        kind=StepKind.PIVOT,
        command=say.ShipOrder,
        arguments=_parcel,
        success=say.OrderFulfilledEvent,
        rejection=say.ShipmentRejectedEvent,
        milestone="on_its_way",
        keeps=("reference",),
        policy=policy,
    )
    commit = Step(
        name="commit",
        participant=say.INVENTORY,
        kind=StepKind.RETRIABLE,
        command=say.CommitInventory,
        success=say.InventoryReducedEvent,
        policy=policy,
    )
    return SagaDefinition(
        name="gift_order",
        version=1,
        input=GiftOrder,
        accepted=Gift,
        examples=(EXAMPLE,),
        labels=Labels(started="received", completed="given", rejected="not_given", cancelled="called_off"),
        announces={
            "completed": Announcement(GiftGiven, _given),
            "rejected": Announcement(GiftTakenBack),
        },
        course=(reserve, charge, ship, commit),
    )
