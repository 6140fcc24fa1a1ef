"""The transaction of a kit participant on PostgreSQL, in the participant's schema."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import CursorResult, Executable

from messaging.postgresql import quoted_name
from participants.kit.storage import Savepoint
from participants.postgresql import SqlLedgerTransaction


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
