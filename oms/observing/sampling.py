"""Log lines that repeat themselves: so many of an event within a minute, and how many more there were."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from structlog.typing import EventDict

WINDOW_S: Final = 60.0
MOST_EVENTS: Final = 1000
"""Events that are told apart; beyond them all are counted anew."""

ALWAYS: Final = frozenset({"error", "critical", "exception"})
"""What is said at these levels is never left out."""


class Sampling:
    """A processor of structlog that lets the first lines of an event through, and then counts.

    The first line of the next minute says in ``left_out`` how many lines like it are missing.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            most: lines of one event within a minute.
            clock: in seconds.
        """
        self._most = most
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, _logger: Any, method: str, event: EventDict) -> EventDict:
        """See structlog. Raises DropEvent for a line that is left out."""
        if method in ALWAYS:
            return event
        key, now = (method, str(event.get("event"))), self._clock()
        began, count = self._seen.get(key, (now, 0))
        if now - began >= WINDOW_S:
            if count > self._most:
                event["left_out"] = count - self._most
            began, count = now, 0
        if key not in self._seen and len(self._seen) >= MOST_EVENTS:
            self._seen.clear()
        self._seen[key] = (began, count + 1)
        if count >= self._most:
            raise structlog.DropEvent
        return event
