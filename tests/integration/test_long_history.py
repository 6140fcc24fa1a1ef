"""A saga with a history of thousands of entries can be read to its oldest, wherever one looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from orchestrator.queries.sagas import MAX_HISTORY
from tests.integration.test_console import Page, page
from tests.support.api import ADMIN, Api, an_api

pytestmark = pytest.mark.postgresql

ENTRIES = 2500

_REPEAT = """
INSERT INTO orchestrator.history (saga_id, version, at, kind, accepted, led_to)
SELECT saga_id, n, at, kind, accepted, led_to
FROM orchestrator.history, generate_series(3, :entries) n WHERE saga_id = :saga_id AND version = 2
"""

_MOVED_ON = "UPDATE orchestrator.sagas SET version = :entries WHERE saga_id = :saga_id"


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    async with an_api(migrated_database_url) as made:
        await made.http.post("/console/login", data={"token": "admin-token"})
        made.http.headers.update(ADMIN)
        yield made


async def a_long_saga(api: Api) -> str:
    """The id of a saga that was retried so often that its history has so many entries."""
    saga_id = str((await api.order())["saga_id"])
    retry = {"reason": "once more", "expected_version": 1}
    done = await api.http.post(f"/admin/sagas/{saga_id}/actions/retry", json=retry)
    assert done.status_code == 200, done.text
    values = {"saga_id": UUID(saga_id), "entries": ENTRIES}
    async with api.deployment.database.begin() as connection:
        await connection.execute(text(_REPEAT), values)
        await connection.execute(text(_MOVED_ON), values)
    return saga_id


async def get(api: Api, path: str) -> dict[str, Any]:
    response = await api.http.get(path)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def older(shown: Page) -> str | None:
    """The link to what is older on a page."""
    links = [each["href"] or "" for tag, each in shown.tags if tag == "a" and each.get("class") == "button"]
    found = [link for link in links if "cursor=" in link or "before=" in link]
    return found[0] if found else None


def numbers(shown: Page) -> list[int]:
    """The numbers of the entries on a page of nothing else."""
    return [int(words) for words in shown.words_of("seq")]


async def test_the_api_says_what_it_leaves_out_and_pages_to_the_oldest(api: Api) -> None:
    saga_id = await a_long_saga(api)
    saga = await get(api, f"/admin/sagas/{saga_id}")
    assert len(saga["history"]) == MAX_HISTORY
    assert saga["history_omitted"] == ENTRIES - MAX_HISTORY
    assert saga["history"][0]["seq"] == saga["history_omitted"] + 1

    seen: list[int] = []
    cursor = ""
    while True:
        found = await get(api, f"/admin/sagas/{saga_id}/history?limit=200{cursor}")
        seen += [entry["seq"] for entry in found["items"]]
        if found["next_cursor"] is None:
            break
        cursor = f"&cursor={found['next_cursor']}"
    assert seen == list(range(ENTRIES, 0, -1))


async def test_a_history_is_asked_for_as_any_list_is(api: Api) -> None:
    saga_id = str((await api.order())["saga_id"])
    short = await get(api, f"/admin/sagas/{saga_id}/history")
    assert ([entry["seq"] for entry in short["items"]], short["next_cursor"]) == ([1], None)
    assert (await get(api, f"/admin/sagas/{saga_id}"))["history_omitted"] == 0
    nobody = "00000000-0000-7000-8000-000000000000"
    assert (await api.http.get(f"/admin/sagas/{nobody}/history")).status_code == 404
    at = f"/admin/sagas/{saga_id}/history"
    assert (await api.http.get(f"{at}?cursor=x")).status_code == 400
    assert (await api.http.get(f"{at}?limit=201")).status_code == 422


async def test_the_console_leads_to_the_oldest_entry(api: Api) -> None:
    saga_id = await a_long_saga(api)
    at = f"/console/sagas/{saga_id}"
    shown = await page(api, at)
    assert f"{ENTRIES - MAX_HISTORY:,} older entries are not shown here" in shown.words
    assert "older ones are not drawn" in shown.words

    link, seen = older(shown), []
    while link is not None:
        shown = await page(api, link if link.startswith("/") else f"{at}/history{link}")
        seen += numbers(shown)
        link = older(shown)
    assert seen == list(range(ENTRIES - MAX_HISTORY, 0, -1))


async def test_every_message_of_a_long_history_can_be_seen(api: Api) -> None:
    saga_id = await a_long_saga(api)
    messages = (await get(api, f"/admin/sagas/{saga_id}/messages"))["items"]
    assert (messages[0]["type"], messages[0]["seq"]) == ("OrderCreatedEvent", 1)

    at = f"/console/sagas/{saga_id}"
    link: str | None = f"{at}/messages"
    seen = 0
    while link is not None:
        shown = await page(api, link if link.startswith("/") else f"{at}/messages{link}")
        seen += len(numbers(shown))
        link = older(shown)
    assert seen == len(messages)
