"""An order that is shipped in parcels, walked through: what is asked for, given the carrier's word (S31)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from contracts.commands import (
    CapturePayment,
    ClaimUnshipped,
    CommitInventory,
    ItemQuantity,
    RefundUnshipped,
    ShipOrder,
    VoidRemainder,
)
from contracts.events import (
    InventoryReducedEvent,
    InventoryReleasedEvent,
    InventoryReservedEvent,
    OrderCompletedEvent,
    OrderFulfilledEvent,
    OrderPartiallyFulfilledEvent,
    OrderRejectedEvent,
    PaymentAuthorizedEvent,
    PaymentCapturedEvent,
    PaymentPartlyRefundedEvent,
    PaymentRefundedEvent,
    PaymentSuccessfulEvent,
    RefundClaimedEvent,
    RemainderVoidedEvent,
    ShipmentRejectedEvent,
)
from orchestrator.core.definition import StepPolicy
from orchestrator.sagas.order_fulfillment import (
    Holds,
    PaymentFlow,
    Shipments,
    held_order_fulfillment,
    order_fulfillment,
)
from orchestrator.walk import NotAwaited, Walk
from tests.support.orders import an_order

LINES = [
    {"sku": "A", "quantity": 3, "unit_price": 100},
    {"sku": "B", "quantity": 1, "unit_price": 2000},
]
TAKEN = [
    {"sku": "A", "quantity": 1},
    {"sku": "A", "quantity": 2, "location": "north"},
    {"sku": "B", "quantity": 1, "location": "north"},
]
WORTH = {"currency": "EUR", "reference": "x"}
REFUSED = {"code": "parcel_refused", "message": "no"}


def reserved(payment: PaymentFlow = PaymentFlow.CHARGE, taken: Any = TAKEN) -> Walk:
    definition = order_fulfillment(StepPolicy(), payment, Shipments.SPLIT)
    walk = Walk(definition, an_order(lines=LINES))
    items = [{"sku": "A", "quantity": 3}, {"sku": "B", "quantity": 1}]
    walk.answer(InventoryReservedEvent, lines=items, taken=taken)
    return walk


def paid(payment: PaymentFlow = PaymentFlow.CHARGE, taken: Any = TAKEN) -> Walk:
    walk = reserved(payment, taken)
    paying = PaymentSuccessfulEvent if payment is PaymentFlow.CHARGE else PaymentAuthorizedEvent
    walk.answer(paying, amount=2300, currency="EUR", reference="pay-1")
    return walk


def _lines(command: Any) -> tuple[ItemQuantity, ...]:
    assert isinstance(command, ShipOrder)
    return command.lines


def inside(command: Any) -> Mapping[str, int]:
    return {line.sku: line.quantity for line in _lines(command)}


def reduced(walk: Walk) -> None:
    walk.answer(InventoryReducedEvent, lines=[{"sku": "A", "quantity": 1}])


def test_each_location_ships_a_parcel_and_all_of_them_complete_the_order() -> None:
    walk = paid()
    assert {piece: inside(each) for piece, each in walk.asked.items()} == {
        "ship[1]": {"A": 1},
        "ship[2]": {"A": 2, "B": 1},
    }
    assert {line.location for line in _lines(walk.asked["ship[2]"])} == {"north"}
    walk.answer(OrderFulfilledEvent, "ship[2]", reference="t-2")
    assert list(walk.asked) == ["ship[1]"]
    walk.answer(OrderFulfilledEvent, "ship[1]", reference="t-1")
    assert walk.label == "shipped"
    commit = walk.asked["commit"]
    assert isinstance(commit, CommitInventory)
    assert commit.shipped == ()
    reduced(walk)
    assert (walk.label, type(walk.told[-1])) == ("completed", OrderCompletedEvent)


def test_stock_without_locations_leaves_in_one_parcel_as_ever() -> None:
    walk = paid(taken=())
    assert {piece: inside(each) for piece, each in walk.asked.items()} == {"ship[1]": {"A": 3, "B": 1}}


def test_what_the_carrier_refuses_is_claimed_and_refunded_and_the_rest_is_committed() -> None:
    walk = paid()
    walk.answer(OrderFulfilledEvent, "ship[2]", reference="t-2")
    walk.answer(ShipmentRejectedEvent, "ship[1]", **REFUSED)
    [claim] = walk.asked.values()
    assert isinstance(claim, ClaimUnshipped)
    assert (claim.charge, claim.charged, claim.amount) == ("pay-1", 2300, 100)
    walk.answer(RefundClaimedEvent, amount=100, currency="EUR")
    [refund] = walk.asked.values()
    assert isinstance(refund, RefundUnshipped)
    assert refund.amount == 100
    with pytest.raises(NotAwaited):
        walk.cancel()
    walk.answer(PaymentPartlyRefundedEvent, amount=100, **WORTH)
    commit = walk.asked["commit"]
    assert isinstance(commit, CommitInventory)
    assert commit.shipped == (
        ItemQuantity(sku="A", quantity=2, location="north"),
        ItemQuantity(sku="B", quantity=1, location="north"),
    )
    reduced(walk)
    assert walk.label == "partially_fulfilled"
    told = walk.told[-1]
    assert isinstance(told, OrderPartiallyFulfilledEvent)
    assert (told.amount, told.not_shipped) == (2200, (ItemQuantity(sku="A", quantity=1),))
    assert not any(isinstance(each, OrderCompletedEvent) for each in walk.told)


def test_less_is_captured_of_what_was_authorized_and_the_rest_is_voided() -> None:
    walk = paid(PaymentFlow.CAPTURE)
    walk.answer(OrderFulfilledEvent, "ship[1]", reference="t-1")
    walk.answer(ShipmentRejectedEvent, "ship[2]", **REFUSED)
    capture = walk.asked["capture"]
    assert isinstance(capture, CapturePayment)
    assert capture.amount == 100
    walk.answer(PaymentCapturedEvent, amount=100, **WORTH)
    [void] = walk.asked.values()
    assert isinstance(void, VoidRemainder)
    assert (void.authorization, void.amount) == ("pay-1", 2200)
    walk.answer(RemainderVoidedEvent, amount=2200, **WORTH)
    reduced(walk)
    assert walk.label == "partially_fulfilled"


def test_nothing_is_left_to_void_of_an_order_that_was_captured_whole() -> None:
    walk = paid(PaymentFlow.CAPTURE)
    for piece in ("ship[1]", "ship[2]"):
        walk.answer(OrderFulfilledEvent, piece, reference=piece)
    walk.answer(PaymentCapturedEvent, amount=2300, **WORTH)
    assert list(walk.asked) == ["commit"]


def test_an_order_of_which_nothing_can_be_shipped_is_undone() -> None:
    walk = paid()
    for piece in ("ship[1]", "ship[2]"):
        walk.answer(ShipmentRejectedEvent, piece, **REFUSED)
    walk.answer(PaymentRefundedEvent, amount=2300, effect="undone")
    walk.answer(InventoryReleasedEvent, effect="undone")
    assert (walk.label, type(walk.told[-1])) == ("rejected", OrderRejectedEvent)


def test_until_its_parcels_are_asked_for_it_is_cancelled() -> None:
    walk = reserved()
    walk.cancel()
    walk.answer(PaymentRefundedEvent, amount=0, effect="nothing")
    walk.answer(InventoryReleasedEvent, effect="undone")
    assert walk.label == "cancelled"
    with pytest.raises(NotAwaited, match="ship"):
        paid().cancel()


def test_every_feature_goes_with_every_other() -> None:
    for payment, added in ((PaymentFlow.CHARGE, 0), (PaymentFlow.CAPTURE, 200)):
        plain = order_fulfillment(StepPolicy(), payment, Shipments.SPLIT)
        held = held_order_fulfillment(StepPolicy(), Holds(), payment, Shipments.SPLIT)
        assert (plain.version, held.version) == (400 + added, 500 + added)
        assert [*held.course[2:]] != []
        assert held.first_pieces[:2] == ("reserve", "hold")
