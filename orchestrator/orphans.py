"""Takes back what participants hold for sagas that are gone: by their own compensations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from contracts.commands import Command
from contracts.routing import ORCHESTRATOR
from messaging.compose import command_message
from messaging.identifiers import NewId
from messaging.transport import Message
from messaging.unit_of_work import UnitOfWork
from orchestrator.core.inputs import Actor
from orchestrator.storage import AuditEntry, OrchestratorTransaction

ACTION: Final = "orphan.take_back"
SUBJECT: Final = "saga:"
"""Begins what the audit log calls a saga."""

AT_ONCE: Final = 200
"""Sagas in one transaction."""


@dataclass(frozen=True, slots=True)
class Compensation:
    """A command that undoes a step of a saga that is gone, and the participant that it is for."""

    participant: str
    command: Command


def subject_of(saga_id: UUID) -> str:
    """What the audit log calls the saga."""
    return f"{SUBJECT}{saga_id}"


class OrphanOperations:
    """Works on the orchestrator's storage. Raises StorageUnavailable in its trouble."""

    def __init__(self, unit_of_work: UnitOfWork[OrchestratorTransaction], new_id: NewId) -> None:
        self._unit_of_work = unit_of_work
        self._new_id = new_id

    async def take_back(self, sagas: Sequence[Sequence[Compensation]], actor: Actor) -> int:
        """Send the compensations of each saga, unless there is such a saga; returns how many sagas it was.

        Participants answer from their ledgers, so that doing it again is safe. The audit log keeps whose
        answers are to come: they are no dead letters.
        """
        taken = 0
        for start in range(0, len(sagas), AT_ONCE):
            taken += await self._take_back(sagas[start : start + AT_ONCE], actor)
        return taken

    async def _take_back(self, sagas: Sequence[Sequence[Compensation]], actor: Actor) -> int:
        ids = [(self._new_id(), [self._new_id() for _ in compensations]) for compensations in sagas]

        async def work(transaction: OrchestratorTransaction) -> int:
            now = await transaction.now()
            locked = await transaction.lock_sagas({each[0].command.saga_id for each in sagas})
            there = {*locked.sagas, *locked.unreadable}
            gone = [each for each in zip(sagas, ids, strict=True) if each[0][0].command.saga_id not in there]
            if not gone or await transaction.audit_entry(gone[0][1][0]) is not None:
                return len(gone)
            for compensations, (audit_id, message_ids) in gone:
                transaction.send(_messages(compensations, message_ids, now))
                transaction.add_audit([_entry(compensations, audit_id, now, actor)])
            return len(gone)

        return await self._unit_of_work.run(work)


def _messages(
    compensations: Sequence[Compensation], message_ids: Sequence[UUID], now: datetime
) -> list[Message]:
    return [
        command_message(each.command, each.participant, message_id, now, ORCHESTRATOR)
        for each, message_id in zip(compensations, message_ids, strict=True)
    ]


def _entry(compensations: Sequence[Compensation], audit_id: UUID, now: datetime, actor: Actor) -> AuditEntry:
    of = compensations[0].command
    done = {"order_id": str(of.order_id), "sent": [type(each.command).__name__ for each in compensations]}
    return AuditEntry(audit_id, now, actor.name, ACTION, subject_of(of.saga_id), actor.reason, after=done)
