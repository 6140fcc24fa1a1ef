"""What a saga asks for and tells: commands and events, built from its input and results, each time anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.commands import Command, SettleStep
from contracts.envelope import Direction
from orchestrator.core.definition import Announcement, ForEach, SagaDefinition
from orchestrator.core.effects import PublishEvent, SendCommand
from orchestrator.core.state import Awaited, Forward, Saga, StepState


def results_of(definition: SagaDefinition, saga: Saga, before: int | None = None) -> dict[str, Any]:
    """What the saga remembers of its successes, as a definition's functions are given it (see `Results`).

    Args:
        before: of the stages before this one alone: so a command sent again is the same, whatever its
            siblings have answered since (P2).
    """
    results: dict[str, Any] = {
        name: () for name, number in definition.for_eaches.items() if before is None or number < before
    }
    for piece in saga.steps:
        number = definition.stage_index(piece.name)
        if before is not None and number >= before:
            continue
        stage = definition.course[number]
        if isinstance(stage, ForEach):
            results[stage.name] = (*results[stage.name], _branch(piece))
        elif piece.forward is Forward.SUCCEEDED:
            results[piece.name] = piece.result
    return results


def _branch(piece: StepState) -> Mapping[str, Any]:
    return {**piece.result, "item": piece.item, "outcome": piece.forward.value}


def awaited_command(definition: SagaDefinition, saga: Saga, awaited: Awaited) -> SendCommand:
    """The command whose answer is awaited, built anew from the saga (D4). Raises KeyError for a wait."""
    step = definition[awaited.step]
    command, arguments = _command_for(definition, saga, awaited)
    built = command(
        saga_id=saga.saga_id,
        order_id=saga.subject_id,
        step=awaited.step,
        direction=awaited.direction,
        **arguments,
    )
    return SendCommand(step.participant, built)


def _command_for(
    definition: SagaDefinition, saga: Saga, awaited: Awaited
) -> tuple[type[Command], Mapping[str, Any]]:
    """The command for a piece of work, and its fields beside the identities."""
    step, settling = definition[awaited.step], awaited.settling
    if settling is not None:
        said = {"verdict": settling.verdict, "reference": settling.reference, "amount": settling.amount}
        return SettleStep, said
    if awaited.direction is Direction.FORWARD:
        results = results_of(definition, saga, definition.stage_index(awaited.step))
        more = (
            (saga.step(awaited.step).item,) if isinstance(definition.stage_of(awaited.step), ForEach) else ()
        )
        return step.command, step.arguments(saga.input, results, *more)
    if step.compensation is None:
        raise ValueError(f"step {step.name} has no compensation")
    return step.compensation.command, {}


def announced(definition: SagaDefinition, each: Announcement | None, saga: Saga) -> tuple[PublishEvent, ...]:
    """The event that an announcement is, if there is one."""
    if each is None:
        return ()
    fields = dict(each.fields(saga.input, results_of(definition, saga)))
    if saga.failure is not None and "code" in each.event.model_fields:
        fields |= {"code": saga.failure.code, "message": saga.failure.message}
    return (PublishEvent(each.event(saga_id=saga.saga_id, order_id=saga.subject_id, **fields)),)
