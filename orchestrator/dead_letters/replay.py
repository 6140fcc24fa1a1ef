"""Replay and discard of one dead letter (D3, D4).

Replaying a command is the saga's own retry: the command is built anew, so it is always current, and it goes
out only while the saga awaits exactly that work. Anything else goes back to its queue as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from contracts.envelope import ATTEMPT, INSTALLATION, REPLAY_OF
from contracts.routing import DEFAULT_EXCHANGE, ORCHESTRATOR, OUTCOMES_QUEUE, command_queue
from contracts.words import said_of
from messaging.headers import carried, short_text
from messaging.identifiers import NewId
from messaging.retries import parse_id
from messaging.transport import Message
from messaging.unit_of_work import UnitOfWork
from orchestrator.core.inputs import Actor, RetryRequested
from orchestrator.dead_letters.collector import COMMAND, CORRELATION, FOREIGN, MESSAGE, message_key
from orchestrator.dead_letters.selection import STILL_OPEN
from orchestrator.engine import Engine, LockedSagas
from orchestrator.operations import NotAllowed, NotFound, Operations, StaleVersion, unreadable
from orchestrator.storage import AuditEntry, DeadLetter, DeadLetterStatus, OrchestratorTransaction


@dataclass(frozen=True, slots=True)
class Mandate:
    """On whose word something is done to a dead letter.

    Attributes:
        audit_id: made beforehand, so that a second run finds what the first has committed (S17).
        still_wanted: looks at the locked dead letter; raises what speaks against it.
        job_id: the job that it is part of, for the audit log.
    """

    actor: Actor
    audit_id: UUID
    still_wanted: Callable[[DeadLetter], None]
    job_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay did, or would do: the dead letter and a sentence for a person."""

    dead_letter: DeadLetter
    what: str


class DeadLetterOperations:
    """Actions of people on single dead letters."""

    def __init__(
        self,
        unit_of_work: UnitOfWork[OrchestratorTransaction],
        engine: Engine,
        operations: Operations,
        new_id: NewId,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._engine = engine
        self._operations = operations
        self._new_id = new_id

    async def replay(self, dead_letter_id: UUID, actor: Actor, expected_version: int | None = None) -> Replay:
        """Send the dead letter's work once more.

        Raises:
            NotFound: there is no such dead letter.
            StaleVersion: it has changed since the caller looked.
            NotAllowed: it is closed, cut, no longer awaited, or from a queue that is not ours.
        """
        mandate = Mandate(actor, self._new_id(), partial(_check_version, expected_version))

        async def work(transaction: OrchestratorTransaction) -> Replay:
            return await self.replay_within(transaction, dead_letter_id, mandate)

        return await self._unit_of_work.run(work)

    async def dry_run(self, dead_letter_id: UUID, expected_version: int | None = None) -> Replay:
        """What `replay` would do now. Changes nothing; raises what `replay` would raise."""

        async def work(transaction: OrchestratorTransaction) -> Replay:
            locked, dead = await self._lock(transaction, dead_letter_id)
            _check_version(expected_version, dead)
            replay, _ = self._plan(locked, dead, _NOBODY)
            return replay

        return await self._unit_of_work.run(work)

    async def discard(
        self, dead_letter_id: UUID, actor: Actor, expected_version: int | None = None
    ) -> DeadLetter:
        """Close a dead letter without sending anything. Raises as `replay` does."""
        mandate = Mandate(actor, self._new_id(), partial(_check_version, expected_version))

        async def work(transaction: OrchestratorTransaction) -> DeadLetter:
            return await self.discard_within(transaction, dead_letter_id, mandate)

        return await self._unit_of_work.run(work)

    async def replay_within(
        self, transaction: OrchestratorTransaction, dead_letter_id: UUID, mandate: Mandate
    ) -> Replay:
        """`replay` in a transaction that does more than that. What it raises, it raises before it writes."""
        locked, dead = await self._lock(transaction, dead_letter_id)
        if await transaction.audit_entry(mandate.audit_id) is not None:
            return Replay(dead, "replayed")
        mandate.still_wanted(dead)
        replayed, messages = self._plan(locked, dead, mandate.actor)
        transaction.send(messages)
        self._engine.write(transaction, locked)
        _save(transaction, locked.now, "dead_letter.replay", mandate, dead, replayed.dead_letter)
        return replayed

    async def discard_within(
        self, transaction: OrchestratorTransaction, dead_letter_id: UUID, mandate: Mandate
    ) -> DeadLetter:
        """`discard` in a transaction that does more than that. Raises as `replay_within` does."""
        locked, dead = await self._lock(transaction, dead_letter_id)
        if await transaction.audit_entry(mandate.audit_id) is not None:
            return dead
        mandate.still_wanted(dead)
        _check_open(dead)
        after = replace(
            dead,
            status=DeadLetterStatus.DISCARDED,
            cause=f"discarded by {mandate.actor.name}",
            version=dead.version + 1,
        )
        _save(transaction, locked.now, "dead_letter.discard", mandate, dead, after)
        return after

    async def refusals_within(
        self, transaction: OrchestratorTransaction, seen: Sequence[DeadLetter]
    ) -> Mapping[UUID, NotAllowed]:
        """Those of these dead letters whose replay would be refused now, and why. Changes nothing."""
        locked = await self._engine.lock(transaction, {dead.saga_id for dead in seen if dead.saga_id})
        found: dict[UUID, NotAllowed] = {}
        for dead in seen:
            own = {dead.saga_id: locked.sagas[dead.saga_id]} if dead.saga_id in locked.sagas else {}
            try:
                self._plan(self._engine.work_on(own, locked.now, locked.unreadable), dead, _NOBODY)
            except NotAllowed as refused:
                found[dead.dead_letter_id] = refused
        return found

    async def _lock(
        self, transaction: OrchestratorTransaction, dead_letter_id: UUID
    ) -> tuple[LockedSagas, DeadLetter]:
        """The dead letter with its saga, locked in the order of S18: the saga first."""
        seen = await transaction.read_dead_letter(dead_letter_id)
        if seen is None:
            raise NotFound(f"there is no dead letter {dead_letter_id}")
        work = await self._engine.lock(transaction, {seen.saga_id} if seen.saga_id else set())
        dead = (await transaction.lock_dead_letters([dead_letter_id])).get(dead_letter_id)
        if dead is None:
            raise NotFound(f"there is no dead letter {dead_letter_id}")
        return work, dead

    def _plan(self, work: LockedSagas, dead: DeadLetter, actor: Actor) -> tuple[Replay, list[Message]]:
        """What the replay is: the saga's retry for a command, the stored bytes for anything else (D4)."""
        _check_open(dead)
        after = replace(dead, status=DeadLetterStatus.REPLAYING, cause=None, version=dead.version + 1)
        if dead.kind == COMMAND and dead.saga_id is not None:
            self._retry(work, dead, dead.saga_id, actor)
            return Replay(after, f"{dead.type} is built anew from the saga and sent to its participant"), []
        if dead.work_key.startswith(f"{FOREIGN}:"):
            raise NotAllowed("foreign_installation", f"{dead.error_message}; that one sends it again itself")
        if dead.kind not in (COMMAND, MESSAGE):
            raise NotAllowed("unknown_kind", f'it is of the unknown kind "{dead.kind}"')
        if dead.body_truncated:
            raise NotAllowed("body_cut", "its body was too long to be kept whole, so it cannot be sent again")
        if dead.queue not in (OUTCOMES_QUEUE, *map(command_queue, self._engine.registry.participants)):
            raise NotAllowed("no_such_queue", _nobody_at(dead.queue))
        message = _as_it_was(dead, self._new_id(), work.now)
        return Replay(after, f"the stored message goes back to {dead.queue}"), [message]

    def _retry(self, work: LockedSagas, dead: DeadLetter, saga_id: UUID, actor: Actor) -> None:
        saga = work.sagas.get(saga_id)
        if saga_id in work.unreadable:
            raise unreadable(work.unreadable[saga_id])
        if saga is None:
            raise NotAllowed("not_awaited", "its saga is gone")
        if not any((each.step, each.direction) == (dead.step, dead.direction) for each in saga.awaited):
            awaited = " and ".join(f"{each.step} ({each.direction})" for each in saga.awaited) or "nothing"
            reason = f"the saga awaits {awaited}, not {dead.step} ({dead.direction})"
            raise NotAllowed("not_awaited", reason, self._operations.allowed(saga))
        self._operations.fold(work, saga, RetryRequested(actor, dead.step))


_NOBODY: Final = Actor("dry run", "")


def _nobody_at(queue: str) -> str:
    return f'no participant of the sagas that are known here takes messages from "{queue}"'


def _check_version(expected: int | None, dead: DeadLetter) -> None:
    if expected is not None and expected != dead.version:
        raise StaleVersion(dead.version)


def _check_open(dead: DeadLetter) -> None:
    if dead.status not in set(DeadLetterStatus):
        raise NotAllowed("unknown_status", f"it is at the {said_of(DeadLetterStatus, dead.status, 'status')}")
    if dead.status not in STILL_OPEN:
        raise NotAllowed("closed", f"it is {dead.status} already: {dead.cause}")


def _as_it_was(dead: DeadLetter, message_id: UUID, now: datetime) -> Message:
    correlation_id = dead.saga_id or parse_id(str(dead.headers.get(CORRELATION, "")))
    not_kept = (CORRELATION, INSTALLATION)
    headers = {name: value for name, value in dead.headers.items() if name not in not_kept}
    first_death = dead.work_key.removeprefix(message_key(""))
    return Message(
        message_id=message_id,
        type=short_text(dead.type),
        exchange=DEFAULT_EXCHANGE,
        routing_key=dead.queue,
        body=dead.body,
        correlation_id=correlation_id,
        app_id=ORCHESTRATOR,
        timestamp=now,
        mandatory=True,
        headers=carried(headers, on_top={ATTEMPT: 1, REPLAY_OF: first_death}),
    )


def _save(
    transaction: OrchestratorTransaction,
    now: datetime,
    action: str,
    mandate: Mandate,
    before: DeadLetter,
    after: DeadLetter,
) -> None:
    """Write the dead letter, and who wanted it so (D6)."""
    actor, subject = mandate.actor, f"dead_letter:{before.dead_letter_id}"
    job = {} if mandate.job_id is None else {"job_id": str(mandate.job_id)}
    views = _view(before), {**_view(after), **job}
    transaction.save_dead_letters([after], now)
    transaction.add_audit(
        [AuditEntry(mandate.audit_id, now, actor.name, action, subject, actor.reason, *views)]
    )


def _view(dead: DeadLetter) -> Mapping[str, Any]:
    return {"status": str(dead.status), "version": dead.version, "cause": dead.cause}
