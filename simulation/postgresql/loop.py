"""A loop of virtual time that waits for real sockets: time passes only when the database owes no answer."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Collection
from typing import Any, Final, TypeVarTuple

from simulation.loop import Call, SimulatedLoop

_Ts = TypeVarTuple("_Ts")

PATIENCE_S: Final = 0.006
"""Real seconds without a word from the server after which it is asked whether everybody waits for a lock."""

SERVER_IS_GONE_S: Final = 60.0
"""Real seconds without a word from the server after which nothing is expected of it any more."""

AllWait = Callable[[Collection[int]], bool]


class OutsideLoop(SimulatedLoop):
    """Virtual time, real input and output."""

    def __init__(self, all_wait: AllWait) -> None:
        """
        Args:
            all_wait: whether all of these backends of the server wait for locks: only time can help then.
        """
        super().__init__()
        self._all_wait = all_wait
        self._selector = selectors.DefaultSelector()
        self._owed: dict[int, int] = {}

    def expect(self, backend: int) -> None:
        """A backend of the server has been asked something."""
        self._owed[backend] = self._owed.get(backend, 0) + 1
        self.outside = True

    def answered(self, backend: int) -> None:
        """It has answered."""
        self._owed[backend] -= 1
        if not self._owed[backend]:
            del self._owed[backend]
        self.outside = bool(self._owed)

    def hear(self) -> bool:
        """Wait for the server; False when all that are asked wait for locks, so that time has to pass."""
        waited_s = 0.0
        while not self._select(PATIENCE_S):
            waited_s += PATIENCE_S
            if self._all_wait(self._owed.keys()):
                return False
            if waited_s > SERVER_IS_GONE_S:
                raise RuntimeError("the database does not answer")
        return True

    def _select(self, timeout_s: float) -> bool:
        found = self._selector.select(timeout_s)
        for key, mask in found:
            reader, writer = key.data
            if mask & selectors.EVENT_READ and reader is not None:
                self._ready.append(reader)
            if mask & selectors.EVENT_WRITE and writer is not None:
                self._ready.append(writer)
        return bool(found)

    def add_reader(self, fd: Any, callback: Callable[[*_Ts], Any], *args: *_Ts) -> None:
        """See `asyncio.AbstractEventLoop.add_reader`."""
        self._watch(fd, selectors.EVENT_READ, Call(callback, args, None))

    def add_writer(self, fd: Any, callback: Callable[[*_Ts], Any], *args: *_Ts) -> None:
        """See `asyncio.AbstractEventLoop.add_writer`."""
        self._watch(fd, selectors.EVENT_WRITE, Call(callback, args, None))

    def remove_reader(self, fd: Any) -> bool:
        """See `asyncio.AbstractEventLoop.remove_reader`."""
        return self._unwatch(fd, selectors.EVENT_READ)

    def remove_writer(self, fd: Any) -> bool:
        """See `asyncio.AbstractEventLoop.remove_writer`."""
        return self._unwatch(fd, selectors.EVENT_WRITE)

    def close(self) -> None:
        """See `asyncio.AbstractEventLoop.close`."""
        self._selector.close()
        super().close()

    def _watch(self, fd: int, event: int, call: Call) -> None:
        known = self._selector.get_map().get(fd)
        reader, writer = (None, None) if known is None else known.data
        data = (call, writer) if event == selectors.EVENT_READ else (reader, call)
        if known is None:
            self._selector.register(fd, event, data)
        else:
            self._selector.modify(fd, known.events | event, data)

    def _unwatch(self, fd: int, event: int) -> bool:
        known = self._selector.get_map().get(fd)
        if known is None or not known.events & event:
            return False
        reader, writer = known.data
        call = reader if event == selectors.EVENT_READ else writer
        call.cancel()
        rest = known.events & ~event
        if rest:
            data = (None, writer) if event == selectors.EVENT_READ else (reader, None)
            self._selector.modify(fd, rest, data)
        else:
            self._selector.unregister(fd)
        return True
