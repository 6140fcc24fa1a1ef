"""The sandbox as outsiders see it: over HTTP, mounted in another application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import create_async_engine

from contracts.limits import MAX_BODY_BYTES
from oms.sandbox import Sandbox, create_sandbox

CHARGE = {"order_id": "o-1", "amount": 1299, "currency": "EUR", "payment_method": "pm_card_visa"}


@asynccontextmanager
async def client_of(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the sandbox, mounted as in `oms run`."""
    engine = create_async_engine(database_url)
    house = FastAPI()
    house.mount("/sandbox", create_sandbox(Sandbox(engine)))
    transport = httpx.ASGITransport(house)
    async with httpx.AsyncClient(transport=transport, base_url="http://house/sandbox/") as client:
        yield client
    await engine.dispose()


@pytest.fixture
async def http(migrated_database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a working sandbox."""
    async with client_of(migrated_database_url) as client:
        yield client


@pytest.fixture
async def edge() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a sandbox that refuses before it needs its database, which is not there."""
    async with client_of("postgresql+psycopg://127.0.0.1/none") as client:
        yield client


async def posted(
    http: httpx.AsyncClient, path: str, body: object, key: str | None = "k"
) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
    response = await http.post(path, content=json.dumps(body), headers=headers)
    return response.status_code, body_of(response)


async def got(http: httpx.AsyncClient, path: str) -> tuple[int, dict[str, Any]]:
    response = await http.get(path)
    return response.status_code, body_of(response)


def body_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a reply, which must be marked as a problem exactly when it is one."""
    kind = "application/problem+json" if response.is_error else "application/json"
    assert response.headers["content-type"] == kind
    body = response.json()
    assert isinstance(body, dict)
    return body


async def test_an_outsider_can_count(http: httpx.AsyncClient) -> None:
    for number in range(5):
        body = CHARGE | {"order_id": f"o-{number % 2}"}
        assert (await posted(http, "charges", body, f"k-{number}"))[0] == 200
    status, page = await got(http, "charges?order_id=o-0")
    assert status == 200
    assert [item["key"] for item in page["items"]] == ["k-4", "k-2", "k-0"]
    assert page["next_cursor"] is None
    item = page["items"][0]
    assert (item["amount"], item["currency"], item["refunded"], item["status"]) == (
        1299,
        "EUR",
        0,
        "succeeded",
    )
    assert item["created_at"].endswith("Z")


async def test_a_long_list_comes_in_pages(http: httpx.AsyncClient) -> None:
    for number in range(5):
        await posted(http, "charges", CHARGE, f"k-{number}")
    query = "charges?limit=2&order_id=o-1&order_id=o-2"
    pages = [(await got(http, query))[1]]
    while cursor := pages[-1]["next_cursor"]:
        pages.append((await got(http, f"{query}&cursor={cursor}"))[1])
    keys = [[item["key"] for item in page["items"]] for page in pages]
    assert keys == [["k-4", "k-3"], ["k-2", "k-1"], ["k-0"]]


async def test_quotes_around_the_key_are_no_part_of_it(http: httpx.AsyncClient) -> None:
    assert (await posted(http, "charges", CHARGE, '"k"')) == (await posted(http, "charges", CHARGE, "k"))


async def test_refusals_are_problem_details(http: httpx.AsyncClient) -> None:
    status, problem = await posted(http, "charges", CHARGE | {"payment_method": "pm_card_declined"})
    assert (status, problem["status"], problem["code"]) == (402, 402, "card_declined")
    status, problem = await posted(http, "charges", CHARGE)
    assert (status, problem["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("key", [None, "", "with space", "x" * 256])
async def test_a_key_is_needed(edge: httpx.AsyncClient, key: str | None) -> None:
    status, problem = await posted(edge, "charges", CHARGE, key)
    assert (status, problem["code"]) == (400, "idempotency_key")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"amount": "1299"}, "/amount"),
        ({"amount": 1.5}, "/amount"),
        ({"amount": float("nan")}, "/amount"),
        ({"amount": -1}, "/amount"),
        ({"amount": 2**53}, "/amount"),
        ({"currency": ""}, "/currency"),
        ({"order_id": "\x00"}, "/order_id"),
        ({"payment_method": "s3cret\n"}, "/payment_method"),
        ({"extra": "s3cret"}, "/extra"),
    ],
)
async def test_wrong_fields_are_named_and_not_repeated(
    edge: httpx.AsyncClient, wrong: dict[str, Any], pointer: str
) -> None:
    status, problem = await posted(edge, "charges", CHARGE | wrong)
    assert status == 422
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert "s3cret" not in str(problem)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"order_id": "\\ud800"}', "application/json", 400),
        (b"[" * 10_000, "application/json", 400),
        (b"[]", "application/json", 422),
        (b"", "application/json", 422),
        (b"{}", "text/plain", 415),
        (b" " * (MAX_BODY_BYTES + 1), "application/json", 413),
    ],
    ids=["cut off", "lone surrogate", "deep", "list", "empty", "no json", "too large"],
)
async def test_bodies_that_are_no_request(
    edge: httpx.AsyncClient, body: bytes, kind: str, status: int
) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": kind}
    response = await edge.post("charges", content=body, headers=headers)
    assert (response.status_code, body_of(response)["status"]) == (status, status)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("order_id=%00", 422),
        ("key=", 422),
        ("limit=0", 422),
        ("limit=x", 422),
        ("cursor=*", 400),
        ("cursor=_w", 400),
        ("after=k", 400),
        ("order=o-1", 400),
    ],
)
async def test_queries_that_make_no_sense(edge: httpx.AsyncClient, query: str, status: int) -> None:
    assert (await got(edge, f"charges?{query}"))[0] == status


async def test_the_framework_s_own_errors_are_problem_details_too(edge: httpx.AsyncClient) -> None:
    assert (await posted(edge, "nothing", {}))[0] == 404
    response = await edge.delete("charges")
    assert (response.status_code, body_of(response)["status"]) == (405, 405)
    assert response.headers["Allow"]


async def test_a_provider_that_is_down_says_when_to_come_back(http: httpx.AsyncClient) -> None:
    body = CHARGE | {"payment_method": "pm_gateway_down"}
    response = await http.post("charges", json=body, headers={"Idempotency-Key": "k"})
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


async def test_the_api_describes_itself(edge: httpx.AsyncClient) -> None:
    status, document = await got(edge, "openapi.json")
    assert status == 200
    schema = document["paths"]["/shipments"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["address"]["properties"]["postal_code"]
