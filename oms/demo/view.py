"""How the demo looks: a live table on a terminal, plain lines elsewhere; the same tables at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any, Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from contracts.currencies import format_amount
from oms.cli import audit_view, output
from oms.demo.results import Course, Level, Money, Result
from oms.demo.sample_orders import End

_CURRENCY: Final = "EUR"
_WIDTH: Final = 100
_COURSE: Final = (
    "pending",
    "reserved",
    "on_hold",
    "paid",
    "shipped",
    "compensating",
    "completed",
    "partially_fulfilled",
    "rejected",
    "cancelled",
)
"""Statuses in the order in which they come."""


class DemoView(Protocol):
    """Who is told how the demo goes."""

    def say(self, line: str) -> None:
        """What happens now."""

    def following(self, courses: Sequence[Course]) -> AbstractContextManager[None]:
        """Show these while the block runs."""

    def progress(self, orders: Sequence[Mapping[str, Any]]) -> None:
        """Orders as they stand now; the courses know which of them have ended."""

    def result(self, result: Result) -> None:
        """Everything at the end."""


def view_for(stream: IO[str]) -> DemoView:
    """A live view on a terminal, lines elsewhere."""
    console = output.console(stream)
    return LiveView(console) if stream.isatty() else LinesView(console)


class LinesView:
    """One line whenever a story has come to its end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._courses: Sequence[Course] = ()
        self._told: set[str] = set()

    def say(self, line: str) -> None:
        """See `DemoView`."""
        self._console.print(Text(line))

    @contextmanager
    def following(self, courses: Sequence[Course]) -> Iterator[None]:
        """See `DemoView`."""
        self._courses = courses
        yield

    def progress(self, orders: Sequence[Mapping[str, Any]]) -> None:
        """See `DemoView`."""
        for course in self._courses:
            if course.done and course.story.name not in self._told:
                self._told.add(course.story.name)
                self._console.print(Text(f"  {course.story.name}: ").append_text(_ends(course.ends)))

    def result(self, result: Result) -> None:
        """See `DemoView`."""
        _show_result(self._console, result)


class LiveView:
    """A table that moves: one row a story, with a bar and the statuses of its orders."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._courses: Sequence[Course] = ()
        self._live: Live | None = None

    def say(self, line: str) -> None:
        """See `DemoView`."""
        self._console.print(Text(line, style="dim"))

    @contextmanager
    def following(self, courses: Sequence[Course]) -> Iterator[None]:
        """See `DemoView`."""
        self._courses = courses
        with Live(console=self._console, refresh_per_second=12, transient=True) as live:
            self._live = live
            yield
        self._live = None

    def progress(self, orders: Sequence[Mapping[str, Any]]) -> None:
        """See `DemoView`."""
        if self._live is not None:
            statuses = {order["order_id"]: _shown_status(order) for order in orders}
            self._live.update(_moving(self._courses, statuses))

    def result(self, result: Result) -> None:
        """See `DemoView`."""
        _show_result(self._console, result)


def _moving(courses: Sequence[Course], statuses: Mapping[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for course in courses:
        total = len(course.story.orders)
        now = Counter(statuses[each] for each in course.order_ids if each in statuses)
        words = Text(", ").join(
            Text(f"{now[status]} ").append_text(output.status(status)) for status in _COURSE if now[status]
        )
        bar = ProgressBar(total=total, completed=course.ends.total(), width=24)
        grid.add_row(Text(course.story.name), bar, Text(f"{course.ends.total()}/{total}", style="dim"), words)
    return grid


def _shown_status(order: Mapping[str, Any]) -> str:
    return "compensating" if order["compensating"] else str(order["status"])


def _show_result(console: Console, result: Result) -> None:
    console.print()
    console.print(_stories(result.courses))
    console.print(_stock(result.levels))
    console.print(_money(result.money))
    console.print()
    console.print(audit_view.table(result.report))
    console.print(audit_view.conclusion(result.report))
    console.print(_verdict(result))


def _stories(courses: Sequence[Course]) -> Table:
    rows = [
        (
            _mark(course.as_expected),
            Text(course.story.name),
            Text(str(len(course.story.orders))),
            _ends(course.expected),
            _ends(course.ends),
        )
        for course in courses
    ]
    return output.table(("", "story", "#orders", "expected", "got"), rows, "orders")


def _stock(levels: Sequence[Level]) -> Table:
    rows = [
        (
            _mark(level.adds_up),
            Text(level.sku),
            Text(str(level.before)),
            Text(str(level.sold)),
            Text(str(level.back)),
            Text(str(level.after)),
            Text(str(level.reserved)),
        )
        for level in levels
    ]
    return output.table(
        ("", "product", "#before", "#sold", "#came back", "#after", "#still reserved"), rows, "stock"
    )


def _money(money: Money) -> Table:
    rows = [
        (Text(""), Text(f"taken in {money.charges} charges"), _euros(money.charged)),
        (Text(""), Text("given back"), _euros(-money.refunded)),
        (Text(""), Text("kept"), _euros(money.charged - money.refunded)),
        (_mark(money.adds_up), Text("what was shipped, less what came back"), _euros(money.due)),
    ]
    return output.table(("", "at the gateway", "#amount"), rows, "money")


def _euros(amount: int) -> Text:
    return Text(f"{'-' if amount < 0 else ''}{format_amount(abs(amount), _CURRENCY)}")


def _verdict(result: Result) -> Panel:
    orders = sum(len(course.story.orders) for course in result.courses)
    took = f"{orders} orders in {result.took_s:.1f} s"
    if result.as_expected:
        words = Text.assemble(("Everything came out as it must", "bold green"), f": {took}.")
    else:
        words = Text.assemble(("Something did not come out as it must", "bold red"), f": {took}.")
    follow = Text("Next: `oms run`, then `oms orders submit`, or the console in a browser.", style="dim")
    return Panel(Group(words, follow), width=_WIDTH if result.as_expected else None)


def _ends(ends: Counter[End]) -> Text:
    parts = []
    for (status, code), number in sorted(ends.items(), key=lambda each: (each[0][0], each[0][1] or "")):
        parts.append(Text(f"{number} ").append_text(output.status(status, code or status)))
    return Text(", ").join(parts)


def _mark(good: bool) -> Text:  # noqa: FBT001
    return Text("✔", style="green") if good else Text("✘", style="bold red")
