"""Commands: what the orchestrator asks a participant to do. Named in the imperative.

Their fields are checked for their shape alone. The rules for what an order may say are the edge's: a command
of an order that was accepted under older rules is as good as any other.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts.envelope import StepBody
from contracts.findable import absent
from contracts.limits import Amount, Pieces, Reference, Text
from contracts.orders import SENSITIVE, Address


class Command(StepBody):
    """Base of every command.

    Attributes:
        participant: whose work it is, where the command says so itself; for this project's own see `works`.
    """

    participant: ClassVar[str | None] = None


class ItemQuantity(BaseModel):
    """So many of one product. Unknown fields are ignored, as in every message (S13).

    Attributes:
        location: where in the house it is; None: at ``default``, or nobody cares.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    sku: Text
    quantity: Pieces
    location: Annotated[Text | None, Field(exclude_if=absent)] = None


Items = Annotated[tuple[ItemQuantity, ...], Field(min_length=1)]


class ReserveInventory(Command):
    """Hold stock for an order. All of it or none."""

    lines: Items


class ReleaseInventory(Command):
    """Give a reservation back. The amounts come from inventory's own ledger."""


class CommitInventory(Command):
    """Reduce stock by what was reserved, now that it has left the house (P11).

    Attributes:
        shipped: what of it has left, by where it was taken from; the rest is held no more. Empty: all of it.
    """

    shipped: Annotated[tuple[()] | Items, Field(exclude_if=absent)] = ()


class ChargePayment(Command):
    """Take the order's total, once."""

    customer_id: Text
    amount: Amount
    currency: Text
    payment_method: Annotated[Text, Field(json_schema_extra=SENSITIVE)]


class RefundPayment(Command):
    """Give back what was taken. The amount comes from payment's own ledger."""


class AuthorizePayment(Command):
    """Have the order's total set aside, once; no money moves."""

    customer_id: Text
    amount: Amount
    currency: Text
    payment_method: Annotated[Text, Field(json_schema_extra=SENSITIVE)]


class VoidAuthorization(Command):
    """Give up what was set aside. Its reference comes from payment's own ledger."""


class CapturePayment(Command):
    """Take money that was set aside, once; at most what was authorized and is not captured yet."""

    authorization: Reference
    amount: Amount
    currency: Text


class ShipOrder(Command):
    """Hand the parcel to the carrier. After this the saga only goes forward (S6)."""

    lines: Items
    shipping_address: Annotated[Address, Field(json_schema_extra=SENSITIVE)]


class ClaimRefund(Command):
    """Set a part of what was taken for an order aside for a return; all claims are never more (S28)."""

    paid_order_id: UUID
    charge: Reference
    charged: Amount
    amount: Amount
    currency: Text


class ReleaseRefundClaim(Command):
    """Give a claim up. The amount comes from payment's own ledger."""


class RefundPart(Command):
    """Give back, for a return, what its saga has claimed of an order's payment."""

    paid_order_id: UUID
    charge: Reference
    charged: Amount
    amount: Amount
    currency: Text
    reason: Text


class ClaimUnshipped(Command):
    """Set the price of what could not be shipped of an order aside, beside what returns claim (S31)."""

    charge: Reference
    charged: Amount
    amount: Amount
    currency: Text


class RefundUnshipped(Command):
    """Give back what its saga has claimed for what could not be shipped of an order (S31)."""

    charge: Reference
    charged: Amount
    amount: Amount
    currency: Text


class VoidRemainder(Command):
    """Give up what is left of an authorization after less was captured, once; ``amount`` is what is left."""

    authorization: Reference
    amount: Amount
    currency: Text


class RestockItems(Command):
    """Take returned goods in: what can be sold again into stock, the rest written off."""

    restock: tuple[()] | Items = ()
    write_off: tuple[()] | Items = ()


class Verdict(StrEnum):
    """What a person found out about a piece of work that machines could not settle (S19)."""

    TOOK_EFFECT = "took_effect"
    NO_EFFECT = "no_effect"
    SETTLED_OUTSIDE = "settled_outside"


class SettleStep(Command):
    """Write a person's verdict into the participant's ledger; ``direction`` names the work judged (S19)."""

    verdict: Verdict
    reference: Reference | None = None
    amount: Amount | None = None


COMMANDS: dict[str, type[Command]] = {
    command.__name__: command
    for command in (
        ReserveInventory,
        ReleaseInventory,
        CommitInventory,
        ChargePayment,
        RefundPayment,
        AuthorizePayment,
        VoidAuthorization,
        CapturePayment,
        ShipOrder,
        ClaimRefund,
        ReleaseRefundClaim,
        RefundPart,
        RestockItems,
        ClaimUnshipped,
        RefundUnshipped,
        VoidRemainder,
        SettleStep,
    )
}
"""Every command by its type name on the wire."""


class AdvanceLowWaterMark(BaseModel):
    """Take it that every saga whose id is below the mark has ended for good (P7). It is not answered."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    mark: UUID


INSTRUCTIONS: dict[str, type[BaseModel]] = {AdvanceLowWaterMark.__name__: AdvanceLowWaterMark}
"""What is said to a participant as a whole, by its type name on the wire. It belongs to no saga."""
