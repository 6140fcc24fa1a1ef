"""The orchestrator's storage in memory; `orchestrator.postgresql` is its counterpart on PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from operator import attrgetter
from typing import Final
from uuid import UUID

from psycopg import errors

from messaging.postgresql import LostUpdate
from orchestrator.core.following import Follower
from orchestrator.core.state import ENDED, Saga, Status
from orchestrator.storage import (
    AuditEntry,
    DeadLetter,
    DeadLetterStatus,
    Followers,
    HistoryEntry,
    KeyClaim,
    Locked,
    NewSaga,
    ReferenceClaim,
    SagaChange,
    WorkEnded,
)
from simulation.storage.transaction import MemoryTransaction

SAGAS: Final = "sagas"
SPOILT: Final = "spoilt"
"""Sagas whose row cannot be read any more, with the reason: what is stored here is never written as text."""

HISTORY: Final = "history"
KEYS: Final = "idempotency_keys"
REFERENCES: Final = "saga_references"
DEAD_LETTERS: Final = "dead_letters"
AUDIT: Final = "audit_log"
RETENTION: Final = "retention"
_ONLY: Final = 1
"""The key of the only row of the table of retention."""

_OPEN_WORK: Final = "dead_letters_one_open"
"""The unique index that allows one open dead letter a piece of work."""

_OPEN: Final = (DeadLetterStatus.OPEN, DeadLetterStatus.REPLAYING)
_REMEMBERED_DEATHS: Final = 100

_Work = tuple[UUID | None, str | None, str | None]
"""What a dead command was for: saga, step and direction."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An idempotency key and since when it stands."""

    claim: KeyClaim
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """A dead letter with the latest messages that died for its work."""

    dead: DeadLetter
    death_ids: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether it still wants somebody's attention."""
        return self.dead.status in _OPEN


class MemoryOrchestratorTransaction(MemoryTransaction):
    """An `orchestrator.storage.OrchestratorTransaction`."""

    async def lock_sagas(self, saga_ids: Collection[UUID]) -> Locked:
        """See the port."""
        await self.statement()
        return self._locked(await self.session.lock_existing(SAGAS, sorted(saga_ids)))

    async def lock_due_sagas(self, limit: int, known: Collection[tuple[str, int]]) -> Locked:
        """See the port."""
        now = await self.now()
        due = [
            saga
            for _, saga in self.session.all(SAGAS)
            if saga.due_at is not None
            and saga.due_at <= now
            and (saga.definition, saga.definition_version) in known
        ]
        due.sort(key=lambda saga: (saga.due_at, saga.saga_id))
        free = (saga for saga in due if self.session.lock_if_free(SAGAS, saga.saga_id))
        locked = sorted(islice(free, limit), key=lambda saga: saga.saga_id)
        return self._locked({saga.saga_id: saga for saga in locked})

    def _locked(self, sagas: Mapping[UUID, Saga]) -> Locked:
        spoilt = {saga_id: why for saga_id in sagas if (why := self.session.get(SPOILT, saga_id)) is not None}
        readable = {saga_id: saga for saga_id, saga in sagas.items() if saga_id not in spoilt}
        return Locked(self.session.database.clock(), readable, spoilt)

    def set_aside(self, saga_ids: Collection[UUID], until: datetime) -> None:
        """See the port."""

        async def write() -> None:
            for saga_id in sorted(saga_ids):
                await self.session.lock(SAGAS, saga_id)
                self.session.put(SAGAS, saga_id, replace(self.session.get(SAGAS, saga_id), due_at=until))

        self.write(write)

    def add_sagas(self, started: Sequence[NewSaga]) -> None:
        """See the port."""

        async def write() -> None:
            for saga in [each.saga for each in started]:
                await self.session.insert(SAGAS, saga.saga_id, _checked(saga), "sagas_pkey")
                await self.session.insert("orders", saga.subject_id, saga.saga_id, "orders_pkey")

        self.write(write)

    def save_sagas(self, changes: Sequence[SagaChange]) -> None:
        """See the port."""

        async def write() -> None:
            for change in changes:
                key = change.saga.saga_id
                await self.session.lock(SAGAS, key)
                stored: Saga | None = self.session.get(SAGAS, key)
                if stored is None or stored.version != change.previous_version:
                    raise LostUpdate(f"saga {key} is not at version {change.previous_version}")
                self.session.put(SAGAS, key, _checked(change.saga))

        self.write(write)

    def add_history(self, entries: Sequence[HistoryEntry]) -> None:
        """See the port."""

        async def write() -> None:
            for entry in entries:
                key = (entry.saga_id, entry.version)
                await self.session.insert(HISTORY, key, entry, "history_pkey")

        self.write(write)

    async def claim_keys(
        self, claims: Sequence[KeyClaim], now: datetime, expired_before: datetime
    ) -> Mapping[tuple[str, str], KeyClaim]:
        """See the port."""
        await self.statement()
        refused = []
        for claim in claims:
            name = (claim.customer_id, claim.key)
            await self.session.lock(KEYS, name)
            standing: KeyRow | None = self.session.get(KEYS, name)
            if standing is None or standing.created_at < expired_before:
                self.session.put(KEYS, name, KeyRow(claim, now))
            else:
                refused.append(name)
        return {name: self.session.get(KEYS, name).claim for name in refused}

    def give_up_keys(self, claims: Sequence[KeyClaim]) -> None:
        """See the port."""

        async def write() -> None:
            for claim in claims:
                self.session.put(KEYS, (claim.customer_id, claim.key), None)

        self.write(write)

    async def claim_references(
        self, claims: Sequence[ReferenceClaim]
    ) -> Mapping[tuple[str, str, str], ReferenceClaim]:
        """See the port."""
        await self.statement()
        standing: dict[tuple[str, str, str], ReferenceClaim] = {}
        for claim in claims:
            await self.session.lock(REFERENCES, claim.name)
            known: ReferenceClaim | None = self.session.get(REFERENCES, claim.name)
            if known is None:
                self.session.put(REFERENCES, claim.name, claim)
            else:
                standing[claim.name] = known
        return standing

    def add_metadata(self, metadata: Mapping[UUID, Mapping[str, str]]) -> None:
        """See the port. Nothing in the simulation looks for it."""

    async def sagas_about(self, subject_ids: Collection[UUID]) -> Mapping[UUID, UUID]:
        """See the port."""
        await self.statement()
        found = {each: self.session.get("orders", each) for each in subject_ids}
        return {subject_id: saga_id for subject_id, saga_id in found.items() if saga_id is not None}

    async def followers(
        self, definition: str, key: str, subject_ids: Collection[UUID]
    ) -> Mapping[UUID, Followers]:
        """See the port. The metadata stand in the input."""
        await self.statement()
        wanted = {str(subject_id): subject_id for subject_id in subject_ids}
        found: dict[UUID, Followers] = {}
        every: list[Saga] = [saga for _, saga in self.session.all(SAGAS) if saga.definition == definition]
        for saga in sorted(every, key=lambda saga: saga.saga_id):
            subject_id = wanted.get(saga.input.metadata.get(key, ""))
            if subject_id is not None and saga.status is not Status.COMPENSATED:
                others = found.get(subject_id, Followers()).sagas
                found[subject_id] = Followers((*others, Follower(saga.saga_id, saga.input)))
        return found

    async def existing_orders(self, order_ids: Sequence[UUID]) -> set[UUID]:
        """See the port."""
        await self.statement()
        return {each for each in order_ids if self.session.get("orders", each) is not None}

    async def known_deaths(self, deaths: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """See the port."""
        await self.statement()
        known = {
            (row.dead.work_key, death) for _, row in self.session.all(DEAD_LETTERS) for death in row.death_ids
        }
        return known.intersection(deaths)

    def record_deaths(self, dead_letters: Sequence[DeadLetter]) -> None:
        """See the port."""

        async def write() -> None:
            for dead in dead_letters:
                await self._record_death(dead)

        self.write(write)

    def resolve_dead_letters(self, ended: Sequence[WorkEnded], now: datetime) -> None:
        """See the port."""

        async def write() -> None:
            causes: dict[_Work, str] = {(one.saga_id, one.step, one.direction): one.cause for one in ended}
            for key, row in await self._lock_open(self._rows_of(causes)):
                cause = causes[row.dead.saga_id, row.dead.step, row.dead.direction]
                self._put(key, row, status=DeadLetterStatus.RESOLVED, cause=cause)

        self.write(write)

    def resolve_replayed(self, work_keys: Sequence[str], cause: str, now: datetime) -> None:
        """See the port."""

        async def write() -> None:
            rows = [row for _, row in self.session.all(DEAD_LETTERS) if row.dead.work_key in work_keys]
            for key, row in await self._lock_open(rows):
                self._put(key, row, status=DeadLetterStatus.RESOLVED, cause=cause)

        self.write(write)

    async def read_dead_letter(self, dead_letter_id: UUID) -> DeadLetter | None:
        """See the port."""
        await self.statement()
        row: DeadLetterRow | None = self.session.get(DEAD_LETTERS, dead_letter_id)
        return None if row is None else row.dead

    async def lock_dead_letters(self, dead_letter_ids: Collection[UUID]) -> Mapping[UUID, DeadLetter]:
        """See the port."""
        await self.statement()
        locked = await self.session.lock_existing(DEAD_LETTERS, sorted(dead_letter_ids))
        return {key: row.dead for key, row in locked.items()}

    def save_dead_letters(self, dead_letters: Sequence[DeadLetter], now: datetime) -> None:
        """See the port."""

        async def write() -> None:
            for dead in dead_letters:
                key = dead.dead_letter_id
                await self.session.lock(DEAD_LETTERS, key)
                row: DeadLetterRow | None = self.session.get(DEAD_LETTERS, key)
                if row is None or row.dead.version != dead.version - 1:
                    raise LostUpdate(f"dead letter {key} is not at version {dead.version - 1}")
                changed = replace(row.dead, status=dead.status, cause=dead.cause, version=dead.version)
                self.session.put(DEAD_LETTERS, key, replace(row, dead=changed))

        self.write(write)

    async def low_water_mark(self) -> UUID | None:
        """See the port."""
        await self.statement()
        mark: UUID | None = self.session.get(RETENTION, _ONLY)
        return mark

    def advance_mark(self, mark: UUID) -> None:
        """Let the mark stand here, unless it stands higher (P7)."""

        async def write() -> None:
            await self.session.lock(RETENTION, _ONLY)
            standing: UUID | None = self.session.get(RETENTION, _ONLY)
            self.session.put(RETENTION, _ONLY, mark if standing is None else max(mark, standing))

        self.write(write)

    async def audited(self, action: str, subjects: Sequence[str]) -> set[str]:
        """See the port."""
        await self.statement()
        entries = [entry for _, entry in self.session.all(AUDIT)]
        return {each.subject for each in entries if each.action == action and each.subject in subjects}

    async def audit_entry(self, audit_id: UUID) -> AuditEntry | None:
        """See the port."""
        await self.statement()
        entry: AuditEntry | None = self.session.get(AUDIT, audit_id)
        return entry

    def add_audit(self, entries: Sequence[AuditEntry]) -> None:
        """See the port."""

        async def write() -> None:
            for entry in entries:
                await self.session.insert(AUDIT, entry.audit_id, entry, "audit_log_pkey")

        self.write(write)

    async def _lock_open(self, rows: Iterable[DeadLetterRow]) -> list[tuple[UUID, DeadLetterRow]]:
        by_work = sorted((row.dead for row in rows if row.is_open), key=attrgetter("work_key"))
        concerned = [dead.dead_letter_id for dead in by_work]
        locked: dict[UUID, DeadLetterRow] = await self.session.lock_existing(DEAD_LETTERS, concerned)
        return [(key, row) for key, row in locked.items() if row.is_open]

    async def _record_death(self, dead: DeadLetter) -> None:
        """Open a row, or count a repeat on the open one; a death known to a closed row is no news (D2)."""
        same_work = [row for _, row in self.session.all(DEAD_LETTERS) if row.dead.work_key == dead.work_key]
        if any(dead.death_id in row.death_ids and not row.is_open for row in same_work):
            return
        if dead.status in _OPEN:
            await self.session.lock(_OPEN_WORK, dead.work_key)
            for _, row in self.session.all(DEAD_LETTERS):
                if row.dead.work_key == dead.work_key and row.is_open:
                    await self._count_death(row.dead.dead_letter_id, dead)
                    return
        row = DeadLetterRow(dead, (dead.death_id,))
        await self.session.insert(DEAD_LETTERS, dead.dead_letter_id, row, "dead_letters_pkey")

    async def _count_death(self, key: UUID, dead: DeadLetter) -> None:
        await self.session.lock(DEAD_LETTERS, key)
        row: DeadLetterRow = self.session.get(DEAD_LETTERS, key)
        if not row.is_open:
            await self._record_death(dead)
        elif dead.death_id not in row.death_ids:
            self._put(
                key,
                replace(row, death_ids=(*row.death_ids, dead.death_id)[-_REMEMBERED_DEATHS:]),
                status=DeadLetterStatus.OPEN,
                deaths=row.dead.deaths + 1,
                **{name: getattr(dead, name) for name in _OF_THE_LATEST_DEATH},
            )

    def _rows_of(self, works: Collection[_Work]) -> Iterable[DeadLetterRow]:
        for _, row in self.session.all(DEAD_LETTERS):
            if (row.dead.saga_id, row.dead.step, row.dead.direction) in works:
                yield row

    def _put(self, key: UUID, row: DeadLetterRow, **changes: object) -> None:
        dead = replace(row.dead, version=row.dead.version + 1, **changes)  # type: ignore[arg-type]
        self.session.put(DEAD_LETTERS, key, replace(row, dead=dead))


_OF_THE_LATEST_DEATH: Final = (
    "queue",
    "type",
    "error_type",
    "error_message",
    "error_stack",
    "permanent",
    "attempts",
    "last_failed_at",
    "message_id",
    "death_id",
    "headers",
    "body",
    "body_truncated",
)


def _checked(saga: Saga) -> Saga:
    """The table's CHECKs."""
    if (saga.status in ENDED) != (saga.ended_at is not None):
        raise errors.CheckViolation('new row for relation "sagas" violates check constraint "ended_has_time"')
    return saga
