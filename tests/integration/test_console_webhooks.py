"""Webhooks in the console: how each fares, and what an admin does about it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import text

from orchestrator.http.console.webhooks import PAUSED, REMOVED, SET_BACK, TRIED
from orchestrator.tokens import Role
from orchestrator.webhooks.addresses import Reach
from tests.integration.test_console import as_a, page, press
from tests.support.api import ADMIN, Api, an_api

pytestmark = pytest.mark.postgresql

THEN: Final = "2026-01-31T12:00:00Z"
URL: Final = "http://127.0.0.1:9/<hooks>"


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    """Somebody has signed in as the admin; nobody sends."""
    async with an_api(migrated_database_url, reach=Reach.ANYWHERE) as made:
        await made.http.post("/console/login", data={"token": "admin-token"})
        made.http.headers.update(ADMIN)
        yield made


async def a_webhook(api: Api) -> tuple[str, str]:
    """The address of its page, and its secret."""
    response = await api.http.post("/admin/webhooks", json={"url": URL, "reason": "a trial"})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return f"/console/webhooks/{made['webhook']['webhook_id']}", made["secret"]


async def test_an_admin_pauses_tries_sets_back_and_removes_a_webhook(api: Api) -> None:
    assert "There are no webhooks" in (await page(api, "/console/webhooks")).words
    at, secret = await a_webhook(api)
    shown = [await page(api, "/console/webhooks"), await page(api, at)]
    assert all(URL in each.words and "active" in each.words for each in shown)
    for action, fields, said in (
        ("pause", {}, PAUSED),
        ("test", {}, TRIED),
        ("replay", {"start": "oldest"}, SET_BACK),
        ("remove", {}, REMOVED),
    ):
        answer = await press(api, at, f"{at}/{action}", reason="by hand", **fields)
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (303, at), answer.text
        assert said in (await page(api, answer.headers["Location"])).words
    assert "Nothing: it is removed" in (await page(api, at)).words
    log = await page(api, "/console/audit-log")
    assert log.words.count("by hand") == 4
    for path in ("/console/webhooks", at, "/console/audit-log"):
        assert secret.removeprefix("whsec_") not in (await api.http.get(path)).text


async def test_trouble_is_shown_and_what_cannot_be_is_said_with_what_was_typed(api: Api) -> None:
    at, _ = await a_webhook(api)
    attempt = {
        "at": THEN,
        "event_id": str(UUID(int=9)),
        "type": "X",
        "failure": "it answers 410",
        "took_ms": 3,
    }
    trouble = "UPDATE orchestrator.webhooks SET state = 'paused', pause = 'gone', attempts = :attempts"
    async with api.deployment.database.begin() as connection:
        await connection.execute(text(trouble), {"attempts": json.dumps([attempt])})
    for path in ("/console/webhooks", at):
        assert "wants nothing more" in (await page(api, path)).words
    assert "it answers 410" in (await page(api, at)).words
    refused = await press(api, at, f"{at}/replay", reason="my words", start="yesterday")
    assert refused.status_code == 422
    assert "my words" in refused.text
    assert "yesterday" in refused.text
    stale = await press(api, at, f"{at}/resume", reason="by hand", expected_version="7")
    assert stale.status_code == 412


async def test_whoever_is_no_admin_looks_and_does_nothing(api: Api) -> None:
    at, _ = await a_webhook(api)
    async with as_a(Role.OPERATOR, api) as other:
        await other.post("/console/login", data={"token": "other"})
        response = await other.get(at)
        assert response.status_code == 200
        assert "webhooks are for admins" in response.text
        assert f'action="{at}' not in response.text
