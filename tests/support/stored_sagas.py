"""Sagas as they stand in the database, made by the machine itself: for tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from orchestrator.codec import dump_input, dump_state, kind_of
from orchestrator.core import machine
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.effects import PublishEvent, SendCommand, Transition
from orchestrator.core.inputs import Input
from orchestrator.core.state import Saga
from orchestrator.rehearsal import StoredEntry, StoredSaga

FIRST: Final = UUID(int=1)
NOON: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)


def stored(
    definition: SagaDefinition, given: BaseModel, inputs: Sequence[Input], saga_id: UUID = FIRST
) -> StoredSaga:
    """A saga that has lived through these inputs, a second apart."""
    document = given.model_dump_json()
    read = (definition.accepted or definition.input).model_validate_json(document)
    transition = machine.start(definition, saga_id, UUID(int=saga_id.int + 1), read, NOON)
    history = [_entry(transition)]
    for number, happened in enumerate(inputs, 1):
        at = NOON + timedelta(seconds=number)
        decision = machine.decide(definition, transition.saga, happened, at)
        assert isinstance(decision, Transition), decision
        transition = decision
        history.append(_entry(transition))
    saga = transition.saga
    return StoredSaga(_columns(saga), json.loads(dump_state(saga)), document, tuple(history))


def _entry(transition: Transition) -> StoredEntry:
    saga, accepted = transition.saga, transition.accepted
    sent = [
        {"type": type(each.command if isinstance(each, SendCommand) else each.event).__name__}
        for each in transition.effects
        if isinstance(each, SendCommand | PublishEvent)
    ]
    led_to = {
        "status": saga.status.value,
        "order_status": saga.label,
        "step": saga.awaited[0].step if saga.awaited else None,
        "direction": saga.direction.value,
        "sent": sent,
    }
    document = json.loads(dump_input(accepted))
    return StoredEntry(saga.version, saga.updated_at, kind_of(accepted), document, led_to)


def _columns(saga: Saga) -> dict[str, Any]:
    names = (
        "saga_id",
        "subject_id",
        "definition",
        "definition_version",
        "label",
        "version",
        "due_at",
        "created_at",
        "updated_at",
        "ended_at",
    )
    values = {name: getattr(saga, name) for name in names}
    return {**values, "status": saga.status.value, "direction": saga.direction.value}
