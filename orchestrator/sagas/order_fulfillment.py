"""The order fulfilment saga: reserve, charge, ship, commit; and the same with a hold before the charge.

Inventory is reserved before payment and reduced only after fulfilment; a failure before the parcel leaves
undoes what was done, in reverse order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from contracts.commands import (
    ChargePayment,
    CommitInventory,
    ItemQuantity,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
    ShipOrder,
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
    PaymentDeclinedEvent,
    PaymentRefundedEvent,
    PaymentSuccessfulEvent,
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


def _to_charge(order: AcceptedOrder, results: Results) -> Mapping[str, Any]:
    return {
        "customer_id": order.customer_id,
        "amount": order.total,
        "currency": order.currency,
        "payment_method": order.payment_method,
    }


def _to_ship(order: AcceptedOrder, results: Results) -> Mapping[str, Any]:
    return {"lines": _items(order), "shipping_address": order.shipping_address}


def _reserved_stock(order: AcceptedOrder) -> str:
    return "reserved " + " + ".join(f"{line.quantity} x {line.sku}" for line in order.lines)


def _charged_money(order: AcceptedOrder) -> str:
    return f"charged {format_amount(order.total, order.currency)}"


def order_fulfillment(policy: StepPolicy) -> SagaDefinition:
    """The definition at its current version, with one policy for all of its steps."""
    return SagaDefinition(
        name=NAME,
        version=1,
        input=Order,
        accepted=AcceptedOrder,
        examples=(ORDER, ORDER_OF_MANY),
        announces=ANNOUNCES,
        course=_steps(policy),
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
"""Of the flow with holds: far from the versions that a deployment may have made of the flow without."""

HOLD: Final = "hold"
"""The wait in which an order is on hold, between its reservation and its charge."""


def held_order_fulfillment(policy: StepPolicy, holds: Holds | None) -> SagaDefinition:
    """The same with holds, known everywhere; None: no order starts on it."""
    asked = holds or Holds()
    hold = Wait(
        name=HOLD,
        signal=HoldDecision,
        deadline_s=asked.deadline_s,
        when=asked.concern,
        refuses=_denied,
        waiting=OrderStatus.ON_HOLD,
        milestone=OrderStatus.RESERVED,
        signalled_by=SignalledBy.OPERATORS,
    )
    reserve, *others = _steps(policy)
    return SagaDefinition(
        name=NAME,
        version=HOLDING_VERSION,
        input=HoldableOrder,
        accepted=AcceptedHoldableOrder,
        examples=HOLDABLE_ORDERS,
        announces=ANNOUNCES,
        course=(reserve, hold, *others),
        starts_sagas=holds is not None,
    )


def _steps(policy: StepPolicy) -> tuple[Step, ...]:
    return (
        Step(
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
        ),
        Step(
            name="charge",
            participant=PAYMENT,
            kind=StepKind.COMPENSATABLE,
            command=ChargePayment,
            arguments=_to_charge,
            success=PaymentSuccessfulEvent,
            rejection=PaymentDeclinedEvent,
            failure_code="payment_declined",
            compensation=Compensation(RefundPayment, PaymentRefundedEvent),
            milestone=OrderStatus.PAID,
            holds=_charged_money,
            keeps=("reference",),
            policy=policy,
        ),
        Step(
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
        ),
        Step(
            name="commit",
            participant=INVENTORY,
            kind=StepKind.RETRIABLE,
            command=CommitInventory,
            success=InventoryReducedEvent,
            policy=policy,
        ),
    )
