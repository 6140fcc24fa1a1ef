"""A service's database server, and the line of one process to it: slow, cut off, failing, lying."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from psycopg import OperationalError, errors

from contracts.routing import INVENTORY, ORCHESTRATOR, PAYMENT
from messaging.transport import Message
from orchestrator.core.registry import Registry
from orchestrator.core.state import Saga
from orchestrator.saga_cache import SagaCache
from participants.inventory.allocation import Place
from simulation.facts import Committed, Deadlocked, Fact
from simulation.loop import SimulatedLoop
from simulation.process import Host
from simulation.storage.database import Change, Database, Disturbances, Session
from simulation.storage.orchestrator import SPOILT, MemoryOrchestratorTransaction
from simulation.storage.participants import STOCK as STOCK_TABLE
from simulation.storage.participants import (
    STOCK_AT,
    MemoryInventoryTransaction,
    MemoryLedgerTransaction,
    MemoryPaymentTransaction,
    StockRow,
)
from simulation.storage.transaction import MemoryTransaction
from simulation.weather import Fault

BEGINNING: Final = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
"""The world's time at second 0."""

Tell = Callable[[Fact], None]

KINDS: Final[dict[str, Callable[[Database, Disturbances], MemoryTransaction]]] = {
    ORCHESTRATOR: MemoryOrchestratorTransaction,
    INVENTORY: MemoryInventoryTransaction,
    PAYMENT: MemoryPaymentTransaction,
}
"""Where it is not that of a ledger alone."""


class Rows(Protocol):
    """What the world itself sees of a database."""

    def table(self, name: str) -> dict[Any, Any]:
        """The committed rows of one table, by primary key. Not to be changed."""


class DatabaseServer:
    """One service's database and its clock; how it stores is its subclasses' business."""

    rows: Rows

    def __init__(self, service: str, loop: SimulatedLoop, tell: Tell) -> None:
        self.service = service
        self.clock_is_off_s = 0.0
        self.down_until = 0.0
        self._loop = loop
        self._tell = tell

    def clock(self) -> datetime:
        """The server's own time."""
        return BEGINNING + timedelta(seconds=self._loop.time() + self.clock_is_off_s)

    def line(self, host: Host, rng: random.Random) -> Line:
        """A process's connections to this server."""
        raise NotImplementedError

    async def count_stock(self, sku: str, counted: Callable[[int, int], int]) -> None:
        """Somebody counts a product in the warehouse and writes the number down.

        Args:
            counted: given what is on hand and what is reserved, returns what is on hand from now on.
        """
        raise NotImplementedError

    async def place_stock(self, place: Place, count: int) -> None:
        """So much of what is counted of a product is at a location that has a name."""
        raise NotImplementedError

    async def raise_mark(self, mark: UUID, messages: Sequence[Message]) -> None:
        """The orchestrator's low-water mark rises, and the participants are told (P7)."""
        raise NotImplementedError

    def spoil(self, saga: Saga) -> None:
        """What is stored of the saga's order cannot be read from now on."""
        raise NotImplementedError

    def repair(self, saga: Saga) -> None:
        """It is as it was accepted again."""
        raise NotImplementedError

    def restart(self, down_s: float) -> None:
        """End every transaction; nobody can connect for a while."""
        self.down_until = self._loop.time() + down_s
        self.end_transactions()

    def end_transactions(self) -> None:
        """The server stops: whatever has not been committed never was."""
        raise NotImplementedError

    @property
    def is_down(self) -> bool:
        """Whether nobody can connect."""
        return self._loop.time() < self.down_until

    def committed(self, changes: list[Change]) -> None:
        """A transaction has become durable and visible."""
        self._tell(Committed(self.service, changes, self.clock()))

    def deadlocked(self) -> None:
        """A circle of waiting had to be broken."""
        self._tell(Deadlocked(self.service))


class Line(Disturbances):
    """One process's connections to its database, and all that may happen on the way."""

    def __init__(self, host: Host, server: DatabaseServer, rng: random.Random) -> None:
        self.cut_off_until = 0.0
        self.host = host
        self.rng = rng
        self._reached = server
        host.life.at_the_end.append(self._end)

    def transactions(
        self, registry: Registry, remembered: SagaCache | None = None
    ) -> Callable[[], AbstractAsyncContextManager[Any]]:
        """What opens transactions.

        Args:
            registry: the definitions by which the process reads sagas.
            remembered: the process's memory of sagas, where it has one.
        """
        raise NotImplementedError

    def cut(self, down_s: float) -> None:
        """Cut the process off; the server keeps its transactions, and their locks, until it notices."""
        raise NotImplementedError

    async def at_statement(self) -> None:
        """See `Disturbances.at_statement`."""
        if not self.host.alive:
            await self.host.never()
        self._check_reachable()
        if self.host.strikes(Fault.DATABASE_SLOW):
            await asyncio.sleep(self.host.weather.amount(Fault.DATABASE_SLOW, 0.01, 8.0))

    async def at_commit(self) -> None:
        """See `Disturbances.at_commit`."""
        await asyncio.sleep(self.rng.random() * 0.003)
        if self.host.dies(Fault.CRASH_BEFORE_COMMIT):
            await self.host.never()
        self._check_reachable()
        if self.host.strikes(Fault.TRANSACTION_FAILED):
            raise self.rng.choice((errors.SerializationFailure, errors.DeadlockDetected))("try again")
        if self.host.strikes(Fault.COMMIT_FAILED):
            raise OperationalError("server closed the connection unexpectedly")

    def lost_in_commit(self, commit: Callable[[], None]) -> bool:
        """See `Disturbances.lost_in_commit`."""
        late_s = self.late_s()
        if late_s is not None:
            self.host.loop.in_the_world(late_s, commit)
        return late_s is not None

    def late_s(self) -> float | None:
        """Seconds that the server is at a commit during which the connection is lost; None: it is not."""
        if not self.host.strikes(Fault.COMMIT_LATE):
            return None
        return self.host.weather.amount(Fault.COMMIT_LATE, 0.01, 8.0)

    async def after_commit(self) -> None:
        """See `Disturbances.after_commit`."""
        if self.host.dies(Fault.CRASH_AFTER_COMMIT):
            await self.host.never()
        if self.host.strikes(Fault.COMMIT_AMBIGUOUS):
            raise OperationalError("server closed the connection unexpectedly")

    def ended(self, session: Session) -> None:
        """See `Disturbances.ended`."""

    def _check_reachable(self) -> None:
        if self._reached.is_down or self.host.loop.time() < self.cut_off_until:
            raise OperationalError("connection refused")

    def _end(self) -> None:
        """The process is gone."""
        raise NotImplementedError


class MemoryServer(DatabaseServer):
    """A database in memory."""

    def __init__(self, service: str, loop: SimulatedLoop, tell: Tell) -> None:
        super().__init__(service, loop, tell)
        self.database = Database(self.clock, self.committed, self.deadlocked)
        self.rows = self.database

    def line(self, host: Host, rng: random.Random) -> MemoryLine:
        """See `DatabaseServer.line`."""
        return MemoryLine(host, self, rng)

    async def place_stock(self, place: Place, count: int) -> None:
        """See `DatabaseServer.place_stock`."""
        async with MemoryInventoryTransaction(self.database) as transaction:
            await transaction.session.lock(STOCK_AT, place)
            transaction.put_place(place, StockRow(count, 0))
            await transaction.commit(())

    async def count_stock(self, sku: str, counted: Callable[[int, int], int]) -> None:
        """See `DatabaseServer.count_stock`."""
        async with MemoryInventoryTransaction(self.database) as transaction:
            await transaction.session.lock(STOCK_TABLE, sku)
            row = transaction.session.get(STOCK_TABLE, sku) or StockRow(0, 0)
            await transaction.adjust(sku, counted(row.on_hand, row.reserved))
            await transaction.commit(())

    async def raise_mark(self, mark: UUID, messages: Sequence[Message]) -> None:
        """See `DatabaseServer.raise_mark`."""
        async with MemoryOrchestratorTransaction(self.database) as transaction:
            transaction.advance_mark(mark)
            transaction.send(messages)
            await transaction.commit(())

    def spoil(self, saga: Saga) -> None:
        """See `DatabaseServer.spoil`."""
        self.database.table(SPOILT)[saga.saga_id] = "somebody has spoilt it"

    def repair(self, saga: Saga) -> None:
        """See `DatabaseServer.repair`."""
        self.database.table(SPOILT).pop(saga.saga_id, None)

    def end_transactions(self) -> None:
        """See `DatabaseServer.end_transactions`."""
        self.database.restart()


class MemoryLine(Line):
    """One process's transactions in a memory database."""

    def __init__(self, host: Host, server: MemoryServer, rng: random.Random) -> None:
        super().__init__(host, server, rng)
        self._server = server
        self._open: dict[Session, None] = {}

    def transactions(
        self, registry: Registry, remembered: SagaCache | None = None
    ) -> Callable[[], MemoryTransaction]:
        """See `Line.transactions`."""
        kind, database = KINDS.get(self._server.service, MemoryLedgerTransaction), self._server.database

        def begin() -> MemoryTransaction:
            transaction = kind(database, self)
            self._open[transaction.session] = None
            return transaction

        return begin

    def ended(self, session: Session) -> None:
        """See `Disturbances.ended`."""
        self._open.pop(session, None)

    def cut(self, down_s: float) -> None:
        """See `Line.cut`."""
        self.cut_off_until = max(self.cut_off_until, self.host.loop.time() + down_s)
        for session in self._open:
            session.lose()
            self.host.loop.in_the_world(self.rng.random() * 10.0, session.roll_back)

    def _end(self) -> None:
        for session in self._open:
            self.host.loop.in_the_world(self.rng.random() * 0.5, session.roll_back)


def lost() -> OperationalError:
    """What a process is told whose connection is gone."""
    return OperationalError("the connection is lost")
