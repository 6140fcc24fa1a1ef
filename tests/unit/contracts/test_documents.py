"""What is generated from the code: it is what the code says now, it is sound, and its examples are true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import BaseModel

from contracts import routing
from contracts.asyncapi import asyncapi
from contracts.commands import COMMANDS, INSTRUCTIONS, AdvanceLowWaterMark, SettleStep
from contracts.documents import documents
from contracts.events import EVENTS, OUTCOMES, StepRefused, StepSettled
from contracts.examples import EXAMPLES, ORDER, ORDER_OF_THE_SAGA
from contracts.failures import EXAMPLE as FAILURE
from contracts.failures import MEANING
from contracts.traffic import OURS
from messaging.errors import PermanentFailure
from messaging.retries import RetryPolicy, after_failure
from messaging.topology import orchestrator_topology, participant_topology
from messaging.transport import Delivery
from oms.documents import CONTRACTS, DIAGRAMS, ROOT, write_all
from orchestrator.core.definition import StepKind, StepPolicy
from orchestrator.core.diagram import flow_diagram, state_diagram, transition_table
from orchestrator.core.machine import TABLE
from orchestrator.core.state import Status
from orchestrator.sagas.order_fulfillment import PaymentFlow, Shipments, order_fulfillment
from orchestrator.sagas.order_return import order_return

DEFINITION = order_fulfillment(StepPolicy())
DOCUMENT = asyncapi()
MODELS: dict[str, type[BaseModel]] = {**COMMANDS, **INSTRUCTIONS, **EVENTS}
STANDALONE = {name: document for name, document in documents() if name != "asyncapi.json"}


def test_the_committed_documents_are_what_the_code_says_now(tmp_path: Path) -> None:
    """Run `make documents` when this fails."""
    fresh = {path.relative_to(tmp_path): path.read_text() for path in write_all(tmp_path)}
    folders = (ROOT / CONTRACTS, ROOT / DIAGRAMS)
    committed = {
        path.relative_to(ROOT): path.read_text()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert committed == fresh


def test_documents_do_not_depend_on_when_or_where_they_are_written(tmp_path: Path) -> None:
    first, second = (write_all(tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


# -- schemas ----------------------------------------------------------------------------------------------


def test_every_message_and_the_order_have_a_schema() -> None:
    kinds = [*(f"events/{name}" if name in EVENTS else f"commands/{name}" for name in MODELS), "order"]
    assert set(STANDALONE) == {f"{kind}.schema.json" for kind in kinds}
    assert len({schema["$id"] for schema in STANDALONE.values()}) == len(STANDALONE)


@pytest.mark.parametrize("name", STANDALONE)
def test_a_schema_is_sound_and_stands_alone(name: str) -> None:
    schema = STANDALONE[name]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    for reference in references(schema):
        assert resolved(schema, reference)


@pytest.mark.parametrize("name", MODELS)
def test_an_example_fits_its_schema_and_its_model(name: str) -> None:
    kind = "events" if name in EVENTS else "commands"
    example = EXAMPLES[name].model_dump(mode="json", exclude_none=True)
    validate(example, STANDALONE[f"{kind}/{name}.schema.json"])
    read = MODELS[name].model_validate_json(json.dumps(example))
    assert read.model_dump() == EXAMPLES[name].model_dump()


@pytest.mark.parametrize("name", MODELS)
def test_a_schema_refuses_what_lacks_its_identities(name: str) -> None:
    schema = STANDALONE[f"{'events' if name in EVENTS else 'commands'}/{name}.schema.json"]
    assert not Draft202012Validator(schema).is_valid({})


def test_an_order_fits_its_schema_and_unknown_fields_do_not() -> None:
    order, schema = ORDER.model_dump(mode="json", exclude_none=True), STANDALONE["order.schema.json"]
    validate(order, schema)
    assert not Draft202012Validator(schema).is_valid({**order, "note": "hurry"})
    assert not Draft202012Validator(schema).is_valid({**order, "lines": []})


def test_a_message_with_fields_of_tomorrow_fits_the_schema_of_today() -> None:
    example = EXAMPLES["ShipOrder"].model_dump(mode="json", exclude_none=True)
    example["gift_wrap"] = True
    example["lines"][0]["batch"] = "B7"
    example["shipping_address"]["floor"] = 3
    validate(example, STANDALONE["commands/ShipOrder.schema.json"])


def validate(instance: object, schema: dict[str, Any]) -> None:
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(instance)


# -- AsyncAPI ---------------------------------------------------------------------------------------------


def references(document: object) -> Iterator[str]:
    """Every ``$ref`` in a document."""
    if isinstance(document, dict):
        if isinstance(document.get("$ref"), str):
            yield document["$ref"]
        for value in document.values():
            yield from references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)


def resolved(document: dict[str, Any], reference: str) -> Any:
    """What a reference inside the document points at."""
    assert reference.startswith("#/"), reference
    found: Any = document
    for part in reference[2:].split("/"):
        found = found[part]
    return found


def test_every_reference_resolves() -> None:
    pointers = list(references(DOCUMENT))
    assert len(pointers) > 100
    for pointer in pointers:
        assert resolved(DOCUMENT, pointer)


def test_every_message_has_a_channel_and_an_operation() -> None:
    messages = set(DOCUMENT["components"]["messages"])
    assert messages == set(MODELS)
    carried = {name for channel in DOCUMENT["channels"].values() for name in channel["messages"]}
    used = {
        message["$ref"].rpartition("/")[2]
        for operation in DOCUMENT["operations"].values()
        for message in operation["messages"]
    }
    assert carried == used == messages


def test_the_messages_of_an_operation_and_its_reply_are_those_of_their_channels() -> None:
    for operation in DOCUMENT["operations"].values():
        for part in (operation, operation.get("reply", operation)):
            channel = part["channel"]["$ref"]
            assert part["messages"]
            assert all(each["$ref"].startswith(f"{channel}/messages/") for each in part["messages"])


@pytest.mark.parametrize("name", MODELS)
def test_a_message_shows_an_example_with_the_headers_of_its_envelope(name: str) -> None:
    message = DOCUMENT["components"]["messages"][name]
    (trait,) = (resolved(DOCUMENT, each["$ref"]) for each in message["traits"])
    (example,) = message["examples"]
    validate(example["headers"], trait["headers"])
    assert set(example["headers"]) <= set(trait["headers"]["properties"])
    within = {"$ref": message["payload"]["$ref"], "components": DOCUMENT["components"]}
    validate(example["payload"], within)


def test_channels_are_the_exchanges_and_queues_that_are_declared() -> None:
    bindings = [channel["bindings"]["amqp"] for channel in DOCUMENT["channels"].values()]
    written = [each["exchange"] for each in bindings if "exchange" in each]
    exchanges = {(each["name"], each["type"]) for each in written}
    queues = {each["queue"]["name"] for each in bindings if "queue" in each}
    keys = [event.key for event in OUTCOMES.values()]
    declared = [participant_topology(name, [5.0]) for name in routing.PARTICIPANTS]
    declared.append(orchestrator_topology(keys, [5.0]))
    names = {queue.name for topology in declared for queue in topology.queues}
    assert exchanges == {(each.name, each.kind) for topology in declared for each in topology.exchanges}
    assert queues == {name for name in names if ".retry." not in name}


def test_each_participant_is_asked_what_the_saga_asks_of_it() -> None:
    for_all = {SettleStep.__name__, AdvanceLowWaterMark.__name__}
    asked: dict[str, set[str]] = {name: set(for_all) for name in routing.PARTICIPANTS}
    split = [order_fulfillment(StepPolicy(), payment, Shipments.SPLIT) for payment in PaymentFlow]
    for step in (step for each in (DEFINITION, *split, order_return(StepPolicy())) for step in each.steps):
        asked[step.participant].add(step.command.__name__)
        if step.compensation is not None:
            asked[step.participant].add(step.compensation.command.__name__)
    assert {name: {each.__name__ for each in OURS.taken_by(name)} for name in OURS.participants} == asked


def test_each_participant_answers_with_the_events_of_its_steps() -> None:
    for step in DEFINITION.steps:
        assert {*step.events(), StepRefused, StepSettled} <= set(OURS.outcomes_of(step.participant))
        for event in step.events():
            assert OURS.senders(event) == (step.participant,)


def test_a_message_that_failed_has_the_headers_of_its_trait() -> None:
    body = b'{"lines": []}'
    delivery = Delivery(
        "q", body, str(ORDER_OF_THE_SAGA["saga_id"]), "T", None, {}, "e", "k", redelivered=False
    )
    failed = PermanentFailure("expired", "long ago")
    hop = after_failure(delivery, failed, RetryPolicy(), UUID(int=1), datetime.now(UTC), "inventory")
    trait = DOCUMENT["components"]["messageTraits"]["failed"]["headers"]
    validate(dict(hop.headers), trait)
    assert set(hop.headers) == set(trait["properties"]) == {"attempt", *MEANING} == {"attempt", *FAILURE}
    validate({"attempt": 1, **FAILURE}, trait)


# -- diagrams ---------------------------------------------------------------------------------------------


def test_the_state_diagram_shows_every_status_and_every_way_of_the_table() -> None:
    drawn = state_diagram()
    for (before, trigger), row in TABLE.items():
        for after in row.leads_to:
            (arrow,) = (line for line in drawn.splitlines() if f" {before} --> {after}:" in line)
            assert trigger.value in arrow
    assert all(status.value in drawn for status in Status)


def test_the_table_in_the_documents_has_a_line_a_row_and_says_what_is_done() -> None:
    lines = transition_table().splitlines()[2:]
    assert len(lines) == len(TABLE)
    assert all(len(line.split("|")[3].strip()) > 10 for line in lines)


def test_the_flow_of_a_saga_goes_forward_and_back() -> None:
    drawn = flow_diagram(DEFINITION)
    assert "reserve -->|InventoryReservedEvent| charge" in drawn
    assert "commit -->|InventoryReducedEvent| completed" in drawn
    assert "reserve -.->|InventoryRejectedEvent| undone" in drawn
    assert "charge -.->|PaymentDeclinedEvent| undo_reserve" in drawn
    assert "charge -.->|no answer, cancel| undo_charge" in drawn
    assert "undo_charge -->|PaymentRefundedEvent| undo_reserve" in drawn
    assert "undo_reserve -->|InventoryReleasedEvent| undone" in drawn
    assert "undo_ship" not in drawn


def test_a_saga_that_cannot_be_undone_has_no_way_back() -> None:
    steps = tuple(step for step in DEFINITION.steps if step.kind is not StepKind.COMPENSATABLE)
    drawn = flow_diagram(replace(DEFINITION, course=steps))
    assert "undo_" not in drawn
    assert "ship -.->|ShipmentRejectedEvent| undone" in drawn
