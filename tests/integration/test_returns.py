"""S28: goods that come back: asked for once, waited for, refunded in part, taken in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from contracts import events
from contracts.commands import ClaimRefund, RefundPart, ReleaseRefundClaim, RestockItems
from oms.definitions import registry
from oms.settings import load_settings
from orchestrator.core.state import Status
from tests.integration.test_console import page, press
from tests.support.api import ADMIN, ORDERS, Api, an_api

pytestmark = pytest.mark.postgresql

ONE: dict[str, Any] = {"lines": [{"sku": "SKU-1", "quantity": 1}], "reason": "too small"}


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    async with an_api(migrated_database_url, registry=registry(load_settings())) as made:
        yield made


@pytest.fixture
async def with_token(migrated_database_url: str) -> AsyncIterator[Api]:
    """An installation whose shop has a token."""
    known = registry(load_settings())
    async with an_api(migrated_database_url, registry=known, orders_token="orders-token") as made:
        yield made


async def completed(api: Api, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """An order of two pieces that has arrived."""
    order = await api.order(headers)
    await api.completed()
    await api.is_now(order, "completed")
    return order


async def give_back(
    api: Api, order: dict[str, Any], headers: dict[str, str] | None = None, **changes: Any
) -> httpx.Response:
    path = f"/orders/{order['order_id']}/returns"
    return await api.http.post(path, json={**ONE, **changes}, headers=headers)


async def awaiting_goods(api: Api, order: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A return whose money is claimed."""
    response = await give_back(api, order, **changes)
    assert response.status_code == 202, response.text
    made: dict[str, Any] = response.json()
    await claimed(api)
    await is_now(api, made, "awaiting_goods")
    return made


async def claimed(api: Api) -> ClaimRefund:
    _, claim = await api.command("payment")
    assert isinstance(claim, ClaimRefund)
    await api.answer(claim, events.RefundClaimedEvent, amount=claim.amount, currency=claim.currency)
    return claim


async def is_now(api: Api, made: dict[str, Any], status: str) -> None:
    await api.until(UUID(made["return_id"]), lambda saga: saga.label == status)


async def arrive(
    api: Api,
    made: dict[str, Any],
    headers: dict[str, str] = ADMIN,
    said: Mapping[str, str] = MappingProxyType({"SKU-1": "restock"}),
) -> httpx.Response:
    lines = [{"sku": sku, "disposition": word} for sku, word in said.items()]
    path = f"/sagas/{made['return_id']}/signals/goods_received"
    return await api.http.post(path, json={"lines": lines}, headers=headers)


async def listed(api: Api, order: dict[str, Any]) -> list[dict[str, Any]]:
    response = await api.http.get(f"/orders/{order['order_id']}/returns")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["items"]
    return found


@pytest.mark.parametrize("word", ["restock", "write_off"])
async def test_goods_that_come_back_are_refunded_in_part_and_taken_in(api: Api, word: str) -> None:
    order = await completed(api)
    response = await give_back(api, order)
    made = response.json()
    assert response.headers["location"] == f"/sagas/{made['return_id']}"
    assert (made["status"], made["amount"], made["currency"]) == ("requested", 1299, "EUR")
    claim = await claimed(api)
    assert (str(claim.paid_order_id), claim.charge, claim.charged) == (order["order_id"], "ch_1", 2598)
    await is_now(api, made, "awaiting_goods")
    assert (await arrive(api, made, said={"SKU-1": word})).status_code == 202

    _, refund = await api.command("payment")
    assert isinstance(refund, RefundPart)
    assert (refund.amount, refund.charge, refund.reason) == (1299, "ch_1", "too small")
    answer = {"amount": 1299, "currency": "EUR", "reference": "re_1"}
    await api.answer(refund, events.PaymentPartlyRefundedEvent, **answer)
    _, restock = await api.command("inventory")
    assert isinstance(restock, RestockItems)
    taken_in = [{"sku": "SKU-1", "quantity": 1}]
    said = restock.model_dump(mode="json")
    assert (said["restock"], said["write_off"]) == ((taken_in, []) if word == "restock" else ([], taken_in))
    await api.answer(restock, events.ItemsRestockedEvent)
    await is_now(api, made, "returned")

    [shown] = await listed(api, order)
    assert (shown["status"], shown["refund_reference"]) == ("returned", "re_1")
    assert [line["disposition"] for line in shown["lines"]] == [word]


async def test_the_order_tells_where_its_returns_are(api: Api) -> None:
    order = await completed(api)
    shown = (await api.http.get(f"/orders/{order['order_id']}")).json()
    assert shown["returns"] == f"/orders/{order['order_id']}/returns"
    assert await listed(api, order) == []


async def test_nothing_comes_back_twice(api: Api) -> None:
    order = await completed(api)
    first = await awaiting_goods(api, order)
    refused = await give_back(api, order, lines=[{"sku": "SKU-1", "quantity": 2}])

    assert (refused.status_code, refused.json()["code"]) == (409, "already_returned")
    assert refused.json()["return_id"] == first["return_id"]
    second = await awaiting_goods(api, order)
    assert [each["return_id"] for each in await listed(api, order)] == [
        second["return_id"],
        first["return_id"],
    ]
    assert (await give_back(api, order)).json()["code"] == "already_returned"


async def test_of_returns_asked_for_side_by_side_no_more_are_accepted_than_were_shipped(api: Api) -> None:
    order = await completed(api)
    answers = await asyncio.gather(*(give_back(api, order) for _ in range(12)))

    assert sorted(each.status_code for each in answers) == [202, 202, *[409] * 10]
    assert {each.json()["code"] for each in answers if each.status_code == 409} == {"already_returned"}
    assert len(await listed(api, order)) == 2


async def test_the_same_return_under_the_same_key_is_one(api: Api) -> None:
    order = await completed(api)
    key = {"Idempotency-Key": "r-1"}
    answers = await asyncio.gather(*(give_back(api, order, key) for _ in range(5)))
    ids = {each.json()["return_id"] for each in answers}
    again = await give_back(api, order, key)
    other = await give_back(api, order, key, reason="too large")

    assert (len(ids), again.status_code, again.headers["idempotency-replayed"]) == (1, 200, "true")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await listed(api, order)) == 1


async def test_a_refused_return_leaves_not_even_its_key_behind(api: Api) -> None:
    order = await completed(api)
    key = {"Idempotency-Key": "r-1"}
    refused = await give_back(api, order, key, lines=[{"sku": "SKU-1", "quantity": 3}])
    assert (refused.status_code, refused.json()["code"]) == (409, "more_than_ordered")
    assert await listed(api, order) == []

    assert (await give_back(api, order, key)).status_code == 202


async def test_the_goods_of_a_cancelled_return_can_come_back_by_another(api: Api) -> None:
    order = await completed(api)
    first = await awaiting_goods(api, order, lines=[{"sku": "SKU-1", "quantity": 2}])
    assert (await give_back(api, order)).status_code == 409
    assert (await api.http.post(f"/sagas/{first['return_id']}/cancel")).status_code == 202
    _, release = await api.command("payment")
    assert isinstance(release, ReleaseRefundClaim)
    assert (await give_back(api, order)).status_code == 409
    await api.answer(release, events.RefundClaimReleasedEvent, effect="undone", amount=2598)
    await is_now(api, first, "cancelled")

    assert (await give_back(api, order)).status_code == 202


async def test_goods_that_do_not_come_end_it_as_expired(api: Api) -> None:
    order = await completed(api)
    made = await awaiting_goods(api, order)
    async with api.deployment.database.begin() as connection:
        moved = (
            "UPDATE orchestrator.sagas SET due_at = now(), revision = revision + 1, state = "
            "replace(state::text, substr(state::text, strpos(state::text, '\"since\"') + 9, 10), "
            "'2020-01-01')::json WHERE definition = 'order_return'"
        )
        await connection.execute(text(moved))
    await api.until(UUID(made["return_id"]), lambda saga: saga.status is Status.COMPENSATING)
    _, release = await api.command("payment")
    await api.answer(release, events.RefundClaimReleasedEvent, effect="undone", amount=1299)
    await is_now(api, made, "expired")

    [shown] = await listed(api, order)
    assert (shown["status"], shown["failure"]["code"]) == ("expired", "wait_deadline")
    late = await arrive(api, made)
    assert (late.status_code, late.json()["code"]) == (409, "too_late")


async def test_a_refund_that_the_gateway_refuses_rejects_the_return(api: Api) -> None:
    order = await completed(api)
    made = await awaiting_goods(api, order)
    await arrive(api, made)
    _, refund = await api.command("payment")
    await api.answer(refund, events.PartialRefundRejectedEvent, code="already_refunded", message="by hand")
    _, release = await api.command("payment")
    await api.answer(release, events.RefundClaimReleasedEvent, effect="undone", amount=1299)
    await is_now(api, made, "rejected")

    [shown] = await listed(api, order)
    assert shown["failure"] == {"code": "already_refunded", "message": "by hand"}


async def test_a_signal_that_comes_before_the_claim_is_kept(api: Api) -> None:
    order = await completed(api)
    made = (await give_back(api, order)).json()
    assert (await arrive(api, made)).status_code == 202
    await claimed(api)

    assert isinstance((await api.command("payment"))[1], RefundPart)


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        ({"SKU-2": "restock"}, "nothing is said of SKU-1; it is not a return of SKU-2"),
        ({"SKU-1": "restock", "SKU-2": "restock"}, "it is not a return of SKU-2"),
    ],
)
async def test_the_warehouse_speaks_of_each_line_and_of_no_other(
    api: Api, said: dict[str, str], detail: str
) -> None:
    made = await awaiting_goods(api, await completed(api))
    refused = await arrive(api, made, said=said)

    assert (refused.status_code, refused.json()["code"]) == (409, "unfit_signal")
    assert detail in refused.json()["detail"]
    assert (await arrive(api, made)).status_code == 202


async def test_whoever_returns_goods_cannot_say_that_they_are_there(with_token: Api) -> None:
    order = await completed(with_token, ORDERS)
    response = await give_back(with_token, order, ORDERS)
    made = response.json()
    assert response.status_code == 202
    assert (await arrive(with_token, made, ORDERS)).status_code == 403
    assert (await with_token.http.get(f"/sagas/{made['return_id']}", headers=ORDERS)).status_code == 200
    assert (await give_back(with_token, order)).status_code == 401
    assert (await with_token.http.get(f"/orders/{order['order_id']}/returns")).status_code == 401


async def test_of_an_order_that_was_not_shipped_nothing_comes_back(api: Api) -> None:
    order = await api.order()
    refused = await give_back(api, order)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_shipped")


async def test_what_was_not_ordered_cannot_come_back(api: Api) -> None:
    order = await completed(api)
    refused = await give_back(api, order, lines=[{"sku": "SKU-2", "quantity": 1}])
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ordered")


async def test_an_order_that_there_is_not_has_no_returns(api: Api) -> None:
    nobody = {"order_id": str(uuid4())}
    assert (await give_back(api, nobody)).status_code == 404
    assert (await api.http.get(f"/orders/{nobody['order_id']}/returns")).status_code == 404
    made = await awaiting_goods(api, await completed(api))
    of_a_return = await give_back(api, {"order_id": made["return_id"]})
    assert of_a_return.status_code == 404


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"lines": []}, "/lines"),
        ({"lines": [{"sku": "SKU-1", "quantity": 0}]}, "/lines/0/quantity"),
        ({"lines": [{"sku": "SKU-1", "quantity": 1.5}]}, "/lines/0/quantity"),
        ({"lines": [{"sku": "SKU-1", "quantity": "1"}]}, "/lines/0/quantity"),
        ({"lines": [{"sku": "SKU-1\u0000", "quantity": 1}]}, "/lines/0/sku"),
        ({"lines": [{"sku": "SKU-1", "quantity": 1, "unit_price": 9}]}, "/lines/0/unit_price"),
        ({"lines": [{"sku": "SKU-1", "quantity": 1}] * 2}, "/lines"),
        ({"lines": None}, "/lines"),
        ({"reason": ""}, "/reason"),
        ({"reason": "x" * 201}, "/reason"),
        ({"amount": 1}, "/amount"),
        ({"order_id": "x"}, "/order_id"),
    ],
)
async def test_a_return_that_makes_no_sense_is_refused_by_its_field(
    api: Api, changes: dict[str, Any], pointer: str
) -> None:
    refused = await give_back(api, {"order_id": str(uuid4())}, **changes)
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]


async def test_s24_the_same_is_started_as_a_saga(api: Api) -> None:
    order = await completed(api)
    asked = {**ONE, "order_id": order["order_id"]}
    key = {"Idempotency-Key": "r-1"}
    started = await api.http.post("/sagas/order_return", json=asked, headers=key)
    assert started.status_code == 202, started.text
    assert started.json()["input"]["charge"] == "ch_1"
    again = await give_back(api, order, key)

    assert (again.status_code, again.json()["return_id"]) == (200, started.json()["saga_id"])
    wrong = await api.http.post("/sagas/order_return", json={**asked, "charge": "ch_2"})
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["/charge"]


async def test_s25_a_return_that_cannot_be_read_is_shown_as_such_and_lets_no_other_pass(api: Api) -> None:
    order = await completed(api)
    made = await awaiting_goods(api, order)
    async with api.deployment.database.begin() as connection:
        spoilt = "UPDATE orchestrator.orders SET document = '{\"lines\": 7}' WHERE order_id = :id"
        await connection.execute(text(spoilt), {"id": made["return_id"]})

    [shown] = await listed(api, order)
    assert shown["unreadable"]
    refused = await give_back(api, order)
    assert (refused.status_code, refused.json()["code"]) == (409, "unreadable")


async def test_the_console_leads_from_an_order_to_its_returns_and_back_and_takes_the_word(api: Api) -> None:
    order = await completed(api)
    made = await awaiting_goods(api, order)
    await api.http.post("/console/login", data={"token": "admin-token"})
    of_order, of_return = (f"/console/sagas/{each}" for each in (order["saga_id"], made["return_id"]))
    assert "SKU-1 awaiting goods" in (await page(api, of_order)).words
    assert of_return in (await api.http.get(of_order)).text
    assert of_order in (await api.http.get(of_return)).text
    assert "awaiting goods" in (await page(api, "/console/waiting")).words

    body = '[{"sku": "SKU-1", "disposition": "restock"}]'
    form = f"{of_return}/signals/goods_received"
    response = await press(api, of_return, form, reason="unpacked", **{"field.lines": body})
    assert response.status_code == 303, response.text
    assert isinstance((await api.command("payment"))[1], RefundPart)
