"""The machine and the sagas as Mermaid diagrams, drawn from the very data that runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from orchestrator.core.definition import (
    Compensation,
    ForEach,
    Group,
    OnDeadline,
    SagaDefinition,
    Stage,
    Step,
    StepKind,
    Wait,
    steps_of,
)
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
    """A saga's way forward and its way back, whatever its stages.

    Solid arrows are answers that go on; dotted arrows turn round: a rejection undoes the steps before,
    an unknown outcome or a cancel undoes the step itself, too. What is side by side stands in a box.
    """
    stages = list(enumerate(definition.course))
    lines = ["flowchart TD", f'    started(["{_told(definition, "started")}"]) --> {_entry(definition, 0)}']
    lines += [line for number, stage in stages for line in _nodes(number, stage)]
    lines += [line for number, stage in stages for line in _undo_nodes(number, stage)]
    lines += [line for number, _ in stages for line in _forward(definition, number)]
    lines += [line for number, _ in stages for line in _turns(definition, number)]
    lines += [line for number, _ in reversed(stages) for line in _back(definition, number)]
    ends = [each for each in definition.labels.may_complete_as if each in definition.announces]
    lines.append(f'    completed(["{_told(definition, *dict.fromkeys(("completed", *ends)))}"])')
    lines.append(f'    undone(["{_told(definition, "rejected", "cancelled")}"])')
    return _joined(lines)


def _arrows() -> dict[tuple[Status, Status], list[Trigger]]:
    """What leads from one status to another, in the order of the table."""
    arrows: dict[tuple[Status, Status], list[Trigger]] = {}
    for (before, trigger), row in TABLE.items():
        for after in row.leads_to:
            arrows.setdefault((before, after), []).append(trigger)
    return arrows


def _told(definition: SagaDefinition, *moments: str) -> str:
    """What the world is told at these moments, or else what the saga is called then."""
    labels: Mapping[str, str] = {
        "started": definition.labels.started,
        "completed": " or ".join(definition.labels.completes_as),
        "rejected": definition.labels.rejected,
        "cancelled": definition.labels.cancelled,
    }
    announced = definition.announces
    words = [announced[each].event.__name__ if each in announced else labels[each] for each in moments]
    return " or ".join(dict.fromkeys(words))


# -- nodes --------------------------------------------------------------------------------------------------

_SHAPES: Final = {
    StepKind.COMPENSATABLE: ("[", "]"),
    StepKind.PIVOT: ("{{", "}}"),
    StepKind.RETRIABLE: ("[[", "]]"),
}
_TAKEN: Final = frozenset(
    {
        *("started", "completed", "undone", "end", "graph", "flowchart", "subgraph", "direction", "default"),
        *("style", "class", "click", "call", "href"),
    }
)
"""What a node must not be called: other nodes here, and words of the drawing's own language."""


def _id(name: str) -> str:
    """A node's identity; names have small letters alone, so that one with others is nobody else's."""
    return f"{name}STEP" if name in _TAKEN or name.startswith("undo_") else name


def _nodes(number: int, stage: Stage) -> Iterator[str]:
    match stage:
        case Wait():
            yield f"    {_wait_node(stage)}"
        case ForEach():
            yield f"    {_node(stage.step, f', for each of {stage.name}')}"
        case _:
            yield from _boxed(f"GROUP{number + 1}", stage, (_node(step) for step in steps_of(stage)))


def _boxed(box: str, stage: Stage, nodes: Iterable[str]) -> Iterator[str]:
    """The nodes of a stage; those of a group stand in a box."""
    if not isinstance(stage, Group):
        yield from (f"    {node}" for node in nodes)
        return
    yield f'    subgraph {box} ["side by side"]'
    yield from (f"        {node}" for node in nodes)
    yield "    end"


def _node(step: Step, more: str = "") -> str:
    left, right = _SHAPES[step.kind]
    text = f"<b>{step.name}</b>{more}<br/>{step.command.__name__} to {step.participant}<br/>{step.kind}"
    return f'{_id(step.name)}{left}"{text}"{right}'


def _wait_node(wait: Wait) -> str:
    text = f"<b>{wait.name}</b><br/>waits {_waited_for(wait)}"
    return f'{_id(wait.name)}[/"{text}"/]'


def _waited_for(wait: Wait) -> str:
    time = f"{wait.deadline_s:g} s"
    return f"for {wait.signal.__name__}, at most {time}" if wait.signal else time


def _undo_nodes(number: int, stage: Stage) -> Iterator[str]:
    more = f", each of {stage.name}" if isinstance(stage, ForEach) else ""
    nodes = [_undo_node(step, step.compensation, more) for step in steps_of(stage) if step.compensation]
    if nodes:
        yield from _boxed(f"UNDO{number + 1}", stage, nodes)


def _undo_node(step: Step, compensation: Compensation, more: str) -> str:
    text = f"<b>undo {step.name}</b>{more}<br/>{compensation.command.__name__} to {step.participant}"
    return f'undo_{step.name}["{text}"]'


# -- arrows -------------------------------------------------------------------------------------------------


def _entry(definition: SagaDefinition, number: int) -> str:
    """Where an arrow to a stage ends."""
    if number == len(definition.course):
        return "completed"
    match definition.course[number]:
        case Group():
            return f"GROUP{number + 1}"
        case ForEach(step=step):
            return _id(step.name)
        case Step(name=name) | Wait(name=name):
            return _id(name)


def _undoing(number: int, stage: Stage) -> str | None:
    """Where an arrow to the undoing of a stage ends; None where nothing of it can be undone."""
    undoable = [step.name for step in steps_of(stage) if step.compensation is not None]
    if not undoable:
        return None
    return f"UNDO{number + 1}" if isinstance(stage, Group) else f"undo_{undoable[0]}"


def _first_undone(definition: SagaDefinition, before: int) -> str:
    """Where compensation of the stages before this one begins: at the last one that can be undone."""
    earlier = reversed(list(enumerate(definition.course[:before])))
    return next((found for at, stage in earlier if (found := _undoing(at, stage))), "undone")


def _forward(definition: SagaDefinition, number: int) -> Iterator[str]:
    stage, here, after = definition.course[number], _entry(definition, number), _entry(definition, number + 1)
    if isinstance(stage, Wait):
        if stage.signal is not None:
            yield f"    {here} -->|{stage.signal.__name__}| {after}"
        if stage.signal is None or stage.on_deadline is OnDeadline.GO_ON:
            yield f"    {here} -->|after {stage.deadline_s:g} s| {after}"
        if stage.when is not None:
            yield f"    {here} -->|not needed| {after}"
        return
    answers = " and ".join(dict.fromkeys(step.success.__name__ for step in steps_of(stage)))
    if isinstance(stage, ForEach):
        answers += " of at least one" if stage.step.kind is StepKind.PIVOT else " of all"
    yield f"    {here} -->|{answers}| {after}"
    if isinstance(stage, ForEach):
        yield f"    {here} -->|nothing to do| {after}"


def _turns(definition: SagaDefinition, number: int) -> Iterator[str]:
    stage, back = definition.course[number], _first_undone(definition, number)
    if isinstance(stage, Wait):
        yield from _turns_of_wait(definition, number, stage, back)
        return
    own = _undoing(number, stage)
    for step in steps_of(stage):
        if step.rejection is not None:
            beside = own if own and not isinstance(stage, Step) else back
            of_all = " of all" if isinstance(stage, ForEach) and step.kind is StepKind.PIVOT else ""
            yield f"    {_id(step.name)} -.->|{step.rejection.__name__}{of_all}| {beside}"
        if step.compensation is not None:
            yield f"    {_id(step.name)} -.->|no answer, cancel| {own}"


def _turns_of_wait(definition: SagaDefinition, number: int, wait: Wait, back: str) -> Iterator[str]:
    turns = []
    if wait.refuses is not None and wait.signal is not None:
        turns.append(f"{wait.signal.__name__} that refuses")
    if wait.on_deadline is OnDeadline.TURN:
        turns.append(f"after {wait.deadline_s:g} s")
    if number < definition.point_of_no_return:
        turns.append("cancel")
    if turns:
        yield f"    {_id(wait.name)} -.->|{', '.join(turns)}| {back}"


def _back(definition: SagaDefinition, number: int) -> Iterator[str]:
    stage = definition.course[number]
    here = _undoing(number, stage)
    if here is not None:
        given = [step.compensation.outcome.__name__ for step in steps_of(stage) if step.compensation]
        outcomes = " and ".join(dict.fromkeys(given))
        yield f"    {here} -->|{outcomes}| {_first_undone(definition, number)}"


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
