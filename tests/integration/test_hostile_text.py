"""Whatever an order, a provider, a message or an operator says: every page shows it as text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import pytest

from contracts import events
from messaging.errors import PermanentFailure
from messaging.retries import RetryPolicy, after_failure
from tests.integration.test_console import Page
from tests.support.api import ADMIN, Api, an_api
from tests.support.orders import NOON

pytestmark = pytest.mark.postgresql

HTML: Final = """<script>alert(1)</script><img src=x onerror=alert(1)>"'><x-evil>{{ 7 * 7 }}"""
BIDI: Final = "\u202etxt.exe\u2066\u200f"
CONTROLS: Final = "\x1b[2J\x9b31m\x07"
STEERING: Final = ("\u202e", "\u2066", "\u200f", "\x1b", "\x9b", "\x07")


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    async with an_api(migrated_database_url) as made:
        await made.http.post("/console/login", data={"token": "admin-token"})
        made.http.headers.update(ADMIN)
        yield made


async def a_declined_order(api: Api) -> dict[str, Any]:
    """An order whose every free field is hostile, refused with a hostile message."""
    said = f"{HTML} {BIDI}"[:200]
    address = {"name": said, "line1": said, "line2": said, "city": said, "postal_code": "<x-evil>\u202e"}
    order = await api.order(shipping_address={**address, "country": "DE"})
    await api.reserved()
    _, command = await api.command("payment")
    message = f"{HTML} {BIDI} {CONTROLS}"
    await api.answer(command, events.PaymentDeclinedEvent, code="card_declined", message=message)
    await api.until(UUID(order["saga_id"]), lambda saga: saga.failure is not None)
    return order


async def a_hostile_dead_letter(api: Api) -> dict[str, Any]:
    """A command that died of an error with hostile words, with hostile headers."""
    order = await api.order()
    await api.reserved()
    delivery, _ = await api.command("payment")
    error = PermanentFailure(f"<x-evil>{BIDI}", f"{HTML} {BIDI} {CONTROLS}")
    dead = after_failure(delivery, error, RetryPolicy(), api.deployment.new_id(), NOON, "test")
    api.publish(replace(dead, headers={**dead.headers, f"<i>{BIDI}": f"{HTML}{BIDI}{CONTROLS}"}))
    await api.until(UUID(order["saga_id"]), lambda saga: bool(saga.incidents))
    return order


async def test_every_page_shows_it_as_text(api: Api) -> None:
    await a_hostile_dead_letter(api)
    order = await a_declined_order(api)
    at = f"/admin/sagas/{order['saga_id']}"
    version = (await api.http.get(at)).json()["version"]
    asked = {"reason": f"{HTML} {BIDI}", "expected_version": version}
    assert (await api.http.post(f"{at}/actions/retry", json=asked)).status_code == 200

    shown_on = set()
    for path, text in await every_page(api):
        page = Page(text)
        tags = {tag for tag, _ in page.tags}
        assert tags.isdisjoint({"i", "img", "x-evil"}), path
        assert all(
            (each.get("src") or "").startswith("/console/") for tag, each in page.tags if tag == "script"
        )
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes), path
        assert [each for each in STEERING if each in text] == [], path
        if "<script>alert(1)</script>" in page.words:
            shown_on.add(path.split("/")[2].partition("?")[0])
    assert shown_on >= {"sagas", "dead-letters", "audit-log"}


async def every_page(api: Api) -> list[tuple[str, str]]:
    """All pages that links lead to."""
    pages: dict[str, str] = {}
    ahead = ["/console"]
    while ahead:
        path = ahead.pop()
        if path in pages or "/static/" in path:
            continue
        response = await api.http.get(path)
        assert response.status_code == 200, path
        pages[path] = response.text
        links = {(each.get("href") or "").partition("#")[0] for _, each in Page(response.text).tags}
        ahead += [link for link in links if link.startswith("/console")]
    return list(pages.items())


async def test_controls_in_a_reason_are_refused(api: Api) -> None:
    order = await api.order()
    at = f"/admin/sagas/{order['saga_id']}/actions/retry"
    response = await api.http.post(at, json={"reason": "a\x1b[2J", "expected_version": 1})
    assert response.status_code == 422
    assert "\x1b" not in response.text


async def test_an_address_of_the_console_is_shown_as_text_too(api: Api) -> None:
    for path in (
        f"/console/audit-log?actor={HTML}{BIDI}",
        f"/console/sagas?order_id={HTML}",
        f"/console/find?id={HTML}",
        f"/console/{HTML}",
    ):
        response = await api.http.get(path)
        assert "<script>alert" not in response.text
        assert "<img" not in response.text
        assert "\u202e" not in response.text
