"""Writes log lines in a thread of its own: nobody who logs waits for whoever reads the log."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from typing import Final, TextIO

MOST_BYTES: Final = 8 * 1024 * 1024
"""Bytes of lines that wait to be written; more lines are dropped, and counted."""

LAST_WORDS_S: Final = 2.0
"""Longest wait for what is still to be written, in seconds, when a process ends."""

MISSING: Final = "log lines are missing: nobody took them"


class LogWriter(logging.Handler):
    """A handler whose reader may stall, or leave.

    Lines wait in memory, up to ``most_bytes``. Of what comes then nothing is kept: what was said before the
    trouble tells more of its cause. The first line that finds room again comes after one that says how many
    are missing. A stream that cannot be written to loses every line, and ends nothing.

    Attributes:
        dropped: how many lines are missing, since the start.
    """

    def __init__(self, stream: TextIO, most_bytes: int = MOST_BYTES) -> None:
        """
        Args:
            stream: a file, pipe or terminal; it is written to past its buffer, for which the process would
                wait in the end.
        """
        super().__init__()
        self.dropped = 0
        self._told = 0
        self._encoding = stream.encoding or "utf-8"
        self._number = stream.fileno()
        self._most_bytes = most_bytes
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._write_all, name="writing the log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`; returns at once."""
        try:
            line = self._encoded(record)
            missing = self._encoded(_missing(self.dropped - self._told)) if self.dropped > self._told else b""
        except Exception:
            self.handleError(record)
            return
        with self._changed:
            if self._bytes + len(missing) + len(line) > self._most_bytes:
                self.dropped += 1
                return
            self._told = self.dropped
            self._lines.append(missing + line)
            self._bytes += len(missing) + len(line)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything is written, for `LAST_WORDS_S` at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines, LAST_WORDS_S)

    def close(self) -> None:
        """See `logging.Handler.close`: what is left is written, as far as somebody takes it."""
        self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        super().close()

    def _encoded(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(self._encoding, "backslashreplace")

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._lines) or self._closed)
                if not self._lines:
                    return
                line = self._lines[0]
            is_written = _all_of(self._number, line)
            with self._changed:
                self._lines.popleft()
                self._bytes -= len(line)
                self.dropped += not is_written
                self._changed.notify_all()


def log_handler(stream: TextIO) -> logging.Handler:
    """What writes log lines to a stream: memory, as tests read it, is written to at once."""
    try:
        stream.fileno()
    except (OSError, ValueError):
        return logging.StreamHandler(stream)
    return LogWriter(stream)


def flush_logs() -> None:
    """Give every line that was logged the time to be written, within bounds."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def _all_of(number: int, line: bytes) -> bool:
    while line:
        try:
            line = line[os.write(number, line) :]
        except BlockingIOError:
            waiting = select.poll()
            waiting.register(number, select.POLLOUT)
            waiting.poll()
        except OSError:
            return False
    return True


def _missing(lines: int) -> logging.LogRecord:
    words = f"{MISSING} ({lines})"
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, words, None, None)
