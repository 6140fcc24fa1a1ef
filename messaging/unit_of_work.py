"""A unit of work: state, history and outgoing messages commit together or not at all (S2, M1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from messaging.transport import Message

R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Transaction(Protocol):
    """What every service's transaction offers to those that move messages."""

    async def now(self) -> datetime:
        """The time as the storage tells it; ask after the locks are taken (S11)."""

    def send(self, messages: Sequence[Message]) -> None:
        """Put messages into the outbox of this transaction (M1)."""


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
