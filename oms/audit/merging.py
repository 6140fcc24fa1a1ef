"""Streams of rows ordered by one identity, read side by side in constant memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Generic, Protocol, TypeVar
from uuid import UUID

R = TypeVar("R")


class Grouped(Protocol):
    """A stream whose next group of rows belongs to ``head``."""

    head: UUID | None

    async def begin(self) -> None:
        """Read the first rows."""


class Ordered(Generic[R]):
    """Batches of rows that are ordered by an identity, taken one identity at a time.

    Attributes:
        head: the identity of the next row; None at the end, and before `begin`.
    """

    def __init__(self, batches: AsyncIterator[Sequence[R]], identity: Callable[[R], UUID]) -> None:
        self.head: UUID | None = None
        self._batches = batches
        self._identity = identity
        self._rows: Sequence[R] = ()
        self._at = 0

    async def begin(self) -> None:
        """Read the first rows."""
        await self._move_on()

    async def take(self, identity: UUID) -> list[R]:
        """The rows of ``identity`` when it is the head, else nothing."""
        taken: list[R] = []
        while self.head == identity:
            taken.append(self._rows[self._at])
            self._at += 1
            if self._at < len(self._rows):
                self.head = self._identity(self._rows[self._at])
            else:
                await self._move_on()
        return taken

    async def _move_on(self) -> None:
        async for batch in self._batches:
            if batch:
                self._rows, self._at = batch, 0
                self.head = self._identity(batch[0])
                return
        self.head = None


async def identities(streams: Sequence[Grouped]) -> AsyncIterator[UUID]:
    """Every identity that some stream holds, in order. The caller takes its rows before going on."""
    for stream in streams:
        await stream.begin()
    while True:
        heads = [stream.head for stream in streams if stream.head is not None]
        if not heads:
            return
        yield min(heads)
