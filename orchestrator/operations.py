"""What people do to sagas: cancel, retry, resolve, signal. Each under the row lock, audited (D6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from messaging.identifiers import NewId
from messaging.unit_of_work import UnitOfWork
from orchestrator.core.effects import Refused, Stale
from orchestrator.core.inputs import (
    Actor,
    CancelRequested,
    Input,
    ResolveRequested,
    RetryRequested,
    SignalReceived,
)
from orchestrator.core.machine import allowed_actions
from orchestrator.core.state import Saga
from orchestrator.engine import Engine, Happening, LockedSagas, UnknownSaga, UnknownVersion, UnreadableSaga
from orchestrator.storage import AuditEntry, OrchestratorTransaction


class NotFound(Exception):
    """There is no such saga or dead letter."""


class StaleVersion(Exception):
    """The caller's ``expected_version`` is not the current one.

    Attributes:
        current: the version that the subject has now.
    """

    def __init__(self, current: int) -> None:
        super().__init__(f"it is at version {current} now")
        self.current = current


class NotAllowed(Exception):
    """The action is not allowed now.

    Attributes:
        code: for programs.
        allowed_actions: what is allowed instead.
    """

    def __init__(self, code: str, reason: str, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.code = code
        self.allowed_actions = allowed


class UnknownHere(NotAllowed):
    """The saga runs a definition version that this process does not know; a newer one may act on it (S13)."""


def unreadable(reason: str) -> NotAllowed:
    """Nothing may be done to a saga that cannot be read (S25)."""
    return NotAllowed("unreadable", f"what is stored of the saga cannot be read: {reason}")


@dataclass(frozen=True, slots=True)
class Done:
    """The saga after the action; ``changed`` is false when the action was a repeat that changed nothing."""

    saga: Saga
    changed: bool


def nothing_to_check(saga: Saga) -> None:
    """Whatever the saga has become, it is still wanted."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What somebody wants done to a saga.

    Attributes:
        still_wanted: raises where the saga, once it is locked, is not what was meant.
        details: what the audit entry says beside it.
    """

    action: str
    actor: Actor
    asked: Input
    audit_id: UUID
    still_wanted: Callable[[Saga], None] = nothing_to_check
    details: Mapping[str, Any] = field(default_factory=dict)


class Operations:
    """Actions of people on sagas."""

    def __init__(
        self, unit_of_work: UnitOfWork[OrchestratorTransaction], engine: Engine, new_id: NewId
    ) -> None:
        self._unit_of_work = unit_of_work
        self._engine = engine
        self._new_id = new_id

    async def cancel(self, saga_id: UUID, actor: Actor, expected_version: int | None = None) -> Done:
        """Undo what a saga has done (S9). Repeating it is fine.

        Raises:
            NotFound, StaleVersion, NotAllowed, StorageUnavailable
        """
        return await self._act("cancel", saga_id, actor, CancelRequested(actor), expected_version)

    async def retry(
        self, saga_id: UUID, actor: Actor, expected_version: int | None = None, step: str | None = None
    ) -> Done:
        """Send what the saga awaits once more, with a full deadline (S10). Raises as `cancel` does.

        Args:
            step: the piece that is meant; None for all of them (S20).
        """
        return await self._act("retry", saga_id, actor, RetryRequested(actor, step), expected_version)

    async def signal(
        self, saga_id: UUID, signal: SignalReceived, expected_version: int | None = None
    ) -> Done:
        """Take what a wait waits for, once; a repeat changes nothing (S23). Raises as `cancel` does."""
        return await self._act("signal", saga_id, signal.actor, signal, expected_version)

    async def resolve(
        self, saga_id: UUID, verdict: ResolveRequested, expected_version: int | None = None
    ) -> Done:
        """Take a verdict to the participant (S19). Raises as `cancel` does."""
        return await self._act("resolve", saga_id, verdict.actor, verdict, expected_version)

    async def _act(
        self, action: str, saga_id: UUID, actor: Actor, asked: Input, expected_version: int | None
    ) -> Done:
        def is_the_version(saga: Saga) -> None:
            if expected_version not in (None, saga.version):
                raise StaleVersion(saga.version)

        errand = Errand(action, actor, asked, self._new_id(), is_the_version)
        return await self._unit_of_work.run(lambda transaction: self.act_within(transaction, saga_id, errand))

    async def act_within(self, transaction: OrchestratorTransaction, saga_id: UUID, errand: Errand) -> Done:
        """Do it in a transaction that does more than that. Raises NotFound, NotAllowed and what it checks."""
        locked = await self._engine.lock(transaction, {saga_id})
        saga = _of(locked, saga_id)
        if await transaction.audit_entry(errand.audit_id) is not None:
            return Done(saga, changed=True)
        errand.still_wanted(saga)
        done = self.fold(locked, saga, errand.asked)
        if done.changed:
            action, details = f"saga.{errand.action}", {**details_of(errand.asked), **errand.details}
            entry = audit(errand.audit_id, locked, errand.actor, action, saga, done.saga, details)
            transaction.add_audit([entry])
            self._engine.write(transaction, locked)
        return done

    async def refusals_within(
        self, transaction: OrchestratorTransaction, saga_ids: Sequence[UUID], asked: Input
    ) -> Mapping[UUID, NotAllowed]:
        """Those of these sagas to which it may not be done now, and why. Changes nothing."""
        locked = await self._engine.lock(transaction, set(saga_ids))
        found: dict[UUID, NotAllowed] = {}
        for saga_id in saga_ids:
            own = {saga_id: locked.sagas[saga_id]} if saga_id in locked.sagas else {}
            try:
                saga = _of(locked, saga_id)
                self.fold(self._engine.work_on(own, locked.now, locked.unreadable), saga, asked)
            except NotAllowed as refused:
                found[saga_id] = refused
            except NotFound as gone:
                found[saga_id] = NotAllowed("gone", str(gone))
        return found

    def fold(self, work: LockedSagas, saga: Saga, asked: Input) -> Done:
        """Apply a person's input to a locked saga; raises NotAllowed where the machine refuses it."""
        answer = self._engine.fold(work, Happening(saga.saga_id, asked))
        match answer:
            case Refused(code, reason):
                raise NotAllowed(code, reason, self.allowed(saga))
            case Stale():
                return Done(saga, changed=False)
            case UnknownVersion(definition, version):
                reason = f"this process does not know {definition} version {version}"
                raise UnknownHere("unknown_version", reason)
            case UnknownSaga():
                raise NotFound(f"there is no saga {saga.saga_id}")
            case UnreadableSaga(reason):
                raise unreadable(reason)
            case _:
                return Done(work.sagas[saga.saga_id], changed=True)

    def allowed(self, saga: Saga) -> tuple[str, ...]:
        """What may be done to the saga now."""
        definition = self._engine.registry.find(saga.definition, saga.definition_version)
        known = definition is not None and definition.has_all(step.name for step in saga.steps)
        return allowed_actions(definition, saga) if definition is not None and known else ()


def _of(work: LockedSagas, saga_id: UUID) -> Saga:
    if saga_id in work.unreadable:
        raise unreadable(work.unreadable[saga_id])
    saga = work.sagas.get(saga_id)
    if saga is None:
        raise NotFound(f"there is no saga {saga_id}")
    return saga


def audit(
    audit_id: UUID,
    work: LockedSagas,
    actor: Actor,
    action: str,
    before: Saga,
    after: Saga,
    details: Mapping[str, Any],
) -> AuditEntry:
    """The audit entry of an action on a saga (D6)."""
    subject, then = f"saga:{before.saga_id}", {**_view(after), **details}
    return AuditEntry(audit_id, work.now, actor.name, action, subject, actor.reason, _view(before), then)


def details_of(asked: Input) -> Mapping[str, Any]:
    """What an audit entry says of what was asked for, beyond the action itself."""
    match asked:
        case ResolveRequested():
            said = {"step": asked.step, "verdict": asked.verdict.value}
            return {"resolution": {**said, "reference": asked.reference, "amount": asked.amount}}
        case RetryRequested(step=str()):
            return {"retried": asked.step}
        case SignalReceived():
            return {"signal": asked.wait}  # its body, which may be sensitive, stands in the history
        case _:
            return {}


def _view(saga: Saga) -> dict[str, Any]:
    return {
        "status": saga.status.value,
        "step": saga.awaited[0].step if saga.awaited else None,
        "direction": saga.direction.value,
        "version": saga.version,
        "incidents": [incident.kind.value for incident in saga.incidents],
    }
