"""What the release before wrote is read and folded as before, and it can read what is written now (S15, S25).

The documents in ``recorded`` are rows of that release, as its database had them: columns and state of a saga,
its order, its history. They are never written anew.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import TypeAdapter

from orchestrator.codec import dump_input, dump_state, kind_of, load_input, read_saga
from orchestrator.core import machine, timers
from orchestrator.core.definition import StepPolicy
from orchestrator.core.machine import fold
from orchestrator.core.registry import Registry
from orchestrator.core.state import ENDED, NOT_SENT, Saga
from orchestrator.sagas.order_fulfillment import order_fulfillment
from tests.unit.core.laws import without_timers

RECORDED: Final = sorted((Path(__file__).parent / "recorded").glob("*.json"))
NAMES: Final = [path.stem for path in RECORDED]
DEFINITION: Final = order_fulfillment(StepPolicy())
DEADLINES_S: Final = {"ship_overdue": 12, "ship_refused": 12}
"""Where the process that was recorded ran with another deadline than usual, which its incidents tell."""

REGISTRY: Final = Registry([DEFINITION])
COLUMNS: Final = (
    *("saga_id", "definition", "definition_version", "status", "direction", "version", "due_at"),
    *("created_at", "updated_at", "ended_at"),
)


def recorded(name: str) -> dict[str, Any]:
    """One saga of the release before, as its rows were."""
    document: dict[str, Any] = json.loads((RECORDED[0].parent / f"{name}.json").read_text())
    return document


def loaded(document: dict[str, Any]) -> Saga:
    """That saga, as it is read now."""
    given = document["columns"]
    columns = {name: given[name] for name in COLUMNS}
    columns |= {"subject_id": given["order_id"], "label": given["order_status"]}
    return read_saga(columns, json.dumps(document["state"]), json.dumps(document["input"]), REGISTRY)


def test_the_records_show_everything_that_a_saga_can_go_through() -> None:
    kinds = {entry["kind"] for name in NAMES for entry in recorded(name)["history"]}
    assert kinds == {
        "saga_started",
        "outcome_received",
        "outcome_unknown",
        "step_overdue",
        "compensation_stuck",
        "command_dead_lettered",
        "cancel_requested",
        "retry_requested",
        "resolve_requested",
    }
    fields = {field for name in NAMES for field in recorded(name)["state"]}
    assert {"awaiting", "settling", "sending", "failure", "incidents", "cancel_requested_at"} <= fields


@pytest.mark.parametrize("name", NAMES)
def test_a_state_is_read_and_written_again_as_it_was(name: str) -> None:
    document = recorded(name)
    assert json.loads(dump_state(loaded(document))) == document["state"]


@pytest.mark.parametrize("name", NAMES)
def test_a_history_is_read_and_written_again_as_it_was(name: str) -> None:
    for entry in recorded(name)["history"]:
        happened = load_input(entry["kind"], entry["accepted"])
        assert kind_of(happened) == entry["kind"]
        assert json.loads(dump_input(happened)) == entry["accepted"]


@pytest.mark.parametrize("name", NAMES)
def test_s15_a_history_folds_to_the_row(name: str) -> None:
    document = recorded(name)
    saga = loaded(document)
    history = [
        (datetime.fromisoformat(entry["at"]), load_input(entry["kind"], entry["accepted"]))
        for entry in document["history"]
    ]
    definition = order_fulfillment(StepPolicy(deadline_s=DEADLINES_S.get(name, 300)))
    folded = fold(definition, saga.saga_id, saga.subject_id, saga.input, history)
    assert without_timers(replace(folded, traceparent=saga.traceparent)) == without_timers(saga)


@pytest.mark.parametrize("name", NAMES)
def test_its_timers_are_where_they_were(name: str) -> None:
    document = recorded(name)
    saga, known = loaded(document), document["state"].get("sending")
    if not saga.awaited:
        assert known is None
        return
    [awaited] = saga.awaited
    told = json.loads(TypeAdapter(type(NOT_SENT)).dump_json(awaited.sending, exclude_defaults=True))
    assert told == (known or {})
    assert saga.attempts == document["state"]["attempts"]
    assert timers.due_at(DEFINITION, saga, saga.updated_at) is None or saga.due_at is not None or awaited.held


@pytest.mark.parametrize("name", NAMES)
def test_what_a_person_may_do_is_what_it_was(name: str) -> None:
    expected = {
        "held": ("cancel", "retry"),
        "ship_held": ("retry", "resolve"),
        "ship_judged": ("retry", "resolve"),
        "ship_overdue": ("retry", "resolve"),
        "ship_refused": ("retry", "resolve"),
        "undoing_held": ("retry", "resolve"),
        "undoing_stuck": ("retry", "resolve"),
        "orphaned": ("resolve",),
        "orphan_judged": ("retry", "resolve"),
    }
    saga = loaded(recorded(name))
    actions = machine.allowed_actions(DEFINITION, saga)
    if name in expected:
        assert actions == expected[name]
    elif saga.status in ENDED:
        assert actions == ()
    else:
        assert "retry" in actions


def test_the_document_of_a_saga_that_awaits_one_piece_has_the_shape_that_the_release_before_reads() -> None:
    """Field by field: it refuses what it does not know in none of them, and needs all of these."""
    document = recorded("ship_judged")["state"]
    assert set(document) <= {
        *("steps", "awaiting", "settling", "sending", "failure", "cancel_requested_at", "incidents"),
        *("attempts", "traceparent"),
    }
    assert set(document["awaiting"]) == {"step", "direction", "since", "held", "dead_lettered"}
    assert {"step", "direction", "verdict", "since", "reference"} <= set(document["settling"])
