"""Runs single statements for the read side, with little patience: somebody is waiting for the page."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import structlog
from sqlalchemy import Executable, Row, literal, select
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.connecting import checked_out
from messaging.measures import Reading
from messaging.sqlstates import is_transient
from messaging.unit_of_work import StorageUnavailable
from orchestrator.measures import UNREADABLE

log = structlog.get_logger(__name__)

PATIENCE_S: Final = 5.0
"""Seconds that a read may take, waiting for a connection included."""

TRIES: Final = 2
"""A connection that broke while it was idle shows only when it is used: so once more."""


class Reader:
    """Executes reads on the orchestrator's database, one statement a transaction."""

    def __init__(self, engine: AsyncEngine, patience_s: float = PATIENCE_S) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._patience_s = patience_s
        self._unreadable: Counter[str] = Counter()

    def note_unreadable(self, kind: str, identity: object, reason: str) -> None:
        """Take note of a stored document that cannot be read; ``kind`` says what it is of (S25)."""
        self._unreadable[kind] += 1
        log.error("a stored document cannot be read", kind=kind, id=str(identity), problem=reason)

    def readings(self) -> Iterator[Reading]:
        """What could not be read."""
        for kind, count in self._unreadable.items():
            yield UNREADABLE.of(kind), count

    async def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """All rows of a statement.

        Raises:
            StorageUnavailable: the database cannot be used, or has no connection free in time.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                return await self._tried(statement)
        except TimeoutError as error:
            raise StorageUnavailable("the database does not answer in time") from error
        except PoolExhausted as error:
            raise StorageUnavailable("no database connection is free") from error

    async def row(self, statement: Executable) -> Row[Any] | None:
        """The first row, or None. Raises as `rows` does."""
        found = await self.rows(statement)
        return found[0] if found else None

    async def trouble(self) -> str | None:
        """Why the database cannot be used just now, in a person's words; None when all is well."""
        try:
            await self.rows(select(literal(1)))
        except StorageUnavailable as error:
            return str(error)
        return None

    async def _tried(self, statement: Executable) -> Sequence[Row[Any]]:
        for tries in range(1, TRIES + 1):
            try:
                async with checked_out(self._engine) as connection:
                    return (await connection.execute(statement)).all()
            except Exception as error:
                if isinstance(error, TimeoutError | PoolExhausted) or not is_transient(error):
                    raise
                if tries == TRIES:
                    raise StorageUnavailable("the database cannot be used") from error
                log.warning("read failed, trying again", error=type(error).__name__)
        raise AssertionError("every try returns or raises")
