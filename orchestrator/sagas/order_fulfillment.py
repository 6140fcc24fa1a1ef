"""The order fulfilment saga: reserve, charge, ship, commit; with holds a person may look before the charge.

Where money is captured: reserve, authorize, ship, capture, commit. Each of these is a version (ADR 0033).
Inventory is reserved before payment and reduced only after fulfilment; a failure before the parcel leaves
undoes what was done, in reverse order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from contracts.commands import (
    AuthorizePayment,
    CapturePayment,
    ChargePayment,
    CommitInventory,
    ItemQuantity,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
    ShipOrder,
    VoidAuthorization,
)
from contracts.currencies import format_amount
from contracts.events import (
    InventoryReducedEvent,
    InventoryRejectedEvent,
    InventoryReleasedEvent,
    InventoryReservedEvent,
    OrderCancelledEvent,
    OrderCompletedEvent,
    OrderCreatedEvent,
    OrderFulfilledEvent,
    OrderRejectedEvent,
    PaymentAuthorizedEvent,
    PaymentCapturedEvent,
    PaymentDeclinedEvent,
    PaymentRefundedEvent,
    PaymentSuccessfulEvent,
    PaymentVoidedEvent,
    ShipmentRejectedEvent,
)
from contracts.examples import HOLDABLE_ORDERS, ORDER, ORDER_OF_MANY
from contracts.orders import (
    AcceptedHoldableOrder,
    AcceptedOrder,
    HoldableOrder,
    HoldDecision,
    Order,
)
from contracts.routing import INVENTORY, PAYMENT, SHIPPING
from orchestrator.core.definition import (
    Announcement,
    Compensation,
    Results,
    SagaDefinition,
    SignalledBy,
    Step,
    StepKind,
    StepPolicy,
    Wait,
)

NAME: Final = "order_fulfillment"


class OrderStatus(StrEnum):
    """What the customer of an order sees (S8): the labels of this saga."""

    PENDING = "pending"
    RESERVED = "reserved"
    ON_HOLD = "on_hold"
    PAID = "paid"
    AUTHORIZED = "authorized"
    SHIPPED = "shipped"
    COMPLETED = "completed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


END_STATUSES: Final = frozenset({OrderStatus.COMPLETED, OrderStatus.REJECTED, OrderStatus.CANCELLED})


def _created(order: AcceptedOrder, results: Results) -> Mapping[str, Any]:
    return {
        "customer_id": order.customer_id,
        "currency": order.currency,
        "total": order.total,
        "lines": _items(order),
    }


ANNOUNCES: Final = {
    "started": Announcement(OrderCreatedEvent, _created),
    "completed": Announcement(OrderCompletedEvent),
    "rejected": Announcement(OrderRejectedEvent),
    "cancelled": Announcement(OrderCancelledEvent),
}


def _items(order: AcceptedOrder) -> tuple[ItemQuantity, ...]:
    return tuple(ItemQuantity(sku=line.sku, quantity=line.quantity) for line in order.lines)


def _to_reserve(order: AcceptedOrder, results: Results) -> Mapping[str, Any]:
    return {"lines": _items(order)}


def _to_pay(order: AcceptedOrder, results: Results) -> Mapping[str, Any]:
    return {
        "customer_id": order.customer_id,
        "amount": order.total,
        "currency": order.currency,
        "payment_method": order.payment_method,
    }


def _to_capture(order: AcceptedOrder, results: Results) -> Mapping[str, Any]:
    return {
        "authorization": results[AUTHORIZE]["reference"],
        "amount": order.total,
        "currency": order.currency,
    }


def _to_ship(order: AcceptedOrder, results: Results) -> Mapping[str, Any]:
    return {"lines": _items(order), "shipping_address": order.shipping_address}


def _reserved_stock(order: AcceptedOrder) -> str:
    return "reserved " + " + ".join(f"{line.quantity} x {line.sku}" for line in order.lines)


def _charged_money(order: AcceptedOrder) -> str:
    return f"charged {format_amount(order.total, order.currency)}"


def _authorized_money(order: AcceptedOrder) -> str:
    return f"authorized {format_amount(order.total, order.currency)}"


def order_fulfillment(policy: StepPolicy) -> SagaDefinition:
    """The definition at its current version, with one policy for all of its steps."""
    return SagaDefinition(
        name=NAME,
        version=1,
        input=Order,
        accepted=AcceptedOrder,
        examples=(ORDER, ORDER_OF_MANY),
        announces=ANNOUNCES,
        course=_charging(policy),
    )


@dataclass(frozen=True, slots=True)
class Holds:
    """Which orders a person looks at before they are paid.

    Attributes:
        above: by currency the total in minor units above which an order is held; others on request alone.
        deadline_s: seconds after which nobody's word counts as a no.
    """

    above: Mapping[str, int] = field(default_factory=dict)
    deadline_s: float = 7 * 24 * 3600

    def concern(self, order: AcceptedHoldableOrder, results: Results) -> bool:
        """Whether this order is held."""
        limit = self.above.get(order.currency)
        return order.hold is not None or (limit is not None and order.total > limit)


def _denied(body: Mapping[str, Any]) -> str | None:
    return None if body["approved"] else "hold_denied"


HOLDING_VERSION: Final = 100
CAPTURING_VERSION: Final = 200
"""What each feature adds to the number of a version: far from those that a deployment may have made of the
flow without any. 400 is kept for split shipments (ADR 0033)."""

HOLD: Final = "hold"
"""The wait in which an order is on hold, between its reservation and its payment."""

AUTHORIZE: Final = "authorize"
"""The step whose reference is captured."""


class PaymentFlow(StrEnum):
    """When an order's money is taken."""

    CHARGE = "charge"
    """Before its parcel leaves."""
    CAPTURE = "capture"
    """After it: until then the money is set aside."""


def held_order_fulfillment(
    policy: StepPolicy, holds: Holds | None, payment: PaymentFlow = PaymentFlow.CHARGE
) -> SagaDefinition:
    """The same with holds, known everywhere; no order starts on it where there are None.

    Args:
        payment: how it goes on after the hold.
    """
    reserve, *others = _course(policy, payment)
    return SagaDefinition(
        name=NAME,
        version=HOLDING_VERSION + _added_by(payment),
        input=HoldableOrder,
        accepted=AcceptedHoldableOrder,
        examples=HOLDABLE_ORDERS,
        announces=ANNOUNCES,
        course=(reserve, _hold(holds or Holds()), *others),
        starts_sagas=holds is not None,
    )


def captured_order_fulfillment(policy: StepPolicy, *, starts_sagas: bool) -> SagaDefinition:
    """The same with the money taken once the parcel has left, and nobody's look before that."""
    return replace(
        order_fulfillment(policy),
        version=CAPTURING_VERSION,
        course=_course(policy, PaymentFlow.CAPTURE),
        starts_sagas=starts_sagas,
    )


def _added_by(payment: PaymentFlow) -> int:
    return CAPTURING_VERSION if payment is PaymentFlow.CAPTURE else 0


def _hold(holds: Holds) -> Wait:
    return Wait(
        name=HOLD,
        signal=HoldDecision,
        deadline_s=holds.deadline_s,
        when=holds.concern,
        refuses=_denied,
        waiting=OrderStatus.ON_HOLD,
        milestone=OrderStatus.RESERVED,
        signalled_by=SignalledBy.OPERATORS,
    )


def _course(policy: StepPolicy, payment: PaymentFlow) -> tuple[Step, ...]:
    return _capturing(policy) if payment is PaymentFlow.CAPTURE else _charging(policy)


def _charging(policy: StepPolicy) -> tuple[Step, ...]:
    return _reserve(policy), _charge(policy), _ship(policy), _commit(policy)


def _capturing(policy: StepPolicy) -> tuple[Step, ...]:
    """What was authorized is undone by a void alone: nothing is taken before the pivot (S27)."""
    return _reserve(policy), _authorize(policy), _ship(policy), _capture(policy), _commit(policy)


def _reserve(policy: StepPolicy) -> Step:
    return Step(
        name="reserve",
        participant=INVENTORY,
        kind=StepKind.COMPENSATABLE,
        command=ReserveInventory,
        arguments=_to_reserve,
        success=InventoryReservedEvent,
        rejection=InventoryRejectedEvent,
        compensation=Compensation(ReleaseInventory, InventoryReleasedEvent),
        milestone=OrderStatus.RESERVED,
        holds=_reserved_stock,
        policy=policy,
    )


def _charge(policy: StepPolicy) -> Step:
    return Step(
        name="charge",
        participant=PAYMENT,
        kind=StepKind.COMPENSATABLE,
        command=ChargePayment,
        arguments=_to_pay,
        success=PaymentSuccessfulEvent,
        rejection=PaymentDeclinedEvent,
        failure_code="payment_declined",
        compensation=Compensation(RefundPayment, PaymentRefundedEvent),
        milestone=OrderStatus.PAID,
        holds=_charged_money,
        keeps=("reference",),
        policy=policy,
    )


def _authorize(policy: StepPolicy) -> Step:
    return Step(
        name=AUTHORIZE,
        participant=PAYMENT,
        kind=StepKind.COMPENSATABLE,
        command=AuthorizePayment,
        arguments=_to_pay,
        success=PaymentAuthorizedEvent,
        rejection=PaymentDeclinedEvent,
        failure_code="payment_declined",
        compensation=Compensation(VoidAuthorization, PaymentVoidedEvent),
        milestone=OrderStatus.AUTHORIZED,
        holds=_authorized_money,
        keeps=("reference",),
        policy=policy,
    )


def _ship(policy: StepPolicy) -> Step:
    return Step(
        name="ship",
        participant=SHIPPING,
        kind=StepKind.PIVOT,
        command=ShipOrder,
        arguments=_to_ship,
        success=OrderFulfilledEvent,
        rejection=ShipmentRejectedEvent,
        failure_code="shipment_rejected",
        milestone=OrderStatus.SHIPPED,
        keeps=("reference",),
        policy=policy,
    )


def _capture(policy: StepPolicy) -> Step:
    """No label of its own: ``paid`` would read as if the parcel were still to be sent."""
    return Step(
        name="capture",
        participant=PAYMENT,
        kind=StepKind.RETRIABLE,
        command=CapturePayment,
        arguments=_to_capture,
        success=PaymentCapturedEvent,
        keeps=("reference",),
        policy=policy,
    )


def _commit(policy: StepPolicy) -> Step:
    return Step(
        name="commit",
        participant=INVENTORY,
        kind=StepKind.RETRIABLE,
        command=CommitInventory,
        success=InventoryReducedEvent,
        policy=policy,
    )
