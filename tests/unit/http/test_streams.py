"""Streams of orders: what they take of the database while hundreds are woken at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from orchestrator.http.events import Progress
from orchestrator.http.faces import OrderFace
from orchestrator.queries.sagas import SagaQueries


class CountedReads:
    """A database in which nothing has happened; counts who reads at once."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0

    async def entries(self, saga_id: UUID, after: int) -> Sequence[Any]:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        self.done += 1
        return []


async def test_streams_that_are_woken_together_read_by_turns() -> None:
    reads = CountedReads()
    sagas, face, turns = cast(SagaQueries, reads), cast(OrderFace, None), asyncio.Semaphore(3)
    streams = [Progress(sagas, turns, face, UUID(int=1), UUID(int=2), 0) for _ in range(100)]
    await asyncio.gather(*(stream.events() for stream in streams))
    assert (reads.most, reads.done) == (3, 100)
