"""A unit of work: state, history and outgoing messages commit together or not at all (S2, M1)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID

import structlog

from messaging.background import tell_failure, tell_success
from messaging.outbox import Outbox
from messaging.transport import Message

log = structlog.get_logger(__name__)

FIRST_PAUSE_S: Final = 0.02
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


class OpenTransaction(Transaction, Protocol):
    """A transaction as its unit of work sees it."""

    @property
    def outgoing(self) -> list[Message]:
        """What was put into its outbox, to be published once it is committed."""

    async def commit(self, confirmed: Sequence[UUID]) -> None:
        """Write everything, delete the outbox rows of ``confirmed`` messages, and commit."""


T = TypeVar("T", bound=OpenTransaction)


class UnitOfWork(Protocol[T_co]):
    """Runs work in a transaction, again and again while the storage is in trouble (S17)."""

    async def run(self, work: Callable[[T_co], Awaitable[R]]) -> R:
        """Run ``work`` in a transaction, commit, publish what it sent; returns what it returned.

        ``work`` may run several times: it must draw its ids beforehand and find what an earlier
        run of it has committed. What it raises ends the transaction and reaches the caller.

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
        self._rng = rng
        self._patience_s = patience_s

    async def run(self, work: Callable[[T], Awaitable[R]]) -> R:
        """See `UnitOfWork.run`."""
        loop = asyncio.get_running_loop()
        give_up_at = None if self._patience_s is None else loop.time() + self._patience_s
        tries = 0
        while True:
            try:
                result = await self._run(work)
            except Exception as error:
                if not self._is_transient(error):
                    raise
                tries += 1
                tell_failure(error)
                pause_s = self._pause_s(tries)
                if give_up_at is not None and loop.time() + pause_s > give_up_at:
                    raise StorageUnavailable(f"the database cannot be used: {_short(error)}") from error
                log.warning("database in trouble, trying again", error=_short(error), tries=tries)
                await asyncio.sleep(pause_s)
            else:
                if tries:
                    tell_success()
                return result

    def _pause_s(self, tries: int) -> float:
        pause_s: float = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(tries, 10))
        return pause_s * self._rng.uniform(0.5, 1.5)

    async def _run(self, work: Callable[[T], Awaitable[R]]) -> R:
        confirmed = self._outbox.take_confirmed()
        try:
            async with self._begin() as transaction:
                result = await work(transaction)
                with self._outbox.tracing.sending(transaction.outgoing):
                    await transaction.commit(confirmed)
        except BaseException:
            self._outbox.give_back(confirmed)
            raise
        self._outbox.publish(transaction.outgoing)
        return result


def _short(error: BaseException) -> str:
    text = str(error).strip()
    return (text.splitlines() or [type(error).__name__])[0][:300]
