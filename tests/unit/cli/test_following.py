"""Whoever follows something goes on where the API was away for a while, and says so once."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from contracts.problems import PROBLEM_JSON
from oms.api_client import Refused
from oms.cli import following, patience, sagas
from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import ORDER, ORDER_ID, SAGA, SAGA_ID, Answer, FakeApi, json_answer, unreachable

JOB_ID = "01980000-0000-7000-8000-000000000009"
JOB = {"job_id": JOB_ID, "kind": "replay", "state": "finished", "total": 1, "done": 1}


def refusal(status: int) -> Answer:
    document = {"type": "about:blank", "title": "No", "status": status, "detail": f"not now ({status})."}
    headers = {"Content-Type": PROBLEM_JSON, "Retry-After": "0"}
    return lambda _: httpx.Response(status, json=document, headers=headers)


def stream(number: int, status: str) -> Answer:
    text = f"id: {number}\nevent: order.{status}\ndata: {json.dumps({**ORDER, 'status': status})}\n\n"
    return lambda _: httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


FOLLOWED: dict[str, tuple[tuple[str, ...], str, Answer, Answer]] = {
    "orders": (
        ("orders", "watch", ORDER_ID),
        f"/orders/{ORDER_ID}/events",
        stream(1, "pending"),
        stream(2, "completed"),
    ),
    "sagas": (
        ("sagas", "watch", SAGA_ID),
        f"/admin/sagas/{SAGA_ID}",
        json_answer(SAGA),
        json_answer({**SAGA, "status": "compensated"}),
    ),
    "jobs": (
        ("jobs", "watch", JOB_ID, "--json"),
        f"/admin/jobs/{JOB_ID}",
        json_answer({**JOB, "state": "running", "done": 0}),
        json_answer(JOB),
    ),
}
"""What is called, where it looks, what is there before the API goes away, and the end."""


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_S", 0.0)
    monkeypatch.setattr(sagas, "_POLL_S", 0.0)
    monkeypatch.setattr(patience, "PAUSE_S", 0.0)


def in_turn(*answers: Answer) -> Answer:
    """One after the other; the last one from then on."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        return (left.pop(0) if len(left) > 1 else left[0])(request)

    return answer


@pytest.mark.parametrize("what", FOLLOWED)
def test_whoever_follows_survives_an_api_that_is_away(what: str, oms: Oms, api: FakeApi) -> None:
    command, path, before, end = FOLLOWED[what]
    away: tuple[Answer, ...] = (refusal(503), unreachable, lambda _: httpx.Response(502), refusal(500))
    api.on("GET", path, in_turn(before, *away, end))

    ran = oms(*command)

    assert ran.code == 0, ran.err
    assert [line for line in ran.err.splitlines() if "trying again" in line] == ran.err.splitlines()
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("what", FOLLOWED)
@pytest.mark.parametrize("status", [401, 403, 410])
def test_what_does_not_pass_ends_it_at_once(what: str, status: int, oms: Oms, api: FakeApi) -> None:
    command, path, before, end = FOLLOWED[what]
    api.on("GET", path, in_turn(before, refusal(status), end))
    ran = oms(*command)
    assert ran.code == 1
    assert f"({status})" in ran.err.splitlines()[-1]


@pytest.mark.parametrize("what", FOLLOWED)
def test_even_patience_ends(what: str, oms: Oms, api: FakeApi) -> None:
    command, path, before, _ = FOLLOWED[what]
    api.on("GET", path, in_turn(before, unreachable))
    ran = oms(*command)
    assert ran.code == 1
    assert ran.err.splitlines()[-1].startswith("oms: cannot reach")
    broken_off = what == "orders"  # that its stream ended was the first failure
    assert len(api.requests) == 1 + patience.LONGEST + (not broken_off)


@pytest.mark.parametrize("what", ["orders", "sagas"])
def test_who_cannot_begin_is_told_at_once(what: str, oms: Oms, api: FakeApi) -> None:
    command, path, _, _ = FOLLOWED[what]
    api.on("GET", path, unreachable)
    ran = oms(*command)
    assert (ran.code, len(api.requests)) == (1, 1)


async def test_the_api_is_given_the_time_that_it_asks_for(capsys: pytest.CaptureFixture[str]) -> None:
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    bearing = patience.Patience(sleep)
    bearing.rewarded()
    for asked_s, pause_s in ((7.0, 0.0), (None, 3.0), (10_000.0, 0.0), (None, 0.0)):
        await bearing.bear(Refused(503, {"detail": "not now"}, asked_s), pause_s)
    assert made == [7.0, 3.0, patience.LONGEST_PAUSE_S, patience.PAUSE_S]
    assert capsys.readouterr().err == "not now (503); trying again until it is back\n"


def test_a_stream_goes_on_behind_the_last_event_that_was_shown(oms: Oms, api: FakeApi) -> None:
    _, path, before, end = FOLLOWED["orders"]
    api.on("GET", path, in_turn(before, refusal(503), end))
    shown: list[Any] = [
        json.loads(line) for line in oms("orders", "watch", ORDER_ID, "--json").out.splitlines()
    ]
    assert [each["event"] for each in shown] == ["order.pending", "order.completed"]
    assert [request.headers.get("Last-Event-ID") for request in api.requests] == [None, "1", "1"]
