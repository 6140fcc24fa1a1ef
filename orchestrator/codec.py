"""Sagas and inputs as JSON: what the storage keeps beside the columns it searches by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import to_json

from contracts.orders import Order
from orchestrator.core import inputs
from orchestrator.core.inputs import Input
from orchestrator.core.state import Saga

STATE_FIELDS: Final = frozenset(
    {
        "steps",
        "awaiting",
        "settling",
        "failure",
        "cancel_requested_at",
        "incidents",
        "sending",
        "attempts",
        "traceparent",
    }
)
"""Fields of a saga that live in its ``state`` document; the others have columns."""

_SAGA: Final[TypeAdapter[Saga]] = TypeAdapter(Saga)


def dump_state(saga: Saga) -> str:
    """The part of a saga that has no columns."""
    return _SAGA.dump_json(saga, include=set(STATE_FIELDS), exclude_defaults=True).decode()


def load_saga(columns: Mapping[str, Any], state: Mapping[str, Any], order: Order) -> Saga:
    """A saga from its columns, its state document and its order."""
    return _SAGA.validate_python({**columns, **state, "order": order})


def kind_of(happened: Input) -> str:
    """An input's name in the history: ``OutcomeReceived`` → ``outcome_received``."""
    return _KINDS[type(happened)]


def dump_input(happened: Input) -> str:
    """An input as JSON."""
    return _ADAPTERS[kind_of(happened)].dump_json(happened, exclude_none=True).decode()


def load_input(kind: str, document: Mapping[str, Any]) -> Input:
    """An input from the history. Raises KeyError for a kind that never was."""
    loaded: Input = _ADAPTERS[kind].validate_python(document)
    return loaded


def dump_json(document: Mapping[str, Any]) -> str:
    """A small document as JSON."""
    return to_json(document).decode()


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_INPUTS: Final = (
    inputs.SagaStarted,
    inputs.OutcomeReceived,
    inputs.OutcomeUnknown,
    inputs.StepOverdue,
    inputs.CompensationStuck,
    inputs.CommandDeadLettered,
    inputs.CancelRequested,
    inputs.RetryRequested,
    inputs.ResolveRequested,
)
_KINDS: Final[dict[type, str]] = {each: _snake(each.__name__) for each in _INPUTS}
_ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {_KINDS[each]: TypeAdapter(each) for each in _INPUTS}
