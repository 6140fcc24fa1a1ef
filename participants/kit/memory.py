"""A kit participant in memory, for its author's tests: a ledger in a dictionary, its tables in SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine, event
from sqlalchemy.pool import StaticPool

from messaging.transport import Message
from participants.kit.participant import Participant
from participants.kit.storage import Savepoint
from participants.ledger import Key, LedgerRow

R = TypeVar("R")


class MemoryUnitOfWork:
    """Runs work of one participant, one after the other; what fails changes nothing."""

    def __init__(self, participant: Participant) -> None:
        self._engine = _sqlite(participant.name)
        if participant.tables is not None:
            with self._engine.begin() as connection:
                participant.tables.create_all(connection)
        self._rows: dict[Key, LedgerRow] = {}
        self._mark: UUID | None = None
        self._turn = asyncio.Lock()

    async def run(self, work: Callable[[MemoryTransaction], Awaitable[R]]) -> R:
        """See `messaging.unit_of_work.UnitOfWork.run`."""
        async with self._turn:
            with self._engine.begin() as connection:
                transaction = MemoryTransaction(connection, self._rows, self._mark)
                result = await work(transaction)
            self._rows, self._mark = transaction.rows, transaction.low_water_mark
            return result

    def close(self) -> None:
        """Forget everything."""
        self._engine.dispose()


class MemoryTransaction:
    """A `participants.kit.storage.KitTransaction`."""

    def __init__(self, connection: Connection, rows: dict[Key, LedgerRow], mark: UUID | None) -> None:
        self.rows = dict(rows)
        self.low_water_mark = mark
        self.outgoing: list[Message] = []
        self._connection = connection

    async def now(self) -> datetime:
        """This machine's time."""
        return datetime.now(UTC)

    async def lock(self, saga_ids: Collection[UUID]) -> list[LedgerRow]:
        """See `LedgerTransaction.lock`."""
        return [row for key, row in sorted(self.rows.items()) if key[0] in saga_ids]

    def save(self, rows: Sequence[LedgerRow]) -> None:
        """See `LedgerTransaction.save`."""
        self.rows.update({row.key: row for row in rows})

    def advance_mark(self, mark: UUID, now: datetime) -> None:
        """See `LedgerTransaction.advance_mark`."""
        self.low_water_mark = max(mark, self.low_water_mark or mark)

    def send(self, messages: Sequence[Message]) -> None:
        """See `Transaction.send`."""
        self.outgoing.extend(messages)

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """See `KitTransaction.execute`."""
        return self._connection.execute(statement, parameters)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[Savepoint]:
        """See `KitTransaction.savepoint`."""
        nested = self._connection.begin_nested()
        yield _Nested(nested)
        if nested.is_active:
            nested.commit()


class _Nested:
    def __init__(self, nested: Any) -> None:
        self._nested = nested

    async def rollback(self) -> None:
        self._nested.rollback()


def _sqlite(schema: str) -> Engine:
    """One database in memory, whose transactions and savepoints are SQLite's own, not the driver's."""
    options = {"schema_translate_map": {schema: None}}
    engine = create_engine("sqlite://", poolclass=StaticPool, execution_options=options)

    @event.listens_for(engine, "connect")
    def _leave_transactions_alone(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine
