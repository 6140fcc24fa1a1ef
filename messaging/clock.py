"""The database's time between two looks at it, and how far this machine's clock is from it.

Identities carry the time at which they were drawn: lists are bounded by it, and what is older than the
low-water mark is let go of (P7). So they are drawn by the one clock that all processes share.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from messaging.measures import Kind, Measure, Reading

NOTABLE_S: Final = 5.0
"""Seconds of difference that are worth a word in the log."""

BEARABLE_S: Final = 60.0
"""Seconds of difference beyond which the process says that it is degraded."""

CLOCK_AHEAD: Final = Measure(
    "oms_clock_ahead_seconds",
    Kind.GAUGE,
    "How far this machine's clock is ahead of the database's, negative when it is behind.",
)


class StorageClock:
    """Tells the database's time: as it was at the last look, and the time elapsed, which nobody can set."""

    def __init__(
        self,
        machine_s: Callable[[], float] = time.time,
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._machine_s = machine_s
        self._elapsed_s = elapsed_s
        self._began_at_s: float | None = None
        self.ahead_s: float | None = None
        """Seconds by which the machine's clock is ahead of the database's; None before the first look."""

    def milliseconds(self) -> int:
        """Unix time as the database has it; the machine's before the first look."""
        now_s = self._machine_s() if self._began_at_s is None else self._began_at_s + self._elapsed_s()
        return int(now_s * 1000)

    def now(self) -> datetime:
        """The same as a moment."""
        return datetime.fromtimestamp(self.milliseconds() / 1000, UTC)

    def asked(self) -> float:
        """Begin a look at the database's clock; to be handed to `told`."""
        return self._elapsed_s()

    def told(self, asked: float, moment: datetime) -> None:
        """Take over the time that the database told, half-way between question and answer."""
        half_way_s = (self._elapsed_s() - asked) / 2
        now_s = moment.timestamp() + half_way_s
        self._began_at_s = now_s - self._elapsed_s()
        self.ahead_s = self._machine_s() - now_s

    @property
    def difference(self) -> str | None:
        """How this machine's clock is wrong, for people; None as long as it is not worth a word."""
        if self.ahead_s is None or abs(self.ahead_s) < NOTABLE_S:
            return None
        direction = "ahead of" if self.ahead_s > 0 else "behind"
        return f"this machine's clock is {abs(self.ahead_s):.0f} s {direction} the database's"

    @property
    def trouble(self) -> str | None:
        """The same beyond what can be borne."""
        return self.difference if abs(self.ahead_s or 0) >= BEARABLE_S else None

    def readings(self) -> Iterator[Reading]:
        """The difference, once it is known."""
        if self.ahead_s is not None:
            yield CLOCK_AHEAD.of(), self.ahead_s
