"""The order fulfilment saga: reserve, charge, ship, commit; with holds a person may look before the charge.

Where money is captured: reserve, authorize, ship, capture, commit. Where shipments are split each location
ships a parcel of its own, and what could not be shipped is given back. Each of these is a version (ADR 0033).
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
    OrderPartiallyFulfilledEvent,
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
    Labels,
    Results,
    SagaDefinition,
    SignalledBy,
    Stage,
    Step,
    StepKind,
    StepPolicy,
    Wait,
)
from orchestrator.sagas import parcels

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
    PARTIALLY_FULFILLED = "partially_fulfilled"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


END_STATUSES: Final = frozenset(
    {
        OrderStatus.COMPLETED,
        OrderStatus.PARTIALLY_FULFILLED,
        OrderStatus.REJECTED,
        OrderStatus.CANCELLED,
    }
)


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


SPLIT_LABELS: Final = Labels(completed=parcels.ends_as, may_complete_as=parcels.ENDS)
SPLIT_ANNOUNCES: Final = {
    **ANNOUNCES,
    OrderStatus.PARTIALLY_FULFILLED.value: Announcement(OrderPartiallyFulfilledEvent, parcels.told_of_a_part),
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
        "amount": parcels.shipped_worth(order, results),
        "currency": order.currency,
    }


def _to_ship(order: AcceptedOrder, results: Results) -> Mapping[str, Any]:
    return {"lines": _items(order), "shipping_address": order.shipping_address}


def _to_ship_a_parcel(order: AcceptedOrder, results: Results, parcel: parcels.Parcel) -> Mapping[str, Any]:
    return {"lines": parcels.items_of([parcel]), "shipping_address": order.shipping_address}


def _reserved_stock(order: AcceptedOrder) -> str:
    return "reserved " + " + ".join(f"{line.quantity} x {line.sku}" for line in order.lines)


def _charged_money(order: AcceptedOrder) -> str:
    return f"charged {format_amount(order.total, order.currency)}"


def _authorized_money(order: AcceptedOrder) -> str:
    return f"authorized {format_amount(order.total, order.currency)}"


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
SPLITTING_VERSION: Final = 400
"""What each feature adds to the number of a version: far from those that a deployment may have made of the
flow without any (ADR 0033)."""

HOLD: Final = "hold"
"""The wait in which an order is on hold, between its reservation and its payment."""

AUTHORIZE: Final = parcels.AUTHORIZE
"""The step whose reference is captured."""


SHIP: Final = "ship"
"""The step that hands a parcel to the carrier; where shipments are split, its branches are the parcels."""


class PaymentFlow(StrEnum):
    """When an order's money is taken."""

    CHARGE = "charge"
    """Before its parcel leaves."""
    CAPTURE = "capture"
    """After it: until then the money is set aside."""


class Shipments(StrEnum):
    """In how many parcels an order leaves."""

    SINGLE = "single"
    """In one, whatever its stock was taken from."""
    SPLIT = "split"
    """In one from each location; what of it can be shipped is."""


def order_fulfillment(
    policy: StepPolicy,
    payment: PaymentFlow = PaymentFlow.CHARGE,
    shipments: Shipments = Shipments.SINGLE,
    *,
    starts_sagas: bool = True,
) -> SagaDefinition:
    """The definition without holds, with one policy for all of its steps; by default version 1."""
    return SagaDefinition(
        name=NAME,
        version=_added_by(payment, shipments) or 1,
        input=Order,
        accepted=AcceptedOrder,
        examples=(ORDER, ORDER_OF_MANY),
        labels=_labels(shipments),
        announces=_announces(shipments),
        course=_course(policy, payment, shipments),
        starts_sagas=starts_sagas,
    )


def held_order_fulfillment(
    policy: StepPolicy,
    holds: Holds | None,
    payment: PaymentFlow = PaymentFlow.CHARGE,
    shipments: Shipments = Shipments.SINGLE,
) -> SagaDefinition:
    """The same with holds, known everywhere; no order starts on it where there are None."""
    reserve, *others = _course(policy, payment, shipments)
    return SagaDefinition(
        name=NAME,
        version=HOLDING_VERSION + _added_by(payment, shipments),
        input=HoldableOrder,
        accepted=AcceptedHoldableOrder,
        examples=HOLDABLE_ORDERS,
        labels=_labels(shipments),
        announces=_announces(shipments),
        course=(reserve, _hold(holds or Holds()), *others),
        starts_sagas=holds is not None,
    )


def _added_by(payment: PaymentFlow, shipments: Shipments) -> int:
    capturing = CAPTURING_VERSION if payment is PaymentFlow.CAPTURE else 0
    return capturing + (SPLITTING_VERSION if shipments is Shipments.SPLIT else 0)


def _labels(shipments: Shipments) -> Labels:
    return SPLIT_LABELS if shipments is Shipments.SPLIT else Labels()


def _announces(shipments: Shipments) -> Mapping[str, Announcement]:
    return SPLIT_ANNOUNCES if shipments is Shipments.SPLIT else ANNOUNCES


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


def _course(policy: StepPolicy, payment: PaymentFlow, shipments: Shipments) -> tuple[Stage, ...]:
    """What was authorized is undone by a void alone: nothing is taken before the pivot (S27)."""
    if shipments is Shipments.SPLIT:
        return _splitting(policy, payment)
    if payment is PaymentFlow.CAPTURE:
        return _reserve(policy), _authorize(policy), _ship(policy), _capture(policy), _commit(policy)
    return _reserve(policy), _charge(policy), _ship(policy), _commit(policy)


def _splitting(policy: StepPolicy, payment: PaymentFlow) -> tuple[Stage, ...]:
    """What could not be shipped is given back before the rest is committed (S31)."""
    reserve = replace(_reserve(policy), keeps=("taken",))
    parcel = replace(_ship(policy), arguments=_to_ship_a_parcel)
    commit = replace(_commit(policy), arguments=parcels.to_commit)
    if payment is PaymentFlow.CAPTURE:
        paid: tuple[Stage, ...] = (_capture(policy), parcels.voiding(policy))
        return reserve, _authorize(policy), parcels.shipping(parcel), *paid, commit
    return reserve, _charge(policy), parcels.shipping(parcel), *parcels.refunding(policy), commit


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
        name=SHIP,
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
