"""Sagas and inputs as JSON: what the storage keeps beside the columns it searches by."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from contracts.commands import Verdict
from contracts.envelope import Direction
from contracts.flaws import flaws_in_line
from contracts.orders import AcceptedOrder
from orchestrator.core import inputs
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.inputs import Input
from orchestrator.core.registry import Registry
from orchestrator.core.state import (
    ENDED,
    NOT_SENT,
    Awaited,
    Failure,
    Incident,
    Saga,
    Sending,
    Settlement,
    Signal,
    StepState,
)

_SAGA: Final[TypeAdapter[Saga]] = TypeAdapter(Saga)


class Unreadable(Exception):
    """A stored document that cannot be read; the message says why and repeats nothing of what is in it (S25).

    It harms whoever it belongs to, and never the batch or the list in which it stands.
    """


def _why(error: Exception) -> str:
    return flaws_in_line(error) if isinstance(error, ValidationError) else type(error).__name__


@dataclass(frozen=True, slots=True)
class _Awaiting:
    """Written for a saga that awaits one piece of work, as every release has read it."""

    step: str
    direction: Direction
    since: datetime
    held: bool = False
    dead_lettered: bool = False


@dataclass(frozen=True, slots=True)
class _Settling:
    """Written for a verdict on the one piece of work that is awaited."""

    step: str
    direction: Direction
    verdict: Verdict
    since: datetime
    reference: str | None = None
    amount: int | None = None
    dead_lettered: bool = False


@dataclass(frozen=True, slots=True)
class _State:
    """The state document of a saga.

    What is awaited stands in ``awaiting``, ``settling`` and ``sending`` while it is one piece, which the
    release before can read; only several stand in ``awaited``.
    """

    steps: tuple[StepState, ...] = ()
    awaiting: _Awaiting | None = None
    settling: _Settling | None = None
    sending: Sending = NOT_SENT
    awaited: tuple[Awaited, ...] = ()
    signals: Mapping[str, Signal] = field(default_factory=dict)
    failure: Failure | None = None
    cancel_requested_at: datetime | None = None
    incidents: tuple[Incident, ...] = ()
    attempts: Mapping[str, int] = field(default_factory=dict)
    traceparent: str | None = None


_STATE: Final[TypeAdapter[_State]] = TypeAdapter(_State)
_AS_IT_IS: Final = (
    "steps",
    "signals",
    "failure",
    "cancel_requested_at",
    "incidents",
    "attempts",
    "traceparent",
)


def dump_state(saga: Saga) -> str:
    """The part of a saga that has no columns."""
    return _STATE.dump_json(_state_of(saga), exclude_defaults=True).decode()


def _state_of(saga: Saga) -> _State:
    same: dict[str, Any] = {name: getattr(saga, name) for name in _AS_IT_IS}
    if len(saga.awaited) != 1:
        return _State(**same, awaited=saga.awaited)
    one = saga.awaited[0]
    ended, verdict = saga.status in ENDED, one.settling
    if not ended:
        same["awaiting"] = _Awaiting(one.step, one.direction, one.since, one.held, one.dead_lettered)
    if verdict is not None:
        told = (verdict.verdict, verdict.since, verdict.reference, verdict.amount)
        same["settling"] = _Settling(one.step, one.direction, *told, ended and one.dead_lettered)
    return _State(**same, sending=one.sending)


def _awaited_in(state: _State) -> tuple[Awaited, ...]:
    if state.awaited:
        return state.awaited
    one: _Awaiting | _Settling | None = state.awaiting or state.settling
    if one is None:
        return ()
    asked, verdict = state.settling, None
    if asked is not None:
        verdict = Settlement(asked.verdict, asked.since, asked.reference, asked.amount)
    held = state.awaiting is not None and state.awaiting.held
    return (Awaited(one.step, one.direction, one.since, held, one.dead_lettered, verdict, state.sending),)


def read_saga(columns: Mapping[str, Any], state: str, document: str | None, registry: Registry) -> Saga:
    """A saga from its columns, and the texts of its state and its input's document. Raises Unreadable."""
    if document is None:
        raise Unreadable("its input is missing")
    definition = registry.find(columns["definition"], columns["definition_version"])
    given = read_input(definition, document)
    try:
        saga = load_saga(columns, json.loads(state), given)
    except (ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"its state cannot be read ({_why(error)})") from None
    _check_whole(saga)
    return saga


def _check_whole(saga: Saga) -> None:
    """A state that lost a field may still have the shape of one; its saga would rest for ever, unseen."""
    if not saga.awaited and saga.status not in ENDED:
        raise Unreadable("its state does not say what it awaits")
    steps = {step.name for step in saga.steps}
    if steps and any(awaited.step not in steps for awaited in saga.awaited):
        raise Unreadable("its state lacks a step")


def check_fits(saga: Saga, definition: SagaDefinition | None) -> None:
    """Raises Unreadable where a saga has other steps than its definition; None is not known here (S13)."""
    if definition is not None and not definition.has_all(step.name for step in saga.steps):
        raise Unreadable(f"{saga.definition} version {saga.definition_version} has other steps here")


def load_saga(columns: Mapping[str, Any], state: Mapping[str, Any], given: Any) -> Saga:
    """A saga from its columns, its state document and its input. Raises ValueError and TypeError."""
    known = _STATE.validate_python(state)
    same = {name: getattr(known, name) for name in _AS_IT_IS}
    loaded: Saga = _SAGA.validate_python({**columns, **same, "awaited": _awaited_in(known), "input": given})
    return loaded


def read_input(definition: SagaDefinition | None, document: str) -> Any:
    """What started a saga, by its shape, not by the rules for new ones. Raises Unreadable.

    Of a definition that is not known here (S13) it is the plain document.
    """
    try:
        if definition is None:
            return json.loads(document)
        return (definition.accepted or definition.input).model_validate_json(document)
    except ValidationError as error:
        raise Unreadable(f"its input cannot be read ({flaws_in_line(error)})") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its input cannot be read ({_why(error)})") from None


def load_order(document: str) -> AcceptedOrder:
    """An order from its document, by its shape. Raises Unreadable."""
    try:
        return AcceptedOrder.model_validate_json(document)
    except ValidationError as error:
        raise Unreadable(f"its order cannot be read ({flaws_in_line(error)})") from None


def kind_of(happened: Input) -> str:
    """An input's name in the history: ``OutcomeReceived`` → ``outcome_received``."""
    return _KINDS[type(happened)]


def dump_input(happened: Input) -> str:
    """An input as JSON."""
    nothing = {"worked_out"} if not getattr(happened, "worked_out", None) else None
    return _ADAPTERS[kind_of(happened)].dump_json(happened, exclude_none=True, exclude=nothing).decode()


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
    inputs.SignalReceived,
    inputs.WaitElapsed,
    inputs.CancelRequested,
    inputs.RetryRequested,
    inputs.ResolveRequested,
)
_KINDS: Final[dict[type, str]] = {each: _snake(each.__name__) for each in _INPUTS}
_ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {_KINDS[each]: TypeAdapter(each) for each in _INPUTS}
