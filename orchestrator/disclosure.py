"""Message bodies as they are, nothing masked: for the admin, with a reason, never without an audit entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from messaging.identifiers import NewId
from messaging.unit_of_work import UnitOfWork
from orchestrator.core.inputs import Actor
from orchestrator.operations import NotFound
from orchestrator.storage import AuditEntry, DeadLetter, OrchestratorTransaction


class Disclosures:
    """Hands out what is sensitive; the audit entry commits first: nothing is seen that was not noted (D6)."""

    def __init__(self, unit_of_work: UnitOfWork[OrchestratorTransaction], new_id: NewId) -> None:
        self._unit_of_work = unit_of_work
        self._new_id = new_id

    async def dead_letter(self, dead_letter_id: UUID, actor: Actor) -> DeadLetter:
        """A dead letter with its bytes. Raises NotFound and StorageUnavailable."""
        audit_id = self._new_id()

        async def work(transaction: OrchestratorTransaction) -> DeadLetter:
            dead = await transaction.read_dead_letter(dead_letter_id)
            if dead is None:
                raise NotFound(f"there is no dead letter {dead_letter_id}")
            seen = {"status": str(dead.status), "version": dead.version}
            subject = f"dead_letter:{dead_letter_id}"
            await _note(transaction, audit_id, actor, "dead_letter.disclose", subject, seen)
            return dead

        return await self._unit_of_work.run(work)

    async def message(self, saga_id: UUID, message_id: UUID, actor: Actor) -> None:
        """Take note that a message of a saga is shown. Raises StorageUnavailable."""
        audit_id = self._new_id()

        async def work(transaction: OrchestratorTransaction) -> None:
            seen = {"message_id": str(message_id)}
            await _note(transaction, audit_id, actor, "saga.disclose", f"saga:{saga_id}", seen)

        await self._unit_of_work.run(work)


async def _note(
    transaction: OrchestratorTransaction,
    audit_id: UUID,
    actor: Actor,
    action: str,
    subject: str,
    seen: Mapping[str, Any],
) -> None:
    """One entry, however often the transaction is run (S17); what is shown stays as it is."""
    if await transaction.audit_entry(audit_id) is None:
        now = await transaction.now()
        transaction.add_audit(
            [AuditEntry(audit_id, now, actor.name, action, subject, actor.reason, seen, seen)]
        )
