"""Raises the low-water mark, tells every participant, and prunes behind it (P7).

It may be interrupted and repeated at any time: the mark only rises, participants are told it anew each time,
and every batch is a transaction that looks again at what it removes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.commands import AdvanceLowWaterMark
from contracts.routing import ORCHESTRATOR, PARTICIPANTS
from messaging.compose import instruction_message
from messaging.identifiers import NewId, first_id_at
from messaging.unit_of_work import UnitOfWork
from orchestrator.core.inputs import Actor
from orchestrator.retention.mark import Keep, Rise, rise
from orchestrator.retention.postgresql import Batch, Behind, Removed, RetentionTransaction
from orchestrator.storage import AuditEntry

ACTION = "retention.prune"
SUBJECT = "retention"

KeepRows = Callable[[Sequence[str]], None]
"""Writes down rows that are about to be removed, as JSON; returns once they are safe. What it raises ends the
run with nothing of the batch removed."""

OnProgress = Callable[[Removed], None]
"""Called after each batch with what has been removed so far."""

Step = Callable[[RetentionTransaction, Behind, Any, int], Awaitable[Batch]]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run lets go of.

    Attributes:
        standing: the mark before; None where there was none.
        expected: what is there to be removed; history is not counted beforehand.
    """

    standing: UUID | None
    rise: Rise
    behind: Behind
    expected: Removed


class Retention:
    """One service's retention. Every method raises StorageUnavailable in the database's trouble."""

    def __init__(
        self,
        unit_of_work: UnitOfWork[RetentionTransaction],
        new_id: NewId,
        participants: Sequence[str] = PARTICIPANTS,
        keep_rows: KeepRows = lambda _: None,
    ) -> None:
        """
        Args:
            participants: who is told of the mark: all whose work some saga may have asked for.
            keep_rows: where transactions give back what they remove (`ArchivingTransaction`), before it is
                gone; what could not be committed is given once more.
        """
        self._keep_rows = keep_rows
        self._unit_of_work = unit_of_work
        self._new_id = new_id
        self._participants = tuple(participants)

    async def look(self, keep: Keep) -> Outlook:
        """What `advance` would let go of now. Changes nothing."""

        async def work(transaction: RetentionTransaction) -> Outlook:
            return await self._look(transaction, keep, await transaction.now())

        return await self._unit_of_work.run(work)

    async def advance(self, keep: Keep, actor: Actor) -> Outlook:
        """Raise the mark and tell the participants, in one transaction with the audit entry (D6)."""
        audit_id, message_ids = self._new_id(), [self._new_id() for _ in self._participants]

        async def work(transaction: RetentionTransaction) -> Outlook:
            now = await transaction.now()
            outlook = await self._look(transaction, keep, now)
            if await transaction.was_audited(audit_id):
                return outlook
            mark = outlook.rise.mark
            transaction.advance(mark, now)
            instruction = AdvanceLowWaterMark(mark=mark)
            transaction.send(
                [
                    instruction_message(instruction, name, message_id, now, ORCHESTRATOR)
                    for name, message_id in zip(self._participants, message_ids, strict=True)
                ]
            )
            transaction.add_audit(_audit(audit_id, now, actor, keep, outlook))
            return outlook

        return await self._unit_of_work.run(work)

    async def prune(self, behind: Behind, batch: int, on_progress: OnProgress) -> Removed:
        """Remove everything behind the mark, so many rows a transaction; returns what was removed."""
        removed = Removed()
        steps: tuple[Step, ...] = (
            RetentionTransaction.prune_sagas,
            RetentionTransaction.prune_dead_letters,
            RetentionTransaction.prune_keys,
            RetentionTransaction.prune_jobs,
        )
        for step in steps:
            after: Any | None = None
            while True:
                done = await self._run(step, behind, after, batch)
                removed, after = removed + done.removed, done.after
                on_progress(removed)
                if after is None:
                    break
        return removed

    async def _run(self, step: Step, behind: Behind, after: Any | None, batch: int) -> Batch:
        async def work(transaction: RetentionTransaction) -> Batch:
            done = await step(transaction, behind, after, batch)
            self._keep_rows(done.rows)
            return done

        return await self._unit_of_work.run(work)

    async def _look(self, transaction: RetentionTransaction, keep: Keep, now: datetime) -> Outlook:
        quiet_since = keep.quiet_since(now)
        standing = await transaction.mark()
        needed = await transaction.needed(first_id_at(quiet_since), quiet_since)
        raised = rise(quiet_since, needed, standing)
        behind = Behind(raised.mark, quiet_since, keep.keys_expired_before(now))
        return Outlook(standing, raised, behind, await transaction.count(behind))


def _audit(audit_id: UUID, now: datetime, actor: Actor, keep: Keep, outlook: Outlook) -> AuditEntry:
    before = {"mark": None if outlook.standing is None else str(outlook.standing)}
    after = {
        "mark": str(outlook.rise.mark),
        "at_rest_for_days": keep.age.total_seconds() / 86400,
        "sagas": outlook.expected.sagas,
    }
    return AuditEntry(audit_id, now, actor.name, ACTION, SUBJECT, actor.reason, before, after)
