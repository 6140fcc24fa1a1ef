"""What is sensitive: masked for everybody, whole for the admin, who says why and is written down (D6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from orchestrator.core.inputs import Actor
from orchestrator.queries.masking import readable
from orchestrator.tokens import Role
from tests.integration.test_console import Page
from tests.integration.test_http_admin import a_dead_charge
from tests.integration.test_tokens import keeper
from tests.support.api import ADMIN, Api, an_api
from tests.support.orders import AN_ORDER

pytestmark = pytest.mark.postgresql

WHY = {"reason": "the customer asks which card"}


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    async with an_api(migrated_database_url) as made:
        made.http.headers.update(ADMIN)
        yield made


async def as_a(role: Role, api: Api) -> dict[str, str]:
    secret, _ = await keeper(api).create("jane", role, Actor("boss", "hired"))
    return {"Authorization": f"Bearer {secret}"}


async def disclosures(api: Api) -> list[dict[str, Any]]:
    log = (await api.http.get("/admin/audit-log")).json()["items"]
    return [entry for entry in log if entry["action"].endswith(".disclose")]


# -- dead letters -----------------------------------------------------------------------------------------


async def test_the_admin_sees_a_dead_body_in_full_and_it_is_written_down(api: Api) -> None:
    _, dead = await a_dead_charge(api)
    at = f"/admin/dead-letters/{dead['dead_letter_id']}"
    masked = (await api.http.get(at)).json()
    assert masked["body"]["payment_method"] == "***"
    assert await disclosures(api) == []

    full = (await api.http.get(f"{at}/body", params=WHY)).json()
    assert full["body_form"] == "json"
    assert full["body"] == {**masked["body"], "payment_method": AN_ORDER["payment_method"]}
    [entry] = await disclosures(api)
    assert (entry["actor"], entry["action"]) == ("admin", "dead_letter.disclose")
    assert entry["subject"] == f"dead_letter:{dead['dead_letter_id']}"
    assert entry["reason"] == WHY["reason"]
    assert AN_ORDER["payment_method"] not in str(entry)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_nobody_else_sees_it(api: Api, role: Role) -> None:
    order, dead = await a_dead_charge(api)
    headers = await as_a(role, api)
    messages = await sent(api, order)
    for path in (
        f"/admin/dead-letters/{dead['dead_letter_id']}/body",
        f"/admin/sagas/{order['saga_id']}/messages/{messages['ChargePayment']}/body",
    ):
        for asked in (WHY, {}):
            response = await api.http.get(path, params=asked, headers=headers)
            assert (response.status_code, response.json()["needed_role"]) == (403, "admin")
    assert await disclosures(api) == []


async def test_a_reason_is_needed(api: Api) -> None:
    _, dead = await a_dead_charge(api)
    for asked in ({}, {"reason": " "}, {"reason": "a\x00b"}, {"reason": "a\x0b"}, {"reason": "x" * 501}):
        response = await api.http.get(f"/admin/dead-letters/{dead['dead_letter_id']}/body", params=asked)
        assert response.status_code == 422
        assert [each["pointer"] for each in response.json()["errors"]] == ["/query/reason"]
    assert await disclosures(api) == []


async def test_what_is_not_there_is_not_disclosed(api: Api) -> None:
    order = await api.order()
    for path in (
        f"/admin/dead-letters/{uuid4()}/body",
        f"/admin/sagas/{uuid4()}/messages",
        f"/admin/sagas/{order['saga_id']}/messages/{uuid4()}/body",
        f"/admin/sagas/{uuid4()}/messages/{uuid4()}/body",
    ):
        assert (await api.http.get(path, params=WHY)).status_code in (404, 422)
    assert await disclosures(api) == []


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"a": "b", "payment_method": 1}', ("json", {"a": "b", "payment_method": 1})),
        (b"payment_method=pm_1", ("text", "payment_method=pm_1")),
        (b'{"a": NaN}', ("text", '{"a": NaN}')),
        (b"\xff\x00", ("base64", "/wA=")),
        (b"", ("text", "")),
    ],
)
def test_whatever_a_body_is_it_can_be_read(body: bytes, shown: tuple[str, Any]) -> None:
    assert readable(body) == shown


# -- messages of a saga -----------------------------------------------------------------------------------


async def sent(api: Api, order: dict[str, Any]) -> dict[str, str]:
    """Ids of an order's messages by their type."""
    response = await api.http.get(f"/admin/sagas/{order['saga_id']}/messages")
    return {each["type"]: each["message_id"] for each in response.json()["items"]}


async def test_a_sagas_messages_are_told_from_its_history(api: Api) -> None:
    order = await api.order()
    await api.completed()
    await api.is_now(order, "completed")
    items = (await api.http.get(f"/admin/sagas/{order['saga_id']}/messages")).json()["items"]
    assert [(each["kind"], each["type"]) for each in items] == [
        ("event", "OrderCreatedEvent"),
        ("command", "ReserveInventory"),
        ("answer", "InventoryReservedEvent"),
        ("command", "ChargePayment"),
        ("answer", "PaymentSuccessfulEvent"),
        ("command", "ShipOrder"),
        ("answer", "OrderFulfilledEvent"),
        ("command", "CommitInventory"),
        ("answer", "InventoryReducedEvent"),
        ("event", "OrderCompletedEvent"),
    ]
    charge, ship = items[3]["body"], items[5]["body"]
    assert (charge["amount"], charge["payment_method"]) == (2598, "***")
    assert (ship["lines"], ship["shipping_address"]) == ([{"sku": "SKU-1", "quantity": 2}], "***")


async def test_the_admin_sees_a_message_of_a_saga_in_full(api: Api) -> None:
    order = await api.order()
    await api.completed()
    await api.is_now(order, "completed")
    messages = await sent(api, order)
    at = f"/admin/sagas/{order['saga_id']}/messages"
    shipped = (await api.http.get(f"{at}/{messages['ShipOrder']}/body", params=WHY)).json()
    address = shipped["body"]["shipping_address"]
    assert address == {name: value for name, value in AN_ORDER["shipping_address"].items() if value}
    [entry] = await disclosures(api)
    assert (entry["subject"], entry["after"]) == (
        f"saga:{order['saga_id']}",
        {"message_id": messages["ShipOrder"]},
    )


# -- the console ------------------------------------------------------------------------------------------


async def test_the_console_offers_it_to_the_admin_and_asks_why(api: Api) -> None:
    _, dead = await a_dead_charge(api)
    at = f"/console/dead-letters/{dead['dead_letter_id']}"
    await api.http.post("/console/login", data={"token": "admin-token"})
    form = Page((await api.http.get(at)).text).forms[f"{at}/body"]
    without = await api.http.post(f"{at}/body", data=form)
    assert without.status_code == 422
    assert AN_ORDER["payment_method"] not in without.text
    shown = await api.http.post(f"{at}/body", data={**form, **WHY})
    assert shown.status_code == 200
    assert f'"payment_method": "{AN_ORDER["payment_method"]}"' in Page(shown.text).words
    assert shown.headers["Cache-Control"] == "no-store"
    again = await api.http.get(f"{at}/body")
    assert (again.status_code, again.headers["Location"]) == (303, at)
    assert AN_ORDER["payment_method"] not in (await api.http.get(at)).text
    assert [entry["reason"] for entry in await disclosures(api)] == [WHY["reason"]]


async def test_the_console_does_not_offer_it_to_others_and_refuses_it(api: Api) -> None:
    _, dead = await a_dead_charge(api)
    at = f"/console/dead-letters/{dead['dead_letter_id']}"
    headers = await as_a(Role.OPERATOR, api)
    await api.http.post("/console/login", data={"token": headers["Authorization"].split()[1]})
    forms = Page((await api.http.get(at)).text).forms
    assert f"{at}/replay" in forms
    assert f"{at}/body" not in forms
    csrf = forms["/console/logout"]["csrf"]
    refused = await api.http.post(f"{at}/body", data={"csrf": csrf, **WHY})
    assert refused.status_code == 403
    assert "takes the role admin; this token has the role operator" in Page(refused.text).words
    assert await disclosures(api) == []


async def test_the_console_shows_a_message_of_a_saga_masked_and_then_in_full(api: Api) -> None:
    order = await api.order()
    await api.completed()
    await api.is_now(order, "completed")
    await api.http.post("/console/login", data={"token": "admin-token"})
    at = f"/console/sagas/{order['saga_id']}/messages/{(await sent(api, order))['ShipOrder']}"
    masked = await api.http.get(at)
    assert '"shipping_address": "***"' in Page(masked.text).words
    form = Page(masked.text).forms[f"{at}/body"]
    without = await api.http.post(f"{at}/body", data=form)
    assert (without.status_code, "reason" in Page(without.text).words) == (422, True)
    shown = await api.http.post(f"{at}/body", data={**form, **WHY})
    assert f'"line1": "{AN_ORDER["shipping_address"]["line1"]}"' in Page(shown.text).words
    assert [entry["action"] for entry in await disclosures(api)] == ["saga.disclose"]
    assert (await api.http.get(f"{at}/body")).headers["Location"] == at
    assert (await api.http.get(f"/console/sagas/{order['saga_id']}/messages/{uuid4()}")).status_code == 404
