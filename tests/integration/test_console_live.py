"""The console's pages hear of changes: one stream a page, about what the page shows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from tests.integration.test_console import page, session_cookie
from tests.support.api import Api, an_api
from tests.support.serving import serving

pytestmark = pytest.mark.postgresql


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    """Somebody has signed in as the admin."""
    async with an_api(migrated_database_url) as made:
        await made.http.post("/console/login", data={"token": "admin-token"})
        yield made


async def followed(api: Api, *topics: str) -> AsyncIterator[list[str]]:
    """The changes that a page about these topics hears of."""
    cookie = {"Cookie": f"{session_cookie(api)}"}
    async with serving(api.app) as url, httpx.AsyncClient(base_url=url, headers=cookie) as client:
        asked = {"topic": list(topics)}
        async with client.stream("GET", "/console/events", params=asked, timeout=30) as stream:
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            yield []
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))


async def test_a_page_hears_that_its_saga_moved(api: Api) -> None:
    order = await api.order()
    topic = f"saga:{order['saga_id']}"
    told = aiter(followed(api, topic, "sagas"))
    await anext(told)

    await api.completed()

    heard: set[str] = set()
    while topic not in heard:
        heard.update(await anext(told))
    await told.aclose()  # type: ignore[attr-defined]


async def test_only_parts_of_the_console_can_be_followed_and_only_by_those_who_may_look(api: Api) -> None:
    for topic in ("passwords", "saga:1", "", f"order:{uuid4()}"):
        assert (await api.http.get("/console/events", params={"topic": topic})).status_code == 400
    assert (await api.http.get("/console/events")).status_code == 400
    api.http.cookies.clear()
    assert (await api.http.get("/console/events?topic=sagas")).status_code == 303


async def test_pages_say_what_they_are_about(api: Api) -> None:
    order = await api.order()
    saga = await page(api, f"/console/sagas/{order['saga_id']}")
    assert {dict(found).get("data-live") for _, found in saga.tags} >= {f"saga:{order['saga_id']}"}
    overview = await page(api, "/console")
    assert "overview" in {found.get("data-live") for _, found in overview.tags}
