"""Something that is fetched from elsewhere and kept for a while, however often it is asked for here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FRESH_S: Final = 300.0
"""Seconds for which nobody asks again."""

STALE_S: Final = 86400.0
"""Seconds for which what was fetched will do while no newer can be had."""

AGAIN_S: Final = 10.0
"""Seconds between two tries, so that nobody can have the provider flooded from here."""


class ProviderUnavailable(Exception):
    """The provider cannot be asked just now; the message says why."""


class Remembered(Generic[T]):
    """One document of the provider, fetched when it is wanted, by one caller at a time."""

    def __init__(
        self, fetch: Callable[[], Awaitable[T]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            fetch: raises ProviderUnavailable.
            clock: in seconds.
        """
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._kept: tuple[float, T] | None = None
        self._tried_at: float | None = None
        self._trouble = ProviderUnavailable("the provider was not asked yet")

    async def value(self) -> T:
        """What is known, fetched anew where it is older than `FRESH_S`.

        Raises:
            ProviderUnavailable: it cannot be fetched, and nothing younger than `STALE_S` is known.
        """
        return await self._younger_than(FRESH_S)

    async def newer(self) -> T:
        """The same, for somebody who misses something in it: fetched anew, though not within `AGAIN_S`."""
        return await self._younger_than(0)

    async def _younger_than(self, age_s: float) -> T:
        asked_at = self._clock()
        if self._age() < age_s:
            return self._known()
        async with self._lock:
            since = self._kept[0] if self._kept is not None else None
            if (since is None or since <= asked_at) and self._may_try():
                await self._try()
            return self._known()

    async def _try(self) -> None:
        self._tried_at = self._clock()
        try:
            self._kept = (self._tried_at, await self._fetch())
        except ProviderUnavailable as error:
            self._trouble = error

    def _may_try(self) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= AGAIN_S

    def _age(self) -> float:
        return self._clock() - self._kept[0] if self._kept is not None else float("inf")

    def _known(self) -> T:
        if self._kept is None or self._age() >= STALE_S:
            raise ProviderUnavailable(str(self._trouble))
        return self._kept[1]
