"""What can happen to the order that the tests of sagas are about, in the words of those who say it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from contracts.commands import Verdict
from contracts.envelope import Direction
from contracts.events import (
    InventoryReducedEvent,
    InventoryRejectedEvent,
    InventoryReleasedEvent,
    InventoryReservedEvent,
    OrderFulfilledEvent,
    OutcomeEvent,
    PaymentDeclinedEvent,
    PaymentRefundedEvent,
    PaymentSuccessfulEvent,
    ShipmentRejectedEvent,
    StepRefused,
    StepSettled,
)
from contracts.orders import Order, OrderLine, ShippingAddress
from orchestrator.core.definition import StepPolicy
from orchestrator.core.inputs import (
    Actor,
    CancelRequested,
    CommandDeadLettered,
    OutcomeReceived,
    ResolveRequested,
    RetryRequested,
    outcome_of,
)
from orchestrator.sagas.order_fulfillment import order_fulfillment

FORWARD, COMPENSATING = Direction.FORWARD, Direction.COMPENSATING
SAGA_ID, ORDER_ID = UUID(int=1), UUID(int=2)
NOON: Final = datetime(2025, 1, 1, 12, tzinfo=UTC)
POLICY: Final = StepPolicy(
    deadline_s=300, grace_s=30, resend_after_s=5, resend_cap_s=60, stuck_after_attempts=3
)
DEFINITION: Final = order_fulfillment(POLICY)
ORDER: Final = Order(
    customer_id="c-42",
    currency="EUR",
    lines=(
        OrderLine(sku="SKU-1", quantity=2, unit_price=1299),
        OrderLine(sku="SKU-2", quantity=1, unit_price=500),
    ),
    payment_method="pm_card_visa",
    shipping_address=ShippingAddress(
        name="A. Person", line1="1 Street", city="Town", postal_code="12345", country="DE"
    ),
)
SOMEBODY: Final = Actor("somebody", "because")


# -- what participants say -----------------------------------------------------------------------------


def answer(event: type[OutcomeEvent], step: str, direction: Direction, **data: Any) -> OutcomeReceived:
    """A participant's answer as the saga gets it: a valid event without the identities."""
    whole = event.model_validate(
        {"saga_id": SAGA_ID, "order_id": ORDER_ID, "step": step, "direction": direction, **data}
    )
    return outcome_of(whole)


_LINES: Final = [{"sku": "SKU-1", "quantity": 2}, {"sku": "SKU-2", "quantity": 1}]


def reserved() -> OutcomeReceived:
    """Inventory holds the stock."""
    return answer(InventoryReservedEvent, "reserve", FORWARD, lines=_LINES)


def out_of_stock() -> OutcomeReceived:
    """Inventory has not enough."""
    return answer(
        InventoryRejectedEvent, "reserve", FORWARD, code="out_of_stock", message="none left of SKU-1"
    )


def released(effect: str = "undone") -> OutcomeReceived:
    """The reservation no longer stands; ``effect`` nothing: there was none."""
    return answer(InventoryReleasedEvent, "reserve", COMPENSATING, effect=effect)


def paid(reference: str = "ch_1") -> OutcomeReceived:
    """The money was taken."""
    fields = {"amount": 3098, "currency": "EUR", "reference": reference}
    return answer(PaymentSuccessfulEvent, "charge", FORWARD, **fields)


def declined() -> OutcomeReceived:
    """The card was declined."""
    return answer(PaymentDeclinedEvent, "charge", FORWARD, code="card_declined", message="the bank said no")


def refunded(effect: str = "undone") -> OutcomeReceived:
    """The money is back; ``effect`` nothing: none had been taken."""
    return answer(PaymentRefundedEvent, "charge", COMPENSATING, effect=effect)


def shipped(reference: str = "track_1") -> OutcomeReceived:
    """The parcel is with the carrier."""
    return answer(OrderFulfilledEvent, "ship", FORWARD, reference=reference)


def not_shippable() -> OutcomeReceived:
    """The carrier refused the parcel."""
    return answer(ShipmentRejectedEvent, "ship", FORWARD, code="no_service", message="not to 00000")


def reduced() -> OutcomeReceived:
    """The stock was reduced."""
    return answer(InventoryReducedEvent, "commit", FORWARD, lines=_LINES)


def refused(step: str) -> OutcomeReceived:
    """The participant holds the step as compensated and will not do it."""
    return answer(StepRefused, step, FORWARD)


def settled(step: str, direction: Direction, verdict: Verdict, **fields: Any) -> OutcomeReceived:
    """The participant has written the verdict into its ledger."""
    return answer(StepSettled, step, direction, verdict=verdict, accepted=True, **fields)


def not_settled(step: str, direction: Direction, verdict: Verdict, reason: str) -> OutcomeReceived:
    """The participant does not accept the verdict."""
    return answer(StepSettled, step, direction, verdict=verdict, accepted=False, reason=reason)


def died(step: str, direction: Direction = FORWARD) -> CommandDeadLettered:
    """The command used up its attempts."""
    return CommandDeadLettered(step, direction, permanent=False, error="gateway timeout")


def died_for_good(step: str, direction: Direction = FORWARD) -> CommandDeadLettered:
    """The command failed in a way that trying again does not mend."""
    return CommandDeadLettered(step, direction, permanent=True, error="other payload")


# -- what people ask -----------------------------------------------------------------------------------


def cancel(reason: str = "changed my mind") -> CancelRequested:
    """Somebody wants the order undone."""
    return CancelRequested(Actor("somebody", reason))


def retry() -> RetryRequested:
    """An operator wants the awaited command sent again."""
    return RetryRequested(SOMEBODY)


def judge(step: str, verdict: Verdict, reference: str | None = None) -> ResolveRequested:
    """An operator says what became of a stuck piece of work."""
    return ResolveRequested(SOMEBODY, step, verdict, reference)
