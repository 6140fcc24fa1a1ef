"""Orders that leave in several parcels, through real processes: what is refused is given back (S31)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.servers import Databases
from tests.system.deployment import Deployment, an_order, empty

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module")]

STOCK = (
    ("SKU-1", "north", 50),
    ("SKU-2", "west", 50),
    ("SHIP-REFUSED-LATE", "east", 50),
    ("SHIP-FLAKY", "east", 9),
)
PRICES = {"SKU-1": 1000, "SKU-2": 200, "SHIP-REFUSED-LATE": 30, "SHIP-FLAKY": 4}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(
    own_broker_url: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    """All services as processes, ready, with stock at three locations; new orders are split."""
    await empty(own_broker_url)
    url = databases.create()
    folder: Path = tmp_path_factory.mktemp("logs")
    timing = {"OMS_RETRY_DELAYS_S": "0.2,0.5", "OMS_RESEND_AFTER_S": "2"}
    made = Deployment(own_broker_url, url, folder, OMS_SHIPMENTS="split", **timing)
    await made.start()
    async with made.client() as client:
        for sku, location, count in STOCK:
            body = {"on_hand": count, "location": location}
            (await client.put(f"/inventory/{sku}", json=body)).raise_for_status()
    yield made
    await made.stop()
    databases.drop(url)


async def ended(
    client: httpx.AsyncClient, skus: dict[str, int], status: str, postal_code: str = "12345"
) -> dict[str, Any]:
    """An order of these pieces once it has this status; the test's own time limit bounds it."""
    lines = [{"sku": sku, "quantity": count, "unit_price": PRICES[sku]} for sku, count in skus.items()]
    order = an_order(lines=lines)
    order["shipping_address"]["postal_code"] = postal_code
    answer = await client.post("/orders", json=order)
    assert answer.status_code == 202, answer.text
    return await becomes(client, f"/orders/{answer.json()['order_id']}", status)


async def becomes(client: httpx.AsyncClient, path: str, word: str) -> dict[str, Any]:
    while True:
        shown: dict[str, Any] = (await client.get(path)).json()
        if word in (shown.get("status"), shown.get("label")):
            return shown
        await asyncio.sleep(0.1)


async def book(
    deployment: Deployment, client: httpx.AsyncClient, kind: str, order: dict[str, Any]
) -> list[Any]:
    """What the sandbox has of an order."""
    path = f"{deployment.sandbox_url}/{kind}?order_id={order['order_id']}"
    items: list[Any] = (await client.get(path)).json()["items"]
    return items


async def places(client: httpx.AsyncClient, sku: str) -> dict[str, tuple[int, int]]:
    """What is on hand and reserved of a product, by location."""
    shown = (await client.get(f"/inventory/{sku}")).json()
    return {each["location"]: (each["on_hand"], each["reserved"]) for each in shown["locations"]}


def parcels(order: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["location"], each["status"]) for each in order["parcels"]]


async def audited(deployment: Deployment) -> None:
    code, printed = await deployment.command("audit")
    assert code == 0, printed


async def test_two_locations_ship_two_parcels_and_goods_of_both_come_back(deployment: Deployment) -> None:
    async with deployment.client() as client:
        order = await ended(client, {"SKU-1": 2, "SKU-2": 1, "SHIP-FLAKY": 1}, "completed")
        assert parcels(order) == [("east", "shipped"), ("north", "shipped"), ("west", "shipped")]
        shipped = {each["reference"] for each in await book(deployment, client, "shipments", order)}
        assert {each["reference"] for each in order["parcels"]} == shipped
        assert (await places(client, "SKU-1"))["north"] == (48, 0)

        asked = {
            "lines": [{"sku": "SKU-1", "quantity": 1}, {"sku": "SKU-2", "quantity": 1}],
            "reason": "small",
        }
        made = (await client.post(f"/orders/{order['order_id']}/returns", json=asked)).json()
        saga = f"/sagas/{made['return_id']}"
        await becomes(client, saga, "awaiting_goods")
        said = {"lines": [{"sku": sku, "disposition": "restock"} for sku in ("SKU-1", "SKU-2")]}
        assert (await client.post(f"{saga}/signals/goods_received", json=said)).status_code == 202
        await becomes(client, saga, "returned")
        assert (await places(client, "SKU-1"))["north"] == (49, 0)
        assert (await places(client, "SKU-2"))["west"] == (50, 0)
    await audited(deployment)


async def test_what_the_carrier_refuses_of_an_order_is_given_back(deployment: Deployment) -> None:
    async with deployment.client() as client:
        before = (await places(client, "SKU-2"))["west"][0]
        order = await ended(client, {"SKU-2": 1, "SHIP-REFUSED-LATE": 2}, "partially_fulfilled")
        assert parcels(order) == [("east", "refused"), ("west", "shipped")]
        [charge] = await book(deployment, client, "charges", order)
        [refund] = await book(deployment, client, "refunds", order)
        assert (charge["amount"], refund["amount"]) == (260, 60)
        assert len(await book(deployment, client, "shipments", order)) == 1
        assert (await places(client, "SKU-2"))["west"] == (before - 1, 0)
        assert (await places(client, "SHIP-REFUSED-LATE"))["east"] == (50, 0)

        asked = {"lines": [{"sku": "SHIP-REFUSED-LATE", "quantity": 1}], "reason": "never came"}
        refused = await client.post(f"/orders/{order['order_id']}/returns", json=asked)
        assert (refused.status_code, refused.json()["code"]) == (409, "not_shipped")

        feed = (await client.get("/events", params={"order_id": order["order_id"]})).json()
        told = [each["type"] for each in feed["items"]]
        assert "OrderPartiallyFulfilledEvent" in told
        assert "OrderCompletedEvent" not in told

        undone = await ended(client, {"SKU-1": 1, "SKU-2": 1}, "rejected", postal_code="00000")
        assert undone["failure"]["code"] == "shipment_rejected"
        assert (await places(client, "SKU-2"))["west"] == (before - 1, 0)
    await audited(deployment)


async def test_with_capture_only_what_was_shipped_is_taken(deployment: Deployment) -> None:
    changed = ("api", "orchestrator", "payment")
    for name in changed:
        await deployment.services[name].replaced(OMS_PAYMENT_FLOW="capture")
    async with deployment.client() as client:
        order = await ended(client, {"SKU-2": 1, "SHIP-REFUSED-LATE": 2}, "partially_fulfilled")
        [authorization] = await book(deployment, client, "authorizations", order)
        [capture] = await book(deployment, client, "charges", order)
        [release] = await book(deployment, client, "releases", order)
        assert (authorization["amount"], authorization["captured"], capture["amount"]) == (260, 200, 200)
        assert release["authorization"] == authorization["reference"]
        assert await book(deployment, client, "refunds", order) == []
    await audited(deployment)
