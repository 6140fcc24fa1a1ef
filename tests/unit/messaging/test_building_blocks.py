"""Ids, arrays, batches, loops: the small parts that everything stands on."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.arrays import array_literal
from messaging.background import FAILING_AFTER, BackgroundLoops, LoopState, finished
from messaging.batching import CROWD, Arrivals
from messaging.identifiers import time_ordered_ids
from messaging.measures import LOOP_FAILING, read_loops


def test_ids_are_version_7_and_sorted_also_when_the_clock_goes_back() -> None:
    clock = iter([1000, 1000, 1000, 500, 500, 2000])
    new_id = time_ordered_ids(random.Random(1), lambda: next(clock))

    ids = [new_id() for _ in range(6)]

    assert ids == sorted(ids)
    assert len(set(ids)) == 6
    assert all(each.version == 7 and each.variant == "specified in RFC 4122" for each in ids)
    assert ids[-1].int >> 80 == 2000


def test_ids_of_one_millisecond_overflow_into_the_next() -> None:
    new_id = time_ordered_ids(random.Random(1), lambda: 5)

    ids = [new_id() for _ in range(5000)]

    assert ids == sorted(ids)
    assert len(set(ids)) == 5000


def test_an_array_literal_holds_every_kind_of_element() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    values = [None, 'a"b\\c,{}', b"\x00\xff", UUID(int=1), 7, True, False, moment]

    assert array_literal(values) == (
        '{NULL,"a\\"b\\\\c,{}","\\\\x00ff",00000000000000000000000000000001,7,t,f,'
        "2026-01-02T03:04:05.000006+00:00}"
    )


def test_an_array_literal_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError):
        array_literal([object()])


@given(st.lists(st.integers(), min_size=1), st.integers(min_value=1, max_value=5))
async def test_arrivals_come_in_order_and_within_the_limit(items: list[int], limit: int) -> None:
    arrivals: Arrivals[int] = Arrivals()
    arrivals.extend(items)
    taken: list[int] = []
    while len(arrivals):
        batch = await arrivals.take(limit)
        assert 1 <= len(batch) <= limit
        taken += batch
    assert taken == items


async def test_a_lone_arrival_is_taken_at_once() -> None:
    arrivals: Arrivals[str] = Arrivals()
    taking = asyncio.create_task(arrivals.take(10))
    await asyncio.sleep(0)
    arrivals.add("alone")

    assert await taking == ["alone"]


FOR_EVER_S = 3600.0


async def after(taken: int, linger_s: float) -> Arrivals[int]:
    """What lingers so long, when so many have just been taken."""
    arrivals: Arrivals[int] = Arrivals(linger_s)
    arrivals.extend(range(taken))
    await arrivals.take(taken)
    return arrivals


async def test_after_a_crowd_as_many_are_waited_for() -> None:
    arrivals = await after(CROWD, FOR_EVER_S)
    arrivals.add(0)
    taking = asyncio.create_task(arrivals.take(100))
    for one in range(1, CROWD):
        await asyncio.sleep(0)
        assert not taking.done()
        arrivals.add(one)

    assert await taking == list(range(CROWD))


async def test_no_more_are_waited_for_than_may_be_taken() -> None:
    arrivals = await after(CROWD, FOR_EVER_S)
    arrivals.extend(range(5))
    assert await arrivals.take(5) == list(range(5))


async def test_after_a_few_nothing_is_waited_for() -> None:
    arrivals = await after(CROWD - 1, FOR_EVER_S)
    arrivals.add(0)
    assert await arrivals.take(100) == [0]


async def test_what_comes_alone_after_a_crowd_is_taken_after_a_moment() -> None:
    arrivals = await after(CROWD, 0.001)
    arrivals.add(0)
    assert await arrivals.take(100) == [0]


async def test_what_is_taken_away_meanwhile_is_not_taken() -> None:
    arrivals = await after(CROWD, 0.001)
    arrivals.add(0)
    taking = asyncio.create_task(arrivals.take(100))
    await asyncio.sleep(0)
    arrivals.clear()
    arrivals.add(1)

    assert await taking == [1]


async def test_a_loop_goes_on_after_a_failure() -> None:
    runs = 0
    again = asyncio.Event()

    async def run_once() -> bool:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RuntimeError("once")
        again.set()
        await asyncio.Event().wait()
        return True

    loops = BackgroundLoops(random.Random(1))
    loops.start("test", run_once)
    await asyncio.wait_for(again.wait(), 10)
    await loops.stop()

    assert runs == 2


async def test_a_loop_that_fails_again_and_again_says_so_until_it_does_not() -> None:
    failing, tried, repaired = [True], asyncio.Event(), asyncio.Event()
    runs = 0

    async def run_once() -> bool:
        nonlocal runs
        runs += 1
        if failing:
            if runs > FAILING_AFTER:
                tried.set()
            raise RuntimeError("it is broken\nand has been for long")
        repaired.set()
        return False

    loops = BackgroundLoops(random.Random(1))
    loops.start("test", run_once, pause_s=0.01)
    await asyncio.wait_for(tried.wait(), 30)
    told = loops.states["test"].trouble
    readings = {series.measure: value for series, value in read_loops([loops])}
    failing.clear()
    await asyncio.wait_for(repaired.wait(), 30)
    await asyncio.sleep(0)

    assert told is not None
    assert told.endswith("times in a row: RuntimeError: it is broken")
    assert readings[LOOP_FAILING] == 1
    assert loops.states["test"].trouble is None
    assert {series.measure: value for series, value in read_loops([loops])}[LOOP_FAILING] == 0
    await loops.stop()
    assert loops.states == {}


async def test_a_loop_that_has_failed_once_or_twice_is_not_in_trouble() -> None:
    state = LoopState()
    for _ in range(FAILING_AFTER - 1):
        state.failed(ValueError("no luck"))
    assert state.trouble is None
    state.failed(ValueError("no luck"))
    assert state.trouble == "it has failed 3 times in a row: ValueError: no luck"


async def test_work_that_does_not_end_is_torn_by_a_second_cancellation() -> None:
    begun, torn = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # as a transaction that is rolled back
            torn.set()
            raise

    working = asyncio.create_task(finished(work()))
    await begun.wait()
    working.cancel()
    await asyncio.wait([working], timeout=0)
    assert not torn.is_set()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert torn.is_set()


async def test_work_that_was_begun_is_finished_before_the_loop_stops() -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go_on.wait()
        done.set()

    loops = BackgroundLoops(random.Random(1))
    loops.start("test", lambda: finished(work()))
    await begun.wait()
    stopping = asyncio.create_task(loops.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping

    assert done.is_set()
