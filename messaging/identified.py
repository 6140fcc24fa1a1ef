"""Work of a service that starts without its database: before anything leaves, it knows whose it is (M4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from messaging.unit_of_work import UnitOfWork

R = TypeVar("R")
T = TypeVar("T")


class IdentifiedUnitOfWork(Generic[T]):
    """A `UnitOfWork` whose first run finds out whose the service is. What is committed is sent at once."""

    def __init__(self, unit_of_work: UnitOfWork[T], identify: Callable[[], Awaitable[None]]) -> None:
        """
        Args:
            identify: returns once it is known; raises StorageUnavailable.
        """
        self._unit_of_work = unit_of_work
        self._identify = identify

    async def run(self, work: Callable[[T], Awaitable[R]]) -> R:
        """See `UnitOfWork.run`."""
        await self._identify()
        return await self._unit_of_work.run(work)
