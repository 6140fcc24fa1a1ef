"""How the command line writes: JSON for programs, rich text for people, colours on a terminal alone."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import IO, Any, Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from oms.cli import streams
from oms.cli.durations import span

_WIDTH_WITHOUT_TERMINAL: Final = 200
"""Columns of what is piped or written to a file, so that identities are never cut."""

_NARROWEST: Final = 40
"""Columns that a table gets however narrow the terminal says it is."""

_STYLES: Final[dict[str, str]] = {
    "pending": "cyan",
    "reserved": "cyan",
    "paid": "cyan",
    "authorized": "cyan",
    "shipped": "cyan",
    "running": "cyan",
    "completed": "green",
    "partially_fulfilled": "yellow",
    "compensating": "yellow",
    "compensated": "yellow",
    "rejected": "yellow",
    "cancelled": "magenta",
    "open": "red",
    "replaying": "cyan",
    "resolved": "green",
    "discarded": "dim",
    "awaited": "cyan",
    "succeeded": "green",
    "undone": "yellow",
    "unknown": "red",
    "finished": "green",
    "failed": "red",
    "refused": "yellow",
    "active": "green",
    "failing": "red",
    "paused": "yellow",
    "removed": "dim",
}

NOTHING: Final = "-"


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """What to do about it is not the library's to decide."""
        raise  # noqa: PLE0704  it is called while the error is handled


def console(stream: IO[str] | None = None) -> Console:
    """A console on ``stream`` (stdout when None)."""
    out = stream or sys.stdout
    wide = None if out.isatty() or _columns() else _WIDTH_WITHOUT_TERMINAL
    return _Console(file=out, highlight=False, emoji=False, width=_columns() or wide)


def _columns() -> int | None:
    given = os.environ.get("COLUMNS", "")
    return max(int(given), _NARROWEST) if given.isascii() and given.isdigit() and int(given) else None


def show(*renderables: RenderableType) -> None:
    """Print for people, on stdout; it does not matter whether they read it to its end."""
    with _left_alone():
        show_now(*renderables)


def show_now(*renderables: RenderableType) -> None:
    """Print for people who follow what happens. Raises BrokenPipeError when nobody does any more."""
    out = console()
    for renderable in renderables:
        out.print(renderable)


def note(line: str | Text) -> None:
    """A remark on stderr, so that it never mixes with data."""
    with suppress(BrokenPipeError):
        console(sys.stderr).print(plain(line) if isinstance(line, str) else line, soft_wrap=True)


def show_json(data: Any) -> None:
    """Print a document for programs, on stdout; it does not matter whether they read it to its end."""
    with _left_alone():
        sys.stdout.write(_json(data, indent=2) + "\n")


def show_json_line(data: Any) -> None:
    """Print one line of newline-delimited JSON, at once. Raises BrokenPipeError when nobody reads it."""
    sys.stdout.write(_json(data) + "\n")
    sys.stdout.flush()


@contextmanager
def _left_alone() -> Iterator[None]:
    """Who reads a whole answer may leave before its end: the command goes on to its own."""
    try:
        yield
    except BrokenPipeError:
        streams.drop_output()


def _json(data: Any, indent: int | None = None) -> str:
    """JSON in characters that stdout has; for all others it has escapes of its own."""
    has_every_character = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    return _printable_json(json.dumps(data, indent=indent, ensure_ascii=not has_every_character))


def _printable_json(text: str) -> str:
    """The same document, with whatever could steer a terminal written as an escape of JSON's own."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\n" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{unit:04x}" for (unit,) in struct.iter_unpack(">H", units))


def plain(value: Any, style: str = "") -> Text:
    """Any value as text that cannot steer the terminal; nothing as a dash."""
    if value is None or value == "":
        return Text(NOTHING, style="dim")
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return Text(
        "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in words), style
    )


def status(value: Any, words: str | None = None) -> Text:
    """A status in its colour; ``words`` stand in its place, such as the reason for it."""
    return plain(value if words is None else words, _STYLES.get(str(value), ""))


def moment(value: Any) -> datetime | None:
    """An RFC 3339 time of the API; None for anything else."""
    try:
        parsed = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else None


def age(value: Any, now: datetime | None = None) -> Text:
    """How long ago an RFC 3339 time of the API was: ``3 m ago``; ``in 5 s`` for one to come."""
    then = moment(value)
    if then is None:
        return plain(value)
    passed_s = ((now or datetime.now(UTC)) - then).total_seconds()
    words = span(abs(passed_s))
    return Text(f"in {words}" if passed_s < -0.5 else "just now" if passed_s < 0.5 else f"{words} ago")


def money(amount: Any, currency: Any) -> Text:
    """An amount in minor units as people write it."""
    from contracts.currencies import MINOR_UNIT_EXPONENTS, format_amount

    if isinstance(amount, int) and currency in MINOR_UNIT_EXPONENTS:
        return Text(format_amount(amount, currency))
    return plain(amount)


def table(columns: Sequence[str], rows: Iterable[Sequence[Text]], title: str | None = None) -> Table:
    """A table whose cells are never cut. A column whose name begins with ``#`` is aligned to the right."""
    built = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=_box())
    for name in columns:
        number = name.startswith("#")
        built.add_column(
            name.removeprefix("#"), justify="right" if number else "left", overflow="fold", no_wrap=number
        )
    for row in rows:
        built.add_row(*row)
    return built


def pairs(entries: Mapping[str, Text]) -> Table:
    """Names and values below each other; values that are nothing are left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in entries.items():
        if value.plain != NOTHING:
            grid.add_row(plain(name), value)
    return grid


def _box() -> Any:
    from rich import box

    return box.SIMPLE_HEAD


def marks(metadata: Any) -> Text:
    """Short strings by key, in one line."""
    pairs = metadata.items() if isinstance(metadata, dict) else ()
    return plain(", ".join(f"{key}={value}" for key, value in pairs) or None)
