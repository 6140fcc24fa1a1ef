"""`GET /events`: every public event of all orders, as pages, by long poll and as a stream (S29)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from contracts import events
from oms.event_stream import events_of
from orchestrator.http import feed as http_feed
from orchestrator.queries.feed_position import position_of
from orchestrator.tokens import Role
from tests.integration.test_tokens import a_token
from tests.support.api import ADMIN, ORDERS, Api, an_api
from tests.support.serving import serving

pytestmark = pytest.mark.postgresql

WHOLE_LIFE: Final = [
    "OrderCreatedEvent",
    "InventoryReservedEvent",
    "PaymentSuccessfulEvent",
    "OrderFulfilledEvent",
    "InventoryReducedEvent",
    "OrderCompletedEvent",
]
STREAM: Final = {**ADMIN, "Accept": "text/event-stream"}


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    async with an_api(migrated_database_url) as made:
        yield made


async def asked(api: Api, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
    return await api.http.get("/events", params=query, headers={**ADMIN, **(headers or {})})


async def page(api: Api, **query: Any) -> dict[str, Any]:
    response = await asked(api, **query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def everything(api: Api, count: int, **query: Any) -> list[dict[str, Any]]:
    """All events, once there are so many, over as many pages as it takes."""
    async with asyncio.timeout(60):
        while True:
            found, after = list[dict[str, Any]](), None
            while True:
                one = await page(api, **query, **({"after": after} if after else {}))
                found, after = [*found, *one["items"]], one["next_cursor"]
                if not one["more"]:
                    break
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def a_completed_order(api: Api, **changes: Any) -> dict[str, Any]:
    order = await api.order(**changes)
    await api.completed()
    await api.is_now(order, "completed")
    return order


def types(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in found]


async def test_an_order_s_whole_life_is_told_in_its_order(api: Api) -> None:
    order = await a_completed_order(api)
    found = await everything(api, len(WHOLE_LIFE))
    assert types(found) == WHOLE_LIFE
    assert {event["order_id"] for event in found} == {order["order_id"]}
    assert {event["definition"] for event in found} == {"order_fulfillment"}
    assert [event["key"] for event in found] == [events.EVENTS[name].key for name in WHOLE_LIFE]
    assert [event["seq"] for event in found] == [1, 2, 3, 4, 5, 5]
    assert len({event["event_id"] for event in found}) == len(found)


async def test_bodies_are_those_that_were_published(api: Api) -> None:
    order = await a_completed_order(api)
    created, reserved, paid, *_, completed = await everything(api, len(WHOLE_LIFE))
    identities = {"saga_id": order["saga_id"], "order_id": order["order_id"]}
    items = [{"sku": "SKU-1", "quantity": 2}]
    assert created["body"] == identities | {
        "customer_id": order["customer_id"],
        "currency": "EUR",
        "total": order["total"],
        "lines": items,
    }
    assert reserved["body"] == identities | {"step": "reserve", "direction": "forward", "lines": items}
    assert (paid["body"]["amount"], paid["body"]["reference"]) == (2598, "ch_1")
    assert completed["body"] == identities


async def test_ids_are_those_of_the_wire_and_a_copy_is_the_same_event(api: Api) -> None:
    await api.order()
    _, command = await api.command("inventory")
    answer = api.outcome(command, events.InventoryReservedEvent, lines=[{"sku": "SKU-1", "quantity": 2}])
    api.publish(answer)
    api.publish(answer)
    await api.command("payment")
    found = await everything(api, 2)
    assert types(found) == WHOLE_LIFE[:2]
    assert found[1]["event_id"] == str(answer.headers["event-id"])
    history = await api.row("SELECT led_to FROM orchestrator.history WHERE version = 1")
    announced = {sent["type"]: sent["message_id"] for sent in history.led_to["sent"]}
    assert found[0]["event_id"] == announced["OrderCreatedEvent"]


async def test_an_answer_from_before_ids_were_kept_has_one_that_stays(api: Api) -> None:
    await a_completed_order(api)
    async with api.deployment.database.begin() as connection:
        forget = "UPDATE orchestrator.history SET accepted = (accepted::jsonb - 'event_id')::json"
        await connection.execute(text(forget))
    first = await everything(api, len(WHOLE_LIFE))
    assert first == await everything(api, len(WHOLE_LIFE))
    assert len({UUID(event["event_id"]) for event in first}) == len(WHOLE_LIFE)


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_of_any_size_tell_the_same(api: Api, limit: int) -> None:
    for _ in range(2):
        await a_completed_order(api)
    whole = await everything(api, 2 * len(WHOLE_LIFE))
    assert await everything(api, len(whole), limit=limit) == whole


async def test_every_event_is_a_place_to_go_on_from(api: Api) -> None:
    await a_completed_order(api)
    whole = await everything(api, len(WHOLE_LIFE))
    for at, event in enumerate(whole):
        assert (await page(api, after=event["cursor"]))["items"] == whole[at + 1 :]


async def test_who_has_seen_all_keeps_the_cursor(api: Api) -> None:
    await a_completed_order(api)
    await everything(api, len(WHOLE_LIFE))
    last = (await page(api))["next_cursor"]
    assert await page(api, after=last) == {"items": [], "next_cursor": last, "more": False}


async def test_types_and_orders_are_filters(api: Api) -> None:
    first, second = [await a_completed_order(api) for _ in range(2)]
    await everything(api, 2 * len(WHOLE_LIFE))
    wanted = ["OrderCompletedEvent", "PaymentSuccessfulEvent"]
    found = (await page(api, type=wanted))["items"]
    assert types(found) == ["PaymentSuccessfulEvent", "OrderCompletedEvent"] * 2
    of_second = (await page(api, order_id=second["order_id"]))["items"]
    assert types(of_second) == WHOLE_LIFE
    assert {event["order_id"] for event in of_second} == {second["order_id"]}
    both = await page(api, order_id=first["order_id"], type="OrderCompletedEvent")
    assert [event["order_id"] for event in both["items"]] == [first["order_id"]]


async def test_nothing_sensitive_is_told(api: Api) -> None:
    await a_completed_order(api, payment_method="pm_secret_card")
    await everything(api, len(WHOLE_LIFE))
    said = (await asked(api)).text
    assert "pm_secret_card" not in said
    assert "1 Street" not in said


async def test_a_saga_that_cannot_be_read_hides_its_own_announcements_and_stops_nobody(api: Api) -> None:
    spoilt, whole = [await a_completed_order(api) for _ in range(2)]
    async with api.deployment.database.begin() as connection:
        spoil = "UPDATE orchestrator.orders SET document = '{}' WHERE order_id = :order_id"
        await connection.execute(text(spoil), {"order_id": UUID(spoilt["order_id"])})
    found = await everything(api, 2 * len(WHOLE_LIFE))
    bodiless = [event for event in found if event["body"] is None]
    assert {event["order_id"] for event in bodiless} == {spoilt["order_id"]}
    assert types(bodiless) == ["OrderCreatedEvent", "OrderCompletedEvent"]
    assert all("cannot be read" in event["unreadable"] for event in bodiless)
    assert types([event for event in found if event["order_id"] == whole["order_id"]]) == WHOLE_LIFE


# -- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", ["x", "A" * 42, "!" * 42, "é" * 42, "", "latest ", "A" * 3000])
async def test_a_malformed_cursor_is_refused(api: Api, after: str) -> None:
    for response in (
        await asked(api, after=after),
        await asked(api, {"Accept": STREAM["Accept"]}, after=after),
    ):
        assert (response.status_code, response.json()["code"]) == (400, "malformed_cursor")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"type": "NoSuchEvent"}, "/query/type/0"),
        ({"limit": 0}, "/query/limit"),
        ({"limit": 501}, "/query/limit"),
        ({"order_id": "x"}, "/query/order_id"),
        ({"since": "x"}, "/query/since"),
    ],
)
async def test_what_makes_no_sense_is_named(api: Api, query: dict[str, Any], pointer: str) -> None:
    response = await asked(api, **query)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_viewers_may_read_and_nobody_below_them(migrated_database_url: str) -> None:
    async with an_api(migrated_database_url, orders_token="orders-token") as api:
        assert (await api.http.get("/events")).status_code == 401
        assert (await api.http.get("/events", headers=ORDERS)).status_code == 403
        viewer, _ = await a_token(api, Role.VIEWER)
        assert (await api.http.get("/events", headers=viewer)).status_code == 200


@pytest.mark.parametrize("value", ["", "x", "12"])
@pytest.mark.parametrize("accept", ["application/json", STREAM["Accept"]])
async def test_a_malformed_last_event_id_is_refused(api: Api, value: str, accept: str) -> None:
    response = await asked(api, {"Last-Event-ID": value, "Accept": accept})
    assert (response.status_code, response.json()["code"]) == (400, "malformed_cursor")


async def test_a_malformed_preference_is_refused(api: Api) -> None:
    response = await asked(api, {"Prefer": "wait=soon"})
    assert (response.status_code, response.json()["code"]) == (400, "malformed_header")


# -- where the cursor is of no use any more ---------------------------------------------------------------


async def spoken(api: Api, statement: str) -> None:
    async with api.deployment.database.begin() as connection:
        await connection.execute(text(statement))


async def test_a_cursor_of_what_this_database_does_not_have_is_told(api: Api) -> None:
    """As after a fail-over that lost some transactions, or a restore of what was there before."""
    await a_completed_order(api)
    whole = await everything(api, len(WHOLE_LIFE))
    await spoken(api, "DELETE FROM orchestrator.history WHERE version = 5")
    for headers in ({}, {"Accept": STREAM["Accept"]}, {"Prefer": "wait=30"}):
        response = await asked(api, headers, after=whole[-1]["cursor"])
        assert (response.status_code, response.json()["code"]) == (410, "cursor_unknown")
    assert types((await page(api))["items"]) == WHOLE_LIFE[:4]


async def prune(api: Api, order: dict[str, Any], last_event: dict[str, Any]) -> None:
    last = position_of(last_event["cursor"])
    place = f"'{last.transaction}', '{last.saga_id}', {last.version}"
    columns = "pruned_transaction_id, pruned_saga_id, pruned_version"
    await spoken(
        api,
        f"INSERT INTO orchestrator.retention (id, mark, advanced_at, pruned_sagas, {columns})"
        f" VALUES (1, gen_random_uuid(), now(), 1, {place}) ON CONFLICT (id) DO UPDATE"
        f" SET pruned_sagas = retention.pruned_sagas + 1, ({columns}) = ({place})",
    )
    for table in ("history", "sagas", "orders"):
        await spoken(api, f"DELETE FROM orchestrator.{table} WHERE saga_id = '{order['saga_id']}'")


def of_order(order: dict[str, Any], events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["order_id"] == order["order_id"]]


def ids(events: list[dict[str, Any]]) -> list[str]:
    """Not with their cursors, which say what had been pruned when they were read."""
    return [event["event_id"] for event in events]


async def test_who_would_miss_what_was_pruned_is_told_and_nobody_else(api: Api) -> None:
    old, new = [await a_completed_order(api) for _ in range(2)]
    whole = await everything(api, 2 * len(WHOLE_LIFE))
    last_of_old = of_order(old, whole)[-1]
    await prune(api, old, last_of_old)
    for headers in ({}, {"Accept": STREAM["Accept"]}, {"Prefer": "wait=30"}):
        response = await asked(api, headers, after=whole[0]["cursor"])
        assert (response.status_code, response.json()["code"]) == (410, "cursor_gone")
    rest = of_order(new, whole)
    assert ids((await page(api))["items"]) == ids(rest)
    assert ids((await page(api, after=last_of_old["cursor"]))["items"]) == ids(rest)
    assert ids((await page(api, after=rest[0]["cursor"]))["items"]) == ids(rest[1:])


async def test_what_was_kept_from_before_the_last_that_was_pruned_is_read_to_its_end(api: Api) -> None:
    """A cursor says what had been pruned when its reader looked: of that nothing is missed from there on."""
    kept, first, second = [await a_completed_order(api) for _ in range(3)]
    whole = await everything(api, 3 * len(WHOLE_LIFE))
    await prune(api, first, of_order(first, whole)[-1])
    left = ids(of_order(kept, whole) + of_order(second, whole))
    begun = await page(api, limit="1")
    read, cursor = ids(begun["items"]), begun["next_cursor"]
    while len(read) < len(left):
        found = await page(api, after=cursor, limit="1")
        read, cursor = read + ids(found["items"]), found["next_cursor"]
    assert read == left
    await prune(api, second, of_order(second, whole)[-1])
    response = await asked(api, {}, after=begun["next_cursor"])
    assert (response.status_code, response.json()["code"]) == (410, "cursor_gone")
    of_the_first_release = replace(position_of(begun["next_cursor"]), pruned_sagas=None).cursor
    response = await asked(api, {}, after=of_the_first_release)
    assert (response.status_code, response.json()["code"]) == (410, "cursor_gone")
    assert ids((await page(api))["items"]) == ids(of_order(kept, whole))


async def test_what_is_pruned_before_anything_was_read_is_told_to_whoever_waits_for_it(api: Api) -> None:
    waiting = (await page(api))["next_cursor"]
    order = await a_completed_order(api)
    whole = await everything(api, len(WHOLE_LIFE))
    await prune(api, order, whole[-1])
    for after in (waiting, whole[0]["cursor"]):
        response = await asked(api, {}, after=after)
        assert (response.status_code, response.json()["code"]) == (410, "cursor_gone")
    assert (await page(api, after=(await page(api, after="latest"))["next_cursor"]))["items"] == []


async def test_events_that_another_server_numbered_are_told_and_never_waited_for(api: Api) -> None:
    await a_completed_order(api)
    await everything(api, len(WHOLE_LIFE))
    await spoken(api, "UPDATE orchestrator.history SET transaction_id = '900000000000'")
    for headers in ({}, {"Accept": STREAM["Accept"]}, {"Prefer": "wait=30"}):
        response = await asked(api, headers)
        assert (response.status_code, response.json()["code"]) == (503, "feed_unordered")
        assert response.headers["Retry-After"]


# -- waiting and following --------------------------------------------------------------------------------


async def test_who_prefers_to_wait_is_answered_when_something_happens(api: Api) -> None:
    waiting = asyncio.create_task(asked(api, {"Prefer": "wait=30"}))
    while not api.listener.watching:
        await asyncio.sleep(0.01)
    order = await api.order()
    response = await waiting
    assert response.headers["Preference-Applied"] == "wait=30"
    assert [event["order_id"] for event in response.json()["items"]] == [order["order_id"]]


async def test_a_wait_ends_with_nothing_where_nothing_happens(api: Api) -> None:
    response = await asked(api, {"Prefer": "wait=0"})
    assert (response.status_code, response.json()["items"]) == (200, [])


async def test_latest_is_behind_all_that_there_is(api: Api) -> None:
    await a_completed_order(api)
    await everything(api, len(WHOLE_LIFE))
    begun = await page(api, after="latest")
    assert begun["items"] == []
    order = await api.order()
    new = await everything(api, 1, after=begun["next_cursor"])
    assert [event["order_id"] for event in new] == [order["order_id"]]


async def followed(url: str, count: int, last_event_id: str | None = None) -> list[dict[str, Any]]:
    """So many events of the stream, each with its id."""
    headers = STREAM if last_event_id is None else {**STREAM, "Last-Event-ID": last_event_id}
    async with (
        httpx.AsyncClient(timeout=60, trust_env=False) as client,
        client.stream("GET", f"{url}/events", headers=headers) as response,
    ):
        assert response.headers["Content-Type"].startswith("text/event-stream")
        found = list[dict[str, Any]]()
        async for event in events_of(response.aiter_bytes()):
            found.append(json.loads(event.data))
            assert (event.id, event.kind) == (found[-1]["cursor"], found[-1]["type"])
            if len(found) == count:
                return found
    raise AssertionError("the stream ended")


async def test_who_follows_sees_what_a_reader_sees_also_after_a_break(api: Api) -> None:
    async with serving(api.app) as url:
        following = asyncio.create_task(followed(url, 4))
        await a_completed_order(api)
        seen = await following
        seen += await followed(url, 2, seen[-1]["cursor"])
    assert seen == await everything(api, len(WHOLE_LIFE))
    assert types(seen) == WHOLE_LIFE


async def test_a_quiet_stream_shows_that_it_is_alive_and_ends_with_the_process(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_feed, "QUIET_S", 0.0)
    async with (
        serving(api.app) as url,
        httpx.AsyncClient(timeout=60, trust_env=False) as client,
        client.stream("GET", f"{url}/events", headers=STREAM) as response,
    ):
        lines = response.aiter_lines()
        assert ": still here" in [line async for line, _ in _until(lines, ": still here")]
        api.listener.say_goodbye()
        assert [line async for line in lines][-1:] in ([""], [])


async def _until(lines: AsyncIterator[str], last: str) -> AsyncIterator[tuple[str, None]]:
    async for line in lines:
        yield line, None
        if line == last:
            return
