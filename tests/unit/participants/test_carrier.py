"""The carrier's client: what is an answer and what is not (P6, P8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from contracts.commands import ItemQuantity
from contracts.orders import ShippingAddress
from participants.provider_http import Call, Reply
from participants.provider_terms import (
    CallUnderWay,
    ProviderMisuse,
    ProviderUnavailable,
    Voided,
    VoidNotOffered,
)
from participants.shipping.carrier import (
    SHIPMENT_REJECTED,
    FoundShipment,
    HttpCarrier,
    ShipmentRejected,
    Shipped,
)

KEY = "00000000-0000-0000-0000-000000000007:ship:forward"
LINES = (ItemQuantity(sku="SKU-1", quantity=2),)
ADDRESS = ShippingAddress(name="A. Person", line1="1 Street", city="Town", postal_code="12345", country="DE")
PARCEL = (KEY, "order-1", LINES, ADDRESS)


class Scripted:
    """An exchange that gives one reply and remembers what it was asked."""

    def __init__(self, status: int, body: Mapping[str, Any] | None = None) -> None:
        self.reply = Reply(status, body)
        self.calls: list[Call] = []

    async def perform(self, call: Call) -> Reply:
        self.calls.append(call)
        return self.reply

    async def close(self) -> None:
        """Nothing to close."""


def carrier(status: int, body: Mapping[str, Any] | None = None) -> HttpCarrier:
    return HttpCarrier(Scripted(status, body))


async def test_a_parcel_is_sent_with_its_key_and_without_prices() -> None:
    exchange = Scripted(200, {"reference": "sh_1"})
    assert await HttpCarrier(exchange).ship(*PARCEL) == Shipped("sh_1")
    address = {
        "name": "A. Person",
        "line1": "1 Street",
        "city": "Town",
        "postal_code": "12345",
        "country": "DE",
    }
    body = {"order_id": "order-1", "lines": [{"sku": "SKU-1", "quantity": 2}], "address": address}
    assert exchange.calls == [Call("POST", "/shipments", KEY, body, sensitive=("address",))]


async def test_a_carrier_is_told_where_a_parcel_is() -> None:
    exchange = Scripted(200, {"reference": "sh_1"})
    key, order_id, _, address = PARCEL
    lines = (ItemQuantity(sku="SKU-1", quantity=2, location="north"),)
    await HttpCarrier(exchange).ship(key, order_id, lines, address)
    [call] = exchange.calls
    assert call.body is not None
    assert call.body["lines"] == [{"sku": "SKU-1", "quantity": 2, "location": "north"}]


async def test_a_422_of_the_stated_type_is_an_answer() -> None:
    refused = {"type": SHIPMENT_REJECTED, "code": "address_refused", "detail": "Not there."}
    assert await carrier(422, refused).ship(*PARCEL) == ShipmentRejected("address_refused", "Not there.")


@pytest.mark.parametrize("body", [None, {}, {"type": "about:blank", "code": "address_refused"}])
async def test_any_other_422_is_our_own_mistake(body: dict[str, Any] | None) -> None:
    with pytest.raises(ProviderMisuse):
        await carrier(422, body).ship(*PARCEL)


async def test_402_means_nothing_to_a_carrier() -> None:
    with pytest.raises(ProviderMisuse):
        await carrier(402, {"code": "x"}).ship(*PARCEL)


@pytest.mark.parametrize(("status", "error"), [(503, ProviderUnavailable), (409, CallUnderWay)])
async def test_no_answer_is_transient(status: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        await carrier(status).ship(*PARCEL)


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ({"status": "shipped", "reference": "sh_1"}, Shipped("sh_1")),
        ({"status": "rejected", "code": "address_refused"}, ShipmentRejected("address_refused", "")),
        ({"status": "voided"}, Voided()),
    ],
)
async def test_a_look_up_by_key_and_a_void_tell_what_stands(item: dict[str, Any], found: object) -> None:
    assert await carrier(200, {"items": [item]}).find_shipment(KEY) == found
    assert await carrier(200, item).void(KEY) == found


async def test_nothing_found_is_none_and_proves_nothing_yet() -> None:
    assert await carrier(200, {"items": []}).find_shipment(KEY) is None


async def test_shipments_of_an_order() -> None:
    item = {"key": KEY, "reference": "sh_1", "status": "shipped"}
    assert await carrier(200, {"items": [item]}).shipments_of("order-1") == (FoundShipment(KEY, "sh_1"),)


async def test_a_carrier_need_not_offer_voids() -> None:
    assert await carrier(404).void(KEY) == VoidNotOffered()
