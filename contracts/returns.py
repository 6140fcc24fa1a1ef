"""What comes back of an order: what is asked for, and what it is worth once the order has been looked at.

`Return` holds the rules of today. `AcceptedReturn` is what the saga starts on: prices, currency and payment
are those of the order as it was accepted, so that nobody can ask for more than was paid.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from contracts.findable import Findable, absent
from contracts.limits import MAX_LINES, Amount, Line, Quantity, Reference, Text
from contracts.orders import Accepted, AcceptedLine

ORDER_KEY: Final = "order_id"
"""The key of the metadata under which a return has its order's id: by this it is found."""


class ReturnLine(BaseModel):
    """So many of one product of the order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sku: Text
    quantity: Quantity


def _sound(lines: tuple[ReturnLine, ...]) -> tuple[ReturnLine, ...]:
    """Checked after each line: a bound of pydantic's own would count a bad line as missing, too."""
    if not lines:
        raise PydanticCustomError("too_short", "a return has at least one line")
    if len({line.sku for line in lines}) < len(lines):
        raise PydanticCustomError("duplicate_sku", "each SKU may stand on one line only")
    return lines


class ReturnOfOrder(BaseModel):
    """What comes back of an order that is known, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: Annotated[
        tuple[ReturnLine, ...],
        Field(max_length=MAX_LINES, json_schema_extra={"minItems": 1}),
        AfterValidator(_sound),
    ]
    reason: Line


class Return(ReturnOfOrder):
    """The same, with the order that it is of."""

    order_id: UUID


class AcceptedReturnLine(AcceptedLine):
    """So many of one product, at the price that was paid for it.

    Attributes:
        location: where it was taken from, and goes back to; None: at ``default``.
    """

    location: Annotated[Text | None, Field(exclude_if=absent)] = None


class AcceptedReturn(Accepted, Findable):
    """A return as it was accepted; found by its order's id.

    Attributes:
        charge: the gateway's name for the payment of the order.
        charged: what was taken by it, in minor units.
    """

    order_id: UUID
    lines: Annotated[tuple[AcceptedReturnLine, ...], Field(min_length=1)]
    reason: Text
    currency: Text
    charge: Reference
    charged: Amount

    @property
    def amount(self) -> int:
        """What is to be given back, in minor units."""
        return sum(line.quantity * line.unit_price for line in self.lines)

    @model_validator(mode="after")
    def _found_by_its_order(self) -> Self:
        object.__setattr__(self, "metadata", {ORDER_KEY: str(self.order_id)})
        return self


class Disposition(StrEnum):
    """What becomes of goods that have come back."""

    RESTOCK = "restock"
    """They can be sold again."""
    WRITE_OFF = "write_off"
    """They cannot."""


class ReceivedLine(BaseModel):
    """Whether what came back of one product can be sold again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sku: Text
    disposition: Disposition


def _each_once(lines: tuple[ReceivedLine, ...]) -> tuple[ReceivedLine, ...]:
    if len({line.sku for line in lines}) < len(lines):
        raise PydanticCustomError("duplicate_sku", "each SKU may stand on one line only")
    return lines


class GoodsReceived(BaseModel):
    """What the warehouse says of the goods of a return, of each of its lines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: Annotated[
        tuple[ReceivedLine, ...],
        Field(
            max_length=MAX_LINES,
            description='Each line of the return, as in [{"sku": "SKU-1", "disposition": "restock"}]; '
            "restock: it can be sold again, write_off: it cannot",
        ),
        AfterValidator(_each_once),
    ]
