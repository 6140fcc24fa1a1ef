"""The flow of commands towards a provider: as many as may be called at once, none while it is down (P9)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from messaging.transport import Delivery, Subscription
from participants.breaker import BreakerState, CircuitBreaker

DRAIN_LIMIT: Final = 200
"""Most deliveries that are taken at once to be sent away again while the breaker is open."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many deliveries may be taken now, whether more may flow, and until when this holds by itself."""

    deliveries: int
    flowing: bool
    until: float | None = None


class Flow:
    """One subscription, opened and shut by the circuit breaker and by how much is under way."""

    def __init__(
        self,
        subscription: Subscription,
        breaker: CircuitBreaker,
        clock: Callable[[], float],
        under_way: Callable[[], int],
        concurrency: int,
    ) -> None:
        """
        Args:
            clock: monotonic, in seconds; the one that the breaker is asked with.
            under_way: how many calls there are at the moment.
        """
        self._subscription = subscription
        self._breaker = breaker
        self._clock = clock
        self._under_way = under_way
        self._concurrency = concurrency
        self._held_back: deque[Delivery] = deque()
        self._receiving: asyncio.Task[list[Delivery]] | None = None
        self._receiving_limit = 0
        self._flowing = True
        self._woken: asyncio.Future[None] | None = None

    def hold_back(self, deliveries: Iterable[Delivery]) -> None:
        """Take these again, before anything new."""
        self._held_back.extend(deliveries)
        self.wake()

    def wake(self) -> None:
        """Something has changed: a call has ended, the breaker stands otherwise."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def next_batch(self) -> list[Delivery]:
        """What may be worked on now; waits until there is something."""
        while True:
            self._woken = asyncio.get_running_loop().create_future()
            room = self._room()
            await self._receive_at_most(room.deliveries)
            await self._let_flow(room)
            if room.deliveries and self._held_back:
                count = min(room.deliveries, len(self._held_back))
                return [self._held_back.popleft() for _ in range(count)]
            batch = await self._arrived(room, self._woken)
            if batch:
                return batch

    async def close(self) -> None:
        """Stop receiving; what had arrived goes back to the queue with the subscription."""
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.wait([self._receiving])
            self._receiving = None

    def _room(self) -> Room:
        """Closed: up to the bound. Open: take only to send away. Half-open: one at a time, for the probe."""
        now = self._clock()
        state = self._breaker.state(now)
        if state is BreakerState.CLOSED:
            return Room(max(0, self._concurrency - self._under_way()), flowing=True)
        until = self._breaker.next_admission_at(now)
        if state is BreakerState.OPEN:
            return Room(DRAIN_LIMIT, flowing=False, until=until)
        probing = until > now
        return Room(0 if probing else 1, flowing=not probing, until=until if probing else None)

    async def _let_flow(self, room: Room) -> None:
        if room.flowing is self._flowing:
            return
        self._flowing = room.flowing
        await (self._subscription.resume() if room.flowing else self._subscription.pause())

    async def _arrived(self, room: Room, woken: asyncio.Future[None]) -> list[Delivery]:
        """Deliveries, or nothing when it is time to look again."""
        events: list[asyncio.Future[Any]] = [woken]
        if room.deliveries and self._receiving is None:
            self._receiving = asyncio.ensure_future(self._subscription.receive(room.deliveries))
            self._receiving_limit = room.deliveries
        if self._receiving is not None:
            events.append(self._receiving)
        timeout = None if room.until is None else max(0.0, room.until - self._clock())
        await asyncio.wait(events, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        received = self._receiving
        if received is None or not received.done():
            return []
        self._receiving = None
        return received.result()

    async def _receive_at_most(self, limit: int) -> None:
        """Give up a receiving that could bring more than there is room for by now; nothing is lost by it."""
        if self._receiving is None or self._receiving.done() or self._receiving_limit <= limit:
            return
        self._receiving.cancel()
        await asyncio.wait([self._receiving])
        if self._receiving.cancelled():
            self._receiving = None
