"""Orders whose money is authorized, and captured once their parcel has left, through real processes (S27)."""

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

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(
    own_broker_url: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    """All services as processes, ready, with stock; new orders are captured."""
    await empty(own_broker_url)
    url = databases.create()
    folder: Path = tmp_path_factory.mktemp("logs")
    made = Deployment(
        own_broker_url,
        url,
        folder,
        OMS_RETRY_DELAYS_S="0.2,0.5",
        OMS_RESEND_AFTER_S="2",
        OMS_PAYMENT_FLOW="capture",
    )
    await made.start()
    await made.count_stock("SKU-1", 1000)
    yield made
    await made.stop()
    databases.drop(url)


async def submitted(client: httpx.AsyncClient, postal_code: str = "12345", **changes: Any) -> str:
    order = an_order(**changes)
    order["shipping_address"]["postal_code"] = postal_code
    answer = await client.post("/orders", json=order)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["order_id"])


async def becomes(client: httpx.AsyncClient, order_id: str, status: str) -> None:
    """Return once the order has this status; the test's own time limit bounds it."""
    while (await client.get(f"/orders/{order_id}")).json()["status"] != status:
        await asyncio.sleep(0.1)


async def books(deployment: Deployment, client: httpx.AsyncClient, order_id: str) -> dict[str, list[Any]]:
    """What the gateway has for an order, by kind."""
    found = {}
    for kind in ("authorizations", "captures", "releases"):
        path = "charges" if kind == "captures" else kind
        answer = await client.get(f"{deployment.sandbox_url}/{path}?order_id={order_id}")
        found[kind] = answer.json()["items"]
    return found


async def audited(deployment: Deployment) -> None:
    code, printed = await deployment.command("audit")
    assert code == 0, printed


@pytest.mark.parametrize("method", ["pm_card_visa", "pm_gateway_flaky", "pm_capture_flaky"])
async def test_what_is_authorized_is_captured_once_the_parcel_has_left(
    deployment: Deployment, method: str
) -> None:
    async with deployment.client() as client:
        order_id = await submitted(client, payment_method=method)
        await becomes(client, order_id, "completed")
        found = await books(deployment, client, order_id)
        [authorization], [capture] = found["authorizations"], found["captures"]
        assert authorization["captured"] == capture["amount"] == 1299
        assert capture["authorization"] == authorization["reference"]
        shipped = (await client.get(f"{deployment.sandbox_url}/shipments?order_id={order_id}")).json()
        [parcel] = shipped["items"]
        assert authorization["created_at"] <= parcel["created_at"] <= capture["created_at"]
    await audited(deployment)


async def test_a_declined_authorization_rejects_the_order_and_holds_nothing(deployment: Deployment) -> None:
    async with deployment.client() as client:
        order_id = await submitted(client, payment_method="pm_card_declined")
        await becomes(client, order_id, "rejected")
        order = (await client.get(f"/orders/{order_id}")).json()
        assert order["failure"]["code"] == "payment_declined"
        assert not any((await books(deployment, client, order_id)).values())
    await audited(deployment)


async def test_what_is_authorized_is_voided_where_the_carrier_refuses(deployment: Deployment) -> None:
    async with deployment.client() as client:
        order_id = await submitted(client, postal_code="00000")
        await becomes(client, order_id, "rejected")
        found = await books(deployment, client, order_id)
        [authorization], [release] = found["authorizations"], found["releases"]
        assert release["authorization"] == authorization["reference"]
        assert found["captures"] == []
    await audited(deployment)


async def test_an_order_that_is_cancelled_in_time_leaves_nothing_authorized(deployment: Deployment) -> None:
    async with deployment.client() as client:
        order_id = await submitted(client, payment_method="pm_gateway_down")
        await becomes(client, order_id, "reserved")
        answer = await client.post(f"/orders/{order_id}/cancel", json={"reason": "changed my mind"})
        assert answer.status_code in (200, 202), answer.text
        await becomes(client, order_id, "cancelled")
        assert not any((await books(deployment, client, order_id)).values())
    await audited(deployment)


async def test_a_capture_that_is_refused_waits_for_a_person_who_settles_it(deployment: Deployment) -> None:
    async with deployment.client() as client:
        order_id = await submitted(client, payment_method="pm_authorization_expires")
        saga_id = (await client.get(f"/orders/{order_id}")).json()["saga_id"]
        while not (incidents := (await client.get(f"/admin/sagas/{saga_id}")).json()["incidents"]):
            await asyncio.sleep(0.1)
        [incident] = incidents
        assert (incident["kind"], incident["step"]) == ("dead_letter", "capture")
        assert "authorization_expired" in incident["message"]
        words = ("--step", "capture", "--verdict", "settled_outside", "--reference", "bank-1")
        code, printed = await deployment.command(
            "sagas", "resolve", order_id, *words, "--reason", "paid by bank transfer"
        )
        assert code == 0, printed
        await becomes(client, order_id, "completed")
        assert (await books(deployment, client, order_id))["captures"] == []
    await audited(deployment)
