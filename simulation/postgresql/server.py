"""One schema of a PostgreSQL as a service's database server, and what a run needs of it all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from messaging.round_trip import COMMIT
from messaging.transport import Message
from orchestrator.core.state import Saga
from participants.inventory.allocation import Place
from simulation.cast import ORDERS, Cast
from simulation.loop import SimulatedLoop
from simulation.postgresql.database import PostgresDatabase
from simulation.postgresql.line import Connections, Lease, PostgresLine
from simulation.postgresql.loop import OutsideLoop
from simulation.process import Host
from simulation.servers import DatabaseServer, Tell
from simulation.storage.database import Change


class PostgresServer(DatabaseServer):
    """A schema, seen as a server of its own."""

    def __init__(
        self,
        service: str,
        loop: OutsideLoop,
        tell: Tell,
        database: PostgresDatabase,
        connections: Connections,
    ) -> None:
        super().__init__(service, loop, tell)
        self.rows = database.observed[service]
        self._outside = loop
        self._database = database
        self._connections = connections
        self._lines: list[PostgresLine] = []

    def line(self, host: Host, rng: random.Random) -> PostgresLine:
        """See `DatabaseServer.line`."""
        line = PostgresLine(host, self, rng)
        self._lines = [each for each in self._lines if each.host.alive]
        self._lines.append(line)
        return line

    async def count_stock(self, sku: str, counted: Callable[[int, int], int]) -> None:
        """See `DatabaseServer.count_stock`."""
        while True:
            try:
                self._database.count_stock(sku, counted, self.clock())
            except psycopg.errors.LockNotAvailable:
                await asyncio.sleep(0.05)
            else:
                return

    async def place_stock(self, place: Place, count: int) -> None:
        """See `DatabaseServer.place_stock`."""
        self._database.place_stock(place, count, self.clock())

    async def raise_mark(self, mark: UUID, messages: Sequence[Message]) -> None:
        """See `DatabaseServer.raise_mark`."""
        self._database.raise_mark(mark, messages, self.clock())

    def spoil(self, saga: Saga) -> None:
        """See `DatabaseServer.spoil`."""
        self._database.write_order(saga.subject_id, "[]")

    def repair(self, saga: Saga) -> None:
        """See `DatabaseServer.repair`."""
        self._database.write_order(saga.subject_id, saga.input.model_dump_json())

    def end_transactions(self) -> None:
        """See `DatabaseServer.end_transactions`."""
        for line in self._lines:
            line.break_off()

    # -- what lines ask for ---------------------------------------------------------------------------------

    def lease(self, taken: asyncio.Future[Lease]) -> None:
        """A connection for one transaction."""
        self._run(0, self._connections.take(self.service), taken)

    def carry_out(self, backend: int, work: Coroutine[Any, Any, Any], answer: asyncio.Future[Any]) -> None:
        """Have the server do something, whether who asked lives on or not."""
        self._run(backend, work, answer)

    def give_back(self, lease: Lease) -> None:
        """A transaction has ended, committed or not; its connection is for others."""
        if not self._outside.buried:
            answer: asyncio.Future[None] = self._outside.create_future()
            self._run(lease.backend, self._clean(lease), answer)

    def finish(self, lease: Lease) -> None:
        """Get to the end of a commit; nobody hears of it, and the connection is for others."""
        if not self._outside.buried:
            answer: asyncio.Future[None] = self._outside.create_future()
            self._run(lease.backend, self._committed_late(lease), answer)

    def end(self, lease: Lease) -> None:
        """The server notices that a process is gone, and ends its session."""
        self._database.end(lease.backend)
        self._connections.forget(lease)

    def look(self) -> None:
        """See `PostgresDatabase.look`."""
        self._database.look()

    async def _committed_late(self, lease: Lease) -> None:
        with suppress(psycopg.Error):
            await lease.driver.ask([COMMIT])
            self._database.look()
        await self._clean(lease)

    async def _clean(self, lease: Lease) -> None:
        with suppress(psycopg.Error):
            if lease.driver.pgconn.transaction_status != TransactionStatus.IDLE:
                await lease.driver.rollback()
        if lease.driver.pgconn.pipeline_status == PipelineStatus.OFF and not lease.driver.broken:
            self._connections.give_back(self.service, lease)
        else:
            self.end(lease)

    def _run(self, backend: int, work: Coroutine[Any, Any, Any], answer: asyncio.Future[Any]) -> None:
        loop = self._outside
        loop.expect(backend)
        task = loop.create_task(work, context=loop.world)

        def done(finished: asyncio.Task[Any]) -> None:
            loop.answered(backend)
            error = finished.exception()
            if isinstance(error, psycopg.errors.DeadlockDetected):
                self.deadlocked()
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(finished.result())

        task.add_done_callback(done, context=loop.world)


class PostgresStorage:
    """A prepared database in which one world lives after the other."""

    def __init__(self, url: str) -> None:
        """
        Args:
            url: see `PostgresDatabase`.
        """
        self._database = PostgresDatabase(url)
        self._connections = Connections(self._database.conninfo)
        self._servers: dict[str, PostgresServer] = {}

    def loop(self) -> OutsideLoop:
        """The loop on which a world with this storage lives."""
        return OutsideLoop(self._database.all_wait)

    def begin(self, cast: Cast, loop: SimulatedLoop, tell: Tell) -> dict[str, PostgresServer]:
        """Empty servers for a new world."""
        assert isinstance(loop, OutsideLoop)
        self.empty(cast)
        self._servers = {
            name: PostgresServer(name, loop, tell, self._database, self._connections)
            for name in cast.databases
        }
        return dict(self._servers)

    def close(self) -> None:
        """See `Storage.close`."""
        self._connections.close()
        self._database.close()

    def empty(self, cast: Cast = ORDERS) -> None:
        """Nothing is under way any more, and no row is left."""
        for backend in self._connections.forget_taken():
            self._database.end(backend)
        self._database.begin(cast, self._told)

    def execute(self, statement: str) -> None:
        """Change the database itself."""
        self._database.execute(statement)

    def _told(self, service: str, changes: list[Change]) -> None:
        self._servers[service].committed(changes)
