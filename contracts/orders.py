"""What a customer submits: the order, validated once at the edge."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from contracts.currencies import Currency
from contracts.limits import (
    MAX_AMOUNT,
    MAX_LINES,
    Amount,
    CountryCode,
    CustomerId,
    Line,
    Name,
    PaymentMethod,
    PostalCode,
    Quantity,
    Sku,
)

SENSITIVE: dict[str, Any] = {"sensitive": True}
"""Marks a field that every view and log masks."""


class Submitted(BaseModel):
    """Base of what comes from a customer: unknown fields are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OrderLine(Submitted):
    """So many of one product at a price in minor units of the order's currency."""

    sku: Sku
    quantity: Quantity
    unit_price: Amount


class Address(BaseModel):
    """Where an order goes, as messages carry it: unknown fields are ignored, so that fields may be added."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    line1: Line
    line2: Line | None = None
    city: Name
    postal_code: PostalCode
    country: CountryCode


class ShippingAddress(Address):
    """Where the customer wants the order to go: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


def _at_least_one(lines: tuple[OrderLine, ...]) -> tuple[OrderLine, ...]:
    """Checked after each line: a bound of pydantic's own would count a bad line as missing, too."""
    if not lines:
        raise PydanticCustomError("too_short", "an order has at least one line")
    return lines


class Order(Submitted):
    """A valid order: each SKU once, and a total that every reader can hold."""

    customer_id: CustomerId
    currency: Currency
    lines: Annotated[
        tuple[OrderLine, ...],
        Field(max_length=MAX_LINES, json_schema_extra={"minItems": 1}),
        AfterValidator(_at_least_one),
    ]
    payment_method: Annotated[PaymentMethod, Field(json_schema_extra=SENSITIVE)]
    shipping_address: Annotated[ShippingAddress, Field(json_schema_extra=SENSITIVE)]

    @property
    def total(self) -> int:
        """Sum over the lines, in minor units."""
        return sum(line.quantity * line.unit_price for line in self.lines)

    @model_validator(mode="after")
    def _each_sku_once(self) -> Self:
        seen: set[str] = set()
        for line in self.lines:
            if line.sku in seen:
                raise PydanticCustomError("duplicate_sku", "each SKU may stand on one line only")
            seen.add(line.sku)
        return self

    @model_validator(mode="after")
    def _total_within_bounds(self) -> Self:
        if self.total > MAX_AMOUNT:
            raise PydanticCustomError("total_too_large", "the total may be at most 2^53-1 minor units")
        return self
