"""How everything is going just now: read once for all who look at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from starlette.requests import Request

from contracts.routing import OUTCOMES_QUEUE, command_queue, dead_letter_queue
from messaging.transport import BrokerUnavailable
from orchestrator.explanation import ASK_BROKER_S, QueueView
from orchestrator.http.console.notes import FETCHED_ANEW
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.health import Readiness, readiness_of
from orchestrator.queries.endings import Endings
from orchestrator.queries.gauges import Gauges

T = TypeVar("T")

GOOD_FOR_S: Final = 3.0
"""Seconds for which what was read is good enough for pages that keep themselves fresh."""

SHOWN_TO: Final = 10_000
"""Where the page stops counting."""


class Shared(Generic[T]):
    """A read that many ask for: made once at a time, and handed to all who ask meanwhile."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._reading: asyncio.Task[T] | None = None
        self._began_s = 0.0

    async def recent(self, good_for_s: float = GOOD_FOR_S) -> T:
        """What was read at most so many seconds ago, else is read now. Raises what the read raises."""
        now_s = asyncio.get_running_loop().time()
        reading = self._reading
        if reading is None or (reading.done() and (_failed(reading) or now_s >= self._began_s + good_for_s)):
            self._began_s = now_s
            reading = self._reading = asyncio.create_task(self._awaited(), name="console read")
        return await asyncio.shield(reading)

    async def now(self) -> T:
        """What is read now. Raises what the read raises."""
        return await self.recent(0.0)

    async def for_page(self, request: Request) -> T:
        """Now for a person who opens the page; recent where the page keeps itself fresh."""
        return await (self.recent() if FETCHED_ANEW in request.headers else self.now())

    async def _awaited(self) -> T:
        return await self._read()


def _failed(reading: asyncio.Task[T]) -> bool:
    return reading.cancelled() or reading.exception() is not None


@dataclass(frozen=True, slots=True)
class Breaker:
    """The circuit breaker at a participant's provider, as one process has it."""

    participant: str
    process: str
    state: str


@dataclass(frozen=True, slots=True)
class Health:
    """How this process is, and the others that are known."""

    here: Readiness
    others: Mapping[str, Readiness]

    @property
    def breakers(self) -> tuple[Breaker, ...]:
        """Every breaker that somebody tells of."""
        told = (("this process", self.here), *self.others.items())
        return tuple(
            Breaker(name, process, finding.breaker)
            for process, readiness in told
            for name, finding in readiness.components.items()
            if finding.breaker is not None
        )

    @property
    def silent(self) -> tuple[str, ...]:
        """Other processes that do not answer."""
        return tuple(name for name, each in self.others.items() if "process" in each.components)


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the overview shows."""

    gauges: Gauges
    endings: Endings
    queues: tuple[QueueView, ...]
    breakers: tuple[Breaker, ...]
    silent: tuple[str, ...]


class Situations:
    """Reads the situation, and the health of what this process uses."""

    def __init__(self, dependencies: Dependencies, now: Callable[[], datetime]) -> None:
        self._dependencies = dependencies
        self._now = now
        self.situation: Shared[Situation] = Shared(self._read)
        self.health: Shared[Health] = Shared(self._health)

    async def _read(self) -> Situation:
        queries = self._dependencies.queries
        gauges, endings, queues, health = await asyncio.gather(
            queries.gauges.read(SHOWN_TO),
            queries.endings.by_minute(self._now()),
            self._queues(),
            self.health.recent(),
        )
        return Situation(gauges, endings, tuple(queues), health.breakers, health.silent)

    async def _health(self) -> Health:
        components, others = self._dependencies.components, self._dependencies.others
        return Health(*await asyncio.gather(readiness_of(components), others()))

    async def _queues(self) -> list[QueueView]:
        worked = [OUTCOMES_QUEUE, *map(command_queue, self._dependencies.registry.participants)]
        names = [*worked, *map(dead_letter_queue, worked)]
        return list(await asyncio.gather(*map(self._queue, names)))

    async def _queue(self, name: str) -> QueueView:
        try:
            async with asyncio.timeout(ASK_BROKER_S):
                depth = await self._dependencies.depth(name)
        except (BrokerUnavailable, TimeoutError) as error:
            return QueueView(name=name, trouble=str(error) or "the broker does not answer in time")
        return QueueView(name=name, ready=depth.ready, consumers=depth.consumers)
