"""Bulk actions and jobs on the command line: dry run first, then a job that is followed."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from oms.cli import following
from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import DEAD_ID, THEN, FakeApi, json_answer, page, problem, unreachable

JOB_ID = "01980000-0000-7000-8000-000000000004"
JOB: dict[str, Any] = {
    "job_id": JOB_ID,
    "kind": "replay",
    "state": "running",
    "filter": {"status": ["open"], "queue": ["payment.commands", "shipping.commands"]},
    "reason": "gateway is back",
    "actor": "jane",
    "rate_per_second": 50.0,
    "total": 500,
    "done": 200,
    "succeeded": 199,
    "refused": 1,
    "refusals": [
        {"code": "not_awaited", "count": 1, "example": "the saga awaits nothing, not charge (forward)"}
    ],
    "failure": None,
    "ended_by": None,
    "end_reason": None,
    "version": 1,
    "allowed_actions": ["cancel"],
    "created_at": THEN,
    "updated_at": THEN,
    "finished_at": None,
}
FINISHED = {**JOB, "state": "finished", "done": 500, "succeeded": 499, "version": 2, "finished_at": THEN}
ITEM = {
    "dead_letter_id": DEAD_ID,
    "result": "refused",
    "code": "not_awaited",
    "explanation": "the saga awaits nothing, not charge (forward)",
    "at": THEN,
    "status": "resolved",
    "type": "ChargePayment",
    "queue": "payment.commands",
    "error_type": "ProviderUnavailable",
    "saga_id": None,
}
PREVIEW = {
    "dry_run": True,
    "kind": "replay",
    "total": 500,
    "examined": 500,
    "would_succeed": 499,
    "would_be_refused": 1,
    "refusals": JOB["refusals"],
}
REPLAY = "/admin/dead-letters/replay"
BULK = ("dead-letters", "replay", "--all", "--queue", "payment.commands")


@pytest.fixture(autouse=True)
def jobs_api(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API on which a job is at its end as soon as it is looked at."""
    monkeypatch.setattr(following, "POLL_S", 0.0)

    def begin(request: httpx.Request) -> httpx.Response:
        dry = json.loads(request.content).get("dry_run", False)
        return httpx.Response(200 if dry else 202, json=PREVIEW if dry else JOB)

    api.on("POST", REPLAY, begin)
    api.on("GET", "/admin/jobs", json_answer(page(JOB)))
    api.on("GET", f"/admin/jobs/{JOB_ID}", json_answer(FINISHED))
    api.on("GET", f"/admin/jobs/{JOB_ID}/items", json_answer(page(ITEM)))
    api.on("POST", f"/admin/jobs/{JOB_ID}/cancel", json_answer({**JOB, "state": "cancelled"}))


def test_a_bulk_replay_acts_on_what_its_dry_run_has_counted(oms: Oms, api: FakeApi) -> None:
    ran = oms(*BULK, "--error-type", "ProviderUnavailable", "--rate", "20", "--reason", "gateway is back")

    assert ran.code == 0, ran.err
    selected = {"queue": ["payment.commands"], "error_type": ["ProviderUnavailable"]}
    asked = {"filter": selected, "reason": "gateway is back", "rate_per_second": 20.0}
    assert api.bodies == [{**asked, "dry_run": True}, {**asked, "expected_count": 500}]
    assert "would replay 500 dead letters; 1 would be refused" in ran.err
    assert "1 not_awaited: the saga awaits nothing" in ran.err
    assert [
        word for word in ("finished", "500 of 500", "not_awaited", "50 a second") if word not in ran.out
    ] == []


def test_a_bulk_dry_run_needs_no_reason_and_begins_nothing(oms: Oms, api: FakeApi) -> None:
    ran = oms(*BULK, "--dry-run")
    assert ran.code == 0
    assert "would replay 500 dead letters" in ran.out
    assert [body.get("dry_run") for body in api.bodies] == [True]
    assert json.loads(oms(*BULK, "--dry-run", "--json").out) == PREVIEW


def test_a_bulk_replay_may_be_left_to_itself(oms: Oms, api: FakeApi) -> None:
    ran = oms(*BULK, "--reason", "x", "--detach", "--json")
    assert json.loads(ran.out) == JOB
    assert [request.method for request in api.requests] == ["POST", "POST"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("dead-letters", "replay"),
        ("dead-letters", "replay", DEAD_ID, "--all", "--reason", "x"),
        ("dead-letters", "replay", DEAD_ID, "--queue", "q", "--reason", "x"),
        ("dead-letters", "replay", "--queue", "q", "--reason", "x"),
        BULK,
        ("dead-letters", "discard", "--all"),
        ("dead-letters", "discard", DEAD_ID),
    ],
)
def test_what_is_not_clear_is_not_begun(oms: Oms, api: FakeApi, arguments: tuple[str, ...]) -> None:
    ran = oms(*arguments)
    assert ran.code == 2
    assert "--all" in ran.err or "--reason" in ran.err
    assert api.requests == []


def test_a_selection_of_nothing_is_said(oms: Oms, api: FakeApi) -> None:
    api.on("POST", REPLAY, json_answer({**PREVIEW, "total": 0, "examined": 0, "would_be_refused": 0}))
    ran = oms(*BULK, "--reason", "x")
    assert (ran.code, ran.err) == (1, "oms: no open dead letter is like this\n")


def test_a_selection_that_has_changed_is_one_line(oms: Oms, api: FakeApi) -> None:
    changed = problem(412, "Not as many as expected: there are 7 now.")
    api.on("POST", REPLAY, lambda r: changed(r) if b"expected" in r.content else json_answer(PREVIEW)(r))
    ran = oms(*BULK, "--reason", "x")
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == "oms: Not as many as expected: there are 7 now (412)"


def test_bulk_discards_are_jobs_too(oms: Oms, api: FakeApi) -> None:
    told = {**PREVIEW, "kind": "discard"}
    api.on("POST", "/admin/dead-letters/discard", json_answer(told))
    ran = oms("dead-letters", "discard", "--all", "--step", "charge", "--dry-run")
    assert ran.code == 0
    assert api.bodies[0]["filter"] == {"step": ["charge"]}


def test_a_job_is_followed_through_a_restart(oms: Oms, api: FakeApi) -> None:
    looks = iter([json_answer(JOB), unreachable, problem(503, "not yet"), json_answer(FINISHED)])

    def look(request: httpx.Request) -> httpx.Response:
        return next(looks)(request)

    api.on("GET", f"/admin/jobs/{JOB_ID}", look)
    ran = oms("jobs", "watch", JOB_ID, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == FINISHED


def test_leaving_a_job_does_not_end_it(oms: Oms, api: FakeApi) -> None:
    def leave(_: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    api.on("GET", f"/admin/jobs/{JOB_ID}", leave)
    ran = oms(*BULK, "--reason", "x")
    assert ran.code == 130
    assert f"the job goes on: oms jobs watch {JOB_ID}" in ran.err
    assert f"oms jobs cancel {JOB_ID}" in ran.err
    assert not any(request.url.path.endswith("/cancel") for request in api.requests)


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ({"state": "failed", "failure": "its list is gone"}, "failed at 200 of 500: its list is gone"),
        (
            {"state": "cancelled", "ended_by": "joe", "end_reason": "wrong queue"},
            "cancelled by joe at 200 of 500: wrong queue",
        ),
    ],
)
def test_a_job_that_does_not_end_well_fails_the_command(
    oms: Oms, api: FakeApi, end: dict[str, str], words: str
) -> None:
    api.on("GET", f"/admin/jobs/{JOB_ID}", json_answer({**JOB, **end}))
    ran = oms("jobs", "watch", JOB_ID)
    assert ran.code == 1
    assert words in ran.err


def test_jobs_are_listed_shown_and_cancelled(oms: Oms, api: FakeApi) -> None:
    listed = oms("jobs", "list", "--state", "running", "--kind", "replay")
    shown = oms("jobs", "show", JOB_ID)
    cancelled = oms("jobs", "cancel", JOB_ID, "--reason", "wrong queue")

    selection = "queue payment.commands or shipping.commands"
    assert api.requests[0].url.query == b"state=running&kind=replay&limit=50"
    assert [word for word in (JOB_ID, "running", "200 of 500", selection) if word not in listed.out] == []
    assert [word for word in ("finished", "jane", DEAD_ID, "awaits nothing") if word not in shown.out] == []
    assert "cancel job" in cancelled.err
    assert api.bodies[-1] == {"reason": "wrong queue", "expected_version": 2}
    assert json.loads(oms("jobs", "list", "--json").out) == page(JOB)
    assert json.loads(oms("jobs", "show", JOB_ID, "--json").out) == {**FINISHED, "refused_items": [ITEM]}
