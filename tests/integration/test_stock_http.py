"""Stock and ledgers over HTTP, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response

from contracts.problems import PROBLEM_JSON, ProblemError
from messaging.postgresql import create_engine
from messaging.unit_of_work import StorageUnavailable
from participants.http import ledger_router
from participants.inventory import handlers
from participants.inventory.http import inventory_router
from participants.inventory.postgresql import SqlInventoryTransaction
from participants.inventory.stockroom import Stockroom
from participants.kit.handler import KitHandler
from tests.support.participants import Case, delivered, new_id, unit_of_work

TOKEN = {"Authorization": "Bearer secret"}


@pytest.fixture
async def client(engine: AsyncEngine) -> AsyncIterator[httpx.AsyncClient]:
    async def guard(request: Request) -> None:
        if request.headers.get("authorization") != TOKEN["Authorization"]:
            raise ProblemError(401, "unauthorized", "A valid bearer token is needed.")

    async def as_problem(_: Request, error: Any) -> Response:
        return Response(error.body(), error.status, media_type=PROBLEM_JSON)

    app = FastAPI(exception_handlers={ProblemError: as_problem})
    app.include_router(inventory_router(Stockroom(engine), guard))
    app.include_router(ledger_router("inventory", engine, guard))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def put(client: httpx.AsyncClient, sku: str, **change: Any) -> httpx.Response:
    return await client.put(f"/inventory/{sku}", json=change, headers=TOKEN)


async def reserve(engine: AsyncEngine, case: Case, **lines: int) -> None:
    handler = KitHandler(handlers.inventory, new_id)
    unit = unit_of_work(engine, SqlInventoryTransaction)
    await unit.run(lambda transaction: handler(transaction, [delivered(case.reserve(**lines))]))


async def movements(engine: AsyncEngine) -> list[tuple[Any, ...]]:
    async with engine.connect() as connection:
        query = "SELECT sku, kind, quantity FROM inventory.stock_movements ORDER BY movement_id"
        return [tuple(row) for row in await connection.execute(text(query))]


async def test_setting_stock_enters_a_product_and_records_the_difference(
    client: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    answer = await put(client, "SKU-1", on_hand=10)
    assert (answer.status_code, answer.json()) == (
        200,
        {"sku": "SKU-1", "on_hand": 10, "reserved": 0, "available": 10},
    )
    await put(client, "SKU-1", on_hand=7)
    await put(client, "SKU-1", on_hand=7)
    assert (await client.get("/inventory/SKU-1")).json()["on_hand"] == 7
    assert await movements(engine) == [("SKU-1", "adjustment", 10), ("SKU-1", "adjustment", -3)]


async def test_the_book_stock_is_never_below_what_is_reserved(
    client: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    await put(client, "A", on_hand=5)
    await reserve(engine, Case(), A=3)
    answer = await put(client, "A", on_hand=2)
    assert (answer.status_code, answer.json()["code"], answer.json()["reserved"]) == (
        409,
        "below_reserved",
        3,
    )
    assert (await put(client, "A", on_hand=3)).json()["available"] == 0


async def test_an_expectation_that_does_not_hold_changes_nothing(
    client: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    await put(client, "A", on_hand=5)
    answer = await put(client, "A", on_hand=9, expected_on_hand=4)
    assert (answer.status_code, answer.json()["code"], answer.json()["on_hand"]) == (412, "stale_stock", 5)
    assert (await put(client, "NEW", on_hand=9, expected_on_hand=0)).status_code == 412
    assert (await client.get("/inventory/NEW")).status_code == 404
    assert (await put(client, "A", on_hand=9, expected_on_hand=5)).status_code == 200
    assert await movements(engine) == [("A", "adjustment", 5), ("A", "adjustment", 4)]


async def test_of_two_who_expect_the_same_one_wins(client: httpx.AsyncClient) -> None:
    await put(client, "A", on_hand=0)
    answers = await asyncio.gather(*(put(client, "A", on_hand=n, expected_on_hand=0) for n in range(1, 6)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]


async def test_stock_has_locations_where_somebody_cares(
    client: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    await put(client, "A", on_hand=2)
    answer = await put(client, "A", on_hand=5, location="north")
    shown = answer.json()
    assert (shown["on_hand"], [(each["location"], each["on_hand"]) for each in shown["locations"]]) == (
        7,
        [("default", 2), ("north", 5)],
    )
    await reserve(engine, Case(), A=4)
    listed = (await client.get("/inventory")).json()["items"]
    assert listed == [(await client.get("/inventory/A")).json()]
    assert [(each["location"], each["reserved"]) for each in listed[0]["locations"]] == [
        ("default", 0),
        ("north", 4),
    ]
    below = await put(client, "A", on_hand=3, location="north")
    assert (below.status_code, below.json()["reserved"]) == (409, 4)
    stale = await put(client, "A", on_hand=9, location="north", expected_on_hand=7)
    assert (stale.status_code, stale.json()["on_hand"]) == (412, 5)
    assert (await put(client, "A", on_hand=0)).json()["available"] == 1
    assert (await put(client, "A", on_hand=1, location="No Such")).status_code == 422
    assert await movements(engine) == [
        ("A", "adjustment", 2),
        ("A", "adjustment", 5),
        ("A", "adjustment", -2),
    ]


async def test_setting_stock_needs_leave(client: httpx.AsyncClient) -> None:
    assert (await client.put("/inventory/A", json={"on_hand": 1})).status_code == 401
    assert (await client.get("/inventory/A")).status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"on_hand": -1}, "/on_hand"),
        ({"on_hand": 2**53}, "/on_hand"),
        ({"on_hand": "7"}, "/on_hand"),
        ({"on_hand": True}, "/on_hand"),
        ({"on_hand": 1.0}, "/on_hand"),
        ({}, "/on_hand"),
        ({"on_hand": 1, "colour": "red"}, "/colour"),
        ({"on_hand": 1, "expected_on_hand": -1}, "/expected_on_hand"),
    ],
)
async def test_a_wrong_body_is_named_by_its_field(
    client: httpx.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    answer = await put(client, "A", **body)
    assert (answer.status_code, [each["pointer"] for each in answer.json()["errors"]]) == (422, [pointer])


async def test_what_is_no_json_or_no_sku_is_refused(client: httpx.AsyncClient) -> None:
    json_type = {"Content-Type": "application/json", **TOKEN}
    assert (await client.put("/inventory/A", content=b"{", headers=json_type)).status_code == 400
    assert (await client.put("/inventory/A", content=b"{}", headers=TOKEN)).status_code == 415
    assert (await put(client, "no%00sku", on_hand=1)).status_code == 422
    assert (await put(client, "x" * 65, on_hand=1)).status_code == 422
    assert (await client.get("/inventory/no%00sku")).status_code == 404


async def test_products_are_listed_page_by_page(client: httpx.AsyncClient) -> None:
    names = [f"SKU-{number}" for number in range(7)]
    for name in names:
        await put(client, name, on_hand=1)
    found: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/inventory", params=query)).json()
        found += [item["sku"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == names


@pytest.mark.parametrize("cursor", ["x", "c1NLVS0x!", "§", "AAAA", ""])
async def test_a_foreign_cursor_is_refused(client: httpx.AsyncClient, cursor: str) -> None:
    answer = await client.get("/inventory", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_cursor")


async def test_a_participant_shows_what_it_knows_of_a_saga(
    client: httpx.AsyncClient, engine: AsyncEngine
) -> None:
    await put(client, "A", on_hand=5)
    case = Case()
    await reserve(engine, case, A=2)
    answer = await client.get(f"/participants/inventory/sagas/{case.saga_id}", headers=TOKEN)
    [step] = answer.json()["steps"]
    assert (step["step"], step["state"], step["details"]) == (
        "reserve",
        "done",
        {"lines": [{"sku": "A", "quantity": 2}]},
    )
    assert step["forward"]["type"] == "InventoryReservedEvent"
    assert not {"request", "payload_hash"} & set(step)
    assert (await client.get(f"/participants/inventory/sagas/{case.saga_id}")).status_code == 401
    assert (await client.get("/participants/inventory/sagas/7", headers=TOKEN)).status_code == 404


async def test_a_database_that_is_away_is_said_to_be_unavailable() -> None:
    engine = create_engine("postgresql+psycopg://oms@127.0.0.1:1/oms")
    with pytest.raises(StorageUnavailable):
        await Stockroom(engine).find("A")
    await engine.dispose()
