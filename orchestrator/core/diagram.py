"""The machine and the sagas as Mermaid diagrams, drawn from the very data that runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from contracts.events import OrderCancelledEvent, OrderCompletedEvent, OrderCreatedEvent, OrderRejectedEvent
from orchestrator.core.definition import Compensation, SagaDefinition, Step, StepKind
from orchestrator.core.machine import TABLE, Trigger
from orchestrator.core.state import ENDED, Status


def state_diagram() -> str:
    """The statuses of a saga, with what leads from one to another, from the transition table."""
    lines = ["stateDiagram-v2", f"    [*] --> {Status.RUNNING}: order accepted"]
    for (before, after), triggers in _arrows().items():
        lines.append(f"    {before} --> {after}: {'<br/>'.join(triggers)}")
    lines += [f"    {status} --> [*]" for status in Status if status in ENDED]
    return _joined(lines)


def transition_table() -> str:
    """The transition table as Markdown: what is done about each input, and where it leads."""
    lines = ["| status | what happens | what is done | leads to |", "| --- | --- | --- | --- |"]
    for (status, trigger), row in TABLE.items():
        done = (row.rule.__doc__ or "").strip().partition("\n")[0]
        leads_to = ", ".join(row.leads_to) or "-"
        lines.append(f"| {status} | {trigger} | {done} | {leads_to} |")
    return _joined(lines)


def flow_diagram(definition: SagaDefinition) -> str:
    """A saga's way forward and its way back.

    Solid arrows are answers that go on; dotted arrows turn round: a rejection undoes the steps before,
    an unknown outcome or a cancel undoes the step itself, too.
    """
    lines = ["flowchart TD", f'    started(["{OrderCreatedEvent.__name__}"]) --> {definition.steps[0].name}']
    lines += [f"    {_node(step)}" for step in definition.steps]
    lines += [f"    {_undo_node(step, step.compensation)}" for step in definition.steps if step.compensation]
    lines += _forward(definition)
    lines += _turns(definition)
    lines += _back(definition)
    lines.append(f'    completed(["{OrderCompletedEvent.__name__}"])')
    lines.append(f'    undone(["{OrderRejectedEvent.__name__} or {OrderCancelledEvent.__name__}"])')
    return _joined(lines)


def _arrows() -> dict[tuple[Status, Status], list[Trigger]]:
    """What leads from one status to another, in the order of the table."""
    arrows: dict[tuple[Status, Status], list[Trigger]] = {}
    for (before, trigger), row in TABLE.items():
        for after in row.leads_to:
            arrows.setdefault((before, after), []).append(trigger)
    return arrows


_SHAPES: Final = {
    StepKind.COMPENSATABLE: ("[", "]"),
    StepKind.PIVOT: ("{{", "}}"),
    StepKind.RETRIABLE: ("[[", "]]"),
}


def _node(step: Step) -> str:
    left, right = _SHAPES[step.kind]
    text = f"<b>{step.name}</b><br/>{step.command.__name__} to {step.participant}<br/>{step.kind}"
    return f'{step.name}{left}"{text}"{right}'


def _undo_node(step: Step, compensation: Compensation) -> str:
    text = f"<b>undo {step.name}</b><br/>{compensation.command.__name__} to {step.participant}"
    return f'undo_{step.name}["{text}"]'


def _forward(definition: SagaDefinition) -> Iterator[str]:
    following = [step.name for step in definition.steps[1:]] + ["completed"]
    for step, after in zip(definition.steps, following, strict=True):
        yield f"    {step.name} -->|{step.success.__name__}| {after}"


def _turns(definition: SagaDefinition) -> Iterator[str]:
    for index, step in enumerate(definition.steps):
        if step.rejection is not None:
            before = definition.steps[:index]
            yield f"    {step.name} -.->|{step.rejection.__name__}| {_first_undone(before)}"
        if step.compensation is not None:
            yield f"    {step.name} -.->|no answer, cancel| undo_{step.name}"


def _back(definition: SagaDefinition) -> Iterator[str]:
    for index, step in reversed(list(enumerate(definition.steps))):
        if step.compensation is not None:
            before = definition.steps[:index]
            outcome = step.compensation.outcome.__name__
            yield f"    undo_{step.name} -->|{outcome}| {_first_undone(before)}"


def _first_undone(steps: tuple[Step, ...]) -> str:
    """Where compensation of these steps begins: at the last one that can be undone."""
    undoable = [step.name for step in steps if step.compensation is not None]
    return f"undo_{undoable[-1]}" if undoable else "undone"


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
