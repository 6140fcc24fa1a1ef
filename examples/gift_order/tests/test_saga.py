"""The saga, walked through by hand."""

from __future__ import annotations

import pytest
from gift_order.saga import EXAMPLE, gift_order

from oms.kit import Effect, StepPolicy
from oms.kit import orders as say
from oms.kit.testing import Walk

LINES = ({"sku": "SKU-1", "quantity": 1},)


@pytest.fixture
def saga() -> Walk:
    return Walk(gift_order(StepPolicy()), EXAMPLE)


def paid(saga: Walk) -> None:
    saga.answer(say.InventoryReservedEvent, lines=LINES)
    saga.answer(say.PaymentSuccessfulEvent, amount=1299, currency="EUR", reference="ch_1")


def test_a_gift_is_set_aside_paid_sent_and_given(saga: Walk) -> None:
    saga.answer(say.InventoryReservedEvent, lines=LINES)
    assert (saga.label, list(saga.asked)) == ("set_aside", ["charge"])
    saga.answer(say.PaymentSuccessfulEvent, amount=1299, currency="EUR", reference="ch_1")
    saga.answer(say.OrderFulfilledEvent, reference="parcel")
    assert (saga.label, list(saga.asked)) == ("on_its_way", ["commit"])
    saga.answer(say.InventoryReducedEvent, lines=LINES)
    assert (saga.has_ended, saga.label) == (True, "given")


def test_a_card_that_is_declined_gives_the_stock_back(saga: Walk) -> None:
    saga.answer(say.InventoryReservedEvent, lines=LINES)
    saga.answer(say.PaymentDeclinedEvent, code="card_declined", message="no")
    saga.answer(say.InventoryReleasedEvent, effect=Effect.UNDONE)
    assert (saga.has_ended, saga.label) == (True, "not_given")


def test_a_parcel_that_is_refused_gives_money_and_stock_back(saga: Walk) -> None:
    paid(saga)
    saga.answer(say.ShipmentRejectedEvent, code="no_service", message="not there")
    saga.answer(say.PaymentRefundedEvent, effect=Effect.UNDONE, amount=1299, reference="re_1")
    saga.answer(say.InventoryReleasedEvent, effect=Effect.UNDONE)
    assert (saga.has_ended, saga.label) == (True, "not_given")
