"""The flow of commands towards a provider: shut by the breaker, bounded by what is under way (P9)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from messaging.batching import Arrivals
from messaging.transport import Delivery
from participants.breaker import BreakerPolicy, CallResult, CircuitBreaker
from participants.flow import Flow
from tests.support.participants import Case, delivered

POLICY = BreakerPolicy(minimum_calls=1, cool_down_s=1000, probe_patience_s=10_000)


class Source:
    """A subscription in memory."""

    def __init__(self) -> None:
        self.arrivals: Arrivals[Delivery] = Arrivals()
        self.flowing = True
        self.limits: list[int] = []

    async def receive(self, limit: int) -> list[Delivery]:
        self.limits.append(limit)
        return await self.arrivals.take(limit)

    @property
    def arrived(self) -> int:
        return len(self.arrivals)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        pass

    async def pause(self) -> None:
        self.flowing = False

    async def resume(self) -> None:
        self.flowing = True

    async def close(self) -> None:
        pass


class World:
    """A flow with a clock and calls that the test moves."""

    def __init__(self, concurrency: int = 4) -> None:
        self.now = 0.0
        self.under_way = 0
        self.source = Source()
        self.breaker = CircuitBreaker(POLICY)
        self.flow = Flow(self.source, self.breaker, lambda: self.now, lambda: self.under_way, concurrency)

    def arrive(self, count: int) -> list[Delivery]:
        deliveries = [delivered(Case().charge()) for _ in range(count)]
        self.source.arrivals.extend(deliveries)
        return deliveries

    def trip(self) -> None:
        admission = self.breaker.admit(self.now)
        assert admission is not None
        self.breaker.record(admission, CallResult.FAILED, self.now)
        self.flow.wake()


async def settled() -> None:
    """Let everybody run until nobody can go on."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def world() -> World:
    return World()


async def test_no_more_is_taken_than_may_be_called(world: World) -> None:
    arrived = world.arrive(6)
    assert await world.flow.next_batch() == arrived[:4]
    world.under_way = 3
    assert await world.flow.next_batch() == arrived[4:5]
    world.under_way = 4
    waiting = asyncio.ensure_future(world.flow.next_batch())
    await settled()
    assert not waiting.done()
    world.under_way = 0
    world.flow.wake()
    assert await waiting == arrived[5:]


async def test_what_was_held_back_comes_first(world: World) -> None:
    waiting = asyncio.ensure_future(world.flow.next_batch())
    await settled()
    held_back = [delivered(Case().charge())]
    world.flow.hold_back(held_back)
    assert await waiting == held_back
    await world.flow.close()


async def test_an_open_breaker_stops_the_flow_and_hands_out_what_had_arrived(world: World) -> None:
    """What had arrived is taken only to be sent away (P9)."""
    world.trip()
    arrived = world.arrive(6)
    assert await world.flow.next_batch() == arrived
    assert not world.source.flowing
    await world.flow.close()


async def test_a_half_open_breaker_lets_one_through_at_a_time(world: World) -> None:
    world.trip()
    waiting = asyncio.ensure_future(world.flow.next_batch())
    await settled()
    assert not waiting.done()
    world.now = 1001.0
    world.flow.wake()
    await settled()
    arrived = world.arrive(3)
    assert await waiting == arrived[:1]
    assert (world.source.flowing, world.source.limits[-1]) == (True, 1)
    probe = world.breaker.admit(world.now)
    assert probe is not None
    waiting = asyncio.ensure_future(world.flow.next_batch())
    await settled()
    assert (waiting.done(), world.source.flowing) == (False, False)
    world.breaker.record(probe, CallResult.ANSWERED, world.now)
    world.flow.wake()
    assert await waiting == arrived[1:]
    assert world.source.flowing


async def test_a_wake_while_the_flow_is_being_changed_is_not_lost(world: World) -> None:
    """The breaker closes during the pause: nobody would come to say so again."""
    world.trip()
    pausing, resumed = asyncio.Event(), asyncio.Event()

    async def slow_pause() -> None:
        world.source.flowing = False
        pausing.set()
        await resumed.wait()

    world.source.pause = slow_pause  # type: ignore[method-assign]
    waiting = asyncio.ensure_future(world.flow.next_batch())
    await pausing.wait()
    world.now = 1001.0
    probe = world.breaker.admit(world.now)
    assert probe is not None
    world.breaker.record(probe, CallResult.ANSWERED, world.now)
    world.flow.wake()
    resumed.set()
    await settled()
    assert world.source.flowing
    arrived = world.arrive(1)
    assert await waiting == arrived


async def test_closing_leaves_what_has_arrived_alone(world: World) -> None:
    waiting = asyncio.ensure_future(world.flow.next_batch())
    await settled()
    waiting.cancel()
    await world.flow.close()
    world.arrive(2)
    assert len(world.source.arrivals) == 2
