"""How often somebody may try to sign in: so often in a minute from one address, then not until it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil
from typing import Final

MOST: Final = 10
WINDOW_S: Final = 60.0
MOST_CLIENTS: Final = 10_000


class Attempts:
    """Counts attempts that failed, by client, in the memory of this process.

    A token cannot be guessed; this keeps whoever tries from keeping the database busy with it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            clock: in seconds.
        """
        self._clock = clock
        self._failed: dict[str, tuple[float, int]] = {}

    def wait_s(self, client: str) -> int:
        """Seconds until the client may try again; 0 when it may now."""
        until, count = self._failed.get(client, (0.0, 0))
        return max(0, ceil(until - self._clock())) if count >= MOST else 0

    def failed(self, client: str) -> None:
        """Take note of an attempt that failed."""
        now = self._clock()
        until, count = self._failed.pop(client, (0.0, 0))
        if until <= now:
            until, count = now + WINDOW_S, 0
        if len(self._failed) >= MOST_CLIENTS:
            del self._failed[next(iter(self._failed))]
        self._failed[client] = (until, count + 1)
