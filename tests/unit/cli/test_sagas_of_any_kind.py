"""The command line about sagas of any definition: start, signal, look, retry one piece."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import SAGA_ID, THEN, FakeApi, json_answer, page, problem

STARTED: Final[dict[str, Any]] = {
    "saga_id": SAGA_ID,
    "subject_id": SAGA_ID,
    "definition": "enrolment",
    "definition_version": 1,
    "status": "running",
    "label": "before_the_dean",
    "input": {"student": "Ada"},
    "waits": [
        {
            "name": "approval",
            "signal": "Approval",
            "status": "awaited",
            "open": True,
            "deadline_at": "2999-01-01T00:00:00Z",
            "received": None,
        }
    ],
    "failure": None,
    "cancel_requested_at": None,
    "created_at": THEN,
    "updated_at": THEN,
    "ended_at": None,
}
ENDED: Final = {**STARTED, "status": "completed", "label": "enrolled", "ended_at": THEN}
ADA: Final = '{"student": "Ada"}'


@pytest.fixture
def ada(tmp_path: Path) -> str:
    file = tmp_path / "ada.json"
    file.write_text(ADA)
    return str(file)


def test_a_saga_is_started_from_a_file(oms: Oms, api: FakeApi, ada: str) -> None:
    api.on("POST", "/sagas/enrolment", json_answer(STARTED, 202))
    ran = oms("sagas", "start", "enrolment", ada)

    assert ran.code == 0, ran.err
    for word in (SAGA_ID, "enrolment 1", "running, at before_the_dean", "approval"):
        assert word in ran.out
    assert "order" not in ran.out + ran.err
    assert api.bodies == [{"student": "Ada"}]


def test_the_same_file_gives_the_same_key_and_it_is_said_that_nothing_was_started_twice(
    oms: Oms, api: FakeApi, ada: str
) -> None:
    api.on("POST", "/sagas/enrolment", json_answer(STARTED, 200, **{"Idempotency-Replayed": "true"}))
    first, second = oms("sagas", "start", "enrolment", ada), oms("sagas", "start", "enrolment", ada)

    keys = {request.headers["Idempotency-Key"] for request in api.requests}
    assert len(keys) == 1
    assert "this saga had been taken before" in second.err
    assert (first.code, second.code) == (0, 0)


def test_who_waits_sees_the_end(oms: Oms, api: FakeApi, ada: str) -> None:
    api.on("POST", "/sagas/enrolment", json_answer(STARTED, 202))
    api.on("GET", f"/sagas/{SAGA_ID}", json_answer(ENDED))
    ran = oms("sagas", "start", "enrolment", ada, "--wait", "--json")

    assert (ran.code, json.loads(ran.out)) == (0, ENDED)


def test_many_are_started_line_by_line(oms: Oms, api: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "students.ndjson"
    file.write_text(f"{ADA}\n[1]\n{ADA}\n")
    api.on("POST", "/sagas/enrolment", json_answer(STARTED, 202))
    ran = oms("sagas", "start", "enrolment", str(file), "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]

    assert ran.code == 1
    assert sorted(line["line"] for line in lines if "saga" in line) == [1, 3]
    assert [line["error"] for line in lines if "error" in line] == ["an input is a JSON object"]


def test_a_file_without_anything_is_told_in_words_of_sagas(oms: Oms, tmp_path: Path) -> None:
    file = tmp_path / "empty.json"
    file.write_text("[]")
    ran = oms("sagas", "start", "enrolment", str(file))
    assert (ran.code, "there is no input in it" in ran.err) == (1, True)


def test_a_refusal_names_the_fields(oms: Oms, api: FakeApi, ada: str) -> None:
    errors = [{"pointer": "/fee", "code": "missing", "detail": "Field required"}]
    api.on("POST", "/sagas/enrolment", problem(422, "Some fields are not as they must be.", errors=errors))
    ran = oms("sagas", "start", "enrolment", ada)
    assert (ran.code, "/fee: Field required" in ran.err) == (1, True)


def test_a_definition_that_is_not_installed_is_told_with_those_that_are(
    oms: Oms, api: FakeApi, ada: str
) -> None:
    api.on("POST", "/sagas/marriage", problem(404, "Sagas that can be started here: enrolment."))
    ran = oms("sagas", "start", "marriage", ada)
    assert (ran.code, "can be started here: enrolment" in ran.err) == (1, True)


@pytest.mark.parametrize("name", ["../admin", "Enrolment", "", "a b", "a?x=1", "a" * 65])
def test_what_is_no_name_is_sent_nowhere(oms: Oms, api: FakeApi, ada: str, name: str) -> None:
    assert oms("sagas", "start", name, ada).code == 2
    assert oms("sagas", "signal", SAGA_ID, name).code == 2
    assert api.requests == []


@pytest.mark.parametrize("as_file", [True, False])
def test_a_signal_is_sent_with_its_body_and_reason(
    oms: Oms, api: FakeApi, tmp_path: Path, as_file: bool
) -> None:
    body = '{"approved": true}'
    (tmp_path / "yes.json").write_text(body)
    received = {"body": {"approved": True}, "sender": "admin", "at": THEN}
    told = {**STARTED, "waits": [{**STARTED["waits"][0], "received": received}]}
    api.on("POST", f"/sagas/{SAGA_ID}/signals/approval", json_answer(told, 202))
    given = f"@{tmp_path}/yes.json" if as_file else body
    ran = oms("sagas", "signal", SAGA_ID, "approval", "--body", given, "--reason", "signed")

    assert ran.code == 0, ran.err
    assert '{"approved": true} by admin' in ran.out
    assert (api.bodies, api.requests[0].url.params["reason"]) == ([{"approved": True}], "signed")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "--body: not JSON"),
        ("7", "--body: it is no JSON object"),
        ('{"a": NaN}', "--body: /a: NaN"),
        ('{"a": "\\ud800"}', "--body: /a: half of a character"),
        ("@/nowhere/yes.json", "/nowhere/yes.json"),
    ],
)
def test_a_body_that_cannot_be_sent_is_told(oms: Oms, api: FakeApi, body: str, said: str) -> None:
    ran = oms("sagas", "signal", SAGA_ID, "approval", "--body", body)
    assert (ran.code, said in ran.err) == (1, True), ran.err
    assert api.requests == []


def test_a_signal_that_is_refused_is_told_why(oms: Oms, api: FakeApi) -> None:
    refused = problem(409, "approval was told otherwise.", code="signalled", allowed_actions=[])
    api.on("POST", f"/sagas/{SAGA_ID}/signals/approval", refused)
    ran = oms("sagas", "signal", SAGA_ID, "approval")
    assert (ran.code, "approval was told otherwise" in ran.err) == (1, True)


def test_a_saga_is_shown_with_its_branches_and_waits(oms: Oms, api: FakeApi) -> None:
    pieces = [
        {
            "name": f"join[{n}]",
            "item": f"course {n}",
            "kind": "compensatable",
            "status": "awaited",
            "result": {},
        }
        for n in range(1, 6)
    ]
    detail = {
        **STARTED,
        "order_id": SAGA_ID,
        "owner": "client of enrolment",
        "awaits": [piece["name"] for piece in pieces],
        "step": "join[1]",
        "direction": "forward",
        "steps": pieces,
    }
    api.on("GET", f"/admin/sagas/{SAGA_ID}", json_answer(detail))
    ran = oms("sagas", "show", SAGA_ID)

    for word in ("client of enrolment", "join[1], join[2], join[3] and 2 more", "course 5", "Approval"):
        assert word in ran.out
    assert "order" not in ran.out


def test_sagas_are_listed_of_one_definition(oms: Oms, api: FakeApi) -> None:
    api.on("GET", "/admin/sagas", json_answer(page({**STARTED, "incident_kinds": []})))
    ran = oms("sagas", "list", "--definition", "enrolment")

    assert api.requests[0].url.params["definition"] == "enrolment"
    for word in ("enrolment", "before_the_dean"):
        assert word in ran.out


def test_one_piece_is_retried_by_its_name(oms: Oms, api: FakeApi) -> None:
    ran = oms("sagas", "retry", SAGA_ID, "--reason", "why", "--step", "join[2]")
    assert ran.code == 0, ran.err
    assert api.bodies == [{"reason": "why", "step": "join[2]", "expected_version": 7}]


@pytest.mark.parametrize("command", ["start", "signal", "list", "show", "explain", "cancel", "retry"])
def test_every_command_has_an_example(oms: Oms, command: str) -> None:
    ran = oms("sagas", command, "--help")
    assert f"$ oms sagas {command} " in ran.out
