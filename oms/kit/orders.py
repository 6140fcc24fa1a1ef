"""Orders, and what the participants of this project understand, for sagas of one's own that ask them.

Inventory, payment and shipping serve whoever's saga it is: a step names the participant, its command, and the
events that answer it, as `examples/gift_order` does.
"""

from __future__ import annotations

from contracts.commands import (
    ChargePayment,
    CommitInventory,
    ItemQuantity,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
    ShipOrder,
)
from contracts.events import (
    InventoryReducedEvent,
    InventoryRejectedEvent,
    InventoryReleasedEvent,
    InventoryReservedEvent,
    OrderFulfilledEvent,
    PaymentDeclinedEvent,
    PaymentRefundedEvent,
    PaymentSuccessfulEvent,
    ShipmentRejectedEvent,
)
from contracts.orders import AcceptedOrder, Order, OrderLine, ShippingAddress
from contracts.routing import INVENTORY, PAYMENT, SHIPPING
from orchestrator.sagas.order_fulfillment import order_fulfillment

__all__ = [
    "INVENTORY",
    "PAYMENT",
    "SHIPPING",
    "AcceptedOrder",
    "ChargePayment",
    "CommitInventory",
    "InventoryReducedEvent",
    "InventoryRejectedEvent",
    "InventoryReleasedEvent",
    "InventoryReservedEvent",
    "ItemQuantity",
    "Order",
    "OrderFulfilledEvent",
    "OrderLine",
    "PaymentDeclinedEvent",
    "PaymentRefundedEvent",
    "PaymentSuccessfulEvent",
    "RefundPayment",
    "ReleaseInventory",
    "ReserveInventory",
    "ShipOrder",
    "ShipmentRejectedEvent",
    "ShippingAddress",
    "order_fulfillment",
]
