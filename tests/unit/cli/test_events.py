"""The feed from the command line: read to its end, or followed over whatever happens to the API."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from contracts.problems import PROBLEM_JSON
from oms.cli import patience
from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import ORDER_ID, SAGA_ID, THEN, Answer, FakeApi, json_answer


def event(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "cursor": f"cursor-{number}",
        "event_id": f"e-{number}",
        "type": "PaymentSuccessfulEvent",
        "key": "payment.successful",
        "at": THEN,
        "saga_id": SAGA_ID,
        "order_id": ORDER_ID,
        "definition": "order_fulfillment",
        "seq": number,
        "body": {"saga_id": SAGA_ID, "order_id": ORDER_ID, "step": "charge", "amount": 2598},
        "unreadable": None,
        **changes,
    }


def page(*numbers: int, more: bool = False) -> Answer:
    items = [event(number) for number in numbers]
    return json_answer({"items": items, "next_cursor": f"next-{numbers[-1:]}", "more": more})


def in_turn(*answers: Answer) -> Answer:
    """One after the other."""
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        return next(left)(request)

    return answer


def refusal(status: int, code: str) -> Answer:
    document = {"type": "about:blank", "title": "No", "status": status, "code": code, "detail": f"{code}."}
    return lambda _: httpx.Response(status, json=document, headers={"Content-Type": PROBLEM_JSON})


def test_events_are_read_over_as_many_pages_as_it_takes(oms: Oms, api: FakeApi) -> None:
    api.on("GET", "/events", in_turn(page(1, 2, more=True), page(3)))
    ran = oms("events", "--after", "here", "--type", "A", "--type", "B", "--order", ORDER_ID)

    assert ran.code == 0, ran.err
    assert len(ran.out.splitlines()) == 3
    assert ORDER_ID in ran.out
    assert '{"amount": 2598}' in ran.out
    first, second = api.requests
    assert first.url.params.multi_items() == [
        ("type", "A"),
        ("type", "B"),
        ("order_id", ORDER_ID),
        ("after", "here"),
        ("limit", "100"),
    ]
    assert (second.url.params["after"], second.url.params["limit"]) == ("next-(2,)", "98")


def test_programs_get_a_line_an_event(oms: Oms, api: FakeApi) -> None:
    api.on("GET", "/events", page(1, 2))
    lines = oms("events", "--json").out.splitlines()
    assert [json.loads(line) for line in lines] == [event(1), event(2)]


def test_what_is_left_is_said_with_the_place_to_go_on_from(oms: Oms, api: FakeApi) -> None:
    api.on("GET", "/events", page(1, 2, more=True))
    ran = oms("events", "--limit", "2")
    assert "--after next-(2,)" in ran.err


def test_a_cursor_that_is_gone_is_said_in_the_api_s_words(oms: Oms, api: FakeApi) -> None:
    api.on("GET", "/events", refusal(410, "cursor_gone"))
    ran = oms("events", "--after", "old")
    assert (ran.code, ran.err) == (1, "oms: cursor_gone (410)\n")


def test_who_follows_goes_on_where_the_api_was_away(
    oms: Oms, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PAUSE_S", 0.0)
    answers = (
        page(1),
        refusal(503, "storage_unavailable"),
        lambda _: httpx.Response(502),
        page(2),
        refusal(410, "gone"),
    )
    api.on("GET", "/events", in_turn(*answers))
    ran = oms("events", "--follow", "--after", "latest", "--json")

    assert [json.loads(line)["seq"] for line in ran.out.splitlines()] == [1, 2]
    assert [request.url.params["after"] for request in api.requests] == [
        "latest",
        "next-(1,)",
        "next-(1,)",
        "next-(1,)",
        "next-(2,)",
    ]
    assert {request.headers["Prefer"] for request in api.requests} == {"wait=20"}
    assert (ran.code, ran.err.splitlines()) == (
        1,
        ["storage_unavailable (503); trying again until it is back", "oms: gone (410)"],
    )


def test_who_cannot_begin_to_follow_is_told_at_once(oms: Oms, api: FakeApi) -> None:
    api.on("GET", "/events", refusal(503, "feed_unordered"))
    ran = oms("events", "--follow")
    assert (ran.code, len(api.requests)) == (1, 1)


def test_an_event_without_a_body_says_why(oms: Oms, api: FakeApi) -> None:
    said = event(1, body=None, unreadable="its order cannot be read")
    api.on("GET", "/events", json_answer({"items": [said], "next_cursor": "n", "more": False}))
    assert "its order cannot be read" in oms("events").out
