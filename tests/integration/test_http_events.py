"""Server-sent events of an order: all of them, once, in order, also for who comes late or comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import jsonschema
import pytest

from orchestrator.http import events
from tests.support.api import Api, an_api
from tests.support.serving import serving

pytestmark = pytest.mark.postgresql


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    id: int
    kind: str
    order: dict[str, Any]


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    async with an_api(migrated_database_url) as made:
        yield made


def parsed(stream: str) -> list[Event]:
    found = []
    for block in stream.split("\n\n"):
        fields = dict(each.split(": ", 1) for each in block.splitlines() if not each.startswith(":"))
        if "data" in fields:
            found.append(Event(int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def followed(api: Api, order: dict[str, Any], last_event_id: int | None = None) -> httpx.Response:
    headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    return await api.http.get(f"/orders/{order['order_id']}/events", headers=headers)


async def an_ended_order(api: Api) -> dict[str, Any]:
    order = await api.order()
    await api.completed()
    await api.is_now(order, "completed")
    return order


async def test_who_follows_from_the_start_sees_every_change(api: Api) -> None:
    order = await api.order()
    following = asyncio.create_task(followed(api, order))
    await api.completed()
    response = await following

    assert response.headers["Content-Type"].startswith("text/event-stream")
    seen = parsed(response.text)
    assert [event.kind for event in seen] == [
        "order.pending",
        "order.reserved",
        "order.paid",
        "order.shipped",
        "order.completed",
    ]
    assert [event.id for event in seen] == sorted({event.id for event in seen})
    assert [event.order["status"] for event in seen] == [event.kind.removeprefix("order.") for event in seen]
    assert [event.order["ended_at"] is None for event in seen] == [True] * 4 + [False]
    assert seen[0].order == order
    assert seen[-1].order == (await api.http.get(f"/orders/{order['order_id']}")).json()


async def test_who_comes_late_sees_the_same(api: Api) -> None:
    order = await api.order()
    following = asyncio.create_task(followed(api, order))
    await api.reserved()
    await api.declined()
    await api.released()
    live = parsed((await following).text)

    assert [(event.kind, event.order["compensating"]) for event in live] == [
        ("order.pending", False),
        ("order.reserved", False),
        ("order.reserved", True),
        ("order.rejected", False),
    ]
    assert [event.order["failure"] and event.order["failure"]["code"] for event in live] == [
        None,
        None,
        "payment_declined",
        "payment_declined",
    ]
    assert parsed((await followed(api, order)).text) == live


@pytest.mark.parametrize("seen", range(5))
async def test_who_comes_back_gets_the_rest(api: Api, seen: int) -> None:
    order = await an_ended_order(api)
    everything = parsed((await followed(api, order)).text)
    last_event_id = everything[seen - 1].id if seen else 0
    assert parsed((await followed(api, order, last_event_id)).text) == everything[seen:]


async def test_who_has_seen_the_end_need_not_come_back(api: Api) -> None:
    order = await an_ended_order(api)
    last = parsed((await followed(api, order)).text)[-1]
    assert (await followed(api, order, last.id)).status_code == 204


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "9" * 30])
async def test_a_malformed_last_event_id_is_refused(api: Api, value: str) -> None:
    order = await api.order()
    response = await api.http.get(f"/orders/{order['order_id']}/events", headers={"Last-Event-ID": value})
    assert (response.status_code, response.json()["code"]) == (400, "malformed_header")


async def test_events_arrive_as_they_happen(api: Api) -> None:
    order = await api.order()
    async with (
        serving(api.app) as url,
        httpx.AsyncClient(timeout=30, trust_env=False) as client,
        client.stream("GET", f"{url}/orders/{order['order_id']}/events") as response,
    ):
        kinds = (
            line.removeprefix("event: ")
            async for line in response.aiter_lines()
            if line.startswith("event: ")
        )
        assert await anext(kinds) == "order.pending"
        await api.reserved()
        assert await anext(kinds) == "order.reserved"
        await api.declined()
        await api.released()
        assert [kind async for kind in kinds] == ["order.reserved", "order.rejected"]
    assert api.listener.watching == 0


async def test_a_quiet_stream_shows_that_it_is_alive(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUIET_S", 0.01)
    order = await api.order()
    async with (
        serving(api.app) as url,
        httpx.AsyncClient(timeout=30, trust_env=False) as client,
        client.stream("GET", f"{url}/orders/{order['order_id']}/events") as response,
    ):
        comments = (line async for line in response.aiter_lines() if line.startswith(":"))
        assert [await anext(comments) for _ in range(3)] == [": still here"] * 3


async def test_streams_end_when_the_process_stops(api: Api) -> None:
    order = await api.order()
    following = asyncio.create_task(followed(api, order))
    await api.reserved()
    api.listener.say_goodbye()
    response = await following
    assert [event.kind for event in parsed(response.text)][:1] == ["order.pending"]
    assert api.listener.watching == 0


async def test_too_many_streams_are_sent_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    order = await api.order()
    monkeypatch.setattr(api.listener, "_watch_limit", 0)
    response = await followed(api, order)
    assert (response.status_code, response.json()["code"]) == (503, "too_many_streams")
    assert int(response.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(("path", "id_name"), [("/orders", "order_id"), ("/sagas", "saga_id")])
async def test_each_event_is_as_it_is_described(api: Api, path: str, id_name: str) -> None:
    """By the document's schema of an event, and its data by that of what it shows."""
    order = await an_ended_order(api)
    document = (await api.http.get("/openapi.json")).json()
    described = document["paths"][f"{path}/{{{id_name}}}/events"]["get"]["responses"]["200"]["content"]
    event = described["text/event-stream"]["schema"]
    data = event["properties"]["data"]["contentSchema"] | {"components": document["components"]}
    stream = (await api.http.get(f"{path}/{order[id_name]}/events")).text
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines())
        for block in stream.split("\n\n")
        if "\ndata: " in block
    ]
    assert len(blocks) > 2
    for block in blocks:
        jsonschema.Draft202012Validator(event).validate(block)
        jsonschema.Draft202012Validator(data).validate(json.loads(block["data"]))
