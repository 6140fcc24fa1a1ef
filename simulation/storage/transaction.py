"""One open transaction of one service in memory, with its outbox; the counterpart of `SqlTransaction`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from messaging.obstructions import Destination
from messaging.outbox import Lease
from messaging.relay import (
    FIRST_LEASE_S,
    LEASE_S,
    REFUSED_PAUSE_CAP_S,
    REFUSED_PAUSE_S,
    Claim,
)
from messaging.transport import Message
from simulation.storage.database import Database, Disturbances, Session, Undisturbed

OUTBOX: Final = "outbox"

INSTALLATION: Final = UUID("0197a000-0000-7000-8000-000000000001")
"""Whose all databases of a world are (M4)."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message that has not been confirmed yet, and until when it is somebody's to publish (M2)."""

    message: Message
    claimed_until: datetime
    attempts: int = 0

    @property
    def destination(self) -> Destination:
        """Where the message goes."""
        return self.message.exchange, self.message.routing_key


class MemoryTransaction:
    """Reads at once, writes with the commit; leaving the context without a commit rolls back."""

    def __init__(self, database: Database, disturbances: Disturbances | None = None) -> None:
        self.outgoing: list[Message] = []
        self.session = Session(database)
        self._disturbances = disturbances or Undisturbed()
        self._writes: list[Callable[[], Awaitable[None]]] = []
        self._after_commit: list[Callable[[], None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.session.broken:
            self.session.roll_back()
        self._disturbances.ended(self.session)

    async def now(self) -> datetime:
        """The database's time (S11)."""
        await self.statement()
        return self.session.database.clock()

    def send(self, messages: Sequence[Message]) -> None:
        """Put messages into the outbox (M1)."""
        self.outgoing.extend(messages)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call back once the transaction is durable."""
        self._after_commit.append(callback)

    async def outbox_holds(self, message_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these messages have not been confirmed yet (S4)."""
        await self.statement()
        return {each for each in message_ids if self.session.get(OUTBOX, each) is not None}

    async def read_installation(self) -> UUID | None:
        """See `IdentityTransaction.read_installation`."""
        return INSTALLATION

    async def claim_outbox(self, limit: int, obstructed: Sequence[Destination] = ()) -> list[Claim]:
        """See `RelayTransaction.claim_outbox` (M2)."""
        now = await self.now()
        due = sorted(key for key, row in self._due(now) if row.destination not in obstructed)
        return self._claim(due, limit, now)

    async def probe_outbox(self, destination: Destination) -> list[Claim]:
        """See `RelayTransaction.probe_outbox` (M2)."""
        now = await self.now()
        due = sorted(
            (row.claimed_until, key) for key, row in self._due(now) if row.destination == destination
        )
        return self._claim([key for _, key in due], 1, now)

    async def release_outbox(self, leases: Sequence[Lease]) -> None:
        """See `RelayTransaction.release_outbox` (M2)."""
        if not leases:
            return
        now = await self.now()

        async def release() -> None:
            for lease in sorted(leases, key=lambda each: each.message_id):
                row: OutboxRow | None = self.session.get(OUTBOX, lease.message_id)
                if row is None or row.attempts != lease.attempts:
                    continue
                if self.session.lock_if_free(OUTBOX, lease.message_id):
                    pause_s = min(REFUSED_PAUSE_S * 2 ** min(row.attempts, 10), REFUSED_PAUSE_CAP_S)
                    until = min(row.claimed_until, now + timedelta(seconds=pause_s))
                    self.session.put(OUTBOX, lease.message_id, replace(row, claimed_until=until))

        self.write(release)

    def _due(self, now: datetime) -> Iterator[tuple[UUID, OutboxRow]]:
        """The rows whose lease has run out."""
        return ((key, row) for key, row in self.session.all(OUTBOX) if row.claimed_until <= now)

    def _claim(self, keys: Sequence[UUID], limit: int, now: datetime) -> list[Claim]:
        """Lease the first of these rows that nobody holds."""
        free = (key for key in keys if self.session.lock_if_free(OUTBOX, key))
        claims = []
        for key in islice(free, limit):
            row: OutboxRow = self.session.get(OUTBOX, key)
            until = now + timedelta(seconds=LEASE_S)
            self.session.put(OUTBOX, key, replace(row, claimed_until=until, attempts=row.attempts + 1))
            claims.append(Claim(row.message, row.attempts + 1))
        return claims

    async def commit(self, confirmed: Sequence[UUID]) -> None:
        """Execute the collected writes, the outbox's included, and commit."""
        if self._writes or self.outgoing or confirmed or self.session.changed:
            await self._disturbances.at_commit()
            self.session.check_open()
            writes, self._writes = self._writes, []
            for write in writes:
                await write()
            await self._write_outbox(confirmed)
            if self._disturbances.lost_in_commit(self.session.finish):
                self.session.lose()
            self.session.commit()
            await self._disturbances.after_commit()
        else:
            self.session.commit()
        callbacks, self._after_commit = self._after_commit, []
        for callback in callbacks:
            callback()

    async def statement(self) -> None:
        """What every statement goes through."""
        await self._disturbances.at_statement()
        self.session.check_open()

    def write(self, work: Callable[[], Awaitable[None]]) -> None:
        """Queue a statement, to be executed in order before the commit."""
        self._writes.append(work)

    async def _write_outbox(self, confirmed: Sequence[UUID]) -> None:
        lease = timedelta(seconds=FIRST_LEASE_S)
        for message in self.outgoing:
            row = OutboxRow(message, message.timestamp + lease)
            await self.session.insert(OUTBOX, message.message_id, row, "outbox_pkey")
        for key in sorted(confirmed):
            if self.session.get(OUTBOX, key) is not None and self.session.lock_if_free(OUTBOX, key):
                self.session.put(OUTBOX, key, None)
