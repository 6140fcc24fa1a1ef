"""The three standard streams, made safe for whatever they are connected to, or not."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, Final, TextIO

_FLAGS: Final = ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY))


def prepare() -> None:
    """Make sure that each stream is there, takes every character, and that remarks never end a command.

    A stream that was closed (``>&-``) leads nowhere, instead of to a file or connection that is opened next.
    What the stream's encoding has no character for is written as an escape. Where nobody reads remarks any
    more, they go nowhere; that nobody reads the output is noticed, see `drop_output`. Streams that somebody
    has put in the place of the process's own are left alone.
    """
    for number, flags in _FLAGS:
        _open_if_closed(number, flags)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    elif sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _remarks(sys.stderr)


def drop_output() -> None:
    """Whoever read our output has left: nothing more can be written, not even at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class _Unheard(io.FileIO):
    """Takes everything, whether or not anybody reads it."""

    def write(self, data: Any) -> int:
        """See `io.RawIOBase.write`."""
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data).cast("B"))


def _remarks(before: TextIO | None) -> TextIO:
    encoding = before.encoding if before is not None else "utf-8"
    raw = _Unheard(2, "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=True
    )


def _open_if_closed(number: int, flags: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, flags)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
