"""The one back-off: pauses that double up to a longest one, made uneven by a random source that is given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState
from tenacity.wait import wait_base

R = TypeVar("R")


class Backoff(wait_base):
    """How long to wait after tries that failed; a ``wait`` of tenacity's.

    tenacity's own jitter draws from the process's random source; this one draws from ``rng``, so that a
    simulation stays determined by its seed.
    """

    def __init__(
        self, rng: Random, first_s: float, longest_s: float, spread: tuple[float, float] = (0.5, 1.5)
    ) -> None:
        """
        Args:
            first_s: seconds after the first failure; doubled with each further one.
            longest_s: where doubling ends.
            spread: what a pause is multiplied by, at least and at most.
        """
        self._rng = rng
        self._first_s = first_s
        self.longest_s: Final = longest_s
        self._spread = spread

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds to wait, as tenacity asks for them."""
        return self.pause_s(retry_state.attempt_number)

    def pause_s(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, 1 or more."""
        pause_s: float = min(self.longest_s, self._first_s * 2 ** min(failures - 1, 16))
        return pause_s * self._rng.uniform(*self._spread)


class Pauses:
    """The pauses of something that goes on for ever and is no call that could be made again."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._taken = 0

    @contextmanager
    def between(self) -> Iterator[None]:
        """Around what goes well: a pause is short again once that has lasted longer than the longest one."""
        clock = asyncio.get_running_loop().time
        since = clock()
        try:
            yield
        finally:
            if clock() - since > self._backoff.longest_s:
                self._taken = 0

    async def pause(self) -> None:
        """Wait, longer than the last time."""
        self._taken += 1
        await asyncio.sleep(self._backoff.pause_s(self._taken))


async def again(failed: Exception, call: Callable[[], Awaitable[R]], retrying: AsyncRetrying) -> R:
    """Make a call that has failed once again and again, as ``retrying`` says, which counts that failure too.

    A call that succeeds at once does without tenacity, which costs 60 µs: as much as several messages do.
    """
    before = [failed]

    async def try_it() -> R:
        if before:
            raise before.pop()
        return await call()

    return await retrying(try_it)
