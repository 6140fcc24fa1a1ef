"""Orders over HTTP: submission, its headers, its refusals; look, list, cancel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from contracts.limits import MAX_BODY_BYTES
from messaging.unit_of_work import StorageUnavailable
from orchestrator.intake import Overloaded, Submission
from tests.support.api import ADMIN, ORDERS, Api, an_api
from tests.support.orders import AN_ORDER, NOBODYS

pytestmark = pytest.mark.postgresql

PROBLEM = "application/problem+json"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    async with an_api(migrated_database_url) as made:
        yield made


async def sagas_stored(api: Api) -> int:
    async with api.deployment.database.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM orchestrator.sagas"))).scalar_one())


# -- submission ---------------------------------------------------------------------------------------------


async def test_an_order_is_accepted_and_shown(api: Api) -> None:
    response = await api.http.post("/orders", json=AN_ORDER)

    order = response.json()
    assert response.status_code == 202
    assert response.headers["Location"] == f"/orders/{order['order_id']}"
    assert order["returns"] == f"/orders/{order['order_id']}/returns"
    changing = ("order_id", "saga_id", "created_at", "updated_at", "returns")
    assert order | dict.fromkeys(changing, "") == {
        "order_id": "",
        "saga_id": "",
        "customer_id": "c-1",
        "reference": None,
        "metadata": {},
        "status": "pending",
        "compensating": False,
        "currency": "EUR",
        "total": 2598,
        "lines": [{"sku": "SKU-1", "quantity": 2, "unit_price": 1299}],
        "failure": None,
        "cancel_requested_at": None,
        "created_at": "",
        "updated_at": "",
        "ended_at": None,
        "unreadable": None,
        "returns": "",
    }
    assert order["created_at"].endswith("Z")
    assert (await api.http.get(response.headers["Location"])).json() == order


@pytest.mark.parametrize("again", ["key-1", '"key-1"'])
async def test_the_same_key_and_order_give_the_same_order(api: Api, again: str) -> None:
    first = await api.order({"Idempotency-Key": "key-1"})
    response = await api.http.post("/orders", json=AN_ORDER, headers={"Idempotency-Key": again})

    assert (response.status_code, response.headers["Idempotency-Replayed"]) == (200, "true")
    assert response.headers["Location"] == f"/orders/{first['order_id']}"
    assert response.json() == first


async def test_the_same_key_with_another_order_is_refused(api: Api) -> None:
    await api.order({"Idempotency-Key": "key-1"})
    other = {**AN_ORDER, "lines": [{"sku": "SKU-2", "quantity": 1, "unit_price": 1}]}
    response = await api.http.post("/orders", json=other, headers={"Idempotency-Key": "key-1"})

    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")


async def test_the_same_key_of_two_customers_is_two_orders(api: Api) -> None:
    first = await api.order({"Idempotency-Key": "key-1"})
    second = await api.order({"Idempotency-Key": "key-1"}, customer_id="c-2")

    assert first["order_id"] != second["order_id"]


async def test_two_at_once_with_one_key_start_one_saga(api: Api) -> None:
    headers = {"Idempotency-Key": "key-1"}
    responses = await asyncio.gather(
        *(api.http.post("/orders", json=AN_ORDER, headers=headers) for _ in range(8))
    )

    assert sorted(response.status_code for response in responses) == [200] * 7 + [202]
    assert len({response.json()["order_id"] for response in responses}) == 1
    assert await sagas_stored(api) == 1


async def test_many_at_once_are_committed_together_and_a_bad_one_fails_alone(api: Api) -> None:
    await api.order({"Idempotency-Key": "taken"})
    bodies = [{**AN_ORDER, "customer_id": f"c-{number}"} for number in range(20)]
    good = [api.http.post("/orders", json=body) for body in bodies]
    other = {**AN_ORDER, "currency": "USD"}
    bad = api.http.post("/orders", json=other, headers={"Idempotency-Key": "taken"})
    responses = await asyncio.gather(*good, bad)

    assert [response.status_code for response in responses] == [202] * 20 + [422]
    assert await sagas_stored(api) == 21


async def test_who_prefers_to_wait_gets_the_end(api: Api) -> None:
    asking = asyncio.create_task(api.http.post("/orders", json=AN_ORDER, headers={"Prefer": "wait=90"}))
    await api.completed()
    response = await asking

    assert (response.status_code, response.headers["Preference-Applied"]) == (200, "wait=30")
    assert response.json()["status"] == "completed"


async def test_who_prefers_to_wait_too_short_gets_the_order_as_it_is(api: Api) -> None:
    response = await api.http.post("/orders", json=AN_ORDER, headers={"Prefer": "respond-async, wait=0"})

    assert (response.status_code, response.headers["Preference-Applied"]) == (202, "wait=0")


async def test_a_repeat_may_wait_too(api: Api) -> None:
    key = {"Idempotency-Key": "key-1"}
    first = await api.order(key)
    asking = asyncio.create_task(
        api.http.post("/orders", json=AN_ORDER, headers={**key, "Prefer": "wait=30"})
    )
    await api.rejected_for_stock()
    response = await asking

    assert response.json()["order_id"] == first["order_id"]
    assert (response.status_code, response.json()["status"]) == (200, "rejected")
    assert response.json()["failure"] == {"code": "out_of_stock", "message": "none left"}


async def test_a_trace_goes_on_with_the_first_command(api: Api) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await api.order({"traceparent": trace})
    delivery, _ = await api.command("inventory")
    assert delivery.headers["traceparent"] == trace


# -- refusals ---------------------------------------------------------------------------------------------


def changed(**changes: Any) -> bytes:
    return json.dumps({**AN_ORDER, **changes}).encode()


def line(**changes: Any) -> bytes:
    return changed(lines=[{"sku": "SKU-1", "quantity": 1, "unit_price": 1, **changes}])


def address(**changes: Any) -> bytes:
    return changed(shipping_address={**AN_ORDER["shipping_address"], **changes})


MALFORMED = [
    b"",
    b"{",
    b"nonsense",
    b'{"customer_id": "c-1",}',
    b"\xff\xfe",
    b'"\xed\xa0\x80"',
    b'{"customer_id": "\\ud800"}',
    b'{"\\udfff": 1}',
    b"[" * 100_000,
    b'{"currency": ' + b"9" * 5000 + b"}",
    b"\xef\xbb\xbf{}",
    changed()[:-1] + b', "customer_id": "\x01"}',
]

INVALID = [
    (b"[]", ""),
    (b"null", ""),
    (b"7", ""),
    (b"{}", "/customer_id"),
    (b'{"customer_id": NaN}', "/customer_id"),
    (changed(customer_id=""), "/customer_id"),
    (changed(customer_id="a b"), "/customer_id"),
    (changed(customer_id="x" * 129), "/customer_id"),
    (changed(customer_id="c\x00"), "/customer_id"),
    (changed(customer_id=7), "/customer_id"),
    (changed(currency="eur"), "/currency"),
    (changed(currency="XXX"), "/currency"),
    (changed(lines=[]), "/lines"),
    (changed(lines="none"), "/lines"),
    (changed(lines=[{"sku": f"S-{n}", "quantity": 1, "unit_price": 1} for n in range(101)]), "/lines"),
    (changed(lines=[{"sku": "S", "quantity": 1, "unit_price": 1}] * 2), ""),
    (line(quantity=0), "/lines/0/quantity"),
    (line(quantity=-1), "/lines/0/quantity"),
    (line(quantity=1.5), "/lines/0/quantity"),
    (line(quantity=1.0), "/lines/0/quantity"),
    (line(quantity="1"), "/lines/0/quantity"),
    (line(quantity=True), "/lines/0/quantity"),
    (line(quantity=10**30), "/lines/0/quantity"),
    (line(unit_price=-1), "/lines/0/unit_price"),
    (line(unit_price=2**53), "/lines/0/unit_price"),
    (line(unit_price=2**53 - 1, quantity=2), ""),
    (line(sku="../etc"), "/lines/0/sku"),
    (line(discount=1), "/lines/0/discount"),
    (changed(payment_method="pm card"), "/payment_method"),
    (changed(payment_method=None), "/payment_method"),
    (address(country="de"), "/shipping_address/country"),
    (address(name="A\nB"), "/shipping_address/name"),
    (address(name=""), "/shipping_address/name"),
    (address(planet="Mars"), "/shipping_address/planet"),
    (changed(shipping_address=[]), "/shipping_address"),
    (changed(coupon="X"), "/coupon"),
    (changed(**{"a/b~c": 1}), "/a~1b~0c"),
    (changed(**{"\u2028<script>": 1}), ""),
]


@pytest.mark.parametrize("body", MALFORMED)
async def test_what_is_no_json_is_malformed(api: Api, body: bytes) -> None:
    response = await api.http.post("/orders", content=body, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (400, "malformed_json")
    assert response.headers["Content-Type"] == PROBLEM


@pytest.mark.parametrize(("body", "pointer"), INVALID)
async def test_what_is_no_order_is_refused_naming_the_field(api: Api, body: bytes, pointer: str) -> None:
    response = await api.http.post("/orders", content=body, headers=JSON)
    problem = response.json()
    assert (response.status_code, problem["code"], problem["status"]) == (422, "invalid", 422)
    assert response.headers["Content-Type"] == PROBLEM
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert all(set(error) == {"pointer", "code", "detail"} for error in problem["errors"])


async def test_a_refusal_never_echoes_what_was_sent(api: Api) -> None:
    secret = "pm_very*secret"
    response = await api.http.post(
        "/orders", content=changed(payment_method=secret, customer_id="mallory mallory"), headers=JSON
    )
    assert response.status_code == 422
    assert secret not in response.text
    assert "mallory" not in response.text


@pytest.mark.parametrize(
    "kind",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "json"],
)
async def test_another_content_type_is_refused(api: Api, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    response = await api.http.post("/orders", content=changed(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])
async def test_json_by_another_spelling_is_accepted(api: Api, kind: str) -> None:
    response = await api.http.post("/orders", content=changed(), headers={"Content-Type": kind})
    assert response.status_code == 202


async def test_a_body_that_says_it_is_too_large_is_not_read(api: Api) -> None:
    response = await api.http.post("/orders", content=b" " * (MAX_BODY_BYTES + 1), headers=JSON)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


async def test_a_body_that_does_not_say_how_large_it_is_is_read_no_further(api: Api) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b" " * 65536

    response = await api.http.post("/orders", content=endless(), headers=JSON)
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert read <= MAX_BODY_BYTES // 65536 + 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Idempotency-Key", ""),
        ("Idempotency-Key", '""'),
        ("Idempotency-Key", '"open'),
        ("Idempotency-Key", "a b"),
        ("Idempotency-Key", "k" * 256),
        ("Idempotency-Key", "schlüssel"),
        ("Prefer", "wait=soon"),
        ("Prefer", "wait=-1"),
        ("Prefer", "wait"),
    ],
)
async def test_a_malformed_header_is_refused(api: Api, name: str, value: str) -> None:
    response = await api.http.post("/orders", json=AN_ORDER, headers={name.encode(): value.encode("latin-1")})
    assert (response.status_code, response.json()["code"]) == (400, "malformed_header")
    assert name in response.json()["detail"]


async def test_too_many_waiting_orders_are_sent_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def overloaded(_: Submission) -> None:
        raise Overloaded("full")

    monkeypatch.setattr(api.front.intake, "submit", overloaded)
    response = await api.http.post("/orders", json=AN_ORDER)
    assert (response.status_code, response.json()["code"]) == (429, "overloaded")
    assert int(response.headers["Retry-After"]) >= 1


async def test_without_its_database_it_says_when_to_come_back(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(_: Submission) -> None:
        raise StorageUnavailable("secret address of the database")

    monkeypatch.setattr(api.front.intake, "submit", unavailable)
    response = await api.http.post("/orders", json=AN_ORDER)
    assert (response.status_code, response.json()["code"]) == (503, "storage_unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert "secret" not in response.text


async def test_what_nobody_foresaw_is_told_without_details(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: Submission) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(api.front.intake, "submit", broken)
    response = await api.http.post("/orders", json=AN_ORDER)
    assert (response.status_code, response.headers["Content-Type"]) == (500, PROBLEM)
    assert "secret" not in response.text


# -- look and list ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/events"])
@pytest.mark.parametrize("order_id", [NOBODYS, "7", "%00", "x" * 36, f"{{{NOBODYS}}}"])
async def test_an_order_that_is_not_there_is_not_found(api: Api, order_id: str, path: str) -> None:
    response = await api.http.get(f"/orders/{order_id}{path}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert response.headers["Content-Type"] == PROBLEM


async def test_orders_are_listed_newest_first_page_by_page(api: Api) -> None:
    submitted = [(await api.order())["order_id"] for _ in range(7)]
    seen, cursor = [], None
    while True:
        parameters = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await api.http.get("/orders", params=parameters)).json()
        seen += [order["order_id"] for order in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        await api.order()  # what is newer does not shift what follows
    assert seen == submitted[::-1]


async def test_orders_are_filtered_by_customer_and_status(api: Api) -> None:
    rejected = await api.order(customer_id="c-1")
    await api.rejected_for_stock()
    await api.is_now(rejected, "rejected")
    pending = await api.order(customer_id="c-1")
    other = await api.order(customer_id="c-2")

    async def listed(**filters: Any) -> list[str]:
        page = (await api.http.get("/orders", params=filters)).json()
        return [order["order_id"] for order in page["items"]]

    ids = [order["order_id"] for order in (rejected, pending, other)]
    assert await listed(customer_id="c-1") == [ids[1], ids[0]]
    assert await listed(customer_id=["c-1", "c-2", "c-2"]) == ids[::-1]
    assert await listed(status="rejected") == [ids[0]]
    assert await listed(status=["pending", "rejected"]) == ids[::-1]
    assert await listed(customer_id="c-1", status="pending") == [ids[1]]
    assert await listed(customer_id="nobody") == []


async def test_pages_over_several_branches_come_back_in_order(api: Api) -> None:
    submitted = [(await api.order(customer_id=f"c-{n % 2}"))["order_id"] for n in range(6)]
    filters: dict[str, Any] = {"customer_id": ["c-0", "c-1"], "limit": 2}
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await api.http.get("/orders", params=filters | ({"cursor": cursor} if cursor else {}))).json()
        seen += [order["order_id"] for order in page["items"]]
        cursor = page["next_cursor"]
    assert seen == submitted[::-1]


@pytest.mark.parametrize(
    ("query", "status", "pointer"),
    [
        ("limit=0", 422, "/query/limit"),
        ("limit=201", 422, "/query/limit"),
        ("limit=many", 422, "/query/limit"),
        ("status=lost", 422, "/query/status/0"),
        ("customer_id=%00", 422, "/query/customer_id/0"),
        ("custmer_id=c-1", 422, "/query/custmer_id"),
        ("cursor=zzz", 400, None),
        ("cursor=%C3%BC", 400, None),
        ("cursor=", 400, None),
        (f"cursor={'x' * 500}", 400, None),
    ],
)
async def test_a_list_refuses_what_it_does_not_know(
    api: Api, query: str, status: int, pointer: str | None
) -> None:
    response = await api.http.get(f"/orders?{query}")
    assert (response.status_code, response.headers["Content-Type"]) == (status, PROBLEM)
    assert [error["pointer"] for error in response.json().get("errors", [])] == [pointer] * bool(pointer)


async def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    for _ in range(2):
        await api.order()
    cursor = (await api.http.get("/orders?limit=1")).json()["next_cursor"]
    response = await api.http.get(f"/admin/sagas?cursor={cursor}", headers=ADMIN)
    assert (response.status_code, response.json()["code"]) == (400, "malformed_cursor")


# -- cancel ---------------------------------------------------------------------------------------------


async def test_a_cancelled_order_is_undone_and_cancelling_again_is_fine(api: Api) -> None:
    order = await api.order()
    await api.command("inventory")
    first = await api.http.post(f"/orders/{order['order_id']}/cancel", json={"reason": "changed my mind"})
    again = await api.http.post(f"/orders/{order['order_id']}/cancel")

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["compensating"] is True
    assert first.json()["failure"] == {"code": "cancelled", "message": "changed my mind"}
    assert first.json()["cancel_requested_at"] is not None
    assert again.json() == first.json()
    await api.released()
    await api.is_now(order, "cancelled")
    ended = await api.http.post(f"/orders/{order['order_id']}/cancel")
    assert (ended.status_code, ended.json()["status"]) == (202, "cancelled")


async def test_an_order_on_its_way_cannot_be_cancelled(api: Api) -> None:
    order = await api.order()
    await api.completed()
    await api.is_now(order, "completed")
    response = await api.http.post(f"/orders/{order['order_id']}/cancel")

    assert (response.status_code, response.json()["code"]) == (409, "ended")
    assert response.json()["allowed_actions"] == []


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"reason": ""}', "application/json", 422),
        (b'{"reason": "a\\u0000b"}', "application/json", 422),
        (b'{"why": "x"}', "application/json", 422),
        (b"{", "application/json", 400),
        (b"reason=x", "text/plain", 415),
    ],
)
async def test_a_bad_cancellation_changes_nothing(api: Api, body: bytes, kind: str, status: int) -> None:
    order = await api.order()
    path = f"/orders/{order['order_id']}"
    response = await api.http.post(f"{path}/cancel", content=body, headers={"Content-Type": kind})
    assert response.status_code == status
    assert (await api.http.get(path)).json() == order


async def test_cancelling_an_order_that_is_not_there_is_not_found(api: Api) -> None:
    assert (await api.http.post(f"/orders/{uuid4()}/cancel")).status_code == 404


# -- access ---------------------------------------------------------------------------------------------


async def test_orders_ask_for_their_token_when_there_is_one(migrated_database_url: str) -> None:
    async with an_api(migrated_database_url, orders_token="orders-token") as api:
        refused = await api.http.post("/orders", json=AN_ORDER)
        order = await api.order(ORDERS)
        path = f"/orders/{order['order_id']}"
        statuses = [
            (await api.http.get(path)).status_code,
            (await api.http.get(path, headers=ORDERS)).status_code,
            (await api.http.get(path, headers=ADMIN)).status_code,
            (await api.http.get("/orders", headers={"Authorization": "Bearer wrong"})).status_code,
            (await api.http.get("/admin/sagas", headers=ORDERS)).status_code,
        ]
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert statuses == [401, 200, 200, 401, 403]


async def test_who_cancelled_stands_in_the_audit_log(api: Api) -> None:
    order = await api.order()
    await api.http.post(f"/orders/{order['order_id']}/cancel")
    [entry] = (await api.http.get("/admin/audit-log", headers=ADMIN)).json()["items"]
    assert (entry["actor"], entry["action"]) == ("customer", "saga.cancel")
    assert entry["subject"] == f"saga:{UUID(order['saga_id'])}"
