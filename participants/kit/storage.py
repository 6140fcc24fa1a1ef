"""The transaction of a kit participant: the ledger's, and a way for effects to use it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from sqlalchemy import CursorResult, Executable

from participants.ledger import LedgerTransaction


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
