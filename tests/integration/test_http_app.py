"""The application as a whole: addresses, methods, health, metrics, its description of itself."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from fastapi import APIRouter

from contracts.problems import ProblemError
from messaging.unit_of_work import StorageUnavailable
from tests.support.api import ADMIN, Api, an_api

pytestmark = pytest.mark.postgresql

PROBLEM = "application/problem+json"


def a_participants_router() -> APIRouter:
    router = APIRouter()

    @router.get("/stock/{sku}")
    async def stock(sku: str) -> dict[str, str]:
        if sku == "gone":
            raise ProblemError(404, "not_found", "There is no such product.")
        return {"sku": sku}

    return router


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    missing = {"/inventory": "OMS_INVENTORY_DATABASE_URL"}
    async with an_api(migrated_database_url, missing=missing, routers=[a_participants_router()]) as made:
        yield made


@pytest.mark.parametrize(
    "path", ["/", "/order", "/orders/", "/admin", "/admin/job", "/docs", "/orders/a/b/c"]
)
async def test_an_unknown_address_is_a_problem(api: Api, path: str) -> None:
    response = await api.http.get(path)
    assert (response.status_code, response.headers["Content-Type"]) == (404, PROBLEM)
    assert response.json()["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/orders", "GET, HEAD, POST"),
        ("PATCH", "/orders/7", "GET, HEAD"),
        ("GET", "/orders/7/cancel", "POST"),
        ("TRACE", "/orders", "GET, HEAD, POST"),
        ("PROPFIND", "/livez", "GET, HEAD"),
        ("PUT", "/admin/sagas", "GET, HEAD"),
        ("GET", "/admin/sagas/7/actions/retry", "POST"),
        ("POST", "/admin/jobs/7", "GET, HEAD"),
        ("POST", "/admin/dead-letters/groups", "GET, HEAD"),
        ("DELETE", "/stock/S", "GET, HEAD"),
    ],
)
async def test_another_method_is_a_problem_that_names_the_allowed(
    api: Api, method: str, path: str, allowed: str
) -> None:
    response = await api.http.request(method, path, headers=ADMIN)
    assert (response.status_code, response.headers["Content-Type"]) == (405, PROBLEM)
    assert response.headers["Allow"] == allowed


async def test_whatever_may_be_looked_at_answers_to_head_as_to_get_without_the_body(api: Api) -> None:
    order = await api.order()
    ids = {"order_id": order["order_id"], "saga_id": order["saga_id"], "name": "console.css"}
    described = [path for path, ways in api.app.openapi()["paths"].items() if "get" in ways]
    for path in [*described, "/console", "/console/login", "/console/static/{name}", "/console/nothing"]:
        address = path.format_map(defaultdict(lambda: str(uuid4()), ids))
        if path.endswith("/events"):
            continue  # which has no end, see below
        get, head = [await api.http.request(way, address, headers=ADMIN) for way in ("GET", "HEAD")]
        assert (head.status_code, head.content) == (get.status_code, b""), address
        assert head.headers.keys() == get.headers.keys(), address
        assert head.headers.get("Content-Type") == get.headers.get("Content-Type"), address


async def test_the_head_of_an_event_stream_is_all_of_it(api: Api) -> None:
    order = await api.order()
    async with asyncio.timeout(60):
        response = await api.http.head(f"/orders/{order['order_id']}/events")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Type"].startswith("text/event-stream")


async def test_what_takes_no_get_takes_no_head(api: Api) -> None:
    response = await api.http.head("/orders/7/cancel")
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")


async def test_a_participants_routes_answer_beside_ours(api: Api) -> None:
    assert (await api.http.get("/stock/S-1")).json() == {"sku": "S-1"}
    gone = await api.http.get("/stock/gone")
    assert (gone.status_code, gone.headers["Content-Type"]) == (404, PROBLEM)


@pytest.mark.parametrize(("method", "path"), [("GET", "/inventory"), ("PUT", "/inventory/SKU-1")])
async def test_a_participant_that_is_not_here_names_its_variable(api: Api, method: str, path: str) -> None:
    response = await api.http.request(method, path)
    assert (response.status_code, response.headers["Content-Type"]) == (503, PROBLEM)
    assert "OMS_INVENTORY_DATABASE_URL" in response.json()["detail"]
    assert int(response.headers["Retry-After"]) >= 1


async def test_it_is_alive_and_ready(api: Api) -> None:
    live, ready = await api.http.get("/livez"), await api.http.get("/readyz")
    assert live.json() == {"status": "ok", "version": "1.2.3"}
    assert ready.json() == {
        "status": "ok",
        "components": {
            "database": {"status": "ok", "detail": None, "breaker": None},
            "broker": {"status": "ok", "detail": None, "breaker": None},
        },
    }


async def test_a_broker_in_trouble_degrades(api: Api) -> None:
    api.broker_trouble = "the broker cannot be reached"
    response = await api.http.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert response.json()["components"]["broker"]["detail"] == "the broker cannot be reached"


async def test_without_its_database_it_is_not_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unavailable(_: object) -> None:
        raise StorageUnavailable("the database cannot be used")

    monkeypatch.setattr(api.queries.reader, "rows", unavailable)
    response = await api.http.get("/readyz")
    assert (response.status_code, response.headers["Content-Type"]) == (503, PROBLEM)
    assert "database" in response.json()["detail"]
    assert response.json()["components"]["database"] == {
        "status": "down",
        "detail": "the database cannot be used",
        "breaker": None,
    }
    assert (await api.http.get("/metrics")).status_code == 200


async def test_what_happens_is_counted(api: Api) -> None:
    order = await api.order()
    await api.rejected_for_stock()
    await api.is_now(order, "rejected")
    await api.order()
    await api.http.get("/orders/7")
    lines = (await api.http.get("/metrics")).text.splitlines()

    assert 'oms_sagas_started_total{definition="order_fulfillment"} 2.0' in lines
    assert 'oms_sagas_ended_total{definition="order_fulfillment",result="rejected"} 1.0' in lines
    assert 'oms_sagas_active{status="running"} 1.0' in lines
    assert "oms_sagas_with_incident 0.0" in lines
    requests = "oms_http_request_duration_seconds_count"
    assert f'{requests}{{method="POST",route="/orders",status="202"}} 2.0' in lines
    assert f'{requests}{{method="GET",route="/orders/{{order_id}}",status="404"}} 1.0' in lines
    forward = 'definition="order_fulfillment",direction="forward"'
    assert 'oms_saga_duration_seconds_count{definition="order_fulfillment",result="rejected"} 1.0' in lines
    assert f'oms_step_attempts_total{{{forward},result="rejected",step="reserve"}} 1.0' in lines
    assert f'oms_step_duration_seconds_count{{{forward},step="reserve"}} 1.0' in lines
    assert 'oms_dead_letters{queue="payment.commands",status="open"} 0.0' in lines
    assert 'oms_incidents_open{kind="overdue"} 0.0' in lines
    assert 'oms_batch_messages_count{queue="submissions",service="orchestrator"} 2.0' in lines


# -- the description ----------------------------------------------------------------------------------------


def references(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        yield from (value for name, value in document.items() if name == "$ref")
        for value in document.values():
            yield from references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)


async def test_the_description_holds_everything_that_it_refers_to(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    missing = {
        ref for ref in references(document) if ref.removeprefix("#/components/schemas/") not in schemas
    }
    assert missing == set()


async def test_whatever_is_taken_or_shown_as_json_is_described_by_the_schema_of_its_name(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    of_a_participant = "/stock/{sku}"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            bodies = [operation["requestBody"]] if "requestBody" in operation else []
            assert method == "get" or bodies or path.endswith("}/cancel"), (method, path)
            answers = [each for status, each in operation["responses"].items() if status.startswith("2")]
            for each in (*bodies, *answers):
                schema = each.get("content", {}).get("application/json", {}).get("schema")
                if schema is not None and path not in (of_a_participant, "/sagas/{saga_id}/signals/{name}"):
                    assert list(schema) == ["$ref"], (method, path)
    assert set(document["components"]["securitySchemes"]) == {"token"}
    assert not {"HTTPValidationError", "ValidationError"} & set(document["components"]["schemas"])


async def test_every_error_is_described_as_a_problem(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            errors = {s: r for s, r in operation["responses"].items() if s >= "400"}
            assert {"500"} <= set(errors), (method, path)
            for status, response in errors.items():
                assert list(response["content"]) == [PROBLEM], (method, path, status)


async def test_the_routes_of_the_interface_are_described(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    described = {(m.upper(), path) for path, each in document["paths"].items() for m in each}
    assert described >= {
        ("POST", "/orders"),
        ("GET", "/orders"),
        ("GET", "/orders/{order_id}"),
        ("GET", "/orders/{order_id}/events"),
        ("POST", "/orders/{order_id}/cancel"),
        ("GET", "/events"),
        ("GET", "/admin/sagas"),
        ("GET", "/admin/sagas/{saga_id}"),
        ("GET", "/admin/sagas/{saga_id}/explain"),
        ("POST", "/admin/sagas/{saga_id}/actions/retry"),
        ("POST", "/admin/sagas/{saga_id}/actions/cancel"),
        ("POST", "/admin/sagas/{saga_id}/actions/resolve"),
        ("GET", "/admin/dead-letters"),
        ("GET", "/admin/dead-letters/groups"),
        ("GET", "/admin/dead-letters/{dead_letter_id}"),
        ("POST", "/admin/dead-letters/{dead_letter_id}/replay"),
        ("POST", "/admin/dead-letters/{dead_letter_id}/discard"),
        ("POST", "/admin/dead-letters/replay"),
        ("POST", "/admin/dead-letters/discard"),
        ("GET", "/admin/jobs"),
        ("GET", "/admin/jobs/{job_id}"),
        ("GET", "/admin/jobs/{job_id}/items"),
        ("POST", "/admin/jobs/{job_id}/cancel"),
        ("GET", "/admin/audit-log"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    }


async def test_operators_routes_are_described_with_their_token(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            guarded = path.startswith(("/admin", "/participants", "/events")) or method == "put"
            named = {name for each in operation.get("security", ()) for name in each or ("nobody",)}
            by_definition = {"token", "nobody"} if path.startswith("/sagas") else set[str]()
            assert named == ({"token"} if guarded else by_definition), path


async def test_who_gets_an_id_is_told_what_it_is_good_for(api: Api) -> None:
    document = (await api.http.get("/openapi.json")).json()
    operations = {
        operation["operationId"]: path
        for path, each in document["paths"].items()
        for operation in each.values()
    }

    def linked(path: str, method: str, status: str) -> dict[str, str]:
        links = document["paths"][path][method]["responses"][status]["links"].values()
        return {operations[link["operationId"]]: next(iter(link["parameters"].values())) for link in links}

    submitted = linked("/orders", "post", "202")
    assert submitted["/orders/{order_id}/cancel"] == "$response.body#/order_id"
    listed = linked("/admin/dead-letters", "get", "200")
    assert listed["/admin/dead-letters/{dead_letter_id}"] == "$response.body#/items/0/dead_letter_id"


# -- what browsers are told --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/livez",
        "/metrics",
        "/openapi.json",
        "/orders",
        "/orders/7",
        "/admin/sagas",
        "/inventory",
        "/console",
        "/console/login",
        "/nowhere",
    ],
)
@pytest.mark.parametrize("headers", [{}, ADMIN])
async def test_every_answer_guards_itself(api: Api, path: str, headers: dict[str, str]) -> None:
    answered = (await api.http.get(path, headers=headers)).headers
    policy = answered["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answered["X-Content-Type-Options"] == "nosniff"
    assert answered["Referrer-Policy"] == "same-origin"
    assert answered["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in answered
    over_tls = (await api.http.get(f"https://oms{path}", headers=headers)).headers
    assert over_tls["Strict-Transport-Security"] == "max-age=31536000"
    assert len(over_tls.get_list("Content-Security-Policy")) == 1


async def test_an_answer_to_something_unforeseen_guards_itself_too(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(api.queries.audit_log, "page", fail)
    response = await api.http.get("https://oms/admin/audit-log", headers=ADMIN)
    assert response.status_code == 500
    assert "secret words" not in response.text
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" in response.headers
