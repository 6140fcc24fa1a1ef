"""Both storages on one bench: transactions side by side, and whether one of them waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.postgresql import SqlTransaction
from orchestrator.core.definition import StepPolicy
from orchestrator.core.registry import Registry
from orchestrator.postgresql import PostgresTransaction
from orchestrator.sagas.order_fulfillment import order_fulfillment
from orchestrator.sagas.order_return import order_return
from participants.inventory.postgresql import SqlInventoryTransaction
from participants.payment.postgresql import SqlPaymentTransaction
from simulation.storage.database import Database
from simulation.storage.orchestrator import MemoryOrchestratorTransaction
from simulation.storage.participants import (
    MOVEMENTS,
    MemoryInventoryTransaction,
    MemoryPaymentTransaction,
    StockRow,
)
from simulation.storage.transaction import OUTBOX, MemoryTransaction, OutboxRow
from tests.unit.core.courses import JOURNEY

T = TypeVar("T", bound=SqlTransaction)
R = TypeVar("R")


class Bench(Protocol):
    """One storage, ready to be tried out."""

    def orchestrator(self) -> AbstractAsyncContextManager[Any]:
        """A transaction of the orchestrator's, rolled back unless it is committed."""

    def inventory(self) -> AbstractAsyncContextManager[Any]:
        """A transaction of inventory's, rolled back unless it is committed."""

    def payment(self) -> AbstractAsyncContextManager[Any]:
        """A transaction of payment's, rolled back unless it is committed."""

    async def stock_up(self, sku: str, on_hand: int) -> None:
        """Put a product on the shelf."""

    async def moved(self, sku: str) -> list[tuple[int, int | None]]:
        """The movements of a product: quantity, and for how many pruned ones it stands."""

    async def leased_until(self, message_id: UUID) -> datetime:
        """The end of the lease on a row of the orchestrator's outbox."""

    async def somebody_waits(self) -> None:
        """Return as soon as a transaction waits for a lock."""


class MemoryBench:
    """A `Bench` in memory."""

    def __init__(self) -> None:
        self._databases = [Database(lambda: datetime.now(UTC)) for _ in range(2)]

    def orchestrator(self) -> MemoryTransaction:
        return MemoryOrchestratorTransaction(self._databases[0])

    def inventory(self) -> MemoryTransaction:
        return MemoryInventoryTransaction(self._databases[1])

    def payment(self) -> MemoryTransaction:
        return MemoryPaymentTransaction(self._databases[1])

    async def stock_up(self, sku: str, on_hand: int) -> None:
        async with MemoryInventoryTransaction(self._databases[1]) as transaction:
            await transaction.session.lock("stock", sku)
            transaction.put_stock(sku, StockRow(on_hand, 0))
            await transaction.commit(())

    async def moved(self, sku: str) -> list[tuple[int, int | None]]:
        rows = sorted(self._databases[1].table(MOVEMENTS).items())
        return [(row.quantity, row.folded) for _, row in rows if row.sku == sku]

    async def leased_until(self, message_id: UUID) -> datetime:
        row: OutboxRow = self._databases[0].table(OUTBOX)[message_id]
        return row.claimed_until

    async def somebody_waits(self) -> None:
        while not any(database.somebody_waits for database in self._databases):
            await asyncio.sleep(0)


class PostgresBench:
    """A `Bench` on PostgreSQL."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    def orchestrator(self) -> AbstractAsyncContextManager[PostgresTransaction]:
        return self._transaction(
            partial(
                PostgresTransaction,
                registry=Registry([order_fulfillment(StepPolicy()), order_return(StepPolicy()), JOURNEY]),
            )
        )

    def inventory(self) -> AbstractAsyncContextManager[SqlInventoryTransaction]:
        return self._transaction(SqlInventoryTransaction)

    def payment(self) -> AbstractAsyncContextManager[SqlPaymentTransaction]:
        return self._transaction(SqlPaymentTransaction)

    @asynccontextmanager
    async def _transaction(self, kind: Callable[..., T]) -> AsyncIterator[T]:
        async with self._engine.connect() as connection:
            raw = await connection.get_raw_connection()
            yield kind(connection, raw.driver_connection)

    async def stock_up(self, sku: str, on_hand: int) -> None:
        async with self._engine.begin() as connection:
            values = {"sku": sku, "on_hand": on_hand}
            await connection.execute(
                text("INSERT INTO inventory.stock VALUES (:sku, :on_hand, 0, now())"), values
            )

    async def moved(self, sku: str) -> list[tuple[int, int | None]]:
        query = text(
            "SELECT quantity, folded FROM inventory.stock_movements WHERE sku = :sku ORDER BY movement_id"
        )
        async with self._engine.connect() as connection:
            rows = await connection.execute(query, {"sku": sku})
            return [(row.quantity, row.folded) for row in rows]

    async def leased_until(self, message_id: UUID) -> datetime:
        query = text("SELECT claimed_until FROM orchestrator.outbox WHERE message_id = :id")
        async with self._engine.connect() as connection:
            moment: datetime = (await connection.execute(query, {"id": message_id})).scalar_one()
            return moment

    async def somebody_waits(self) -> None:
        query = text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        async with self._engine.connect() as connection:
            while not (await connection.execute(query)).scalar_one():
                await connection.rollback()


async def waiting(bench: Bench, work: Awaitable[R]) -> asyncio.Task[R]:
    """Begin something that has to wait for a lock; returned once it does."""
    task = asyncio.ensure_future(work)
    await bench.somebody_waits()
    assert not task.done()
    return task
