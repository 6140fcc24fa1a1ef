"""The same action on many sagas from the command line."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import FakeApi, json_answer

TOLD: Final[dict[str, Any]] = {
    "dry_run": True,
    "kind": "cancel",
    "total": 3,
    "examined": 3,
    "would_succeed": 2,
    "would_be_refused": 1,
    "refusals": [{"code": "too_late", "count": 1, "example": "it has been shipped"}],
}


def test_what_it_would_do_is_told_in_words(oms: Oms, api: FakeApi) -> None:
    api.on("POST", "/admin/sagas/cancel", json_answer(TOLD))
    ran = oms("sagas", "each", "cancel", "--metadata", "campaign=spring", "--dry-run")

    assert ran.code == 0, ran.err
    assert "would cancel 3 sagas; 1 would be refused" in ran.out
    assert api.bodies[0]["filter"] == {"metadata.campaign": ["spring"]}
    assert api.bodies[0]["dry_run"] is True


def test_a_verdict_is_taken_along(oms: Oms, api: FakeApi) -> None:
    api.on("POST", "/admin/sagas/resolve", json_answer({**TOLD, "kind": "resolve"}))
    asked = ("--at-step", "ship", "--step", "ship", "--verdict", "took_effect", "--dry-run")
    ran = oms("sagas", "each", "resolve", *asked)

    assert ran.code == 0, ran.err
    [body] = api.bodies
    assert (body["filter"], body["step"], body["verdict"]) == ({"step": ["ship"]}, "ship", "took_effect")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("resolve", "--step", "ship"), "--verdict"),
        (("retry", "--verdict", "took_effect"), "belongs to resolve"),
        (("cancel", "--step", "ship"), "cancelled whole"),
        (("cancel",), "--reason"),
    ],
)
def test_what_makes_no_sense_is_said(oms: Oms, api: FakeApi, arguments: tuple[str, ...], said: str) -> None:
    ran = oms("sagas", "each", *arguments)

    assert ran.code == 2
    assert said in ran.err
    assert api.requests == []
