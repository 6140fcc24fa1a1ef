"""Goods that come back, through six processes: by the command, over HTTP and by the audit."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.system.deployment import Deployment, an_order

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module")]

WITHIN_S = 60


async def arrived(client: httpx.AsyncClient) -> dict[str, Any]:
    """An order of one piece of each of two products, which has arrived."""
    lines = [
        {"sku": sku, "quantity": 1, "unit_price": price} for sku, price in (("SKU-1", 1299), ("SKU-2", 1))
    ]
    answer = await client.post("/orders", json=an_order(lines=lines), headers={"Prefer": "wait=30"})
    order: dict[str, Any] = answer.json()
    return await stands_at(client, f"/orders/{order['order_id']}", "completed")


async def stands_at(client: httpx.AsyncClient, path: str, word: str) -> dict[str, Any]:
    """What is shown there once its status, or label, is this word."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            shown: dict[str, Any] = (await client.get(path)).json()
            if word in (shown.get("status"), shown.get("label")):
                return shown
            await asyncio.sleep(0.1)


async def on_hand(client: httpx.AsyncClient, sku: str) -> int:
    return int((await client.get(f"/inventory/{sku}")).json()["on_hand"])


async def test_one_of_two_goods_comes_back_is_refunded_and_can_be_sold_again(deployment: Deployment) -> None:
    for sku in ("SKU-1", "SKU-2"):
        await deployment.count_stock(sku, 100)
    async with deployment.client() as client:
        order = await arrived(client)
        asked = ("orders", "return", order["order_id"], "SKU-1=1", "--reason", "too small", "--json")
        code, printed = await deployment.command(*asked)
        assert code == 0, printed
        made = json.loads(printed)
        saga = f"/sagas/{made['return_id']}"
        await stands_at(client, saga, "awaiting_goods")

        again = await client.post(
            f"/orders/{order['order_id']}/returns",
            json={"lines": [{"sku": "SKU-1", "quantity": 1}], "reason": "once more"},
        )
        assert (again.status_code, again.json()["return_id"]) == (409, made["return_id"])

        said = {"lines": [{"sku": "SKU-1", "disposition": "restock"}]}
        taken = await client.post(f"{saga}/signals/goods_received", json=said)
        assert taken.status_code == 202, taken.text
        await stands_at(client, saga, "returned")

        [shown] = (await client.get(f"/orders/{order['order_id']}/returns")).json()["items"]
        assert (shown["status"], shown["amount"]) == ("returned", 1299)
        assert [await on_hand(client, sku) for sku in ("SKU-1", "SKU-2")] == [100, 99]
        async with httpx.AsyncClient(base_url=deployment.sandbox_url) as provider:
            books = (await provider.get("/refunds", params={"order_id": order["order_id"]})).json()["items"]
        assert [(each["amount"], each["reference"]) for each in books] == [(1299, shown["refund_reference"])]
    code, printed = await deployment.command("audit")
    assert code == 0, printed


async def test_goods_that_do_not_come_are_nobodys_and_what_is_lost_is_written_off(
    deployment: Deployment,
) -> None:
    orchestrator = deployment.services["orchestrator"]
    await deployment.count_stock("SKU-1", 50)
    await deployment.count_stock("SKU-2", 50)
    async with deployment.client() as client:
        order = await arrived(client)
        path = f"/orders/{order['order_id']}/returns"
        asked = {"lines": [{"sku": "SKU-1", "quantity": 1}], "reason": "too small"}
        await orchestrator.replaced(OMS_RETURN_WITHIN_S="0.5")
        made = (await client.post(path, json=asked)).json()
        await stands_at(client, f"/sagas/{made['return_id']}", "expired")
        await orchestrator.replaced(OMS_RETURN_WITHIN_S="3600")

        second = (await client.post(path, json=asked)).json()
        saga = f"/sagas/{second['return_id']}"
        said = {"lines": [{"sku": "SKU-1", "disposition": "write_off"}]}
        assert (await client.post(f"{saga}/signals/goods_received", json=said)).status_code == 202
        await stands_at(client, saga, "returned")
        assert await on_hand(client, "SKU-1") == 49
    code, printed = await deployment.command("audit")
    assert code == 0, printed
