"""A saga's definition as a picture: the way forward above, the way back below, the present lit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from contracts.envelope import Direction
from orchestrator.core.definition import SagaDefinition, Step
from orchestrator.core.state import ENDED, Status
from orchestrator.http.console.rendering import words
from orchestrator.queries.views import SagaDetail, StepStatus

BOX: Final = 158
HIGH: Final = 50
GAP: Final = 40
END: Final = 112
UP: Final = 8
DOWN: Final = 112
MARGIN: Final = 4


@dataclass(frozen=True, slots=True)
class Box:
    """A place where a saga can be; ``mood`` is one of idle, done, turned, undone, lit, stuck."""

    x: float
    y: float
    width: float
    label: str
    below: str
    mood: str
    rounded: bool


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way from one place to another; ``turns`` when it leads back."""

    path: str
    turns: bool
    title: str


@dataclass(frozen=True, slots=True)
class Flow:
    """The picture, in units of its own view box."""

    width: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    height: float = DOWN + HIGH + 8


_FORWARD_MOODS: Final[Mapping[StepStatus, str]] = {
    "pending": "idle",
    "awaited": "lit",
    "rejected": "turned",
    "unknown": "turned",
}
_UNDO_MOODS: Final[Mapping[StepStatus, str]] = {
    "compensating": "lit",
    "compensated": "undone",
    "nothing_to_undo": "undone",
    "settled": "undone",
}


def flow(definition: SagaDefinition, detail: SagaDetail) -> Flow:
    """The picture of a saga as it stands."""
    boxes = (*_ends(definition, detail), *_steps(definition, detail))
    return Flow(
        width=_x(len(definition.steps)) + END + MARGIN,
        boxes=boxes,
        arrows=(*_ahead(definition), *_turns(definition), *_back(definition)),
    )


def _x(index: int) -> float:
    return MARGIN + END + GAP + index * (BOX + GAP)


def _ends(definition: SagaDefinition, detail: SagaDetail) -> Iterator[Box]:
    last = _x(len(definition.steps))
    completed = "done" if detail.status is Status.COMPLETED else "idle"
    undone = "undone" if detail.status is Status.COMPENSATED else "idle"
    ended_as = str(detail.order_status) if undone != "idle" else "compensated"
    yield Box(MARGIN, UP, END, "accepted", "", "done", rounded=True)
    yield Box(last, UP, END, "completed", "", completed, rounded=True)
    yield Box(MARGIN, DOWN, END, ended_as, "", undone, rounded=True)


def _steps(definition: SagaDefinition, detail: SagaDetail) -> Iterator[Box]:
    statuses = {step.name: step.status for step in detail.steps}
    stuck = {(incident.step, incident.direction) for incident in detail.incidents}
    for index, step in enumerate(definition.steps):
        status: StepStatus = statuses.get(step.name, "pending")
        mood = _FORWARD_MOODS.get(status, "done")
        yield _box(index, UP, step.name, step, _lit(mood, stuck=(step.name, Direction.FORWARD) in stuck))
        if step.compensation is not None:
            mood = _UNDO_MOODS.get(status, "idle")
            at_work = (step.name, Direction.COMPENSATING) in stuck and detail.status not in ENDED
            yield _box(index, DOWN, f"undo {step.name}", step, _lit(mood, stuck=at_work))


def _lit(mood: str, *, stuck: bool) -> str:
    return "stuck" if stuck and mood == "lit" else mood


def _box(index: int, y: float, label: str, step: Step, mood: str) -> Box:
    below = f"{step.participant} · {words(step.kind)}" if y == UP else step.participant
    return Box(_x(index), y, BOX, label, below, mood, rounded=False)


def _ahead(definition: SagaDefinition) -> Iterator[Arrow]:
    middle = UP + HIGH / 2
    yield Arrow(f"M{MARGIN + END} {middle}H{_x(0) - 7}", turns=False, title="started")
    for index, step in enumerate(definition.steps):
        begins = _x(index) + BOX
        yield Arrow(f"M{begins} {middle}H{begins + GAP - 7}", turns=False, title=step.success.__name__)


def _turns(definition: SagaDefinition) -> Iterator[Arrow]:
    """Down to the step's own undoing where it may have taken effect; else to the one before."""
    for index, step in enumerate(definition.steps):
        if step.compensation is not None:
            x = _x(index) + BOX / 2
            title = "no answer in time, or cancelled"
            yield Arrow(f"M{x} {UP + HIGH}V{DOWN - 7}", turns=True, title=title)
        if step.rejection is not None:
            x = _x(index) + 22
            target = _x(index - 1) + BOX - 16 if index else MARGIN + END - 16
            middle = (UP + HIGH + DOWN) / 2
            path = f"M{x} {UP + HIGH}C{x} {middle} {target} {middle} {target} {DOWN - 7}"
            yield Arrow(path, turns=True, title=step.rejection.__name__)


def _back(definition: SagaDefinition) -> Iterator[Arrow]:
    middle = DOWN + HIGH / 2
    for index, step in enumerate(definition.steps):
        if step.compensation is not None:
            ends = _x(index) - GAP if index else MARGIN + END
            title = step.compensation.outcome.__name__
            yield Arrow(f"M{_x(index)} {middle}H{ends + 7}", turns=False, title=title)
