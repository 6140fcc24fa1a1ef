"""Who has signed in at a provider, and ending their sessions; for whoever has the orchestrator's database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.words import word_of
from messaging.identifiers import NewId
from orchestrator.core.inputs import Actor
from orchestrator.tables import audit_log, people
from orchestrator.tokens import Role


class PersonUnknown(Exception):
    """There is nobody, or more than one, of this name."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has signed in at a provider.

    Attributes:
        name: as it stands in the audit log.
        role: as of the last time that they signed in; one that is not known here permits nothing (S25).
    """

    person_id: UUID
    issuer: str
    subject: str
    name: str
    role: Role | str
    signed_in_at: datetime


class People:
    """Lists people and signs them out; that stands in the audit log, in the same transaction (D6)."""

    def __init__(self, database: AsyncEngine, new_id: NewId) -> None:
        self._database = database
        self._new_id = new_id

    async def listed(self) -> list[Person]:
        """Everybody who has ever signed in, the last one first."""
        async with self._database.begin() as connection:
            rows = await connection.execute(select(people).order_by(people.c.signed_in_at.desc()))
            return [_person(row) for row in rows]

    async def sign_out(self, who: str, actor: Actor) -> Person:
        """End all sessions of the person of this subject or name; the provider may let them in again.

        Raises:
            PersonUnknown: there is nobody, or more than one.
        """
        async with self._database.begin() as connection:
            found = select(people).where(or_(people.c.subject == who, people.c.name == who))
            rows: Sequence[Row[Any]] = (await connection.execute(found.with_for_update())).all()
            if len(rows) != 1:
                raise PersonUnknown(f"{who} is {'nobody' if not rows else 'more than one person'} here")
            person = _person(rows[0])
            ended = update(people).where(people.c.person_id == person.person_id)
            await connection.execute(ended.values(session_round=people.c.session_round + 1))
            await connection.execute(insert(audit_log).values(self._entry(person, actor)))
        return person

    def _entry(self, person: Person, actor: Actor) -> dict[str, Any]:
        seen = {"name": person.name, "role": str(person.role)}
        return {
            "audit_id": self._new_id(),
            "at": func.clock_timestamp(),
            "actor": actor.name,
            "action": "person.sign_out",
            "subject": f"person:{person.person_id}",
            "reason": actor.reason,
            "before": {**seen, "status": "may be signed in"},
            "after": {**seen, "status": "signed out"},
        }


def _person(row: Row[Any]) -> Person:
    return Person(row.person_id, row.issuer, row.subject, row.name, word_of(Role, row.role), row.signed_in_at)
