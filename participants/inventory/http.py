"""Inventory over HTTP: see the stock, set the stock. A router for whoever mounts it."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from contracts.findable import absent
from contracts.json_bodies import json_of
from contracts.limits import DEFAULT_LOCATION, Location, StockCount
from contracts.problems import FieldError, ProblemError, unprocessable
from participants.http import refusals, takes
from participants.inventory.stockroom import (
    BelowReserved,
    StaleStock,
    StockItem,
    Stockroom,
    TooMuchStock,
)

_SKU: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Sku = Annotated[str, Path(json_schema_extra={"pattern": f"^{_SKU.pattern}$"})]
"""A product in a path; the pattern is described here and checked by the route, which knows what to answer."""

Guard = Callable[[Request], Awaitable[object]]
"""Raises ProblemError where the request may not be made."""


class LocationView(BaseModel):
    """What of one product is at one location."""

    model_config = ConfigDict(frozen=True)

    location: str
    on_hand: int
    reserved: int
    available: int


class StockView(BaseModel):
    """One product's stock."""

    model_config = ConfigDict(frozen=True)

    sku: str
    on_hand: int = Field(description="The book stock, what is shipped but not yet committed included")
    reserved: int = Field(description="Held for orders")
    available: int = Field(description="What can still be reserved")
    locations: tuple[LocationView, ...] = Field(
        (), exclude_if=absent, description="Where it is; left out where all of it is at `default`"
    )


class StockList(BaseModel):
    """A page of products, in order of SKU; ``next_cursor`` is null on the last one."""

    model_config = ConfigDict(frozen=True)

    items: tuple[StockView, ...]
    next_cursor: str | None = Field(None, description="Give it as `cursor` for the next page")


class StockChange(BaseModel):
    """What the stock is to be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_hand: StockCount
    location: Location = Field(DEFAULT_LOCATION, description="Where; the counts of this change are of there")
    expected_on_hand: StockCount | None = Field(None, description="Refused with 412 when it is another")


def inventory_router(stockroom: Stockroom, may_set: Guard) -> APIRouter:
    """`GET /inventory`, `GET /inventory/{sku}`, and `PUT /inventory/{sku}` for whom ``may_set`` lets pass."""
    router = APIRouter(tags=["inventory"])

    @router.get("/inventory", summary="List products and their stock", responses=refusals(400))
    async def list_stock(
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
    ) -> StockList:
        items, more = await stockroom.page(None if cursor is None else _sku_of(cursor), limit)
        following = _cursor(items[-1].sku) if more else None
        return StockList(items=tuple(map(_view, items)), next_cursor=following)

    @router.get("/inventory/{sku}", summary="Show a product's stock", responses=refusals(404))
    async def show_stock(sku: Sku) -> StockView:
        item = await stockroom.find(sku) if _SKU.fullmatch(sku) else None
        if item is None:
            raise ProblemError(404, "not_found", "There is no such product.")
        return _view(item)

    @router.put(
        "/inventory/{sku}",
        summary="Set a product's book stock",
        responses=refusals(400, 401, 403, 409, 412, 413, 415),
        dependencies=[Depends(may_set)],
        openapi_extra=takes(StockChange),
    )
    async def set_stock(sku: Sku, request: Request) -> StockView:
        if not _SKU.fullmatch(sku):
            detail = "1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit"
            raise unprocessable([FieldError(pointer="/sku", code="invalid_sku", detail=detail)])
        change = await json_of(request, StockChange)
        try:
            return _view(
                await stockroom.set_on_hand(sku, change.on_hand, change.expected_on_hand, change.location)
            )
        except BelowReserved as below:
            detail = f"{below.reserved} are reserved; the book stock cannot be less."
            raise ProblemError(409, "below_reserved", detail, reserved=below.reserved) from None
        except TooMuchStock as many:
            raise ProblemError(409, "too_much_stock", f"{many}.") from None
        except StaleStock as stale:
            detail = "The book stock is not the expected one."
            raise ProblemError(412, "stale_stock", detail, on_hand=stale.on_hand) from None

    return router


def _view(item: StockItem) -> StockView:
    level = item.level
    named = {DEFAULT_LOCATION: item.default, **{name: item.at(name) for name in item.named}}
    locations = tuple(
        LocationView(location=name, on_hand=there, reserved=held, available=there - held)
        for name, (there, held) in sorted(named.items())
        if len(named) > 1
    )
    return StockView(
        sku=item.sku,
        on_hand=level.on_hand,
        reserved=level.reserved,
        available=level.available,
        locations=locations,
    )


def _cursor(sku: str) -> str:
    return urlsafe_b64encode(b"s" + sku.encode()).decode().rstrip("=")


def _sku_of(cursor: str) -> str:
    try:
        decoded = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        decoded = ""
    sku = decoded[1:]
    if not _SKU.fullmatch(sku) or _cursor(sku) != cursor:
        raise ProblemError(400, "malformed_cursor", "This is no cursor of this list.")
    return sku
