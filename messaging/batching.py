"""Natural batching: take whatever has arrived, and wait only when there is nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Arrivals(Generic[T]):
    """A queue whose consumer takes everything at once: a lone item immediately, a flood in batches."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._waiter: asyncio.Future[None] | None = None

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
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if len(self._items) <= limit:
            return self.clear()
        return [self._items.popleft() for _ in range(limit)]

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done() and self._items:
            self._waiter.set_result(None)
