"""Submitting many orders at once, safely again and again, and waiting for their end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from oms.api_client import Answer, ApiClient, ApiFailure, Document, Refused, Unreachable
from oms.cli.order_files import KeyOf, Numbered, Source

_TRIES: Final = 10
_LONGEST_PAUSE_S: Final = 10.0
_POLL_S: Final = 0.2
_COME_BACK: Final = frozenset({429, 503})
_FOR_NONE: Final = frozenset({401, 403, 404, 405})
"""Statuses that would meet every order alike: no use in going on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to submit.

    Attributes:
        wait_s: longest wait for the end of all orders, in seconds; None does not wait.
    """

    key_of: KeyOf
    concurrency: int
    wait_s: float | None


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
        """An order was not taken, or has not ended in time."""

    def close(self, outcome: Outcome) -> None:
        """Everything is done."""


@dataclass
class Outcome:
    """What has come of a submission. Orders that were waited for and ended are counted by status."""

    accepted: int = 0
    replayed: int = 0
    failed: int = 0
    by_status: dict[str, int] = field(default_factory=dict)


async def run(api: ApiClient, source: Source, plan: Plan, view: View) -> Outcome:
    """Submit everything; wait for the end where the plan says so.

    Raises:
        ApiFailure: the service cannot be reached, or would refuse every order alike.
        UnreadableOrders: the file has a line that is no JSON. What was submitted before stays submitted.
    """
    submission = _Submission(api, plan, view)
    try:
        await submission.submit_all(source.orders)
        if plan.wait_s is not None:
            await submission.wait_for_all(plan.wait_s)
    finally:
        view.close(submission.outcome)
    return submission.outcome


class _Submission:
    def __init__(self, api: ApiClient, plan: Plan, view: View) -> None:
        self.outcome = Outcome()
        self._api = api
        self._plan = plan
        self._view = view
        self._waiting: dict[int, Accepted] = {}
        """By line: taken, not known to have ended."""
        self._retrying = AsyncRetrying(
            retry=retry_if_exception(self._is_worth_another_try),
            stop=stop_after_attempt(_TRIES),
            wait=_pause_s,
            reraise=True,
        )

    async def submit_all(self, orders: Iterator[Numbered]) -> None:
        """Submit, so many at once."""
        first = next(orders, None)
        if first is not None:
            await self._submit(first)  # alone, so that trouble that meets every order is told once
        await self._at_once(self._submit, orders)

    async def wait_for_all(self, timeout_s: float) -> None:
        """Ask for the orders that have not ended, round by round."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._waiting:
                    await self._at_once(self._look, iter(list(self._waiting.values())))
                    if self._waiting:
                        await asyncio.sleep(_POLL_S)
        except TimeoutError:
            for each in self._waiting.values():
                self._fail(each.line, f"order {each.order.get('order_id')} has not ended in time")

    async def _at_once(self, work: Callable[[Any], Awaitable[None]], items: Iterator[Any]) -> None:
        async def worker() -> None:
            for item in items:
                await work(item)

        workers = [asyncio.ensure_future(worker()) for _ in range(self._plan.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for each in workers:
                each.cancel()

    async def _submit(self, order: Numbered) -> None:
        key = self._plan.key_of(order)
        try:
            answer: Answer = await self._retrying.copy()(
                self._api.send, "POST", "/orders", body=order.document, headers={"Idempotency-Key": key}
            )
        except Refused as refused:
            if refused.status in _FOR_NONE:
                raise
            self._fail(order.line, str(refused))
            return
        except Unreachable as error:
            if not self.outcome.accepted:
                raise
            self._fail(order.line, str(error))
            return
        self._take(Accepted(order.line, answer.body, "Idempotency-Replayed" in answer.headers))

    def _take(self, done: Accepted) -> None:
        self.outcome.accepted += 1
        self.outcome.replayed += done.replayed
        self._view.accepted(done)
        if self._plan.wait_s is not None:
            self._settle(done)

    async def _look(self, accepted: Accepted) -> None:
        try:
            order = await self._api.get(f"/orders/{accepted.order['order_id']}")
        except ApiFailure:
            return
        self._settle(Accepted(accepted.line, order, accepted.replayed))

    def _settle(self, done: Accepted) -> None:
        if not done.ended:
            self._waiting[done.line] = done
            return
        self._waiting.pop(done.line, None)
        status = str(done.order.get("status"))
        self.outcome.by_status[status] = self.outcome.by_status.get(status, 0) + 1
        self._view.ended(done)

    def _fail(self, line: int, error: str) -> None:
        self.outcome.failed += 1
        self._view.failed(NotTaken(line, error))

    def _is_worth_another_try(self, error: BaseException) -> bool:
        """The key makes trying again safe; but a service that never answered is most likely not there."""
        if isinstance(error, Refused):
            return error.status in _COME_BACK
        return isinstance(error, Unreachable) and self.outcome.accepted > 0


def _pause_s(state: RetryCallState) -> float:
    """As long as the service asks for, else doubling."""
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s if isinstance(error, Refused) else None
    return min(_LONGEST_PAUSE_S, asked_s if asked_s is not None else 0.25 * 2.0**state.attempt_number)
