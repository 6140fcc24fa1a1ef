"""Orders and sagas are found by their owner's reference, unique for an owner, and by metadata (S26)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.api import ADMIN, Api, an_api
from tests.support.orders import AN_ORDER

pytestmark = pytest.mark.postgresql


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    async with an_api(migrated_database_url) as made:
        yield made


async def ids(api: Api, query: str) -> list[str]:
    response = await api.http.get(f"/orders{query}")
    assert response.status_code == 200, response.text
    return [order["order_id"] for order in response.json()["items"]]


async def saga_ids(api: Api, query: str) -> list[str]:
    response = await api.http.get(f"/admin/sagas{query}", headers=ADMIN)
    assert response.status_code == 200, response.text
    return [saga["saga_id"] for saga in response.json()["items"]]


async def count(api: Api, table: str) -> int:
    async with api.deployment.database.connect() as connection:
        found = await connection.execute(text(f"SELECT count(*) FROM orchestrator.{table}"))
        return int(found.scalar_one())


async def test_an_order_shows_its_reference_and_metadata_everywhere(api: Api) -> None:
    order = await api.order(reference="A-1", metadata={"channel": "web"})
    found = {"reference": "A-1", "metadata": {"channel": "web"}}

    in_list = (await api.http.get("/orders")).json()["items"][0]
    saga = (await api.http.get(f"/admin/sagas/{order['saga_id']}", headers=ADMIN)).json()
    summary = (await api.http.get("/admin/sagas", headers=ADMIN)).json()["items"][0]

    for shown in (order, in_list, saga, summary):
        assert found.items() <= shown.items()


async def test_an_order_without_them_is_stored_as_it_ever_was(api: Api) -> None:
    order = await api.order()

    assert (order["reference"], order["metadata"]) == (None, {})
    async with api.deployment.database.connect() as connection:
        [document] = (await connection.execute(text("SELECT document FROM orchestrator.orders"))).one()
    assert document.keys() == AN_ORDER.keys()
    assert (await count(api, "saga_references"), await count(api, "saga_metadata")) == (0, 0)


async def test_orders_and_sagas_are_found_by_reference(api: Api) -> None:
    first = await api.order(reference="A-1")
    other = await api.order(reference="A-1", customer_id="c-2")
    await api.order(reference="A-2")

    assert await ids(api, "?reference=A-1") == [other["order_id"], first["order_id"]]
    assert await ids(api, "?reference=A-1&customer_id=c-1") == [first["order_id"]]
    assert await saga_ids(api, "?reference=A-1&reference=A-9") == [other["saga_id"], first["saga_id"]]
    assert await ids(api, "?reference=nothing") == []


async def test_orders_and_sagas_are_found_by_metadata(api: Api) -> None:
    web = await api.order(metadata={"channel": "web", "shop": "x=1"})
    phone = await api.order(metadata={"channel": "phone"})
    await api.order()

    assert await ids(api, "?metadata.channel=web") == [web["order_id"]]
    assert await ids(api, "?metadata.channel=web&metadata.channel=phone") == [
        phone["order_id"],
        web["order_id"],
    ]
    assert await saga_ids(api, "?metadata.channel=web&metadata.shop=x%3D1") == [web["saga_id"]]
    assert await saga_ids(api, "?metadata.channel=phone&metadata.shop=x%3D1") == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("reference=", "/query/reference/0"),
        ("metadata.bad%20key=x", "/query/metadata/bad key/[key]"),
        ("metadata.=x", "/query/metadata//[key]"),
        ("metadata.channel=", "/query/metadata/channel/0"),
        ("metadata=web", "/query/metadata"),
        ("meta.channel=web", "/query/meta.channel"),
    ],
)
async def test_a_wrong_filter_is_named(api: Api, query: str, pointer: str) -> None:
    for path in ("/orders", "/admin/sagas"):
        response = await api.http.get(f"{path}?{query}", headers=ADMIN)
        assert response.status_code == 422, response.text
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"reference": ""}, "/reference"),
        ({"reference": "a\nb"}, "/reference"),
        ({"reference": "a" * 101}, "/reference"),
        ({"metadata": {"channel": 5}}, "/metadata/channel"),
        ({"metadata": {"channel": ""}}, "/metadata/channel"),
        ({"metadata": {str(number): "x" for number in range(21)}}, "/metadata"),
        ({"metadata": ["x"]}, "/metadata"),
    ],
)
async def test_a_wrong_field_is_named(api: Api, wrong: dict[str, Any], pointer: str) -> None:
    response = await api.http.post("/orders", json={**AN_ORDER, **wrong})

    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


async def test_s26_a_second_order_with_a_reference_is_refused_with_the_first_ones_id(api: Api) -> None:
    first = await api.order(reference="A-1")
    response = await api.http.post("/orders", json={**AN_ORDER, "reference": "A-1"})

    assert response.status_code == 409
    problem = response.json()
    assert (problem["code"], problem["order_id"]) == ("reference_taken", first["order_id"])
    assert await count(api, "sagas") == 1


async def test_s26_the_same_over_sagas(api: Api) -> None:
    first = await api.order(reference="A-1")
    order = {**AN_ORDER, "reference": "A-1"}
    response = await api.http.post("/sagas/order_fulfillment", json=order, headers=ADMIN)

    assert (response.status_code, response.json()["saga_id"]) == (409, first["saga_id"])


async def test_s26_of_many_at_once_one_has_the_reference(api: Api) -> None:
    order = {**AN_ORDER, "reference": "A-1"}
    asked = [
        api.http.post("/orders", json=order, headers={"Idempotency-Key": f"k-{number}"})
        for number in range(12)
    ]
    answers = await asyncio.gather(*asked)

    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 11
    [first] = [answer.json()["order_id"] for answer in answers if answer.status_code == 202]
    assert {answer.json()["order_id"] for answer in answers} == {first}
    assert await count(api, "sagas") == await count(api, "saga_references") == 1


async def test_s26_the_same_submission_again_is_the_same_order(api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    first = await api.order(key, reference="A-1")
    again = await api.http.post("/orders", json={**AN_ORDER, "reference": "A-1"}, headers=key)

    assert (again.status_code, again.json()["order_id"]) == (200, first["order_id"])


async def test_s26_the_key_of_a_refused_order_is_free(api: Api) -> None:
    await api.order(reference="A-1")
    key = {"Idempotency-Key": "k"}
    refused = await api.http.post("/orders", json={**AN_ORDER, "reference": "A-1"}, headers=key)
    mended = await api.http.post("/orders", json={**AN_ORDER, "reference": "A-2"}, headers=key)

    assert (refused.status_code, mended.status_code) == (409, 202)
