"""A service's database server, and the line of one process to it: slow, cut off, failing, lying."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from psycopg import OperationalError, errors

from simulation.facts import Committed, Fact
from simulation.loop import SimulatedLoop
from simulation.process import Host
from simulation.storage.database import Change, Database, Disturbances, Session
from simulation.storage.transaction import MemoryTransaction
from simulation.weather import Fault

BEGINNING: Final = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
"""The world's time at second 0."""

T = TypeVar("T", bound=MemoryTransaction)


class DatabaseServer:
    """One service's database and its clock."""

    def __init__(self, service: str, loop: SimulatedLoop, tell: Callable[[Fact], None]) -> None:
        self.service = service
        self.clock_is_off_s = 0.0
        self.down_until = 0.0
        self.database = Database(self.clock, self._committed)
        self._loop = loop
        self._tell = tell

    def clock(self) -> datetime:
        """The server's own time."""
        return BEGINNING + timedelta(seconds=self._loop.time() + self.clock_is_off_s)

    def restart(self, down_s: float) -> None:
        """End every transaction; nobody can connect for a while."""
        self.down_until = self._loop.time() + down_s
        self.database.restart()

    @property
    def is_down(self) -> bool:
        """Whether nobody can connect."""
        return self._loop.time() < self.down_until

    def _committed(self, changes: list[Change]) -> None:
        self._tell(Committed(self.service, changes))


class DatabaseLine(Disturbances):
    """One process's connections to its database."""

    def __init__(self, host: Host, server: DatabaseServer, rng: random.Random) -> None:
        self.cut_off_until = 0.0
        self._host = host
        self._server = server
        self._rng = rng
        self._open: dict[Session, None] = {}
        host.life.at_the_end.append(self._end)

    def begin(self, kind: Callable[[Database, Disturbances], T]) -> T:
        """Open a transaction."""
        transaction = kind(self._server.database, self)
        self._open[transaction.session] = None
        return transaction

    def ended(self, session: Session) -> None:
        """See `Disturbances.ended`."""
        self._open.pop(session, None)

    def cut(self, down_s: float) -> None:
        """Cut the process off; the server keeps its transactions, and their locks, until it notices."""
        self.cut_off_until = max(self.cut_off_until, self._host.loop.time() + down_s)
        for session in self._open:
            session.lose()
            self._host.loop.in_the_world(self._rng.random() * 10.0, session.roll_back)

    async def at_statement(self) -> None:
        """See `Disturbances.at_statement`."""
        if not self._host.alive:
            await self._host.never()
        self._check_reachable()
        if self._host.strikes(Fault.DATABASE_SLOW):
            await asyncio.sleep(self._host.weather.amount(Fault.DATABASE_SLOW, 0.01, 8.0))

    async def at_commit(self) -> None:
        """See `Disturbances.at_commit`."""
        await asyncio.sleep(self._rng.random() * 0.003)
        if self._host.dies(Fault.CRASH_BEFORE_COMMIT):
            await self._host.never()
        self._check_reachable()
        if self._host.strikes(Fault.TRANSACTION_FAILED):
            raise self._rng.choice((errors.SerializationFailure, errors.DeadlockDetected))("try again")
        if self._host.strikes(Fault.COMMIT_FAILED):
            raise OperationalError("server closed the connection unexpectedly")

    async def after_commit(self) -> None:
        """See `Disturbances.after_commit`."""
        if self._host.dies(Fault.CRASH_AFTER_COMMIT):
            await self._host.never()
        if self._host.strikes(Fault.COMMIT_AMBIGUOUS):
            raise OperationalError("server closed the connection unexpectedly")

    def _check_reachable(self) -> None:
        if self._server.is_down or self._host.loop.time() < self.cut_off_until:
            raise OperationalError("connection refused")

    def _end(self) -> None:
        for session in self._open:
            self._host.loop.in_the_world(self._rng.random() * 0.5, session.roll_back)
