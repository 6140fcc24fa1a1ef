"""Webhooks from the command line."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import THEN, FakeApi, json_answer

ID: Final = "019aa7b2-0000-7000-8000-000000000009"
SECRET: Final = "whsec_c2VjcmV0"
WHY: Final = ("--reason", "for the shop")
WEBHOOK: Final[dict[str, Any]] = {
    "webhook_id": ID,
    "url": "https://shop.example.com/hooks",
    "types": ["OrderCompletedEvent"],
    "state": "active",
    "pause": None,
    "why": None,
    "version": 4,
    "cursor": None,
    "behind_s": 12.4,
    "delivered": 7,
    "delivered_at": THEN,
    "failures": 2,
    "failing_since": THEN,
    "next_at": THEN,
    "old_secret_until": None,
    "trial_waits": True,
    "attempts": [
        {"at": THEN, "event_id": ID, "type": "OrderCompletedEvent", "failure": "it answers 500", "took_ms": 3}
    ],
}
MADE: Final = {"secret": SECRET, "webhook": WEBHOOK}


def test_the_secret_alone_is_on_stdout(oms: Oms, api: FakeApi) -> None:
    api.on("POST", "/admin/webhooks", json_answer(MADE, 201))
    ran = oms("webhooks", "add", WEBHOOK["url"], "--type", "OrderCompletedEvent", *WHY)
    assert (ran.code, ran.out) == (0, f"{SECRET}\n")
    assert "not shown again" in ran.err
    [body] = api.bodies
    assert body == {
        "url": WEBHOOK["url"],
        "types": ["OrderCompletedEvent"],
        "start": "latest",
        "reason": WHY[1],
    }
    assert json.loads(oms("webhooks", "add", WEBHOOK["url"], *WHY, "--json").out) == MADE


def test_webhooks_are_listed_and_shown_with_their_trouble(oms: Oms, api: FakeApi) -> None:
    given_up = {**WEBHOOK, "state": "paused", "pause": "gone", "why": "its receiver wants nothing more"}
    api.on("GET", "/admin/webhooks", json_answer({"items": [WEBHOOK, given_up]}))
    api.on("GET", f"/admin/webhooks/{ID}", json_answer(WEBHOOK))
    listed = oms("webhooks", "list").out
    assert all(
        said in listed for said in ("failing", "it answers 500", "paused", "wants nothing more", "12 s")
    )
    shown = oms("webhooks", "show", ID).out
    assert all(said in shown for said in ("failing", "it answers 500", "still to be sent", "3 ms"))
    assert json.loads(oms("webhooks", "list", "--json").out)["items"] == [WEBHOOK, given_up]


@pytest.mark.parametrize(
    ("action", "options", "body"),
    [
        ("pause", (), {}),
        ("resume", (), {}),
        ("test", (), {}),
        ("remove", (), {}),
        ("replay", ("--from", "2026-01-31T12:00:00Z"), {"start": "2026-01-31T12:00:00Z"}),
        ("rotate", ("--overlap", "2h"), {"overlap_s": 7200}),
        ("rotate", ("--overlap", "0"), {"overlap_s": 0}),
    ],
)
def test_an_action_is_on_what_was_seen(
    oms: Oms, api: FakeApi, action: str, options: tuple[str, ...], body: dict[str, Any]
) -> None:
    api.on("GET", f"/admin/webhooks/{ID}", json_answer(WEBHOOK))
    api.on("POST", f"/admin/webhooks/{ID}/{action}", json_answer(MADE if action == "rotate" else WEBHOOK))
    ran = oms("webhooks", action, ID, *options, *WHY, "--yes")
    assert ran.code == 0, ran.err
    assert api.bodies == [{**body, "reason": WHY[1], "expected_version": 4}]
