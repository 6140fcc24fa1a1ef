"""Tokens of people and programs: made, listed and revoked on the orchestrator's own database.

A token is 256 random bits and is kept by its SHA-256 alone. That is enough: a slow hash protects words that
people choose and others guess, and nobody guesses 256 bits. A fast one costs a request nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Text, cast, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contracts.words import word_of
from messaging.identifiers import NewId
from orchestrator.core.inputs import Actor
from orchestrator.tables import audit_log, tokens

MARK: Final = "oms_"
"""Begins every token, so that one that has leaked is known for what it is."""

NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
"""The name stands in the audit log and on every page of the console."""

RESERVED_NAMES: Final = frozenset({"admin", "customer"})
"""Names of those who come with a token of the environment, or with none."""

RANDOM_BYTES: Final = 32

_SHAPE: Final = re.compile(rf"{MARK}[A-Za-z0-9_-]{{43}}")
_NAME: Final = re.compile(NAME_PATTERN)


class Role(StrEnum):
    """What the holder of a token is."""

    SHOP = "shop"
    CLIENT = "client"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class TokenRefused(Exception):
    """A token cannot be made or revoked as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as it is kept.

    Attributes:
        role: one that is not known here is of a later release, and permits nothing (S25).
        digest: SHA-256 of the token.
        last_used_at: not exact, see `orchestrator.queries.tokens`.
    """

    token_id: UUID
    name: str
    role: Role | str
    digest: bytes = field(repr=False)
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def standing(self, now: datetime) -> str:
        """``valid``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


def digest_of(secret: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(secret.encode()).digest()


def is_token(text: str) -> bool:
    """Whether a text has the shape of a token that was made here."""
    return _SHAPE.fullmatch(text) is not None


def token_of(row: Row[Any]) -> StoredToken:
    """The token of a row of its table."""
    columns = {column.name: getattr(row, column.name) for column in tokens.c}
    return StoredToken(**{**columns, "role": word_of(Role, row.role), "digest": bytes(row.digest)})


class Tokens:
    """Makes, lists and revokes tokens; every change stands in the audit log, in the same transaction (D6)."""

    def __init__(self, database: AsyncEngine, new_id: NewId, random_text: Callable[[int], str]) -> None:
        """
        Args:
            random_text: so many random bytes in the alphabet of URLs, as `secrets.token_urlsafe` makes them.
        """
        self._database = database
        self._new_id = new_id
        self._random_text = random_text

    async def create(
        self, name: str, role: Role, actor: Actor, lifetime: timedelta | None = None
    ) -> tuple[str, StoredToken]:
        """A new token: its secret, which nobody can read ever again, and what is kept of it.

        Raises:
            TokenRefused: the name cannot be used or is in use.
        """
        if not _NAME.fullmatch(name) or name in RESERVED_NAMES:
            rule = "1 to 64 letters, digits, '.', '_', '@' and '-', beginning with a letter or digit"
            raise TokenRefused(
                f"this name cannot be used: {rule}, and not {' or '.join(sorted(RESERVED_NAMES))}"
            )
        secret = f"{MARK}{self._random_text(RANDOM_BYTES)}"
        async with self._database.begin() as connection:
            now = await _now(connection)
            expires_at = now + lifetime if lifetime is not None else None
            made = StoredToken(
                self._new_id(), name, role, digest_of(secret), now, actor.name, expires_at=expires_at
            )
            try:
                await connection.execute(insert(tokens).values(_columns(made)))
            except IntegrityError:
                raise TokenRefused(f"there is a token of the name {name} already: revoke it first") from None
            await self._write_down(connection, now, actor, "token.create", made, {}, _view(made, now))
        return secret, made

    async def listed(self) -> tuple[list[StoredToken], datetime]:
        """All tokens, newest first, revoked ones included, and the time now."""
        async with self._database.begin() as connection:
            now = await _now(connection)
            rows = await connection.execute(select(tokens).order_by(tokens.c.token_id.desc()))
            return [token_of(row) for row in rows], now

    async def revoke(self, name_or_id: str, actor: Actor) -> StoredToken:
        """Make a token worthless from now on.

        Raises:
            TokenRefused: there is none of this name or id that is not revoked already.
        """
        async with self._database.begin() as connection:
            now = await _now(connection)
            found = select(tokens).where(
                tokens.c.revoked_at.is_(None),
                or_(tokens.c.name == name_or_id, cast(tokens.c.token_id, Text) == name_or_id.lower()),
            )
            rows: Sequence[Row[Any]] = (await connection.execute(found.with_for_update())).all()
            if len(rows) != 1:
                why = (
                    "is no token that could be revoked"
                    if not rows
                    else "is the name and the id of two tokens"
                )
                raise TokenRefused(f"{name_or_id} {why}")
            before = token_of(rows[0])
            changed = update(tokens).where(tokens.c.token_id == before.token_id).values(revoked_at=now)
            after = token_of((await connection.execute(changed.returning(tokens))).one())
            views = _view(before, now), _view(after, now)
            await self._write_down(connection, now, actor, "token.revoke", after, *views)
        return after

    async def _write_down(
        self,
        connection: AsyncConnection,
        now: datetime,
        actor: Actor,
        action: str,
        token: StoredToken,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
    ) -> None:
        entry = {
            "audit_id": self._new_id(),
            "at": now,
            "actor": actor.name,
            "action": action,
            "subject": f"token:{token.token_id}",
            "reason": actor.reason,
            "before": before,
            "after": after,
        }
        await connection.execute(insert(audit_log).values(entry))


async def _now(connection: AsyncConnection) -> datetime:
    moment: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return moment


def _columns(token: StoredToken) -> dict[str, Any]:
    return {column.name: getattr(token, column.name) for column in tokens.c} | {"role": str(token.role)}


def _view(token: StoredToken, now: datetime) -> dict[str, Any]:
    expires_at = token.expires_at.isoformat() if token.expires_at is not None else None
    return {
        "name": token.name,
        "role": str(token.role),
        "status": token.standing(now),
        "expires_at": expires_at,
    }
