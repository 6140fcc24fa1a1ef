"""One example of every command and event, all of the same order: what the documents show."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from contracts import commands, events
from contracts.commands import ItemQuantity, Verdict
from contracts.envelope import (
    ATTEMPT,
    CAUSATION_ID,
    EVENT_ID,
    INSTALLATION,
    SCHEMA_VERSION_HEADER,
    TRACEPARENT,
    Direction,
)
from contracts.orders import HoldableOrder, Order, OrderLine, ShippingAddress
from contracts.returns import AcceptedReturn, AcceptedReturnLine

ORDER: Final = Order(
    customer_id="c-42",
    currency="EUR",
    lines=(OrderLine(sku="SKU-1", quantity=2, unit_price=1299),),
    payment_method="pm_card_visa",
    shipping_address=ShippingAddress(
        name="A. Person", line1="1 Street", city="Town", postal_code="12345", country="DE"
    ),
)
"""The order that all examples are about."""

ORDER_OF_MANY: Final = Order(
    customer_id="somebody@example.com",
    currency="JPY",
    lines=(
        OrderLine(sku="A", quantity=1, unit_price=0),
        OrderLine(sku="B.1_2-3", quantity=1_000_000, unit_price=1),
    ),
    payment_method="9",
    shipping_address=ShippingAddress(
        name="B. Person", line1="2 Street", line2="c/o A. Person", city="城", postal_code="0", country="JP"
    ),
)
"""Another one, with what the first one lacks."""

_TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_OURS: Final = "019aa7b2-0000-7000-8000-00000000000f"
HOLDABLE_ORDERS: Final = (
    HoldableOrder.model_validate({**ORDER.model_dump(), "hold": {"reason": "a new customer"}}),
    HoldableOrder.model_validate(ORDER_OF_MANY.model_dump()),
)
"""The same where orders can be put on hold, which the first one asks for."""

COMMAND_HEADERS: Final[dict[str, str | int]] = {
    ATTEMPT: 1,
    SCHEMA_VERSION_HEADER: 1,
    CAUSATION_ID: "019aa7b2-0000-7000-8000-000000000003",
    TRACEPARENT: _TRACE,
    INSTALLATION: _OURS,
}
EVENT_HEADERS: Final[dict[str, str | int]] = {
    EVENT_ID: "019aa7b2-0000-7000-8000-000000000004",
    SCHEMA_VERSION_HEADER: 1,
    CAUSATION_ID: "019aa7b2-0000-7000-8000-000000000005",
    TRACEPARENT: _TRACE,
    INSTALLATION: _OURS,
}

ORDER_OF_THE_SAGA: Final[dict[str, Any]] = {
    "saga_id": UUID("019aa7b2-0000-7000-8000-000000000001"),
    "order_id": UUID("019aa7b2-0000-7000-8000-000000000002"),
}
_RESERVE: Final = {**ORDER_OF_THE_SAGA, "step": "reserve", "direction": Direction.FORWARD}
_CHARGE: Final = {**ORDER_OF_THE_SAGA, "step": "charge", "direction": Direction.FORWARD}
_AUTHORIZE: Final = {**ORDER_OF_THE_SAGA, "step": "authorize", "direction": Direction.FORWARD}
_CAPTURE: Final = {**ORDER_OF_THE_SAGA, "step": "capture", "direction": Direction.FORWARD}
_SHIP: Final = {**ORDER_OF_THE_SAGA, "step": "ship", "direction": Direction.FORWARD}
_COMMIT: Final = {**ORDER_OF_THE_SAGA, "step": "commit", "direction": Direction.FORWARD}
_PAID_ORDER: Final = UUID("019aa7b2-0000-7000-8000-000000000002")
RETURN: Final = AcceptedReturn(
    order_id=_PAID_ORDER,
    lines=(AcceptedReturnLine(sku="SKU-1", quantity=1, unit_price=1299),),
    reason="too small",
    currency="EUR",
    charge="ch_1024",
    charged=ORDER.total,
)
"""The return of one of its two pieces."""

_RETURN_OF_THE_SAGA: Final[dict[str, Any]] = {
    "saga_id": UUID("019aa7b2-0000-7000-8000-000000000010"),
    "order_id": UUID("019aa7b2-0000-7000-8000-000000000010"),
}
_CLAIM: Final = {**_RETURN_OF_THE_SAGA, "step": "claim", "direction": Direction.FORWARD}
_UNCLAIM: Final = {**_CLAIM, "direction": Direction.COMPENSATING}
_REFUND_PART: Final = {**_RETURN_OF_THE_SAGA, "step": "refund", "direction": Direction.FORWARD}
_RESTOCK: Final = {**_RETURN_OF_THE_SAGA, "step": "restock", "direction": Direction.FORWARD}
_WORTH: Final = {"amount": RETURN.amount, "currency": RETURN.currency}
_OF_THE_PAYMENT: Final = {
    "paid_order_id": RETURN.order_id,
    "charge": RETURN.charge,
    "charged": RETURN.charged,
    **_WORTH,
}
_UNSHIPPED: Final = {"charge": RETURN.charge, "charged": RETURN.charged, **_WORTH}
_CLAIM_UNSHIPPED: Final = {
    **ORDER_OF_THE_SAGA,
    "step": "claim_unshipped[1]",
    "direction": Direction.FORWARD,
}
_REFUND_UNSHIPPED: Final = {**_CLAIM_UNSHIPPED, "step": "refund_unshipped[1]"}
_VOID_REMAINDER: Final = {**_CLAIM_UNSHIPPED, "step": "void_remainder[1]"}
_RETURNED: Final = tuple(ItemQuantity(sku=line.sku, quantity=line.quantity) for line in RETURN.lines)
_RETURNED_ORDER: Final = {**_RETURN_OF_THE_SAGA, "returned_order_id": RETURN.order_id}
_RELEASE: Final = {**_RESERVE, "direction": Direction.COMPENSATING}
_REFUND: Final = {**_CHARGE, "direction": Direction.COMPENSATING}
_VOID: Final = {**_AUTHORIZE, "direction": Direction.COMPENSATING}
_ITEMS: Final = tuple(ItemQuantity(sku=line.sku, quantity=line.quantity) for line in ORDER.lines)

_ALL: Final[tuple[BaseModel, ...]] = (
    commands.ReserveInventory(**_RESERVE, lines=_ITEMS),
    commands.ReleaseInventory(**_RELEASE),
    commands.CommitInventory(**_COMMIT),
    commands.ChargePayment(
        **_CHARGE,
        customer_id=ORDER.customer_id,
        amount=ORDER.total,
        currency=ORDER.currency,
        payment_method=ORDER.payment_method,
    ),
    commands.RefundPayment(**_REFUND),
    commands.AuthorizePayment(
        **_AUTHORIZE,
        customer_id=ORDER.customer_id,
        amount=ORDER.total,
        currency=ORDER.currency,
        payment_method=ORDER.payment_method,
    ),
    commands.VoidAuthorization(**_VOID),
    commands.CapturePayment(**_CAPTURE, authorization="au_1024", amount=ORDER.total, currency=ORDER.currency),
    commands.ShipOrder(**_SHIP, lines=_ITEMS, shipping_address=ORDER.shipping_address),
    commands.ClaimRefund(**_CLAIM, **_OF_THE_PAYMENT),
    commands.ReleaseRefundClaim(**_UNCLAIM),
    commands.RefundPart(**_REFUND_PART, **_OF_THE_PAYMENT, reason=RETURN.reason),
    commands.RestockItems(**_RESTOCK, restock=_RETURNED),
    commands.ClaimUnshipped(**_CLAIM_UNSHIPPED, **_UNSHIPPED),
    commands.RefundUnshipped(**_REFUND_UNSHIPPED, **_UNSHIPPED),
    commands.VoidRemainder(**_VOID_REMAINDER, authorization="au_1024", **_WORTH),
    commands.SettleStep(**_SHIP, verdict=Verdict.TOOK_EFFECT, reference="TRACK-77"),
    events.InventoryReservedEvent(**_RESERVE, lines=_ITEMS),
    events.InventoryRejectedEvent(
        **_RESERVE, code="out_of_stock", message="1 of SKU-1 is left, 2 are wanted", skus=("SKU-1",)
    ),
    events.InventoryReleasedEvent(**_RELEASE, effect=events.Effect.UNDONE, lines=_ITEMS),
    events.InventoryReducedEvent(**_COMMIT, lines=_ITEMS),
    events.PaymentSuccessfulEvent(
        **_CHARGE, amount=ORDER.total, currency=ORDER.currency, reference="ch_1024"
    ),
    events.PaymentDeclinedEvent(**_CHARGE, code="card_declined", message="insufficient funds"),
    events.PaymentRefundedEvent(
        **_REFUND, effect=events.Effect.UNDONE, amount=ORDER.total, reference="re_1024"
    ),
    events.PaymentAuthorizedEvent(
        **_AUTHORIZE, amount=ORDER.total, currency=ORDER.currency, reference="au_1024"
    ),
    events.PaymentVoidedEvent(**_VOID, effect=events.Effect.UNDONE, amount=ORDER.total, reference="vo_1024"),
    events.PaymentCapturedEvent(**_CAPTURE, amount=ORDER.total, currency=ORDER.currency, reference="ch_1025"),
    events.RemainderVoidedEvent(**_VOID_REMAINDER, **_WORTH, reference="vo_1025"),
    events.OrderFulfilledEvent(**_SHIP, reference="TRACK-77"),
    events.ShipmentRejectedEvent(**_SHIP, code="no_service", message="not to this postal code"),
    events.RefundClaimedEvent(**_CLAIM, **_WORTH),
    events.RefundClaimRejectedEvent(
        **_CLAIM, code="more_than_taken", message="1299 are left of what was taken"
    ),
    events.RefundClaimReleasedEvent(**_UNCLAIM, effect=events.Effect.UNDONE, amount=RETURN.amount),
    events.PaymentPartlyRefundedEvent(**_REFUND_PART, **_WORTH, reference="re_1025"),
    events.PartialRefundRejectedEvent(
        **_REFUND_PART, code="already_refunded", message="it was refunded at the gateway"
    ),
    events.ItemsRestockedEvent(**_RESTOCK, restocked=_RETURNED),
    events.StepRefused(**_CHARGE, reason="it was compensated before it was asked for"),
    events.StepSettled(**_SHIP, verdict=Verdict.TOOK_EFFECT, accepted=True, reference="TRACK-77"),
    events.OrderCreatedEvent(
        **ORDER_OF_THE_SAGA,
        customer_id=ORDER.customer_id,
        currency=ORDER.currency,
        total=ORDER.total,
        lines=_ITEMS,
    ),
    events.OrderCompletedEvent(**ORDER_OF_THE_SAGA),
    events.OrderPartiallyFulfilledEvent(
        **ORDER_OF_THE_SAGA, shipped=_RETURNED, not_shipped=_RETURNED, **_WORTH
    ),
    events.OrderRejectedEvent(**ORDER_OF_THE_SAGA, code="payment_declined", message="insufficient funds"),
    events.OrderCancelledEvent(**ORDER_OF_THE_SAGA),
    events.ReturnRequestedEvent(**_RETURNED_ORDER, lines=_RETURNED, **_WORTH),
    events.ReturnCompletedEvent(**_RETURNED_ORDER, **_WORTH),
    events.ReturnRejectedEvent(
        **_RETURNED_ORDER, code="wait_deadline", message="goods_received did not come within its time"
    ),
    events.ReturnCancelledEvent(**_RETURNED_ORDER),
    commands.AdvanceLowWaterMark(mark=UUID("019a0d30-0000-7000-8000-000000000000")),
)

EXAMPLES: Final[dict[str, BaseModel]] = {type(example).__name__: example for example in _ALL}
"""By type name."""
