"""Processes: replicas of services that start, are killed at any point, and start again with empty memory."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from simulation.loop import LIFE, Life, SimulatedLoop
from simulation.weather import Fault, Weather

R = TypeVar("R")


class ConnectionLost(Exception):
    """The process died, or was not there: whether it did what was asked is not known."""


class Host:
    """Where one run of a process lives: its life, its name, and its ends.

    Everything that a process touches outside of its memory asks `alive` first: the dead touch nothing.
    """

    def __init__(self, loop: SimulatedLoop, weather: Weather, service: str, name: str) -> None:
        self.loop = loop
        self.weather = weather
        self.service = service
        self.name = name
        self.life = Life(name)
        self.context = contextvars.Context()
        self.context.run(LIFE.set, self.life)
        self.on_crash: Callable[[], None] = lambda: None

    @property
    def alive(self) -> bool:
        """Whether this run of the process still lives."""
        return self.life.alive

    def crash(self) -> None:
        """Kill it now. Whoever calls from within must not touch anything afterwards."""
        if self.alive:
            self.loop.keep_alive()
            self.life.end()
            self.on_crash()

    def strikes(self, fault: Fault, saga_id: Any = None) -> bool:
        """Whether a fault strikes this process now."""
        return self.weather.strikes(fault, self.name, saga_id)

    def dies(self, fault: Fault, saga_id: Any = None) -> bool:
        """Whether the process is dead, or dies now."""
        if self.life.alive and self.weather.strikes(fault, self.name, saga_id):
            self.crash()
        return not self.life.alive

    async def never(self) -> None:
        """Where the dead wait."""
        await self.loop.create_future()

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back within the process, unless it dies first."""
        self.loop.call_soon(callback, context=self.context)

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Run a coroutine as part of the process."""
        return self.loop.create_task(work, context=self.context.copy())


class Process:
    """One replica of one service."""

    def __init__(
        self,
        name: str,
        service: str,
        loop: SimulatedLoop,
        weather: Weather,
        boot: Callable[[Host], Awaitable[Any]],
        downtime_s: Callable[[], float],
    ) -> None:
        """
        Args:
            boot: starts the service on a new host and returns what can be called from outside.
            downtime_s: seconds from a crash to the next start.
        """
        self.name = name
        self.service = service
        self.starts = 0
        self.host: Host | None = None
        self._loop = loop
        self._weather = weather
        self._boot = boot
        self._downtime_s = downtime_s
        self._interior: Any = None
        self._callers: dict[asyncio.Future[Any], None] = {}

    def start(self) -> None:
        """Start, as the world."""
        self.starts += 1
        host = Host(self._loop, self._weather, self.service, f"{self.name}.{self.starts}")
        host.on_crash = self._crashed
        self.host = host
        host.spawn(self._run(host))

    def crash(self) -> None:
        """Kill it; it starts again by itself."""
        if self.host is not None:
            self.host.crash()

    def stop_for(self, seconds: float) -> None:
        """Stop it as SIGSTOP does, for a while."""
        if self.host is not None and self.host.alive:
            life = self.host.life
            life.stop()
            self._loop.in_the_world(seconds, lambda: life.go_on(self._loop))

    async def call(self, work: Callable[[Any], Awaitable[R]]) -> R:
        """Ask the process to do something, from outside.

        Raises:
            ConnectionLost: it is not there, or died before it answered.
        """
        if self.host is None or not self.host.alive or self._interior is None:
            raise ConnectionLost(f"{self.name} is down")
        answer: asyncio.Future[R] = self._loop.create_future()
        self._callers[answer] = None
        task = self.host.spawn(_invoke(work, self._interior))
        task.add_done_callback(lambda done: self._answer(answer, done), context=self._loop.world)
        try:
            return await answer
        finally:
            self._callers.pop(answer, None)

    async def _run(self, host: Host) -> None:
        interior = await self._boot(host)
        if host.alive:
            self._interior = interior

    def _answer(self, answer: asyncio.Future[Any], done: asyncio.Task[Any]) -> None:
        if answer.done():
            return
        error = done.exception()
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(done.result())

    def _crashed(self) -> None:
        self._interior = None
        for answer in list(self._callers):
            if not answer.done():
                answer.set_exception(ConnectionLost(f"{self.name} died"))
        self._callers.clear()
        self._loop.in_the_world(self._downtime_s(), self.start)


async def _invoke(work: Callable[[Any], Awaitable[R]], interior: Any) -> R:
    return await work(interior)
