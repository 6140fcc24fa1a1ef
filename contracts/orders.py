"""What a customer submits: the order, validated once at the edge, and read back by its shape alone.

`Order` holds the rules of today. `AcceptedOrder` is the same document as it was accepted, whatever the rules
were then: everything behind the edge reads and passes on this one.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from contracts.currencies import Currency
from contracts.findable import Findable, MerchantReference, Metadata, absent
from contracts.limits import (
    MAX_AMOUNT,
    MAX_LINES,
    Amount,
    CountryCode,
    CustomerId,
    Line,
    Name,
    PaymentMethod,
    Pieces,
    PostalCode,
    Quantity,
    Sku,
    Text,
)

SENSITIVE: dict[str, Any] = {"sensitive": True}
"""Marks a field that every view and log masks."""


class Accepted(BaseModel):
    """Base of what was accepted: unknown fields are ignored, values never change."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class AcceptedLine(Accepted):
    """So many of one product at a price in minor units of the order's currency."""

    sku: Text
    quantity: Pieces
    unit_price: Amount


class OrderLine(AcceptedLine):
    """So many of one product at a price in minor units of the order's currency."""

    model_config = ConfigDict(extra="forbid")

    sku: Sku
    quantity: Quantity


class Address(BaseModel):
    """Where an order goes, as messages carry it: unknown fields are ignored, so that fields may be added."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Text
    line1: Text
    line2: Text | None = None
    city: Text
    postal_code: Text
    country: Text


class ShippingAddress(Address):
    """Where the customer wants the order to go: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    line1: Line
    line2: Line | None = None
    city: Name
    postal_code: PostalCode
    country: CountryCode


def _at_least_one(lines: tuple[OrderLine, ...]) -> tuple[OrderLine, ...]:
    """Checked after each line: a bound of pydantic's own would count a bad line as missing, too."""
    if not lines:
        raise PydanticCustomError("too_short", "an order has at least one line")
    return lines


class AcceptedOrder(Accepted, Findable):
    """An order as it was accepted: a shape from which every command can be built, and a total to hold."""

    reference: Annotated[Text | None, Field(exclude_if=absent)] = None
    metadata: Annotated[dict[str, Text], Field(exclude_if=absent)] = {}
    customer_id: Text
    currency: Text
    lines: Annotated[tuple[AcceptedLine, ...], Field(min_length=1)]
    payment_method: Annotated[Text, Field(json_schema_extra=SENSITIVE)]
    shipping_address: Annotated[Address, Field(json_schema_extra=SENSITIVE)]

    @property
    def total(self) -> int:
        """Sum over the lines, in minor units."""
        return sum(line.quantity * line.unit_price for line in self.lines)

    @model_validator(mode="after")
    def _total_within_bounds(self) -> Self:
        if self.total > MAX_AMOUNT:
            raise PydanticCustomError("total_too_large", "the total may be at most 2^53-1 minor units")
        return self


class Hold(BaseModel):
    """Why an order is to be looked at by a person before it is paid."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    reason: Text


class HoldAsked(Hold):
    """Why an order is to be looked at by a person before it is paid; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    reason: Line


class AcceptedHoldableOrder(AcceptedOrder):
    """An order that may have been put on hold, as it was accepted."""

    hold: Annotated[Hold | None, Field(exclude_if=absent)] = None


class Order(AcceptedOrder):
    """A valid order: each SKU once, and a total that every reader can hold."""

    model_config = ConfigDict(extra="forbid")

    reference: Annotated[
        MerchantReference | None,
        Field(exclude_if=absent, description="The merchant's own order number; unique for a customer"),
    ] = None
    metadata: Annotated[
        Metadata, Field(exclude_if=absent, description="Short strings by key, by which orders are found")
    ] = {}
    customer_id: CustomerId
    currency: Currency
    lines: Annotated[
        tuple[OrderLine, ...],
        Field(max_length=MAX_LINES, json_schema_extra={"minItems": 1}),
        AfterValidator(_at_least_one),
    ]
    payment_method: Annotated[PaymentMethod, Field(json_schema_extra=SENSITIVE)]
    shipping_address: Annotated[ShippingAddress, Field(json_schema_extra=SENSITIVE)]

    @model_validator(mode="after")
    def _each_sku_once(self) -> Self:
        seen: set[str] = set()
        for line in self.lines:
            if line.sku in seen:
                raise PydanticCustomError("duplicate_sku", "each SKU may stand on one line only")
            seen.add(line.sku)
        return self


class HoldableOrder(Order, AcceptedHoldableOrder):
    """A valid order, where orders can be put on hold."""

    hold: Annotated[
        HoldAsked | None,
        Field(exclude_if=absent, description="Ask a person before anything is paid, and why"),
    ] = None


class HoldDecision(BaseModel):
    """What a person says of an order that is on hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    approved: Annotated[bool, Field(strict=True, description="false: the order is rejected and undone")]
    reason: Line
