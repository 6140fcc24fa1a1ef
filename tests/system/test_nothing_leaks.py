"""Payment methods and addresses of orders that fail in every way, looked for wherever anybody can look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from html.parser import HTMLParser
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Request, Response

from participants.shipping.carrier import SHIPMENT_REJECTED
from tests.support.servers import Databases
from tests.support.serving import serving
from tests.system.deployment import ADMIN_TOKEN, Deployment, an_order, empty

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module")]

METHOD: Final = "pm_Xyzzy7Secret"
ADDRESS: Final = {
    "name": "Quuxina Plughworth",
    "line1": "42 Frobnitz Alley",
    "line2": "Backyard Zork",
    "city": "Grueburg",
    "postal_code": "ZX-90817",
    "country": "DE",
}
SECRETS: Final = (METHOD, *(value for value in ADDRESS.values() if len(value) > 2))
"""What must be seen nowhere; two letters of a country tell nothing."""

ENDED: Final = ("completed", "rejected", "cancelled")

# -- providers that talk too much -------------------------------------------------------------------------

REFUSED_FOR_GOOD, DECLINED, NO_CARRIER, REJECTED = 1000, 1001, 1002, 1003
"""Prices, by which these providers know what to do."""


def gossips() -> FastAPI:
    """A payment gateway and a carrier that repeat everything they were told, in every error."""
    app, seen = FastAPI(), dict[str, int]()

    @app.post("/charges")
    async def charge(request: Request) -> Response:
        told = await request.json()
        price = seen[told["order_id"]] = told["amount"]
        key = request.headers["Idempotency-Key"]
        seen[key] = seen.get(key, 0) + 1
        if price == REFUSED_FOR_GOOD:
            return _said(500 if seen[key] == 1 else 400, told)
        return _said(402, told) if price == DECLINED else _said(201, {"reference": "ch_1"})

    @app.post("/shipments")
    async def ship(request: Request) -> Response:
        told = await request.json()
        rejected = seen[told["order_id"]] == REJECTED
        return _said(422, told, type=SHIPMENT_REJECTED) if rejected else _said(400, told)

    @app.post("/refunds")
    async def refund(request: Request) -> Response:
        return _said(201, {"reference": "re_1"})

    @app.get("/{rest:path}")
    async def look_up(rest: str) -> dict[str, Any]:
        return {"items": []}

    return app


def _said(status: int, told: Mapping[str, Any], **more: Any) -> Response:
    words = json.dumps(told, ensure_ascii=False)
    problem = {"code": "no_luck", "title": words, "detail": words.upper() + words, "message": words, **more}
    return Response(json.dumps({**told, **problem}), status, media_type="application/json")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(
    own_broker_url: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    """All services as processes that log everything, with such providers; four orders have failed."""
    await empty(own_broker_url)
    url = databases.create()
    async with serving(gossips()) as providers:
        made = Deployment(
            own_broker_url,
            url,
            tmp_path_factory.mktemp("logs"),
            OMS_PAYMENT_GATEWAY_URL=providers,
            OMS_CARRIER_URL=providers,
            OMS_RETRY_DELAYS_S="0.1",
            OMS_RESEND_AFTER_S="2",
            OMS_LOG_LEVEL="debug",
        )
        await made.start()
        try:
            await fail(made)
            yield made
        finally:
            await made.stop()
            databases.drop(url)


async def fail(shop: Deployment) -> None:
    """Orders that are refused for good, declined, not shipped, rejected by the carrier."""
    async with shop.client() as client:
        assert (await client.put("/inventory/SKU-1", json={"on_hand": 100})).status_code == 200
        orders = {}
        for price in (REFUSED_FOR_GOOD, DECLINED, NO_CARRIER, REJECTED):
            line = {"sku": "SKU-1", "quantity": 1, "unit_price": price}
            order = an_order(payment_method=METHOD, shipping_address=ADDRESS, lines=[line])
            answer = await client.post("/orders", json=order)
            assert answer.status_code == 202
            orders[price] = answer.json()["order_id"]
        async with asyncio.timeout(120):
            for price in (DECLINED, REJECTED):
                while (await client.get(f"/orders/{orders[price]}")).json()["status"] not in ENDED:
                    await asyncio.sleep(0.2)
            await died(client, times=1)
            asked = {"filter": {"status": ["open"]}, "reason": "once more"}
            assert (await client.post("/admin/dead-letters/replay", json=asked)).status_code == 202
            await died(client, times=2)


async def died(client: httpx.AsyncClient, times: int) -> None:
    """Return when two pieces of work have died so often."""
    while True:
        dead = (await client.get("/admin/dead-letters")).json()["items"]
        if len(dead) == 2 and all(each["deaths"] == times for each in dead):
            return
        await asyncio.sleep(0.2)


# -- where anybody can look -------------------------------------------------------------------------------


class Links(HTMLParser):
    """Where a page leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def leaks(text: str) -> list[str]:
    """The secrets in a text, in whatever case."""
    return [secret for secret in SECRETS if secret.lower() in text.lower()]


async def looked(client: httpx.AsyncClient, path: str, **parameters: str) -> Any:
    """What an address says, in which there is no secret; parsed where it is JSON."""
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, (path, answer.text)
    assert leaks(answer.text + str(answer.headers)) == [], path
    is_json = answer.headers["Content-Type"].startswith("application/json")
    return answer.json() if is_json else answer.text


async def listed(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await looked(client, path))["items"]
    assert items
    return items


async def test_no_answer_of_the_api_tells_them(shop: Deployment) -> None:
    async with shop.client() as client:
        for path in ("/metrics", "/readyz", "/livez", "/openapi.json", "/inventory", "/admin/audit-log"):
            await looked(client, path)
        await listed(client, "/admin/dead-letters/groups")
        for job in await listed(client, "/admin/jobs"):
            await looked(client, f"/admin/jobs/{job['job_id']}")
            await looked(client, f"/admin/jobs/{job['job_id']}/items")
        for order in await listed(client, "/orders"):
            await looked(client, f"/orders/{order['order_id']}")
            if order["status"] in ENDED:
                assert order["failure"]["message"]
                await looked(client, f"/orders/{order['order_id']}/events")
        for saga in await listed(client, "/admin/sagas"):
            at = f"/admin/sagas/{saga['saga_id']}"
            for path in (at, f"{at}/explain", f"{at}/messages"):
                await looked(client, path)
            for participant in ("inventory", "payment", "shipping"):
                await looked(client, f"/participants/{participant}/sagas/{saga['saga_id']}")
        for dead in await listed(client, "/admin/dead-letters"):
            await looked(client, f"/admin/dead-letters/{dead['dead_letter_id']}")
            asked = {"reason": "looked at", "expected_version": dead["version"], "dry_run": True}
            dry = await client.post(f"/admin/dead-letters/{dead['dead_letter_id']}/replay", json=asked)
            assert (dry.status_code, leaks(dry.text)) == (200, [])


async def test_no_refused_submission_repeats_them(shop: Deployment) -> None:
    async with shop.client() as client:
        wrongs: tuple[dict[str, Any], ...] = ({"currency": "XXX"}, {"lines": []}, {"nonsense": METHOD})
        for wrong in wrongs:
            order = an_order(payment_method=METHOD, shipping_address=ADDRESS) | wrong
            answer = await client.post("/orders", json=order)
            assert (answer.status_code, leaks(answer.text)) == (422, [])
        answer = await client.post("/orders", json=an_order(payment_method=f"{METHOD} !"))
        assert (answer.status_code, leaks(answer.text)) == (422, [])


async def test_no_page_of_the_console_tells_them(shop: Deployment) -> None:
    async with shop.client() as client:
        signed_in = await client.post("/console/login", data={"token": ADMIN_TOKEN})
        assert signed_in.status_code == 303
        client.headers.pop("Authorization")
        seen, ahead = set[str](), ["/console"]
        while ahead:
            path = ahead.pop()
            seen.add(path)
            text = await looked(client, path)
            if isinstance(text, str) and path.startswith("/console") and "/static/" not in path:
                new = {link.partition("#")[0] for link in Links(text).found if link.startswith("/console")}
                ahead += new - seen - set(ahead)
        kinds = ("sagas", "dead-letters", "jobs")
        assert {kind: len([path for path in seen if _shows_one(kind, path)]) for kind in kinds} == {
            "sagas": 4,
            "dead-letters": 2,
            "jobs": 1,
        }


def _shows_one(kind: str, path: str) -> bool:
    try:
        return bool(UUID(path.removeprefix(f"/console/{kind}/")))
    except ValueError:
        return False


async def test_no_command_prints_them(shop: Deployment) -> None:
    async with shop.client() as client:
        sagas = await listed(client, "/admin/sagas")
        dead = await listed(client, "/admin/dead-letters")
    commands = [
        ("orders", "list"),
        ("sagas", "list"),
        ("dead-letters", "list"),
        ("dead-letters", "groups"),
        ("tokens", "list"),
        *(("orders", "show", saga["order_id"]) for saga in sagas[:1]),
        *(("sagas", what, saga["saga_id"]) for saga in sagas for what in ("show", "explain", "messages")),
        *(("dead-letters", "show", each["dead_letter_id"]) for each in dead),
    ]
    for command in commands:
        code, printed = await shop.command(*command)
        assert (code, leaks(printed)) == (0, []), command
    code, printed = await shop.command("audit")
    assert leaks(printed) == []


async def test_no_process_logs_them(shop: Deployment) -> None:
    said = {name: service.said for name, service in shop.services.items()}
    assert "message gave up" in said["payment"]
    assert {name: leaks(text) for name, text in said.items()} == {name: [] for name in said}


async def test_the_contract_gives_them_to_the_admin_who_says_why(shop: Deployment) -> None:
    """So what was looked for was there to be found."""
    async with shop.client() as client:
        told = ""
        for dead in await listed(client, "/admin/dead-letters"):
            path = f"/admin/dead-letters/{dead['dead_letter_id']}/body"
            told += (await client.get(path, params={"reason": "which one"})).text
        assert set(leaks(told)) == set(SECRETS)
