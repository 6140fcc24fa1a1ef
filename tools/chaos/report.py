"""What a run shows while it goes on, and the table at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from statistics import median
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tools.chaos.course import Course, Suffered
from tools.chaos.faults import CATALOGUE

_UNSEEN: Final = "-"


class Screen:
    """A live view on a terminal; plain lines elsewhere."""

    def __init__(self, console: Console, faults: int) -> None:
        self._console = console
        self._course: Course[Any] | None = None
        self._progress = Progress(
            TextColumn("faults"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._bar = self._progress.add_task("faults", total=faults)
        self.live = Live(
            get_renderable=self._shown, console=console, refresh_per_second=4, transient=True, screen=False
        )

    def look_at(self, course: Course[Any]) -> None:
        """Show this one from now on."""
        self._course = course

    def tell(self, over: list[Suffered]) -> None:
        """A round is over."""
        assert self._course is not None
        self._progress.advance(self._bar, len(over))
        names = " + ".join(each.fault.name for each in over)
        recovered = over[0].recovered_s
        back = "not recovered" if recovered is None else f"recovered in {recovered:.1f} s"
        number = len(self._course.suffered)
        self._console.print(
            f"{number:4} {names}, {max(each.lasted_s for each in over):.1f} s: {back}", highlight=False
        )

    def _shown(self) -> RenderableType:
        course = self._course
        if course is None:
            return Text("starting servers and services …")
        shop = course.shop
        orders = f"{shop.accepted:,} orders accepted, {shop.ended:,} ended, {shop.in_flight:,} on their way"
        recoveries = sum(1 for each in course.suffered if each.recovered_s is not None)
        return Group(
            self._progress,
            Text(f"{orders}; {recoveries} recoveries"),
            Text(f"now: {course.now}"),
        )


def table(suffered: Iterable[Suffered]) -> Table:
    """Fault by fault: how often, what it did to the orders, how long until they went on as before."""
    shown = Table("fault", "times", "effect while it lasted", "to recover: median", "most", box=None)
    for column in (1, 3, 4):
        shown.columns[column].justify = "right"
    by_name: dict[str, list[Suffered]] = {fault.name: [] for fault in CATALOGUE}
    for each in suffered:
        by_name.setdefault(each.fault.name, []).append(each)
    for name, times in by_name.items():
        if times:
            recovered = [each.recovered_s for each in times if each.recovered_s is not None]
            shown.add_row(
                name,
                str(len(times)),
                _effect(times),
                f"{median(recovered):.1f} s" if recovered else _UNSEEN,
                f"{max(recovered):.1f} s" if len(recovered) == len(times) else "never",
            )
    return shown


def _effect(times: list[Suffered]) -> str:
    """What came in and what ended, each second of the fault."""
    lasted_s = sum(each.lasted_s for each in times) or 1.0
    accepted = sum(each.accepted for each in times) / lasted_s
    ended = sum(each.ended for each in times) / lasted_s
    return f"{accepted:.0f} orders/s accepted, {ended:.0f} ended"


def summary(course: Course[Any]) -> list[str]:
    """The run in a few lines."""
    shop, plan = course.shop, course.plan
    ends = Counter(order.status or "not ended" for order in shop.placed)
    tries = sum(order.tries for order in shop.placed)
    lines = [
        f"seed {plan.seed}: {len(course.suffered)} faults, {shop.accepted:,} orders accepted "
        f"in {tries:,} tries, {shop.ended:,} ended",
        "ends: " + ", ".join(f"{status} {count:,}" for status, count in sorted(ends.items())),
        "answers: " + ", ".join(f"{what} {count:,}" for what, count in sorted(shop.answers.items())),
    ]
    if course.ended_within_s is not None:
        lines.append(f"the last order ended {course.ended_within_s:.1f} s after the last fault")
    return lines
