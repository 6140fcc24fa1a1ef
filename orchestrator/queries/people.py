"""People who sign in at a provider: kept by their subject, each with the round that their sessions are of.

A session is a signed cookie that names a person and a round. Signing out begins the next round, so that all
of the person's sessions are over, in every browser and at every replica, and nothing is kept of each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from contracts.words import word_of
from messaging.identifiers import NewId
from orchestrator.oidc.identity import Identity
from orchestrator.queries.reader import Reader
from orchestrator.tables import people
from orchestrator.tokens import Role

_NAME: Final = re.compile(r"([0-9a-f-]{36})-([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Visit:
    """A person in one round of sessions."""

    person_id: UUID
    session_round: int

    def __str__(self) -> str:
        return f"{self.person_id}-{self.session_round}"

    @classmethod
    def named(cls, name: str) -> Visit | None:
        """The visit that `str` gave this name; None for what is none."""
        found = _NAME.fullmatch(name)
        try:
            return cls(UUID(found[1]), int(found[2])) if found else None
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who it is that visits."""

    visit: Visit
    name: str
    role: Role | str


class PeopleQueries:
    """The people of one issuer. One statement at a time; all raise StorageUnavailable."""

    def __init__(self, reader: Reader, issuer: str, new_id: NewId) -> None:
        self._reader = reader
        self._issuer = issuer
        self._new_id = new_id

    async def arrived(self, identity: Identity, role: Role) -> Visitor:
        """Somebody has signed in, with the name and the role that the provider gives them now.

        Sessions that they have already get this role, too.
        """
        told = {"name": identity.name, "role": role.value, "signed_in_at": func.clock_timestamp()}
        person = {"person_id": self._new_id(), "issuer": self._issuer, "subject": identity.subject}
        new = insert(people).values(**person, **told, session_round=1)
        kept = new.on_conflict_do_update(index_elements=[people.c.issuer, people.c.subject], set_=told)
        row = await self._reader.row(kept.returning(people))
        assert row is not None
        return _visitor(row)

    async def visiting(self, visit: Visit) -> Visitor | None:
        """Who it is; None when their sessions of this round are over."""
        row = await self._reader.row(select(people).where(*self._is(visit)))
        return _visitor(row) if row is not None else None

    async def left(self, visit: Visit) -> None:
        """End all sessions of a person's round."""
        await self._end(*self._is(visit))

    async def gone(self, subject: str) -> None:
        """The same, where the provider says who has signed out."""
        await self._end(people.c.issuer == self._issuer, people.c.subject == subject)

    async def _end(self, *who: ColumnElement[bool]) -> None:
        ended = update(people).where(*who).values(session_round=people.c.session_round + 1)
        await self._reader.rows(ended.returning(people.c.person_id))

    def _is(self, visit: Visit) -> tuple[ColumnElement[bool], ...]:
        return (
            people.c.person_id == visit.person_id,
            people.c.session_round == visit.session_round,
            people.c.issuer == self._issuer,
        )


def _visitor(row: Row[Any]) -> Visitor:
    return Visitor(Visit(row.person_id, row.session_round), row.name, word_of(Role, row.role))
