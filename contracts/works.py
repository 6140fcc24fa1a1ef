"""Every kind of work that there is: who does it, and which events answer its commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from contracts.commands import (
    AuthorizePayment,
    CapturePayment,
    ChargePayment,
    ClaimRefund,
    ClaimUnshipped,
    Command,
    CommitInventory,
    RefundPart,
    RefundPayment,
    RefundUnshipped,
    ReleaseInventory,
    ReleaseRefundClaim,
    ReserveInventory,
    RestockItems,
    ShipOrder,
    VoidAuthorization,
    VoidRemainder,
)
from contracts.events import (
    CompensationOutcome,
    InventoryReducedEvent,
    InventoryRejectedEvent,
    InventoryReleasedEvent,
    InventoryReservedEvent,
    ItemsRestockedEvent,
    OrderFulfilledEvent,
    OutcomeEvent,
    PartialRefundRejectedEvent,
    PaymentAuthorizedEvent,
    PaymentCapturedEvent,
    PaymentDeclinedEvent,
    PaymentPartlyRefundedEvent,
    PaymentRefundedEvent,
    PaymentSuccessfulEvent,
    PaymentVoidedEvent,
    RefundClaimedEvent,
    RefundClaimRejectedEvent,
    RefundClaimReleasedEvent,
    Rejection,
    RemainderVoidedEvent,
    ShipmentRejectedEvent,
)
from contracts.flaws import field_flaws
from contracts.routing import INVENTORY, PAYMENT, SHIPPING
from contracts.wire import misread


@dataclass(frozen=True, slots=True)
class KindOfWork:
    """A forward command with its participant and all that may be answered.

    Attributes:
        rejection: None where the participant never says no.
        compensation: the command that undoes it; None where nothing does.
        undone: the answer to that command.
    """

    participant: str
    success: type[OutcomeEvent]
    rejection: type[Rejection] | None = None
    compensation: type[Command] | None = None
    undone: type[CompensationOutcome] | None = None


def problems_of(model: type[BaseModel], fields: Mapping[str, Any]) -> list[str]:
    """What keeps these fields from making such a message, or from being read; nothing where they do."""
    try:
        return misread(model(**fields))
    except ValidationError as error:
        return field_flaws(error)


WORKS: Final[dict[type[Command], KindOfWork]] = {
    ReserveInventory: KindOfWork(
        INVENTORY, InventoryReservedEvent, InventoryRejectedEvent, ReleaseInventory, InventoryReleasedEvent
    ),
    CommitInventory: KindOfWork(INVENTORY, InventoryReducedEvent),
    ChargePayment: KindOfWork(
        PAYMENT, PaymentSuccessfulEvent, PaymentDeclinedEvent, RefundPayment, PaymentRefundedEvent
    ),
    AuthorizePayment: KindOfWork(
        PAYMENT, PaymentAuthorizedEvent, PaymentDeclinedEvent, VoidAuthorization, PaymentVoidedEvent
    ),
    CapturePayment: KindOfWork(PAYMENT, PaymentCapturedEvent),
    ShipOrder: KindOfWork(SHIPPING, OrderFulfilledEvent, ShipmentRejectedEvent),
    ClaimRefund: KindOfWork(
        PAYMENT, RefundClaimedEvent, RefundClaimRejectedEvent, ReleaseRefundClaim, RefundClaimReleasedEvent
    ),
    RefundPart: KindOfWork(PAYMENT, PaymentPartlyRefundedEvent, PartialRefundRejectedEvent),
    RestockItems: KindOfWork(INVENTORY, ItemsRestockedEvent),
    ClaimUnshipped: KindOfWork(PAYMENT, RefundClaimedEvent),
    RefundUnshipped: KindOfWork(PAYMENT, PaymentPartlyRefundedEvent),
    VoidRemainder: KindOfWork(PAYMENT, RemainderVoidedEvent),
}
"""By the type of the command that asks for it."""
