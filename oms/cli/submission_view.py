"""What a submission shows while it runs and at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.text import Text

from oms.cli import order_view, output
from oms.cli.order_files import Source
from oms.cli.progress import progress_bar
from oms.cli.submission import Accepted, NotTaken, Outcome, View

SHOWN_FAILURES: Final = 20


def view_for(
    source: Source,
    as_json: bool,
    waits: bool,
    word: str = "order",
    show: Callable[[Mapping[str, Any]], None] = order_view.show,
) -> View:
    """The right view for this many orders and this kind of reader.

    Args:
        word: what each is called.
        show: one of them in full.
    """
    single = source.total == 1
    if as_json:
        return JsonDocument() if single else JsonLines(source.unit, waits, word)
    return OneOrder(word, show) if single else ManyOrders(source, waits)


class JsonDocument:
    """The one order as a JSON document."""

    def __init__(self) -> None:
        self._order: object = None

    def accepted(self, done: Accepted) -> None:
        """See `View`."""
        self._order = done.order

    ended = accepted

    def failed(self, failed: NotTaken) -> None:
        """See `View`."""
        output.note(f"oms: {failed.error}")

    def close(self, outcome: Outcome) -> None:
        """See `View`."""
        if self._order is not None:
            output.show_json(self._order)


class JsonLines:
    """One JSON object a line for every order, as soon as it is done: ``line`` and ``order`` or ``error``."""

    def __init__(self, unit: str, waits: bool, word: str) -> None:
        self._unit = unit
        self._word = word
        self._waits = waits
        self._is_read = True

    def accepted(self, done: Accepted) -> None:
        """See `View`."""
        if not self._waits:
            self._print(done)

    def ended(self, done: Accepted) -> None:
        """See `View`."""
        self._print(done)

    def failed(self, failed: NotTaken) -> None:
        """See `View`."""
        self._say({"line": failed.line, "error": failed.error})

    def close(self, outcome: Outcome) -> None:
        """See `View`."""
        if outcome.nothing_after is not None:
            output.note(_summary(outcome))
            _tell_where_it_ended(outcome, self._unit)

    def _print(self, done: Accepted) -> None:
        self._say({"line": done.line, "replayed": done.replayed, self._word: done.order})

    def _say(self, fate: dict[str, object]) -> None:
        if not self._is_read:
            return
        try:
            output.show_json_line(fate)
        except BrokenPipeError:
            self._is_read = False  # once is enough to end the submission; the rest has nobody to hear it
            raise


class OneOrder:
    """The one order, in full."""

    def __init__(self, word: str, show: Callable[[Mapping[str, Any]], None]) -> None:
        self._word = word
        self._show = show
        self._latest: Accepted | None = None

    def accepted(self, done: Accepted) -> None:
        """See `View`."""
        self._latest = done
        if done.replayed:
            output.note(f"this {self._word} had been taken before; it was not submitted again (--new would)")

    def ended(self, done: Accepted) -> None:
        """See `View`."""
        self._latest = done

    def failed(self, failed: NotTaken) -> None:
        """See `View`."""
        output.note(f"oms: {failed.error}")

    def close(self, outcome: Outcome) -> None:
        """See `View`."""
        if self._latest is not None:
            self._show(self._latest.order)


class ManyOrders:
    """A progress bar on a terminal; then what came of them, and the first failures."""

    def __init__(self, source: Source, waits: bool) -> None:
        self._unit = source.unit
        self._failures: list[NotTaken] = []
        self._progress = progress_bar()
        self._submitting = self._progress.add_task("submitted", total=source.total)
        self._ending = self._progress.add_task("ended", total=source.total, visible=waits)
        self._progress.start()

    def accepted(self, done: Accepted) -> None:
        """See `View`."""
        self._progress.advance(self._submitting)

    def ended(self, done: Accepted) -> None:
        """See `View`."""
        self._progress.advance(self._ending)

    def failed(self, failed: NotTaken) -> None:
        """See `View`."""
        self._progress.advance(self._submitting)
        if len(self._failures) < SHOWN_FAILURES:
            self._failures.append(failed)

    def close(self, outcome: Outcome) -> None:
        """See `View`."""
        self._progress.stop()
        for failure in self._failures:
            output.note(f"{self._unit} {failure.line}: {failure.error}")
        if outcome.failed > len(self._failures):
            output.note(f"... and {outcome.failed - len(self._failures)} more")
        if outcome.accepted or outcome.failed:
            output.show(_summary(outcome))
        _tell_where_it_ended(outcome, self._unit)


def _tell_where_it_ended(outcome: Outcome, unit: str) -> None:
    if outcome.nothing_after is not None:
        output.note(f"nothing after {unit} {outcome.nothing_after} was submitted")


def _summary(outcome: Outcome) -> Text:
    line = Text(f"{outcome.accepted} taken")
    if outcome.replayed:
        line.append(f" ({outcome.replayed} of them before)")
    line.append(f", {outcome.failed} failed", "red" if outcome.failed else "")
    for status, count in sorted(outcome.by_status.items()):
        line.append(f", {count} ").append_text(output.status(status))
    return line
