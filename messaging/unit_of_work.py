"""A unit of work: state, history and outgoing messages commit together or not at all (S2, M1)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final, Generic, NoReturn, Protocol, TypeVar
from uuid import UUID

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from contracts.one_line import first_line
from messaging.background import tell_failure, tell_success
from messaging.backoff import Backoff, again
from messaging.outbox import Outbox
from messaging.sqlstates import is_collision
from messaging.transport import Message

log = structlog.get_logger(__name__)

FIRST_PAUSE_S: Final = 0.04
LONGEST_PAUSE_S: Final = 2.0
"""Bounds of the jittered pause between two runs of a unit of work, in seconds."""

R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)


class Transaction(Protocol):
    """What every service's transaction offers to those that move messages."""

    async def now(self) -> datetime:
        """The time as the storage tells it; ask after the locks are taken (S11)."""

    def send(self, messages: Sequence[Message]) -> None:
        """Put messages into the outbox of this transaction (M1)."""

    async def outbox_holds(self, message_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these messages have been committed and not been confirmed yet."""


class OpenTransaction(Transaction, Protocol):
    """A transaction as its unit of work sees it."""

    @property
    def outgoing(self) -> list[Message]:
        """What was put into its outbox, to be published once it is committed."""

    async def commit(self, confirmed: Sequence[UUID]) -> None:
        """Write everything, delete the outbox rows of ``confirmed`` messages, and commit."""


T = TypeVar("T", bound=OpenTransaction)
S = TypeVar("S")


class UnitOfWork(Protocol[T_co]):
    """Runs work in a transaction, again and again while the storage is in trouble (S17)."""

    async def run(self, work: Callable[[T_co], Awaitable[R]]) -> R:
        """Run ``work`` in a transaction, commit, publish what it sent; returns what it returned.

        ``work`` may run several times: it must draw its ids beforehand and find what an earlier
        run of it has committed. What it raises ends the transaction and reaches the caller.

        An earlier run may still be committing while the next one looks for it, and sees nothing. So ``work``
        looks once it holds its locks; where it has none, its own insertion waits, and finds a row of its id:
        that is once a reason to run it again.

        Raises:
            StorageUnavailable: the storage stayed in trouble for longer than this unit of work's patience.
        """


class StorageUnavailable(Exception):
    """The database could not be used for too long."""


class PatientUnitOfWork(Generic[T]):
    """The `UnitOfWork` of every storage: run, commit, publish; again while the trouble may pass (S17)."""

    def __init__(
        self,
        begin: Callable[[], AbstractAsyncContextManager[T]],
        is_transient: Callable[[BaseException], bool],
        outbox: Outbox,
        rng: random.Random,
        patience_s: float | None = None,
    ) -> None:
        """
        Args:
            begin: opens a transaction; leaving the context without a commit rolls it back.
            is_transient: whether running the work again can help after this error.
            patience_s: seconds of trouble after which `run` gives up; None never does.
        """
        self._begin = begin
        self._is_transient = is_transient
        self._outbox = outbox
        self._backoff = Backoff(rng, FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._patience_s = patience_s

    async def run(self, work: Callable[[T], Awaitable[R]]) -> R:
        """See `UnitOfWork.run`."""
        began = asyncio.get_running_loop().time()
        try:
            return await self._run(work)
        except Exception as error:
            if not _Passing(self._is_transient)(error):
                raise
            result = await again(error, lambda: self._run(work), self._retrying(began))
            tell_success()
            return result

    def _retrying(self, began: float) -> AsyncRetrying:
        """Again while the trouble may pass, until the next try would come after the patience has ended."""
        clock, patience_s = asyncio.get_running_loop().time, self._patience_s
        return AsyncRetrying(
            retry=retry_if_exception(_Passing(self._is_transient)),
            wait=lambda run: self._pause_s(run.attempt_number),
            stop=lambda run: patience_s is not None and clock() + run.upcoming_sleep > began + patience_s,
            before_sleep=_note,
            retry_error_callback=_give_up,
            sleep=asyncio.sleep,
        )

    def _pause_s(self, tries: int) -> float:
        return self._backoff.pause_s(tries)

    async def _run(self, work: Callable[[T], Awaitable[R]]) -> R:
        confirmed = self._outbox.take_confirmed()
        try:
            async with self._begin() as transaction:
                result = await work(transaction)
                with self._outbox.tracing.sending(transaction.outgoing):
                    await transaction.commit(confirmed)
                self._outbox.publish(transaction.outgoing)  # before the connection finds back to its pool
        except BaseException:
            self._outbox.give_back(confirmed)
            raise
        return result


class _Passing:
    """Whether the work may be run again, error by error; two collisions in a row are no earlier run's."""

    def __init__(self, is_transient: Callable[[BaseException], bool]) -> None:
        self._is_transient = is_transient
        self._collided = False

    def __call__(self, error: BaseException) -> bool:
        again, self._collided = self._collided, is_collision(error)
        may_pass = self._is_transient(error) or (self._collided and not again)
        return isinstance(error, Exception) and may_pass


class IdentifiedUnitOfWork(Generic[S]):
    """A `UnitOfWork` whose first run finds out whose the service is (M4): what it commits is sent at once.

    For services that start without their database.
    """

    def __init__(self, unit_of_work: UnitOfWork[S], identify: Callable[[], Awaitable[None]]) -> None:
        """
        Args:
            identify: returns once it is known; raises StorageUnavailable.
        """
        self._unit_of_work = unit_of_work
        self._identify = identify

    async def run(self, work: Callable[[S], Awaitable[R]]) -> R:
        """See `UnitOfWork.run`."""
        await self._identify()
        return await self._unit_of_work.run(work)


def _note(run: RetryCallState) -> None:
    error = _trouble(run)
    tell_failure(error)
    log.warning("database in trouble, trying again", error=first_line(error), tries=run.attempt_number)


def _give_up(run: RetryCallState) -> NoReturn:
    error = _trouble(run)
    raise StorageUnavailable(f"the database cannot be used: {first_line(error)}") from error


def _trouble(run: RetryCallState) -> Exception:
    error = run.outcome.exception() if run.outcome else None
    assert isinstance(error, Exception)
    return error
