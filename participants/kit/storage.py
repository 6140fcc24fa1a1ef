"""The transaction of a kit participant: the ledger's, and a way for effects to use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from sqlalchemy import CursorResult, Executable

from messaging.postgresql import quoted_name
from participants.ledger import LedgerTransaction
from participants.postgresql import SqlLedgerTransaction


class Savepoint(Protocol):
    """A place in a transaction to which it can go back."""

    async def rollback(self) -> None:
        """Take back everything since."""


class KitTransaction(LedgerTransaction, Protocol):
    """A transaction over a ledger and the tables of the participant's author."""

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Execute a statement of SQLAlchemy."""

    def savepoint(self) -> AbstractAsyncContextManager[Savepoint]:
        """What is done in the block can be taken back."""


class SqlKitTransaction(SqlLedgerTransaction):
    """A `KitTransaction` in the schema of one participant.

    Who counts round trips gives it methods of its own, in a subclass: `fetch` asks at once, `write` is
    sent together with the commit.
    """

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """See `KitTransaction.execute`."""
        return await self.connection.execute(statement, parameters)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[Savepoint]:
        """See `KitTransaction.savepoint`."""
        nested = await self.connection.begin_nested()
        yield nested
        if nested.is_active:
            await nested.commit()


def transaction_in(schema: str, base: type[SqlKitTransaction] = SqlKitTransaction) -> type[SqlKitTransaction]:
    """The transactions of the participant of this name."""
    quoted = quoted_name(schema)
    return type(base.__name__, (base,), {"schema": quoted})
