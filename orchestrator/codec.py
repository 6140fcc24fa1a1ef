"""Sagas and inputs as JSON: what the storage keeps beside the columns it searches by."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from contracts.orders import AcceptedOrder
from orchestrator.core import inputs
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.inputs import Input
from orchestrator.core.state import ENDED, Saga

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


class Unreadable(Exception):
    """A stored document that cannot be read; the message says why and repeats nothing of what is in it (S25).

    It harms whoever it belongs to, and never the batch or the list in which it stands.
    """


def describe(error: ValidationError) -> str:
    """What is wrong with a document, field by field, without echoing it."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
        for problem in problems[:5]
    )


def _why(error: Exception) -> str:
    return describe(error) if isinstance(error, ValidationError) else type(error).__name__


def dump_state(saga: Saga) -> str:
    """The part of a saga that has no columns."""
    return _SAGA.dump_json(saga, include=set(STATE_FIELDS), exclude_defaults=True).decode()


def read_saga(columns: Mapping[str, Any], state: str, document: str | None) -> Saga:
    """A saga from its columns, and the texts of its state and its order's document. Raises Unreadable."""
    if document is None:
        raise Unreadable("its order is missing")
    order = load_order(document)
    try:
        saga = load_saga(columns, json.loads(state), order)
    except (ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"its state cannot be read ({_why(error)})") from None
    _check_whole(saga)
    return saga


def _check_whole(saga: Saga) -> None:
    """A state that lost a field may still have the shape of one; its saga would rest for ever, unseen."""
    if saga.awaiting is None and saga.status not in ENDED:
        raise Unreadable("its state does not say what it awaits")
    steps = {step.name for step in saga.steps}
    if steps and any(work.step not in steps for work in (saga.awaiting, saga.settling) if work):
        raise Unreadable("its state lacks a step")


def check_fits(saga: Saga, definition: SagaDefinition | None) -> None:
    """Raises Unreadable where a saga has other steps than its definition; None is not known here (S13)."""
    if definition is not None and not definition.has_all(step.name for step in saga.steps):
        raise Unreadable(f"{saga.definition} version {saga.definition_version} has other steps here")


def load_saga(columns: Mapping[str, Any], state: Mapping[str, Any], order: AcceptedOrder) -> Saga:
    """A saga from its columns, its state document and its order. Raises ValueError and TypeError."""
    return _SAGA.validate_python({**columns, **state, "order": order})


def load_order(document: str) -> AcceptedOrder:
    """An order from its document: by its shape, not by the rules for new ones. Raises Unreadable."""
    try:
        return AcceptedOrder.model_validate_json(document)
    except ValidationError as error:
        raise Unreadable(f"its order cannot be read ({describe(error)})") from None


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
