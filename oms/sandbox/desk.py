"""Where requests queue up to be entered: one statement takes all that came during the one before.

A call by itself is entered at once; with a hundred at a time each costs a tenth of the CPU time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from oms.sandbox import books
from oms.sandbox.books import Entry

_MOST_AT_ONCE: Final = 200

Row = Mapping[str, Any]
_Slot = asyncio.Future[Entry]


class Desk:
    """Enters requests into one book, in batches that commit by themselves (``engine`` autocommits).

    No two requests with one key may wait at the same time.
    """

    def __init__(self, engine: AsyncEngine, table: Table) -> None:
        self._engine = engine
        self._table = table
        self._waiting: deque[tuple[Row, _Slot]] = deque()
        self._clerk: asyncio.Task[None] | None = None

    async def enter(self, row: Row) -> Entry:
        """The entry for the row's key, once it is committed.

        When cancelled, the request may still be entered: its client has left, it has not.
        """
        slot: _Slot = asyncio.get_running_loop().create_future()
        self._waiting.append((row, slot))
        if self._clerk is None:
            self._clerk = asyncio.create_task(self._serve())
        return await slot

    async def _serve(self) -> None:
        try:
            while batch := self._next_batch():
                await self._enter_all(batch)
        finally:
            self._clerk = None

    def _next_batch(self) -> list[tuple[Row, _Slot]]:
        batch: list[tuple[Row, _Slot]] = []
        while self._waiting and len(batch) < _MOST_AT_ONCE:
            row, slot = self._waiting.popleft()
            if not slot.done():
                batch.append((row, slot))
        return batch

    async def _enter_all(self, batch: list[tuple[Row, _Slot]]) -> None:
        try:
            async with self._engine.connect() as connection:
                entries = await books.enter(connection, self._table, [row for row, _ in batch])
        except Exception as error:
            for _, slot in batch:
                if not slot.done():
                    slot.set_exception(error)
            return
        for row, slot in batch:
            if not slot.done():
                slot.set_result(entries[row["key"]])
