"""Orders on hold: nothing is paid before a person's word, and no word is a no."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from contracts import events
from contracts.commands import ChargePayment, ReleaseInventory
from oms.definitions import registry
from oms.settings import load_settings
from orchestrator.core.state import Status
from orchestrator.sagas.order_fulfillment import HOLDING_VERSION
from tests.integration.test_console import page, press
from tests.support.api import ADMIN, ORDERS, Api, an_api
from tests.support.orders import AN_ORDER

pytestmark = pytest.mark.postgresql

ASKED: dict[str, Any] = {"hold": {"reason": "a new customer"}}


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    """Orders above 50 EUR, and those that ask for it, are held."""
    known = registry(load_settings(hold_above="EUR=5000"))
    async with an_api(migrated_database_url, registry=known) as made:
        yield made


@pytest.fixture
async def without(migrated_database_url: str) -> AsyncIterator[Api]:
    """An installation that knows no holds."""
    async with an_api(migrated_database_url, registry=registry(load_settings())) as made:
        yield made


async def held(api: Api, **changes: Any) -> dict[str, Any]:
    """An order on hold."""
    order = await api.order(**{**ASKED, **changes})
    await api.reserved()
    await api.is_now(order, "on_hold")
    return order


async def say(
    api: Api, order: dict[str, Any], headers: dict[str, str] = ADMIN, **word: Any
) -> httpx.Response:
    body = {"approved": True, "reason": "known by phone", **word}
    path = f"/sagas/{order['saga_id']}/signals/hold?reason=seen"
    return await api.http.post(path, json=body, headers=headers)


async def waiting(api: Api) -> list[dict[str, Any]]:
    response = await api.http.get("/admin/waiting", headers=ADMIN)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["items"]
    return found


async def test_an_order_that_asks_for_it_waits_until_it_is_approved(api: Api) -> None:
    order = await held(api)
    [shown] = await waiting(api)
    assert (shown["order_id"], shown["asked"], shown["label"]) == (
        order["order_id"],
        "a new customer",
        "on_hold",
    )
    listed = (await api.http.get("/orders?status=on_hold")).json()["items"]
    assert [each["order_id"] for each in listed] == [order["order_id"]]

    assert (await say(api, order)).status_code == 202
    _, charge = await api.command("payment")
    assert isinstance(charge, ChargePayment)
    assert await waiting(api) == []
    assert (await api.http.get(f"/orders/{order['order_id']}")).json()["status"] == "reserved"


async def test_an_order_that_is_denied_is_rejected_with_the_reason(api: Api) -> None:
    order = await held(api)
    assert (await say(api, order, approved=False, reason="no such address")).status_code == 202
    _, release = await api.command("inventory")
    assert isinstance(release, ReleaseInventory)
    await api.answer(release, events.InventoryReleasedEvent, effect="undone")
    await api.is_now(order, "rejected")

    ended = (await api.http.get(f"/orders/{order['order_id']}")).json()
    assert ended["failure"] == {"code": "hold_denied", "message": "no such address"}


async def test_nobodys_word_is_a_no(api: Api) -> None:
    order = await held(api)
    async with api.deployment.database.begin() as connection:
        moved = (
            "UPDATE orchestrator.sagas SET due_at = now(), revision = revision + 1, state = "
            "replace(state::text, substr(state::text, strpos(state::text, '\"since\"') + 9, 10), "
            "'2020-01-01')::json"
        )
        await connection.execute(text(moved))
    saga = await api.until(UUID(order["saga_id"]), lambda saga: saga.status is Status.COMPENSATING)

    assert saga.failure is not None
    assert saga.failure.code == "wait_deadline"


async def test_an_order_above_the_limit_is_held_and_one_at_it_is_not(api: Api) -> None:
    line = {"sku": "SKU-1", "quantity": 1}
    await api.order(lines=[{**line, "unit_price": 5000}])
    await api.reserved()
    assert isinstance((await api.command("payment"))[1], ChargePayment)
    assert await waiting(api) == []

    order = await api.order(lines=[{**line, "unit_price": 5001}])
    await api.reserved()
    await api.is_now(order, "on_hold")
    assert [each["total"] for each in await waiting(api)] == [5001]


async def test_a_held_order_is_cancelled_like_any_other(api: Api) -> None:
    order = await held(api)
    response = await api.http.post(f"/orders/{order['order_id']}/cancel")

    assert response.status_code == 202
    assert isinstance((await api.command("inventory"))[1], ReleaseInventory)


async def test_s23_only_an_operators_word_counts(api: Api) -> None:
    order = await held(api)
    refused = await say(api, order, headers={})

    assert refused.status_code == 401
    assert [each["order_id"] for each in await waiting(api)] == [order["order_id"]]


async def test_s23_another_word_comes_too_late(api: Api) -> None:
    order = await held(api)
    assert (await say(api, order)).status_code == 202
    assert (await say(api, order)).status_code == 202
    again = await say(api, order, approved=False)

    assert (again.status_code, again.json()["code"]) == (409, "signalled")


@pytest.mark.parametrize(
    ("word", "pointer"),
    [
        ({"approved": "yes"}, "/approved"),
        ({"approved": None}, "/approved"),
        ({"reason": ""}, "/reason"),
        ({"by": "me"}, "/by"),
    ],
)
async def test_a_word_that_makes_no_sense_is_refused(api: Api, word: dict[str, Any], pointer: str) -> None:
    order = await held(api)
    response = await say(api, order, **word)

    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


async def test_d6_who_approved_it_stands_in_the_audit_log(api: Api) -> None:
    order = await held(api)
    await say(api, order)
    found = await api.http.get(f"/admin/audit-log?subject=saga:{order['saga_id']}", headers=ADMIN)

    [entry] = found.json()["items"]
    assert (entry["action"], entry["actor"], entry["reason"]) == ("saga.signal", "admin", "seen")
    assert entry["after"]["signal"] == "hold"


async def test_the_console_lists_what_is_held_and_takes_the_word(api: Api) -> None:
    order = await held(api, reference="A-1")
    await api.http.post("/console/login", data={"token": "admin-token"})
    words = (await page(api, "/console/waiting")).words
    for each in ("A-1", "a new customer", "25.98 EUR", "c-1"):
        assert each in words
    at = f"/console/sagas/{order['saga_id']}"
    form = f"{at}/signals/hold"
    fields = {"reason": "seen", "field.approved": "true", "field.reason": "known by phone"}
    response = await press(api, at, form, **fields)

    assert response.status_code == 303, response.text
    assert isinstance((await api.command("payment"))[1], ChargePayment)
    assert "Nothing waits for a person" in (await page(api, "/console/waiting")).words


async def test_where_there_are_no_holds_none_can_be_asked_for(without: Api) -> None:
    refused = await without.http.post("/orders", json={**AN_ORDER, **ASKED})
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/hold"]
    order = await without.order()
    saga = (await without.http.get(f"/admin/sagas/{order['saga_id']}", headers=ADMIN)).json()
    assert saga["definition_version"] == 1
    assert await waiting(without) == []


async def test_an_order_that_is_not_held_pays_without_a_wait(api: Api) -> None:
    order = await api.order()
    await api.completed()
    await api.is_now(order, "completed")
    saga = (await api.http.get(f"/admin/sagas/{order['saga_id']}", headers=ADMIN)).json()

    assert saga["definition_version"] == HOLDING_VERSION
    assert [wait["status"] for wait in saga["waits"]] == ["left_out"]


async def test_s23_the_shop_cannot_approve_what_it_has_submitted(migrated_database_url: str) -> None:
    known = registry(load_settings(hold_above="none"))
    async with an_api(migrated_database_url, orders_token="orders-token", registry=known) as api:
        response = await api.http.post("/orders", json={**AN_ORDER, **ASKED}, headers=ORDERS)
        order = response.json()
        await api.reserved()
        await api.is_now(order, "on_hold")

        assert (await say(api, order, headers=ORDERS)).status_code == 403
        assert (await say(api, order)).status_code == 202
