"""The messages of an installation are those of orders, and of every other saga that it knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from contracts.documents import documents
from contracts.events import StepRefused, StepSettled
from contracts.routing import ORCHESTRATOR, PARTICIPANTS
from contracts.traffic import FOR_ALL, OURS
from oms.cli.app import app
from oms.definitions import traffic_of
from orchestrator.core.definition import StepPolicy
from orchestrator.sagas.order_fulfillment import order_fulfillment
from tests.support.enrolment import (
    BURSAR,
    CAMPUS,
    CardIssued,
    FeePaid,
    FeeReturned,
    PayFee,
    ReturnFee,
    StudentEnrolled,
    enrolment,
)

BOTH = traffic_of([order_fulfillment(StepPolicy()), enrolment(StepPolicy())])


def test_orders_alone_are_what_is_written_in_the_contracts() -> None:
    assert traffic_of([order_fulfillment(StepPolicy())]) == OURS


def test_another_saga_adds_its_participants_with_what_they_are_asked_and_answer() -> None:
    assert set(BOTH.participants) == {*PARTICIPANTS, CAMPUS, BURSAR}
    assert set(BOTH.taken_by(BURSAR)) == {PayFee, ReturnFee, *FOR_ALL}
    assert {FeePaid, FeeReturned, StepRefused, StepSettled} <= set(BOTH.outcomes_of(BURSAR))
    assert CardIssued not in BOTH.outcomes_of(BURSAR)


def test_what_a_saga_announces_is_sent_by_the_orchestrator_and_answers_nobody() -> None:
    assert BOTH.senders(StudentEnrolled) == (ORCHESTRATOR,)
    assert StudentEnrolled.__name__ not in [event.__name__ for event in BOTH.outcomes]


def test_every_message_of_another_saga_has_a_schema_that_its_example_fits() -> None:
    written = dict(documents(BOTH))
    messages = written["asyncapi.json"]["components"]["messages"]
    for kind, names in (("commands", ("PayFee", "ReturnFee")), ("events", ("FeePaid", "StudentEnrolled"))):
        for name in names:
            (example,) = messages[name]["examples"]
            Draft202012Validator(written[f"{kind}/{name}.schema.json"]).validate(example["payload"])


def test_the_command_writes_what_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMS_SAGA_DEFINITIONS", "tests.support.enrolment:enrolment")
    done = CliRunner().invoke(app, ["contracts", "--to", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "commands/PayFee.schema.json").exists()
    assert "bursar.commands" in json.loads((tmp_path / "asyncapi.json").read_text())["channels"]
