"""The pieces of one saga's course as they are shown: steps, branches of steps, and waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from contracts.envelope import Direction
from orchestrator.core.definition import SagaDefinition, Wait
from orchestrator.core.machine import open_waits
from orchestrator.core.state import Saga, StepState, Undo
from orchestrator.queries.masking import Masking
from orchestrator.queries.views import SignalView, StepStatus, StepView, WaitView

_UNDONE: Final[Mapping[Undo, StepStatus]] = {
    Undo.AWAITED: "compensating",
    Undo.UNDONE: "compensated",
    Undo.NOTHING: "nothing_to_undo",
    Undo.SETTLED: "settled",
}


def step_status(step: StepState) -> StepStatus:
    """One word for a step: what became of its undoing, else of its own effect."""
    return _UNDONE.get(step.undo) or step.forward.value


def step_views(definition: SagaDefinition | None, saga: Saga, masking: Masking) -> Iterator[StepView]:
    """Every piece that the saga has by now. Without its definition, what the saga itself knows of them."""
    for piece in saga.steps:
        is_step = definition is not None and piece.name in definition
        yield StepView(
            name=piece.name,
            kind=definition[piece.name].kind if definition is not None and is_step else None,
            stage=definition.stage_index(piece.name) if definition is not None else None,
            item=masking(piece.item),
            status=step_status(piece),
            attempts=saga.attempts.get(piece.name, 0),
            compensation_attempts=saga.attempts.get(f"{piece.name}:compensating", 0),
            result=masking(piece.result),
        )


def wait_views(definition: SagaDefinition | None, saga: Saga, masking: Masking) -> Iterator[WaitView]:
    """Every wait of its course, in the course's order; none without the definition."""
    if definition is None:
        return
    taken_now = {wait.name for wait in open_waits(definition, saga)}
    for name, wait in definition.waits.items():
        awaited = saga.waiting_for(name, Direction.FORWARD)
        since = awaited.since if awaited is not None else None
        yield WaitView(
            name=name,
            status=step_status(saga.step(name)),
            open=name in taken_now,
            since=since,
            deadline_at=since + timedelta(seconds=wait.deadline_s) if since is not None else None,
            on_deadline=wait.on_deadline,
            signal=wait.signal.__name__ if wait.signal is not None else None,
            signalled_by=wait.signalled_by,
            signal_schema=signal_schema(wait),
            received=_received(saga, name, masking),
        )


def input_of(saga: Saga, masking: Masking) -> Any:
    """What a saga was started with, as JSON has it."""
    return masking(to_jsonable_python(saga.input, fallback=str))


def _received(saga: Saga, name: str, masking: Masking) -> SignalView | None:
    signal = saga.signals.get(name)
    if signal is None:
        return None
    return SignalView(body=masking(signal.body), sender=signal.sender, at=signal.at)


def signal_schema(wait: Wait) -> dict[str, Any] | None:
    """The JSON Schema of a wait's signal; None where it waits for time alone."""
    return schema_of(wait.signal) if wait.signal is not None else None


@lru_cache(maxsize=1000)
def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON Schema; of one that has none, that it is an object. Not to be changed."""
    try:
        return model.model_json_schema()
    except Exception:  # a model is somebody's code; that it has no schema makes no saga unusable
        return {"title": model.__name__, "type": "object"}
