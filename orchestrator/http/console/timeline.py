"""A saga over time, drawn to scale: what it waited for, how long, and what happened meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from contracts.envelope import Direction
from messaging.identifiers import time_of
from orchestrator.core.state import Saga
from orchestrator.explanation import AwaitedView
from orchestrator.http.console.rendering import clock, duration, words
from orchestrator.queries.messages import Stretch, Told
from orchestrator.queries.views import HistoryView, SagaDetail

WIDTH: Final = 960
LEFT: Final = 150
RIGHT: Final = 24
TOP: Final = 26
LANE: Final = 34
BAR: Final = 16
MIN_BAR: Final = 3.0
MAX_TICKS: Final = 8
MAX_LANES: Final = 40

_Work = tuple[str, str]

_STEPS_S: Final = (
    *(digit * 10.0**power for power in (-3, -2, -1, 0) for digit in (1, 2, 5)),
    *(10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0),
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A wait for one answer; ``mood`` is one of done, turned, undone, waiting, stuck."""

    x: float
    y: float
    width: float
    mood: str
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: sent, note, or, in the future, deadline and resend."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of the picture: one step in one direction."""

    y: float
    label: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the scale."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The picture, in units of its own view box.

    Attributes:
        left_out: rows for which there is no place.
    """

    height: float
    lanes: tuple[Lane, ...]
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]
    now_x: float | None
    left_out: int = 0
    width: float = WIDTH
    left: float = LEFT
    bar: float = BAR


def timeline(
    saga: Saga,
    detail: SagaDetail,
    awaited: Sequence[AwaitedView] | None,
    now: datetime,
    told: Told | None = None,
) -> Timeline:
    """The picture of a saga at a moment.

    Args:
        awaited: all that is awaited now.
        told: what its whole history tells; without it, of several that were awaited one is drawn.
    """
    return _Drawing(saga, detail, awaited or (), now, told).drawn()


class _Drawing:
    def __init__(
        self,
        saga: Saga,
        detail: SagaDetail,
        awaited: Sequence[AwaitedView],
        now: datetime,
        told: Told | None,
    ) -> None:
        self._saga, self._detail, self._awaited, self._now = saga, detail, awaited, now
        self._messages = told.messages if told is not None else ()
        self._entries = {entry.seq: entry for entry in detail.history}
        self._begins = detail.history[0].at if detail.history else detail.created_at
        stretches = told.stretches if told is not None and told.stretches else _waits(detail.history)
        drawn = [each for each in stretches if each.ends is None or each.ends >= self._begins]
        works = list(dict.fromkeys((each.step, each.direction) for each in drawn))
        first = [work for work in works if self._saga.waiting_for(*work) is not None][:MAX_LANES]
        latest = [work for work in reversed(works) if work not in first][: MAX_LANES - len(first)]
        shown = {*first, *latest}
        self._left_out = len(works) - len(shown)
        self._rows = {work: at for at, work in enumerate(work for work in works if work in shown)}
        self._waits = [each for each in drawn if (each.step, each.direction) in shown]
        self._ends = self._end()
        self._span_s = max((self._ends - self._begins).total_seconds(), 0.001)

    def drawn(self) -> Timeline:
        return Timeline(
            height=TOP + LANE * max(len(self._rows), 1) + 8,
            lanes=tuple(self._lanes()),
            bars=tuple(self._bar(wait) for wait in self._waits),
            marks=(*self._sendings(), *self._notes(), *self._ahead()),
            ticks=tuple(self._ticks()),
            now_x=self._x(self._now) if self._detail.ended_at is None else None,
            left_out=self._left_out,
        )

    def _end(self) -> datetime:
        """Where the scale ends; a deadline that is not far off is still on it."""
        if self._detail.ended_at is not None:
            return max(self._detail.ended_at, self._begins)
        end = max(self._now, self._begins)
        reach = end + max(end - self._begins, timedelta(seconds=1))
        expected = (at for each in self._awaited for at, _, _ in _expected(each))
        return max([end, *(at for at in expected if at <= reach)])

    def _x(self, at: datetime) -> float:
        share = (at - self._begins).total_seconds() / self._span_s
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 1)

    def _y(self, step: str, direction: str) -> float:
        return TOP + LANE * self._rows[(step, direction)] + (LANE - BAR) / 2

    def _lanes(self) -> Iterator[Lane]:
        for step, direction in self._rows:
            forward = direction is Direction.FORWARD
            attempts = self._saga.attempts.get(step if forward else f"{step}:compensating", 0)
            yield Lane(self._y(step, direction), step if forward else f"undo {step}", attempts)

    def _bar(self, wait: Stretch) -> Bar:
        x, ends = self._x(wait.begins), wait.ends or self._now
        width = max(self._x(ends) - x, MIN_BAR)
        took = duration(ends - wait.begins)
        how = f"{self._outcome(wait)} after {took}" if wait.ended_by else f"waiting for {took}"
        name = wait.step if wait.direction is Direction.FORWARD else f"undo {wait.step}"
        return Bar(x, self._y(wait.step, wait.direction), round(width, 1), self._mood(wait), f"{name}: {how}")

    def _outcome(self, wait: Stretch) -> str:
        entry = self._entries.get(wait.ended_by or 0)
        return str(entry.accepted.get("event") or words(entry.kind)) if entry is not None else "over"

    def _mood(self, wait: Stretch) -> str:
        if wait.ended_by is None:
            about_it = any(each.step == wait.step for each in self._detail.incidents)
            return "stuck" if about_it else "waiting"
        if wait.direction is Direction.COMPENSATING:
            return "undone"
        entry = self._entries.get(wait.ended_by)
        return "turned" if entry is not None and entry.direction is Direction.COMPENSATING else "done"

    def _sendings(self) -> Iterator[Mark]:
        """Copies whose time is known: ids are time-ordered, so the latest copy's is, too."""
        for at, work, kind in self._commands():
            if work in self._rows and at >= self._begins:
                yield Mark(self._x(at), self._y(*work), "sent", f"{kind} sent at {clock(at)}")
        for awaited in self._saga.awaited:
            latest = awaited.sending.message_id
            if latest is not None and (awaited.step, awaited.direction) in self._rows:
                at = time_of(latest)
                title = f"latest copy sent at {clock(at)}"
                yield Mark(self._x(at), self._y(awaited.step, awaited.direction), "sent", title)

    def _commands(self) -> Iterator[tuple[datetime, _Work, str]]:
        if self._messages:
            for message in self._messages:
                if message.kind == "command":
                    body = message.body
                    yield message.at, (body["step"], Direction(body["direction"])), message.type
            return
        for entry in self._detail.history:
            if entry.sent and entry.step is not None:
                yield entry.at, (entry.step, entry.direction), entry.sent[0]["type"]

    def _notes(self) -> Iterator[Mark]:
        for entry in self._detail.history:
            if entry.kind in ("saga_started", "outcome_received"):
                continue
            named = entry.accepted.get("step") or entry.accepted.get("wait")
            works: list[_Work] = [(str(named), direction) for direction in Direction]
            works.append((str(entry.step), entry.direction))
            work = next((each for each in works if each in self._rows), None)
            if work is not None:
                yield Mark(
                    self._x(entry.at), self._y(*work), "note", f"{words(entry.kind)} at {clock(entry.at)}"
                )

    def _ahead(self) -> Iterator[Mark]:
        for awaited in self._awaited:
            if (awaited.step, awaited.direction) not in self._rows:
                continue
            for at, kind, what in _expected(awaited):
                if self._begins <= at <= self._ends:
                    y = self._y(awaited.step, awaited.direction)
                    yield Mark(self._x(at), y, kind, f"{what} at {clock(at)}")

    def _ticks(self) -> Iterator[Tick]:
        step_s = next((step for step in _STEPS_S if self._span_s / step <= MAX_TICKS), self._span_s / 4)
        at_s = 0.0
        while at_s <= self._span_s:
            yield Tick(self._x(self._begins + timedelta(seconds=at_s)), f"+{duration(at_s)}" if at_s else "0")
            at_s += step_s


def _expected(awaited: AwaitedView) -> Iterator[tuple[datetime, str, str]]:
    if awaited.held:
        return
    for at, kind, what in (
        (awaited.sent_again_at, "resend", "sent again"),
        (awaited.deadline_at, "deadline", "deadline"),
    ):
        if at is not None:
            yield at, kind, what


def _waits(entries: Sequence[HistoryView]) -> Iterator[Stretch]:
    """What was waited for, in order: each entry says the first that is awaited after it."""
    current: Stretch | None = None
    for entry in entries:
        if current is not None and (entry.step, entry.direction) == (current.step, current.direction):
            continue
        if current is not None:
            yield replace(current, ends=entry.at, ended_by=entry.seq)
        current = Stretch(entry.step, entry.direction, entry.at) if entry.step is not None else None
    if current is not None:
        yield current
