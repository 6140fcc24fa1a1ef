"""Submitting many orders at once, safely again and again, and waiting for their end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from oms.api_client import (
    Answer,
    ApiClient,
    ApiFailure,
    BrokenOff,
    Document,
    NotTheApi,
    Refused,
    Unreachable,
    Untrusted,
)
from oms.cli.arriving import Arriving
from oms.cli.order_files import Item, KeyOf, Source, Unusable
from oms.failures import Failure

_TRIES: Final = 10
_LONGEST_PAUSE_S: Final = 10.0
_POLL_S: Final = 0.2
_COME_BACK: Final = frozenset({429, 502, 503, 504})
_FOR_NONE: Final = frozenset({401, 403, 404, 405})
"""Statuses that would meet every order alike: no use in going on."""
_TRIES_OF_A_STRANGER: Final = 4
"""Where the API itself has never answered, the URL is wrong more often than the API away."""

TERMINATED: Final = 143


@dataclass(frozen=True, slots=True)
class Target:
    """What is started, and how the API speaks of it.

    Attributes:
        word: for one of them.
        start: the address that starts one.
        found: below which each is found by its ``identity``.
        standing: the field that says where it stands.
    """

    word: str
    start: str
    found: str
    identity: str
    standing: str


ORDERS: Final = Target("order", "/orders", "/orders", "order_id", "status")


def sagas_of(definition: str) -> Target:
    """Sagas of one definition."""
    return Target("saga", f"/sagas/{definition}", "/sagas", "saga_id", "label")


@dataclass(frozen=True, slots=True)
class SubmissionPlan:
    """How to submit.

    Attributes:
        wait_s: longest wait for the end of all orders, in seconds; None does not wait.
    """

    key_of: KeyOf
    concurrency: int
    wait_s: float | None
    target: Target = ORDERS


@dataclass(frozen=True, slots=True)
class Accepted:
    """An order that the service took, as it is now; ``replayed``: it had been taken before."""

    line: int
    order: Document
    replayed: bool

    @property
    def ended(self) -> bool:
        """Nothing more will happen to it."""
        return self.order.get("ended_at") is not None


@dataclass(frozen=True, slots=True)
class NotTaken:
    """An order that the service refused, or that had not ended in time."""

    line: int
    error: str


class View(Protocol):
    """Who is told what happens."""

    def accepted(self, done: Accepted) -> None:
        """The service has taken an order."""

    def ended(self, done: Accepted) -> None:
        """An order that was waited for has ended."""

    def failed(self, failed: NotTaken) -> None:
        """An order was not taken, or has not ended in time, or nobody knows."""

    def close(self, outcome: Outcome) -> None:
        """Everything is done."""


@dataclass
class Outcome:
    """What has come of a submission. Orders that were waited for and ended are counted by status.

    Attributes:
        nothing_after: the last order that was read, where those after it were not even looked at.
    """

    accepted: int = 0
    replayed: int = 0
    failed: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    nothing_after: int | None = None


class Terminated(Failure):
    """The process was told to end before it was done."""

    exit_code = TERMINATED


class ReaderLeft(Failure):
    """Whoever read the output has left before everything was submitted."""


async def run(api: ApiClient, source: Source, plan: SubmissionPlan, view: View) -> Outcome:
    """Submit everything; wait for the end where the plan says so.

    However it ends, the view has been told of every order that was read what is known of it.

    Raises:
        ApiFailure: the service is not there, or refuses every order alike, and was not told otherwise before.
        Terminated: by SIGTERM.
        ReaderLeft: nobody reads what came of the orders.
    """
    submission = _Submission(api, source, plan, view)
    try:
        with _ended_by_signal():
            await submission.submit_all()
            if plan.wait_s is not None:
                await submission.wait_for_all(plan.wait_s)
    except BrokenPipeError:
        if submission.is_complete:
            raise
        raise ReaderLeft("whoever read the output has left; not everything was submitted") from None
    finally:
        submission.close()
    return submission.outcome


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does."""
    task, told = asyncio.current_task(), list[int]()
    assert task is not None

    def end() -> None:
        told.append(signal.SIGTERM)
        task.cancel()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        yield
    except asyncio.CancelledError:
        if told:
            raise Terminated("ended before everything was done") from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


class _Submission:
    def __init__(self, api: ApiClient, source: Source, plan: SubmissionPlan, view: View) -> None:
        self.outcome = Outcome()
        self._api = api
        self._orders = Arriving(source.orders)
        self._plan = plan
        self._view = view
        self._answered = False
        """The API has said something: it is there."""
        self._going_on = True
        self._under_way: set[int] = set()
        """Lines that are being submitted."""
        self._waiting: dict[int, Accepted] = {}
        """By line: taken, not known to have ended."""
        self._retrying = AsyncRetrying(
            retry=retry_if_exception(self._is_worth_another_try),
            stop=self._is_enough,
            wait=_pause_s,
            reraise=True,
        )

    @property
    def is_complete(self) -> bool:
        """Every order was read, and its fate is known."""
        return self._orders.ended and not self._under_way

    async def submit_all(self) -> None:
        """Submit, so many at once."""
        async for item in self._taken():
            await self._submit(item)
            if self._answered:
                break  # one alone before, so that trouble that meets every order is told once
        await self._at_once(self._submit, [self._taken() for _ in range(self._plan.concurrency)])

    async def wait_for_all(self, timeout_s: float) -> None:
        """Ask for the orders that have not ended, round by round."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._waiting:
                    round_of = iter(list(self._waiting.values()))
                    await self._at_once(self._look, [_each(round_of) for _ in range(self._plan.concurrency)])
                    if self._waiting:
                        await asyncio.sleep(_POLL_S)
        except TimeoutError:
            self._give_up_waiting("has not ended in time")

    def close(self) -> None:
        """Tell of every order that has not been told of."""
        last = self._orders.last
        if not self._orders.ended and last is not None and (self._answered or self._under_way):
            self.outcome.nothing_after = last
        for line in sorted(self._under_way):
            self._fail(line, "interrupted before the answer: it may have been taken")
        self._under_way.clear()
        if self._plan.wait_s is not None:
            self._give_up_waiting("was taken, and had not ended when this was interrupted")
        self._view.close(self.outcome)

    async def _taken(self) -> AsyncIterator[Item]:
        while self._going_on and (item := await self._orders.take()) is not None:
            yield item

    async def _at_once(
        self, work: Callable[[Any], Awaitable[None]], each_of: Iterable[AsyncIterator[Any]]
    ) -> None:
        """Work on everything; when one piece of work fails, what others have begun still ends."""

        async def worker(items: AsyncIterator[Any]) -> None:
            try:
                async for item in items:
                    await work(item)
            except BaseException:
                self._going_on = False
                raise

        workers = [asyncio.ensure_future(worker(items)) for items in each_of]
        try:
            ended = await asyncio.gather(*workers, return_exceptions=True)
        finally:
            for each in workers:
                each.cancel()
        for error in ended:
            if error is not None:
                raise error

    async def _submit(self, item: Item) -> None:
        if isinstance(item, Unusable):
            self._fail(item.line, item.error)
            return
        self._under_way.add(item.line)
        key = self._plan.key_of(item)
        try:
            answer: Answer = await self._retrying.copy()(
                self._api.send,
                "POST",
                self._plan.target.start,
                body=item.document,
                headers={"Idempotency-Key": key},
            )
        except (Refused, Unreachable) as error:
            self._under_way.discard(item.line)
            for_none = isinstance(error, Untrusted) or getattr(error, "status", None) in _FOR_NONE
            if not self._answered and (for_none or isinstance(error, Unreachable)):
                raise
            self._going_on = self._going_on and not (for_none and isinstance(error, Refused | Untrusted))
            self._answered = True
            self._fail(item.line, str(error))
            return
        self._answered = True
        self._under_way.discard(item.line)
        self._take(Accepted(item.line, answer.body, "Idempotency-Replayed" in answer.headers))

    def _take(self, done: Accepted) -> None:
        self.outcome.accepted += 1
        self.outcome.replayed += done.replayed
        if self._plan.wait_s is not None:
            self._waiting[done.line] = done
        self._view.accepted(done)
        if self._plan.wait_s is not None:
            self._see(done)

    async def _look(self, accepted: Accepted) -> None:
        try:
            target = self._plan.target
            order = await self._api.get(f"{target.found}/{accepted.order[target.identity]}")
        except ApiFailure:
            return
        self._see(Accepted(accepted.line, order, accepted.replayed))

    def _see(self, done: Accepted) -> None:
        if not done.ended:
            self._waiting[done.line] = done
            return
        self._waiting.pop(done.line, None)
        status = str(done.order.get(self._plan.target.standing))
        self.outcome.by_status[status] = self.outcome.by_status.get(status, 0) + 1
        self._view.ended(done)

    def _give_up_waiting(self, why: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            target = self._plan.target
            self._fail(each.line, f"{target.word} {each.order.get(target.identity)} {why}")

    def _fail(self, line: int, error: str) -> None:
        self.outcome.failed += 1
        self._view.failed(NotTaken(line, error))

    def _is_worth_another_try(self, error: BaseException) -> bool:
        """The key makes trying again safe; but a service that never answered is most likely not there."""
        if isinstance(error, Refused):
            return error.status in _COME_BACK
        if isinstance(error, NotTheApi | BrokenOff):
            return True
        return isinstance(error, Unreachable) and not isinstance(error, Untrusted) and self._answered

    def _is_enough(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        is_away = self._answered or getattr(error, "status", None) in _COME_BACK
        return state.attempt_number >= (_TRIES if is_away else _TRIES_OF_A_STRANGER)


async def _each(items: Iterator[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def _pause_s(state: RetryCallState) -> float:
    """As long as the service asks for, else doubling; what asks for no pause at all gets a shorter one."""
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s if isinstance(error, Refused | NotTheApi) else None
    doubling_s = 0.25 * 2.0**state.attempt_number
    return min(_LONGEST_PAUSE_S, doubling_s if asked_s is None else max(asked_s, doubling_s / 4))
