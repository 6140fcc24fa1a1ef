"""Natural batching: take whatever has arrived, and wait only when there is nothing, or much is on its way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, Generic, TypeVar

T = TypeVar("T")

CROWD: Final = 16
"""Whoever has just taken so many at once may expect as many again within a moment."""


class Arrivals(Generic[T]):
    """A queue whose consumer takes everything at once: a lone item immediately, a flood in batches.

    Where it lingers, a flood is not taken in crumbs: after a crowd it waits until as many have come again, a
    moment at most. What a batch costs it costs once, so under load fewer and larger ones leave more for the
    work itself. An idle system never waits.
    """

    def __init__(self, linger_s: float = 0.0, crowd: int = CROWD) -> None:
        """
        Args:
            linger_s: seconds that such a moment lasts; 0 never lingers.
            crowd: how many, taken at once, are one.
        """
        self._items: deque[T] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._awaited = 1
        """How many items wake the consumer."""
        self._linger_s = linger_s
        self._crowd = crowd
        self._taken = 0
        """How many were taken the last time."""

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        """Append one item and wake the consumer."""
        self._items.append(item)
        self._wake()

    def extend(self, items: Iterable[T]) -> None:
        """Append several items and wake the consumer once."""
        self._items.extend(items)
        self._wake()

    def clear(self) -> list[T]:
        """Remove and return everything."""
        items = list(self._items)
        self._items.clear()
        return items

    async def take(self, limit: int) -> list[T]:
        """At least one item, at most ``limit``, in order of arrival. One consumer at a time."""
        taken: list[T] = []
        while not taken:
            await self._until(1)
            await self._linger(limit)
            is_all = len(self._items) <= limit
            taken = self.clear() if is_all else [self._items.popleft() for _ in range(limit)]
        self._taken = len(taken)
        return taken

    async def _linger(self, limit: int) -> None:
        if self._linger_s and self._taken >= self._crowd:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._linger_s):
                    await self._until(min(self._taken, limit))

    async def _until(self, count: int) -> None:
        """Wait for so many items."""
        if len(self._items) >= count:
            return
        self._awaited = count
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter, self._awaited = None, 1

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done() and len(self._items) >= self._awaited:
            self._waiter.set_result(None)
