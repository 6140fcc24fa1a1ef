"""The line of one process to PostgreSQL: production transactions over connections that the world holds.

A statement that has left a process is executed whether the process lives on or not, and its answer reaches
only who is still there to hear it. So connections, and what waits for them, belong to the world.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from psycopg.rows import TupleRow
from sqlalchemy.ext.asyncio import AsyncConnection as SqlConnection

from contracts.routing import INVENTORY, ORCHESTRATOR, PARTICIPANTS, PAYMENT
from messaging.postgresql import SqlTransaction
from messaging.round_trip import Connection, Statement
from orchestrator.core.registry import Registry
from orchestrator.postgresql import PostgresTransaction
from orchestrator.saga_cache import SagaCache
from participants.inventory.postgresql import SqlInventoryTransaction
from participants.payment.postgresql import SqlPaymentTransaction
from participants.postgresql import SqlLedgerTransaction
from simulation.postgresql.database import microseconds, search_path
from simulation.postgresql.stand_ins import schema_of
from simulation.process import Host
from simulation.servers import Line, lost

R = TypeVar("R")


@dataclass(eq=False, slots=True)
class Lease:
    """A connection while one transaction has it."""

    driver: Connection
    backend: int
    ended: bool = False
    lost: bool = False
    waiting: list[asyncio.Future[Any]] = field(default_factory=list)
    """Who waits for its answer."""


class OverTheLine(SqlTransaction):
    """A production transaction whose statements travel over a process's line."""

    line: PostgresLine
    lease: Lease

    async def fetch_together(self, *statements: Statement) -> list[list[TupleRow]]:
        """See `SqlTransaction.fetch_together`; the clock is set in the same round trip."""
        await self.line.at_statement()
        clock = self.line.clock()
        _, *found = await self.line.ask(
            self.lease, lambda: super(OverTheLine, self).fetch_together(clock, *statements)
        )
        return found

    async def _execute_and_commit(self, statements: Sequence[Statement]) -> None:
        await self.line.at_commit()
        everything = [self.line.clock(), *statements]

        async def commit() -> None:
            await super(OverTheLine, self)._execute_and_commit(everything)
            self.line.look()

        late_s = self.line.late_s()
        if late_s is not None:
            await self.line.ask(self.lease, partial(self._driver.ask, everything))
            self.line.lose_in_commit(self.lease, late_s)
            raise lost()
        await self.line.ask(self.lease, commit)
        self.lease.ended = True
        await self.line.after_commit()


class _Orchestrator(OverTheLine, PostgresTransaction):
    pass


class _Inventory(OverTheLine, SqlInventoryTransaction):
    pass


class _Payment(OverTheLine, SqlPaymentTransaction):
    pass


def kind_of(service: str) -> Callable[..., OverTheLine]:
    """The transactions of a participant: inventory's and payment's own, or a ledger alone."""
    if service == PAYMENT:
        return _Payment
    if service == INVENTORY:
        return _Inventory

    class _Ledger(OverTheLine, SqlLedgerTransaction):
        schema = service if service in PARTICIPANTS else schema_of(service)

    return _Ledger


class PostgresLine(Line):
    """One process's connections to its database."""

    def __init__(self, host: Host, server: Any, rng: random.Random) -> None:
        super().__init__(host, server, rng)
        self._server = server
        self._kind: Callable[..., OverTheLine] = (
            _Orchestrator if server.service == ORCHESTRATOR else kind_of(server.service)
        )
        self._leases: dict[Lease, None] = {}
        self._late: dict[Lease, None] = {}
        """Those at whose commits the server still is."""

    def transactions(
        self, registry: Registry, remembered: SagaCache | None = None
    ) -> Callable[[], AbstractAsyncContextManager[OverTheLine]]:
        """See `Line.transactions`."""
        return lambda: self._open(registry, remembered)

    def clock(self) -> Statement:
        """Sets the database's clock to the world's time."""
        clock = f"sim_{self._server.service}.clock"
        return "SELECT setval(%s::regclass, %s)", (clock, microseconds(self._server.clock()))

    def look(self) -> None:
        """A commit has become visible: let everybody know."""
        self._server.look()

    async def ask(self, lease: Lease, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Have the server do something; the answer is for whoever still lives.

        Raises:
            OperationalError: the connection is lost.
        """
        if lease.lost:
            raise lost()
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        lease.waiting.append(answer)
        self._server.carry_out(lease.backend, work(), answer)
        return await answer

    def cut(self, down_s: float) -> None:
        """Cut the process off; the server keeps its transactions, and their locks, until it notices."""
        self.cut_off_until = max(self.cut_off_until, self.host.loop.time() + down_s)
        for lease in list(self._leases):
            self._lose(lease, self.rng.random() * 10.0)

    def break_off(self) -> None:
        """The server ends every transaction of this process."""
        for lease in [*self._leases, *self._late]:
            self._lose(lease, 0.0)

    def lose_in_commit(self, lease: Lease, late_s: float) -> None:
        """The process has lost a connection; the server gets the commit done."""
        lease.lost = True
        self._leases.pop(lease, None)
        self._late[lease] = None
        self.host.loop.in_the_world(late_s, self._finish, lease)

    @asynccontextmanager
    async def _open(self, registry: Registry, remembered: SagaCache | None) -> AsyncIterator[OverTheLine]:
        await self.at_statement()
        loop = asyncio.get_running_loop()
        taken: asyncio.Future[Lease] = loop.create_future()
        self._server.lease(taken)
        lease = await taken
        self._leases[lease] = None
        try:
            yield self._transaction(lease, registry, remembered)
        finally:
            if not lease.lost:
                del self._leases[lease]
                self._server.give_back(lease)

    def _transaction(self, lease: Lease, registry: Registry, remembered: SagaCache | None) -> OverTheLine:
        nothing = cast(SqlConnection, None)
        if self._server.service == ORCHESTRATOR:
            transaction = self._kind(nothing, lease.driver, registry, remembered)
        else:
            transaction = self._kind(nothing, lease.driver)
        transaction.line, transaction.lease = self, lease
        return transaction

    def _lose(self, lease: Lease, noticed_after_s: float) -> None:
        """The process has lost a connection; the server ends the transaction when it notices."""
        lease.lost = True
        self._leases.pop(lease, None)
        self._late.pop(lease, None)
        for answer in lease.waiting:
            if not answer.done():
                answer.set_exception(lost())
        self.host.loop.in_the_world(noticed_after_s, self._server.end, lease)

    def _finish(self, lease: Lease) -> None:
        if lease in self._late:
            del self._late[lease]
            self._server.finish(lease)

    def _end(self) -> None:
        for lease in list(self._leases):
            lease.lost = True
            self.host.loop.in_the_world(self.rng.random() * 0.5, self._server.end, lease)


class Connections:
    """The world's connections to one database, those of every process among them."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._idle: dict[str, list[Lease]] = {}
        self._taken: dict[Lease, None] = {}
        self._useless: list[Connection] = []

    async def take(self, service: str) -> Lease:
        """A connection for a transaction of a service."""
        idle = self._idle.setdefault(service, [])
        if idle:
            lease = idle.pop()
        else:
            options = f"-c search_path={search_path(service).replace(' ', '')} -c timezone=UTC"
            driver = await Connection.connect(self._conninfo, options=options)
            lease = Lease(driver, driver.pgconn.backend_pid)
        fresh = Lease(lease.driver, lease.backend)
        self._taken[fresh] = None
        return fresh

    def give_back(self, service: str, lease: Lease) -> None:
        """It can be used again."""
        if self._taken.pop(lease, "gone") is None:
            self._idle[service].append(lease)

    def close(self) -> None:
        """Close what nobody uses."""
        self.forget_taken()
        for idle in self._idle.values():
            for lease in idle:
                lease.driver.pgconn.finish()
        self._idle.clear()

    def forget(self, lease: Lease) -> None:
        """It is of no use any more. Whoever still waits for its answer will hear that it is gone."""
        self._taken.pop(lease, None)
        self._useless.append(lease.driver)

    def forget_taken(self) -> list[int]:
        """The world has ended: the backends of what it still held, to be ended as well."""
        backends = [lease.backend for lease in self._taken]
        self._useless += [lease.driver for lease in self._taken]
        self._taken.clear()
        for driver in self._useless:
            driver.pgconn.finish()
        self._useless.clear()
        return backends
