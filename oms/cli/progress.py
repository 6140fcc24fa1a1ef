"""A progress bar on stderr; nothing at all where stderr is no terminal that can redraw a line."""

from __future__ import annotations

import sys

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from oms.cli import output


def progress_bar() -> Progress:
    """A bar that leaves no trace when it ends."""
    console = output.console(sys.stderr)
    return Progress(
        SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not sys.stderr.isatty() or console.is_dumb_terminal,
        transient=True,
    )
