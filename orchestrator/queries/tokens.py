"""Which token a request came with. A use is noted, and not more often than every few minutes."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, func, or_, select, update

from messaging.unit_of_work import StorageUnavailable
from orchestrator.queries.reader import Reader
from orchestrator.tables import tokens
from orchestrator.tokens import StoredToken, token_of

log = structlog.get_logger(__name__)

USE_NOTED_EVERY: Final = timedelta(minutes=5)
"""How far ``last_used_at`` may be behind: a look at a page need not write a row."""


class TokenQueries:
    """Tokens that are good now: neither revoked nor expired, by the database's time."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def by_digest(self, digest: bytes) -> StoredToken | None:
        """The token of this digest. Raises StorageUnavailable."""
        return await self._good(tokens.c.digest == digest)

    async def by_id(self, token_id: UUID) -> StoredToken | None:
        """The token of this id. Raises StorageUnavailable."""
        return await self._good(tokens.c.token_id == token_id)

    async def _good(self, condition: ColumnElement[bool]) -> StoredToken | None:
        unexpired = or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > func.now())
        noted = func.coalesce(tokens.c.last_used_at > func.now() - USE_NOTED_EVERY, False)
        statement = select(tokens, noted.label("noted")).where(
            condition, tokens.c.revoked_at.is_(None), unexpired
        )
        row = await self._reader.row(statement)
        if row is None:
            return None
        token = token_of(row)
        if not row.noted:
            await self._note(token.token_id)
        return token

    async def _note(self, token_id: UUID) -> None:
        use = update(tokens).where(tokens.c.token_id == token_id).values(last_used_at=func.now())
        try:
            await self._reader.rows(use.returning(tokens.c.token_id))
        except StorageUnavailable as error:
            log.warning("the use of a token is not noted", problem=str(error))
