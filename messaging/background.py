"""Supervised background loops: each runs one ``run_once`` for ever, and outlives its failures."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from contracts.one_line import kind_and_line
from messaging.backoff import Backoff, again

log = structlog.get_logger(__name__)

R = TypeVar("R")

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
"""Bounds of the jittered pause after a failed run, in seconds."""

FAILING_AFTER: Final = 3
"""Failures in a row after which a loop counts as failing: trouble that has not passed by itself."""

LONGEST_REASON: Final = 200


async def finished(work: Coroutine[Any, Any, R]) -> R:
    """Await work that a cancellation must not tear: it is finished first, then the cancellation goes on.

    A second cancellation tears it, and waits for what it does about that.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await _ended(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("work failed while stopping", exc_info=task.exception())
        raise


async def _ended(task: asyncio.Task[Any]) -> None:
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
        raise


@dataclass(slots=True)
class LoopState:
    """How one loop fares.

    Attributes:
        failures: runs and tries of a unit of work that have failed since the start.
        in_a_row: those that have failed since the last one that did not.
        reason: why the last of them failed: the kind of error, and the first line of its words.
    """

    failures: int = 0
    in_a_row: int = 0
    reason: str = ""

    @property
    def trouble(self) -> str | None:
        """Why the loop gets nothing done; None while it does."""
        if self.in_a_row < FAILING_AFTER:
            return None
        return f"it has failed {self.in_a_row} times in a row: {self.reason}"

    def failed(self, error: Exception) -> None:
        """One more run has failed."""
        self.failures += 1
        self.in_a_row += 1
        self.reason = kind_and_line(error, LONGEST_REASON)


_RUNNING: ContextVar[LoopState | None] = ContextVar("_RUNNING", default=None)


def tell_failure(error: Exception) -> None:
    """Whoever tries again and again within a run says so here: the loop that it runs in shows it (S17)."""
    if (state := _RUNNING.get()) is not None:
        state.failed(error)


def tell_success() -> None:
    """The try after `tell_failure` went well."""
    if (state := _RUNNING.get()) is not None:
        state.in_a_row = 0


class BackgroundLoops:
    """The loops of one service, started together and stopped together."""

    def __init__(self, rng: random.Random) -> None:
        self._backoff = Backoff(rng, FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._tasks: list[asyncio.Task[None]] = []
        self.states: dict[str, LoopState] = {}
        """How each loop fares, by its name; those that were stopped are gone."""

    def start(self, name: str, run_once: Callable[[], Awaitable[object]], pause_s: float = 0.0) -> None:
        """Run ``run_once`` again and again.

        Args:
            pause_s: seconds to wait after a run that found nothing to do (returned something false).
        """
        self.states[name] = LoopState()
        self._tasks.append(asyncio.create_task(self._forever(name, run_once, pause_s), name=name))

    async def stop(self, within_s: float = 10.0) -> None:
        """End all loops; work that is not to be torn gets so many seconds to finish."""
        tasks, self._tasks = self._tasks, []
        self.states.clear()
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        _, unfinished = await asyncio.wait(tasks, timeout=within_s)
        for task in unfinished:
            log.warning("torn while stopping", loop=task.get_name())
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=1.0)

    async def _forever(self, name: str, run_once: Callable[[], Awaitable[object]], pause_s: float) -> None:
        state = self.states[name]
        _RUNNING.set(state)

        def note(run: RetryCallState) -> None:
            error = run.outcome.exception() if run.outcome else None
            assert isinstance(error, Exception)
            state.failed(error)
            log.error("background loop failed, going on", loop=name, error=str(error), exc_info=error)

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Exception),
            wait=self._backoff,
            before_sleep=note,
            sleep=asyncio.sleep,
        )
        while True:
            try:
                found = await run_once()
            except Exception as error:
                found = await again(error, run_once, retrying)
                state.in_a_row = 0
            if not found:
                await asyncio.sleep(pause_s)
