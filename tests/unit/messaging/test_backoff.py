"""The one back-off: doubling, bounded, uneven by a source that is given; and what is done again with it."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt, wait_none

from messaging.backoff import Backoff, Pauses, again


def test_pauses_double_up_to_the_longest_and_are_spread() -> None:
    backoff = Backoff(Random(1), first_s=0.2, longest_s=10, spread=(0.5, 1.5))
    for failures, middle_s in ((1, 0.2), (2, 0.4), (6, 6.4), (7, 10), (5000, 10)):
        pauses = [backoff.pause_s(failures) for _ in range(200)]
        assert middle_s * 0.5 <= min(pauses) < middle_s < max(pauses) <= middle_s * 1.5


def test_the_same_source_gives_the_same_pauses() -> None:
    one, other = (Backoff(Random(7), 0.1, 5) for _ in range(2))
    assert [one.pause_s(tries) for tries in range(1, 9)] == [other.pause_s(tries) for tries in range(1, 9)]


async def test_a_pause_is_short_again_once_something_has_gone_well_for_longer_than_the_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept, lasts_s = [], iter([1.0, 10.0, 10.1, 0.0])
    now_s = 0.0
    pauses = Pauses(Backoff(Random(1), first_s=1, longest_s=10, spread=(1, 1)))

    async def sleep(pause_s: float) -> None:
        slept.append(pause_s)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now_s)
    for lasted_s in lasts_s:
        with pauses.between():
            now_s += lasted_s
        await pauses.pause()

    assert slept == [1, 2, 1, 2]


async def _fails() -> str:
    raise OSError("again")


async def test_the_failure_before_counts_as_a_try() -> None:
    slept: list[float] = []

    async def sleep(pause_s: float) -> None:
        slept.append(pause_s)

    wait = Backoff(Random(1), first_s=1, longest_s=10, spread=(1, 1))
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(OSError), wait=wait, stop=stop_after_attempt(4), sleep=sleep
    )
    with pytest.raises(RetryError):
        await again(OSError("first"), _fails, retrying)
    assert slept == [1, 2, 4]


async def test_what_succeeds_in_the_end_is_returned() -> None:
    left = [OSError("second"), OSError("third")]

    async def call() -> str:
        if left:
            raise left.pop()
        return "done"

    retrying = AsyncRetrying(retry=retry_if_exception_type(OSError), wait=wait_none(), sleep=asyncio.sleep)
    assert await again(OSError("first"), call, retrying) == "done"
