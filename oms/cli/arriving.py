"""Orders as they arrive, read in a thread: a pipe that is slow holds up no answer, and no Ctrl-C."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Final

from oms.cli.order_files import Item

_AHEAD: Final = 64
"""Orders that are read before anybody wants them."""


class Arriving:
    """The items of a source, once and in order, for any number of takers.

    Attributes:
        last: number of the latest that was taken; None before the first.
        ended: nothing is left.
    """

    def __init__(self, items: Iterator[Item]) -> None:
        self.last: int | None = None
        self.ended = False
        self._items = items
        self._queue: asyncio.Queue[Item | BaseException | None] = asyncio.Queue(_AHEAD)
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, name="reading orders", daemon=True).start()

    async def take(self) -> Item | None:
        """The next item; None after the last. Raises what reading raised."""
        if self.ended:
            return None
        item = await self._queue.get()
        if item is None or isinstance(item, BaseException):
            self.ended = True
            self._queue.put_nowait(None)  # for whoever waits beside us
            if item is not None:
                raise item
            return None
        self.last = item.line
        return item

    def _read(self) -> None:
        with suppress(_NobodyListens):
            try:
                for item in self._items:
                    self._hand_over(item)
                self._hand_over(None)
            except _NobodyListens:
                raise
            except BaseException as error:
                self._hand_over(error)

    def _hand_over(self, item: Item | BaseException | None) -> None:
        handing = self._queue.put(item)
        try:
            handed = asyncio.run_coroutine_threadsafe(handing, self._loop)
        except RuntimeError:  # the loop is closed
            handing.close()
            raise _NobodyListens from None
        try:
            handed.result()
        except CancelledError:
            raise _NobodyListens from None


class _NobodyListens(Exception):
    """The command has ended, whatever is still to be read, and whether or not that can be read."""
