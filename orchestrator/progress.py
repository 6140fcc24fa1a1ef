"""Who waits for an order's progress is told of it: a notification after the commit, a poll as the backstop.

Whoever changes sagas calls a `ProgressNotifier` after each commit. It only remembers the orders; a loop of
its own sends what has come together in one NOTIFY, on its own connection, outside of every unit of work.
Whoever waits holds a `Watch` of the process's `ProgressListener`. A notification that is lost costs a second.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from uuid import UUID

import psycopg
import structlog

from messaging.background import BackgroundLoops
from messaging.connecting import connect, shared_between_transactions
from messaging.retries import parse_id
from messaging.round_trip import COMMIT, Connection, Statement
from messaging.sessions import UnfitDatabase
from messaging.unit_of_work import StorageUnavailable
from orchestrator.core.state import ENDED, Saga

log = structlog.get_logger(__name__)

CHANNEL: Final = "orchestrator_progress"
"""Notifications on this channel name orders, as `payloads` writes them."""

POLL_S: Final = 1.0
"""Seconds between two looks at all orders that somebody waits for."""

RECONNECT_S: Final = 1.0
LOOK_AGAIN_S: Final = 300.0
"""Seconds after which it is tried again whether a pooler lets anybody listen."""

IDS_IN_PAYLOAD: Final = 200
"""PostgreSQL takes less than 8000 bytes in a payload."""

PENDING_LIMIT: Final = 10_000
"""Orders remembered for the next notification; beyond it everybody who waits is told to look."""

WATCH_LIMIT: Final = 1_000
"""Watches that one process holds at most: half of the requests that may be open."""

EVERY_ORDER: Final = UUID(int=0)
"""Watched by who wants to know of them all; no order has this id."""

EVERYBODY: Final = "*"
_ENDED: Final = "."

Connect = Callable[[], Awaitable[Connection]]
"""Makes a connection in autocommit mode, which belongs to the caller."""


def connector(url: str) -> Connect:
    """Connections to the database at a SQLAlchemy ``url``, for notifications alone."""
    return lambda: connect(url, autocommit=True)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an order is: its saga's version, and whether it has ended."""

    version: int
    ended: bool


class ProgressNotifier:
    """Tells every listening process which orders went on. Never waits for, or fails, who calls it."""

    def __init__(self, connecting: Connect) -> None:
        self._connect = connecting
        self._connection: Connection | None = None
        self._pending: dict[UUID, bool] = {}
        self._overflowed = False
        self._something = asyncio.Event()

    def __call__(self, sagas: Sequence[Saga]) -> None:
        """Remember sagas that a commit has changed."""
        if len(self._pending) > PENDING_LIMIT:
            self._pending.clear()
            self._overflowed = True
        if not self._overflowed:
            for saga in sagas:
                # Commits are not always told in their order: what has ended stays so.
                self._pending[saga.subject_id] = saga.status in ENDED or self._pending.get(
                    saga.subject_id, False
                )
        self._something.set()

    async def run_once(self) -> bool:
        """Wait for progress, and notify of all that has come together; False when it could not be sent."""
        await self._something.wait()
        self._something.clear()
        pending, self._pending = self._pending, {}
        overflowed, self._overflowed = self._overflowed, False
        try:
            await self._send([EVERYBODY] if overflowed else payloads(pending))
        except (psycopg.Error, OSError, UnfitDatabase) as error:
            log.warning("progress could not be notified", error=type(error).__name__)
            await self.close()
            return False
        return True

    async def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _send(self, texts: list[str]) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = await self._connect()
        await self._connection.ask([_NOT_AWAITED, (_NOTIFY, [CHANNEL, texts]), COMMIT])


_NOT_AWAITED: Final[Statement] = ("SET LOCAL synchronous_commit = off", ())
"""A lost notification costs a second; waiting for the disk would cost every order. For this transaction
alone: behind a pooler the server is somebody else's in the next."""

_NOTIFY: Final = "SELECT pg_notify(%s, text) FROM unnest(%s::text[]) AS text"


def payloads(orders: Mapping[UUID, bool]) -> list[str]:
    """Orders, with whether they have ended, as the texts of notifications."""
    texts = [f"{order_id.hex}{_ENDED if ended else ''}" for order_id, ended in orders.items()]
    return [" ".join(texts[at : at + IDS_IN_PAYLOAD]) for at in range(0, len(texts), IDS_IN_PAYLOAD)]


class Interest(Enum):
    """What a watch waits for."""

    EVERY_CHANGE = "every change"
    THE_END = "the end"


class TooManyWatches(Exception):
    """This process holds as many watches as it may."""


@dataclass(eq=False, slots=True)
class Watch:
    """Somebody's wait for one order."""

    order_id: UUID
    interest: Interest
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def changed(self, timeout_s: float) -> bool:
        """Wait until the order may have changed since the last call, at most so many seconds; whether it may.

        Whoever waits reads the order afterwards, and once before the first wait.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        may_have_changed = self._news.is_set()
        self._news.clear()
        return may_have_changed

    def wake(self) -> None:
        """There may be news."""
        self._news.set()


class ProgressListener:
    """Hears of progress on one connection a process, and wakes who waits for it."""

    def __init__(
        self,
        connecting: Connect,
        standings: Callable[[Collection[UUID]], Awaitable[Mapping[UUID, Standing]]],
        rng: random.Random,
        watch_limit: int = WATCH_LIMIT,
    ) -> None:
        """
        Args:
            standings: reads how far orders are.
        """
        self._connect = connecting
        self._standings = standings
        self._loops = BackgroundLoops(rng)
        self.loops = (self._loops,)
        self._watch_limit = watch_limit
        self._watches: dict[UUID, set[Watch]] = {}
        self._last_seen: dict[UUID, Standing] = {}
        self.watching = 0
        """How many watches there are."""
        self.stopping = False
        """Whoever waits should say good-bye."""

    def start(self) -> None:
        """Begin to listen; the database need not be up."""
        self._loops.start("progress notifications", self.listen_once, pause_s=RECONNECT_S)
        self._loops.start("progress poll", self.poll_once, pause_s=POLL_S)

    async def stop(self) -> None:
        """End all waits, and listen no more."""
        self.say_goodbye()
        await self._loops.stop(1.0)

    def say_goodbye(self) -> None:
        """End all waits: the process is about to stop."""
        self.stopping = True
        self._wake_everybody()

    @contextmanager
    def watch(self, order_id: UUID, interest: Interest) -> Iterator[Watch]:
        """Hear of an order from now on.

        Raises:
            TooManyWatches: there are too many already.
        """
        if self.watching >= self._watch_limit:
            raise TooManyWatches(f"{self.watching} watches are held already")
        watch = Watch(order_id, interest)
        self._watches.setdefault(order_id, set()).add(watch)
        self.watching += 1
        if self.stopping:
            watch.wake()
        try:
            yield watch
        finally:
            self._forget(watch)

    async def listen_once(self) -> bool:
        """Listen as long as the connection lasts. False, always: it is to be tried again after a while."""
        try:
            async with await self._connect() as connection:
                if await shared_between_transactions(connection, self._connect):
                    log.warning("a pooler shares its servers: progress is polled, every second")
                    await connection.close()
                    await asyncio.sleep(LOOK_AGAIN_S)
                    return False
                await connection.execute(f"LISTEN {CHANNEL}")
                self._wake_everybody()
                async for notification in connection.notifies():
                    self.hear(notification.payload)
        except (psycopg.Error, OSError, UnfitDatabase) as error:
            log.warning("progress is not heard, polling until it is", error=type(error).__name__)
        return False

    async def poll_once(self) -> bool:
        """Look at all orders that are waited for. False, always: the next look has time.

        Whoever waits for every order looks by itself.
        """
        watched = self._watches.keys() - {EVERY_ORDER}
        if not watched:
            return False
        with suppress(StorageUnavailable):
            for order_id, standing in (await self._standings(list(watched))).items():
                if order_id in self._watches and self._last_seen.get(order_id) != standing:
                    self._last_seen[order_id] = standing
                    self._wake(order_id, ended=standing.ended)
        return False

    def hear(self, payload: str) -> None:
        """Wake those whom a notification concerns."""
        if payload == EVERYBODY:
            self._wake_everybody()
        for text in payload.split():
            order_id = parse_id(text.rstrip(_ENDED))
            if order_id is not None:
                self._wake(order_id, ended=text.endswith(_ENDED))
        self._wake(EVERY_ORDER, ended=False)

    def _wake(self, order_id: UUID, *, ended: bool) -> None:
        for watch in self._watches.get(order_id, ()):
            if ended or watch.interest is Interest.EVERY_CHANGE:
                watch.wake()

    def _wake_everybody(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()

    def _forget(self, watch: Watch) -> None:
        self.watching -= 1
        watches = self._watches[watch.order_id]
        watches.remove(watch)
        if not watches:
            del self._watches[watch.order_id]
            self._last_seen.pop(watch.order_id, None)
