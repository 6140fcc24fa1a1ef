"""An event loop in which time passes only when nothing is left to do.

Everything runs in one thread and in an order that depends on the calls alone. Whoever belongs to a life that
has ended is never called again: that is how a process is killed at any point, without a word.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import threading
from asyncio import events
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, TypeVarTuple

_Ts = TypeVarTuple("_Ts")


@dataclass(slots=True, eq=False)
class Life:
    """One run of one process, from its start to its crash. ``name`` tells the process and which run it is."""

    name: str
    alive: bool = True
    runs: bool = True
    """False while dead or stopped."""
    held: list[Call] = field(default_factory=list)
    """What would have run while the process was stopped."""
    at_the_end: list[Callable[[], None]] = field(default_factory=list)
    """What the world does when this life ends: connections break, transactions are rolled back."""

    def end(self) -> None:
        """Kill the process: nothing of it runs any more."""
        if self.alive:
            self.alive = self.runs = False
            for callback in self.at_the_end:
                callback()

    def stop(self) -> None:
        """Stop the process as SIGSTOP does; the world goes on without it."""
        self.runs = False

    def go_on(self, loop: SimulatedLoop) -> None:
        """Let a stopped process go on, with all that has come for it meanwhile."""
        if self.alive and not self.runs:
            self.runs = True
            loop.take_up(self.held)
            self.held = []


LIFE: Final[contextvars.ContextVar[Life | None]] = contextvars.ContextVar("LIFE", default=None)
"""To which life the running code belongs; None is the world itself, which never ends."""


class Call:
    """A callback that will run: the loop's own handle, without what asyncio keeps for debugging."""

    __slots__ = ("_args", "_callback", "_cancelled", "_context", "_when")

    def __init__(
        self, callback: Any, args: tuple[Any, ...], context: contextvars.Context | None, when: float = 0.0
    ) -> None:
        self._callback = callback
        self._args: Any = args
        self._context = contextvars.copy_context() if context is None else context
        self._when = when
        self._cancelled = False

    def cancel(self) -> None:
        """See `asyncio.Handle.cancel`."""
        self._cancelled = True
        self._callback = self._args = None

    def cancelled(self) -> bool:
        """See `asyncio.Handle.cancelled`."""
        return self._cancelled

    def when(self) -> float:
        """See `asyncio.TimerHandle.when`."""
        return self._when


class Asleep(Exception):
    """Nothing is left to run and no timer is set, yet somebody is waited for."""


class Restless(Exception):
    """So much runs without any time passing that it will never end."""


MOST_STEPS_AT_ONCE: Final = 100_000
"""Callbacks that may run before time passes."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs what is ready, then jumps to the next timer."""

    _ready: Any
    _stopping: bool
    _thread_id: int | None

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.troubles: list[dict[str, Any]] = []
        """What nobody caught: a bug of the simulation, or of what it runs."""
        self._now = 0.0
        self._timers: list[tuple[float, int, Call]] = []
        self._order = count()
        self._kept: list[object] = []
        self.outside = False
        """Whether somebody outside of this world owes an answer; time stands still until it has come."""
        self.buried = False
        self.world = contextvars.Context()
        """The context of the world's own callbacks, which outlive every process."""

    def time(self) -> float:
        """Seconds since the world began."""
        return self._now

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """See `asyncio.AbstractEventLoop.call_soon`."""
        call: Any = Call(callback, args, context)
        self._ready.append(call)
        return call  # type: ignore[no-any-return]

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """See `asyncio.AbstractEventLoop.call_at`."""
        timer: Any = Call(callback, args, context, when)
        heappush(self._timers, (when, next(self._order), timer))
        return timer  # type: ignore[no-any-return]

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """See `asyncio.AbstractEventLoop.call_later`."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def in_the_world(self, delay_s: float, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Call later as the world, whichever process asks and whether it lives on or not."""
        when = self._now + delay_s
        heappush(self._timers, (when, next(self._order), Call(callback, args, self.world, when)))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """See `asyncio.AbstractEventLoop.call_exception_handler`."""
        self.troubles.append(context)

    def keep_alive(self) -> None:
        """Hold on to all tasks: what a dead process has left undone must not be tidied up on its behalf."""
        self._kept.extend(asyncio.all_tasks(self))

    def run_forever(self) -> None:
        """Run until stopped.

        Raises:
            Asleep: there is nothing to wait for.
            Restless: there is always something to do, and time stands still.
        """
        self._check_closed()  # type: ignore[attr-defined]
        self._check_running()  # type: ignore[attr-defined]
        self._thread_id = threading.get_ident()
        events._set_running_loop(self)
        try:
            self._run_all()
        finally:
            self._stopping = False
            self._thread_id = None
            events._set_running_loop(None)

    def _run_all(self) -> None:
        ready, timers, life_of = self._ready, self._timers, LIFE
        allowed = self.steps + MOST_STEPS_AT_ONCE
        while not self._stopping:
            handle: Any
            if ready:
                handle = ready.popleft()
                if self.steps > allowed:
                    raise Restless(f"{MOST_STEPS_AT_ONCE:,} callbacks at {self._now:.3f} s")
            elif self.outside and self.hear():
                continue
            elif timers:
                when, _, handle = heappop(timers)
                if handle._cancelled:
                    continue
                self._now = max(self._now, when)
                allowed = self.steps + MOST_STEPS_AT_ONCE
            else:
                raise Asleep
            if handle._cancelled:
                continue
            context = handle._context
            life = context.get(life_of)
            if life is None or life.runs:
                self.steps += 1
                context.run(handle._callback, *handle._args)
            elif life.alive:
                life.held.append(handle)

    def hear(self) -> bool:
        """Wait for somebody outside; False where only the passing of time can help."""
        raise NotImplementedError

    def take_up(self, handles: Iterable[Call]) -> None:
        """Run what was held back."""
        self._ready.extend(handles)

    def bury(self) -> None:
        """End the world: whatever still waits is taken apart, in silence."""
        self.buried = True
        noisy = sys.unraisablehook
        sys.unraisablehook = lambda _: None
        try:
            for task in [*self._kept, *asyncio.all_tasks(self)]:
                _take_apart(task)
            self._kept.clear()
            self._timers.clear()
            self.close()
        finally:
            sys.unraisablehook = noisy


def _take_apart(task: Any) -> None:
    if task.done():
        return
    task._log_destroy_pending = False
    with contextlib.suppress(BaseException):  # whatever the dead still want to say
        task.get_coro().close()
