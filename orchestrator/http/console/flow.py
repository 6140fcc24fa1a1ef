"""A saga's course as a picture: the way forward above, the way back below, the present lit.

A column is a stage; what is awaited together stands one below the other, in a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from contracts.envelope import Direction
from orchestrator.core.definition import ForEach, Group, SagaDefinition, Stage, Step, Wait, steps_of
from orchestrator.core.state import ENDED, Status
from orchestrator.http.console.rendering import brief, duration, moment, words
from orchestrator.queries.views import SagaDetail, StepStatus, StepView, WaitView

BOX: Final = 158
HIGH: Final = 50
GAP: Final = 40
BETWEEN: Final = 12
END: Final = 112
TOP: Final = 8
BACK: Final = 54
MARGIN: Final = 4
FRAME: Final = 9
TITLE: Final = 14
MOST_ROWS: Final = 6
"""Branches that are drawn; of more, the ones that matter most and how many others there are."""

_LETTERS: Final = 21


@dataclass(frozen=True, slots=True)
class Box:
    """A place where a saga can be; ``mood`` is one of idle, done, turned, undone, lit, stuck.

    Attributes:
        kind: step, wait or end.
        title: what is too long for the box.
    """

    x: float
    y: float
    width: float
    label: str
    below: str
    mood: str
    rounded: bool
    kind: str = "step"
    title: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """What holds together what is awaited together."""

    x: float
    y: float
    width: float
    height: float
    label: str


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
    height: float
    frames: tuple[Frame, ...] = ()


_FORWARD_MOODS: Final[Mapping[StepStatus, str]] = {
    "pending": "idle",
    "left_out": "idle",
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
_FIRST_SHOWN: Final = ("stuck", "lit", "turned", "undone", "done", "idle")


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is drawn in one box of a stage, and in the one of its undoing, if it has any."""

    name: str
    below: str
    mood: str
    back: str = ""
    back_mood: str = ""
    whose: str = ""
    kind: str = "step"
    title: str = ""


@dataclass(frozen=True, slots=True)
class _Column:
    """A stage as it is drawn."""

    stage: Stage
    pieces: tuple[_Piece, ...]
    x: float

    @property
    def undone(self) -> tuple[_Piece, ...]:
        """Those that can be undone."""
        return tuple(piece for piece in self.pieces if piece.back)

    @property
    def frame(self) -> str:
        """What is said of those that stand together; nothing of one that stands alone."""
        match self.stage:
            case Group():
                return "side by side"
            case ForEach(name=name):
                return f"for each of {name}"
            case _:
                return ""

    @property
    def margin(self) -> float:
        """How far its frame stands out."""
        return FRAME if self.frame else 0


def flow(definition: SagaDefinition, detail: SagaDetail) -> Flow:
    """The picture of a saga as it stands."""
    return _Picture(definition, detail).drawn()


class _Picture:
    def __init__(self, definition: SagaDefinition, detail: SagaDetail) -> None:
        self._detail = detail
        self._steps = {step.name: step for step in detail.steps}
        self._waits = {wait.name: wait for wait in detail.waits}
        self._stuck = {(incident.step, incident.direction) for incident in detail.incidents}
        self._columns = tuple(self._laid_out(definition))
        framed = any(column.frame for column in self._columns)
        self._top = TOP + (FRAME + TITLE if framed else 0)
        self._ahead_high = max(_high(len(column.pieces)) for column in self._columns)
        self._back_top = self._top + self._ahead_high + BACK + (2 * FRAME if framed else 0)
        self._back_high = max([_high(1), *(_high(len(column.undone)) for column in self._columns)])
        self._last_x = self._columns[-1].x + BOX + self._columns[-1].margin + GAP

    def drawn(self) -> Flow:
        boxes = [*self._ends(), *(box for column in self._columns for box in self._boxes(column))]
        frames = tuple(frame for column in self._columns for frame in self._frames(column))
        return Flow(
            width=self._last_x + END + MARGIN,
            height=self._back_top + self._back_high + FRAME + 8,
            boxes=tuple(boxes),
            arrows=(*self._ahead(), *self._turns(), *self._back()),
            frames=frames,
        )

    # -- what stands where ------------------------------------------------------------------------------

    def _laid_out(self, definition: SagaDefinition) -> Iterator[_Column]:
        x = float(MARGIN + END + GAP)
        for number, stage in enumerate(definition.course):
            column = _Column(stage, tuple(self._pieces(stage, number)), x)
            column = _Column(stage, column.pieces, x + column.margin)
            yield column
            x = column.x + BOX + column.margin + GAP

    def _pieces(self, stage: Stage, number: int) -> Iterator[_Piece]:
        match stage:
            case Wait():
                yield self._waiting(stage)
            case ForEach():
                branches = [step for step in self._detail.steps if step.stage == number]
                yield from self._branches(stage, branches)
            case _:
                for step in steps_of(stage):
                    yield self._piece(step, self._steps.get(step.name))

    def _piece(self, step: Step, known: StepView | None, name: str = "", below: str = "") -> _Piece:
        status: StepStatus = known.status if known is not None else "pending"
        name = name or step.name
        ahead = self._lit(_FORWARD_MOODS.get(status, "done"), name, Direction.FORWARD)
        below = below or f"{step.participant} · {words(step.kind)}"
        if step.compensation is None:
            return _Piece(name, below, ahead)
        at_work = self._detail.status not in ENDED
        back = _UNDO_MOODS.get(status, "idle")
        back = self._lit(back, name, Direction.COMPENSATING) if at_work else back
        return _Piece(name, below, ahead, f"undo {name}", back, step.participant)

    def _branches(self, stage: ForEach, branches: Sequence[StepView]) -> Iterator[_Piece]:
        if not branches:
            yield self._piece(stage.step, None, below=f"{stage.step.participant} · one an item")
            return
        pieces = [
            self._piece(
                stage.step,
                known,
                known.name,
                stage.step.participant if known.item is None else brief(known.item),
            )
            for known in branches
        ]
        if len(pieces) <= MOST_ROWS:
            yield from pieces
            return
        first = sorted(pieces, key=lambda piece: _FIRST_SHOWN.index(piece.mood))[: MOST_ROWS - 1]
        yield from (piece for piece in pieces if piece in first)
        others = [piece for piece in pieces if piece not in first]
        moods = {piece.mood for piece in others}
        mood = moods.pop() if len(moods) == 1 else "idle"
        yield _Piece(f"and {len(others)} more", "the table has them all", mood)

    def _waiting(self, wait: Wait) -> _Piece:
        known: WaitView | None = self._waits.get(wait.name)
        status: StepStatus = known.status if known is not None else "pending"
        what = "signal" if wait.signal is not None else "time"
        below = f"{what} · at most {duration(wait.deadline_s)}"
        if status == "left_out":
            below = "left out"
        elif known is not None and known.deadline_at is not None:
            below = f"until {moment(known.deadline_at)[5:-3]} UTC"
        mood = _FORWARD_MOODS.get(status, "done")
        return _Piece(wait.name, below, mood, kind="wait", title=f"waits for {what}, {below}")

    def _lit(self, mood: str, name: str, direction: Direction) -> str:
        return "stuck" if mood == "lit" and (name, direction) in self._stuck else mood

    # -- boxes and frames -------------------------------------------------------------------------------

    def _ends(self) -> Iterator[Box]:
        detail, middle = self._detail, self._middle - HIGH / 2
        completed = "done" if detail.status is Status.COMPLETED else "idle"
        undone = "undone" if detail.status is Status.COMPENSATED else "idle"
        done_as = str(detail.label) if completed == "done" else "completed"
        ended_as = str(detail.label) if undone == "undone" else "compensated"
        back = self._back_middle - HIGH / 2
        yield _end(MARGIN, middle, "accepted", "done")
        yield _end(self._last_x, middle, done_as, completed)
        yield _end(MARGIN, back, ended_as, undone)

    def _boxes(self, column: _Column) -> Iterator[Box]:
        at = self._first_y(self._middle, len(column.pieces))
        for row, piece in enumerate(column.pieces):
            y, title = at + row * (HIGH + BETWEEN), piece.title or f"{piece.name}: {piece.below}"
            box = (column.x, y, BOX, _cut(words(piece.name)), _cut(piece.below, _LETTERS + 5), piece.mood)
            yield Box(*box, rounded=piece.kind == "wait", kind=piece.kind, title=title)
        at = self._first_y(self._back_middle, len(column.undone))
        for row, piece in enumerate(column.undone):
            back = (_cut(words(piece.back)), piece.whose, piece.back_mood)
            y = at + row * (HIGH + BETWEEN)
            yield Box(column.x, y, BOX, *back, rounded=False, title=piece.back)

    def _frames(self, column: _Column) -> Iterator[Frame]:
        if not column.frame:
            return
        for middle, rows in ((self._middle, len(column.pieces)), (self._back_middle, len(column.undone))):
            if rows:
                label = column.frame if middle == self._middle else ""
                y = self._first_y(middle, rows) - FRAME
                yield Frame(column.x - FRAME, y, BOX + 2 * FRAME, _high(rows) + 2 * FRAME, label)

    @property
    def _middle(self) -> float:
        return self._top + self._ahead_high / 2

    @property
    def _back_middle(self) -> float:
        return self._back_top + self._back_high / 2

    def _first_y(self, middle: float, rows: int) -> float:
        return middle - _high(rows) / 2

    # -- arrows -----------------------------------------------------------------------------------------

    def _ahead(self) -> Iterator[Arrow]:
        begins, title = float(MARGIN + END), "started"
        for column in self._columns:
            yield Arrow(f"M{begins} {self._middle}H{column.x - column.margin - 7}", turns=False, title=title)
            begins = column.x + BOX + column.margin
            title = " and ".join(step.success.__name__ for step in steps_of(column.stage)) or "it is over"
        yield Arrow(f"M{begins} {self._middle}H{self._last_x - 7}", turns=False, title=title)

    def _turns(self) -> Iterator[Arrow]:
        """Down to the stage's own undoing where it may have taken effect; else to the one before."""
        before, ends = float(MARGIN + END - 16), self._back_middle - HIGH / 2
        for column in self._columns:
            bottom = self._first_y(self._middle, len(column.pieces)) + _high(len(column.pieces))
            bottom += column.margin
            own = self._first_y(self._back_middle, len(column.undone)) - column.margin
            if column.undone:
                x = column.x + BOX / 2
                title = "no answer in time, or cancelled"
                yield Arrow(f"M{x} {bottom}V{own - 7}", turns=True, title=title)
            if title := _said_no(column.stage):
                x, middle = column.x + 22, (bottom + ends) / 2
                path = f"M{x} {bottom}C{x} {middle} {before} {middle} {before} {ends - 7}"
                yield Arrow(path, turns=True, title=title)
            if column.undone:
                before, ends = column.x + BOX - 16, own

    def _back(self) -> Iterator[Arrow]:
        ends = float(MARGIN + END)
        for column in self._columns:
            if column.undone:
                outcomes = (step.compensation for step in steps_of(column.stage))
                title = " and ".join(each.outcome.__name__ for each in outcomes if each is not None)
                path = f"M{column.x - column.margin} {self._back_middle}H{ends + 7}"
                yield Arrow(path, turns=False, title=title)
                ends = column.x + BOX + column.margin


def _high(rows: int) -> float:
    return rows * (HIGH + BETWEEN) - BETWEEN if rows else 0


def _end(x: float, y: float, label: str, mood: str) -> Box:
    return Box(x, y, END, _cut(words(label), 15), "", mood, rounded=True, kind="end", title=label)


def _cut(text: str, letters: int = _LETTERS) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _said_no(stage: Stage) -> str:
    """What turns the saga round there, beside an answer that does not come; nothing where nothing does."""
    if isinstance(stage, Wait):
        return "it is refused, or its time is over"
    return " or ".join(step.rejection.__name__ for step in steps_of(stage) if step.rejection is not None)
