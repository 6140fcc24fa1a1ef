"""The orchestrator's storage on PostgreSQL: multi-row statements, one round trip for all writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import TupleRow
from sqlalchemy.ext.asyncio import AsyncConnection as SqlConnection

from messaging.identifiers import AS_NUMBER
from messaging.postgresql import SqlTransaction
from messaging.round_trip import Connection
from orchestrator.codec import Unreadable, dump_input, dump_json, dump_state, kind_of, read_saga
from orchestrator.core.registry import Registry
from orchestrator.core.state import ENDED, IncidentKind, Saga
from orchestrator.dead_letters.rows import (
    KNOWN_DEATHS,
    RECORD_DEATH,
    RESOLVE_DEAD_LETTERS,
    RESOLVE_REPLAYED,
    SELECT_DEAD_LETTERS,
    UPDATE_DEAD_LETTER,
    dead_letter_of,
    death_parameters,
)
from orchestrator.followers import SELECT_FOLLOWERS, SELECT_SAGAS_ABOUT, followers_of
from orchestrator.saga_cache import UNKNOWN, SagaCache
from orchestrator.storage import (
    AuditEntry,
    DeadLetter,
    Followers,
    HistoryEntry,
    KeyClaim,
    Locked,
    NewSaga,
    ReferenceClaim,
    SagaChange,
    WorkEnded,
)

CLOCK: Final = "SELECT clock_timestamp()"

_SAGA_FIELDS: Final = (
    "saga_id",
    "subject_id",
    "definition",
    "definition_version",
    "status",
    "label",
    "direction",
    "version",
    "due_at",
    "created_at",
    "updated_at",
    "ended_at",
)

LOCK_SAGAS: Final = """
SELECT s.saga_id, s.order_id, s.definition, s.definition_version, s.status, s.order_status, s.direction,
       s.version, s.due_at, s.created_at, s.updated_at, s.ended_at, s.revision,
       CASE WHEN (s.revision, s.updated_at) IS DISTINCT FROM (w.revision, w.at) THEN s.state::text END,
       CASE WHEN (s.revision, s.updated_at) IS DISTINCT FROM (w.revision, w.at)
            THEN (SELECT o.document::text FROM orchestrator.orders o WHERE o.order_id = s.order_id) END
FROM unnest(%s::uuid[], %s::int[], %s::timestamptz[]) AS w (saga_id, revision, at)
JOIN orchestrator.sagas s ON s.saga_id = w.saga_id
ORDER BY s.saga_id FOR UPDATE OF s
"""

LOCK_DUE: Final = """
SELECT saga_id FROM orchestrator.sagas
WHERE due_at <= (SELECT clock_timestamp()) AND EXISTS (
    SELECT FROM unnest(%s::text[], %s::int[]) AS known (name, version)
    WHERE name = definition AND version = definition_version OFFSET 0)
ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
"""Along the index, as far as is wanted: joined with what is known, all that is due would be sorted first."""

INSERT_ORDERS: Final = """
INSERT INTO orchestrator.orders (order_id, saga_id, customer_id, document, created_at)
SELECT order_id, saga_id, customer_id, document::json, created_at
FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::timestamptz[])
  AS o (order_id, saga_id, customer_id, document, created_at)
"""

INSERT_SAGAS: Final = """
INSERT INTO orchestrator.sagas (saga_id, order_id, definition, definition_version, status, order_status,
    step, direction, version, incident_kinds, due_at, created_at, updated_at, ended_at, ended_as, state)
SELECT saga_id, order_id, definition, definition_version, status, order_status, step,
       direction, version, '{}', due_at, created_at, updated_at, ended_at,
       CASE WHEN ended_at IS NOT NULL THEN order_status END, state::json
FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::int[], %s::text[], %s::text[], %s::text[],
            %s::text[], %s::int[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[],
            %s::timestamptz[], %s::text[])
  AS s (saga_id, order_id, definition, definition_version, status, order_status, step,
        direction, version, due_at, created_at, updated_at, ended_at, state)
"""
"""One whose stages are all skipped ends where it starts (S22, S23)."""

UPDATE_SAGAS: Final = """
UPDATE orchestrator.sagas s
SET status = n.status, order_status = n.order_status, step = n.step, direction = n.direction,
    version = n.version, incident_kinds = string_to_array(n.incident_kinds, ','), due_at = n.due_at,
    updated_at = n.updated_at, ended_at = n.ended_at, revision = s.revision + 1,
    ended_as = CASE WHEN n.ended_at IS NOT NULL THEN n.order_status END, state = n.state::json
FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::int[], %s::text[],
            %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::text[])
  AS n (saga_id, previous_version, status, order_status, step, direction, version, incident_kinds,
        due_at, updated_at, ended_at, state)
WHERE s.saga_id = n.saga_id AND s.version = n.previous_version
"""

SET_ASIDE: Final = """
UPDATE orchestrator.sagas SET due_at = %s, revision = revision + 1,
    incident_kinds = array_append(array_remove(incident_kinds, %s), %s)
WHERE saga_id = ANY(%s)
"""

INSERT_HISTORY: Final = """
INSERT INTO orchestrator.history (saga_id, version, at, kind, accepted, led_to, transaction_id)
SELECT saga_id, version, at, kind, accepted::json, led_to::json, greatest(pg_current_xact_id(), (
    SELECT b.transaction_id FROM orchestrator.history b
    WHERE b.saga_id = h.saga_id AND b.version < h.version ORDER BY b.version DESC LIMIT 1))
FROM unnest(%s::uuid[], %s::int[], %s::timestamptz[], %s::text[], %s::text[], %s::text[])
  AS h (saga_id, version, at, kind, accepted, led_to)
"""
"""A transaction that waited for a saga may have an older number than the one that it waited for: an entry is
never before the one that it follows (S29). To whoever reads below the oldest open transaction it is then one
of a later transaction, so that nothing is read too early.
"""

CLAIM_KEYS: Final = """
INSERT INTO orchestrator.idempotency_keys AS k (customer_id, key, fingerprint, order_id, created_at)
SELECT customer_id, key, fingerprint, order_id, %s
FROM unnest(%s::text[], %s::text[], %s::bytea[], %s::uuid[]) AS c (customer_id, key, fingerprint, order_id)
ON CONFLICT (customer_id, key) DO UPDATE
SET fingerprint = excluded.fingerprint, order_id = excluded.order_id, created_at = excluded.created_at
WHERE k.created_at < %s
RETURNING customer_id, key
"""

FIND_KEYS: Final = """
SELECT k.customer_id, k.key, k.fingerprint, k.order_id FROM orchestrator.idempotency_keys k
JOIN unnest(%s::text[], %s::text[]) AS c (customer_id, key) USING (customer_id, key)
"""

GIVE_UP_KEYS: Final = """
UPDATE orchestrator.idempotency_keys k SET created_at = to_timestamp(0)
FROM unnest(%s::text[], %s::text[], %s::uuid[]) AS c (customer_id, key, order_id)
WHERE k.customer_id = c.customer_id AND k.key = c.key AND k.order_id = c.order_id
"""
"""They have expired: the services that face the network may take no row away."""

CLAIM_REFERENCES: Final = """
INSERT INTO orchestrator.saga_references (definition, owner, reference, saga_id, subject_id)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::uuid[], %s::uuid[])
ON CONFLICT (definition, owner, reference) DO UPDATE SET reference = excluded.reference
RETURNING definition, owner, reference, saga_id, subject_id
"""
"""A reference that stands is written as it is: so its row cannot be pruned meanwhile."""

INSERT_METADATA: Final = """
INSERT INTO orchestrator.saga_metadata (saga_id, key, value)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[])
"""

INSERT_AUDIT: Final = """
INSERT INTO orchestrator.audit_log (audit_id, at, actor, action, subject, reason, before, after)
VALUES (%s, %s, %s, %s, %s, %s, %s::json, %s::json)
"""

READ_MARK: Final = "SELECT mark FROM orchestrator.retention"

SELECT_AUDIT: Final = """
SELECT audit_id, at, actor, action, subject, reason, before, after
FROM orchestrator.audit_log WHERE audit_id = %s
"""


class PostgresTransaction(SqlTransaction):
    """`orchestrator.storage.OrchestratorTransaction` on PostgreSQL."""

    schema = "orchestrator"

    def __init__(
        self,
        connection: SqlConnection,
        driver: Connection,
        registry: Registry,
        remembered: SagaCache | None = None,
    ) -> None:
        """
        Args:
            registry: by whose definitions the inputs of sagas are read.
            remembered: sagas as this process last wrote them, shared by its transactions.
        """
        super().__init__(connection, driver)
        self._registry = registry
        self._remembered = remembered if remembered is not None else SagaCache()
        self._revisions: dict[UUID, int] = {}

    async def lock_sagas(self, saga_ids: Collection[UUID]) -> Locked:
        """See the port."""
        wanted = sorted(saga_ids, key=AS_NUMBER)
        known = {saga_id: found for saga_id in wanted if (found := self._remembered.get(saga_id))}
        revisions = [known[saga_id][0] if saga_id in known else UNKNOWN for saga_id in wanted]
        times = [known[saga_id][1].updated_at if saga_id in known else None for saga_id in wanted]
        rows, clock = await self.fetch_together((LOCK_SAGAS, [wanted, revisions, times]), (CLOCK, []))
        return self._locked(rows, clock, known)

    def _locked(
        self,
        rows: Sequence[TupleRow],
        clock: Sequence[TupleRow],
        known: Mapping[UUID, tuple[int, Saga]],
    ) -> Locked:
        """The sagas of locked rows: those that come without their state are as they were remembered."""
        self._revisions.update((row[0], row[-3]) for row in rows)
        sagas: dict[UUID, Saga] = {}
        unreadable: dict[UUID, str] = {}
        for row in rows:
            saga_id = row[0]
            try:
                sagas[saga_id] = known[saga_id][1] if row[-2] is None else self._saga(row)
            except Unreadable as error:
                unreadable[saga_id] = str(error)
        return Locked(clock[0][0], sagas, unreadable)

    def _saga(self, row: TupleRow) -> Saga:
        columns = dict(zip(_SAGA_FIELDS, row, strict=False))
        return read_saga(columns, row[-2], row[-1], self._registry)

    def set_aside(self, saga_ids: Collection[UUID], until: datetime) -> None:
        """See the port."""
        kind = IncidentKind.UNREADABLE.value
        self.write(SET_ASIDE, [until, kind, kind, sorted(saga_ids, key=AS_NUMBER)])

    async def lock_due_sagas(self, limit: int, known: Collection[tuple[str, int]]) -> Locked:
        """See the port. Found by their index; the state of those that are remembered is not read again."""
        names = [name for name, _ in known]
        versions = [version for _, version in known]
        due, clock = await self.fetch_together((LOCK_DUE, [names, versions, limit]), (CLOCK, []))
        return await self.lock_sagas([row[0] for row in due]) if due else Locked(clock[0][0], {})

    def add_sagas(self, started: Sequence[NewSaga]) -> None:
        """See the port."""
        sagas = [each.saga for each in started]
        order_columns = [
            [saga.subject_id for saga in sagas],
            [saga.saga_id for saga in sagas],
            [each.owner for each in started],
            [saga.input.model_dump_json() for saga in sagas],
            [saga.created_at for saga in sagas],
        ]
        saga_columns = [
            [saga.saga_id for saga in sagas],
            [saga.subject_id for saga in sagas],
            [saga.definition for saga in sagas],
            [saga.definition_version for saga in sagas],
            [saga.status.value for saga in sagas],
            [saga.label for saga in sagas],
            [saga.awaited[0].step if saga.awaited else None for saga in sagas],
            [saga.direction.value for saga in sagas],
            [saga.version for saga in sagas],
            [saga.due_at for saga in sagas],
            [saga.created_at for saga in sagas],
            [saga.updated_at for saga in sagas],
            [saga.ended_at for saga in sagas],
            [dump_state(saga) for saga in sagas],
        ]
        self.write(INSERT_ORDERS, order_columns, len(sagas))
        self.write(INSERT_SAGAS, saga_columns, len(sagas))

    def save_sagas(self, changes: Sequence[SagaChange]) -> None:
        """See the port."""
        sagas = [change.saga for change in changes]
        columns = [
            [saga.saga_id for saga in sagas],
            [change.previous_version for change in changes],
            [saga.status.value for saga in sagas],
            [saga.label for saga in sagas],
            [saga.awaited[0].step if saga.awaited else None for saga in sagas],
            [saga.direction.value for saga in sagas],
            [saga.version for saga in sagas],
            [",".join(dict.fromkeys(incident.kind for incident in saga.incidents)) for saga in sagas],
            [saga.due_at for saga in sagas],
            [saga.updated_at for saga in sagas],
            [saga.ended_at if saga.status in ENDED else None for saga in sagas],
            [dump_state(saga) for saga in sagas],
        ]
        self.write(UPDATE_SAGAS, columns, len(changes))
        self.after_commit(lambda: self._remember(sagas))

    def _remember(self, sagas: Sequence[Saga]) -> None:
        """What this transaction has committed; an ended saga will hardly be asked for again."""
        for saga in sagas:
            revision = self._revisions.get(saga.saga_id)
            if saga.status in ENDED or revision is None:
                self._remembered.forget(saga.saga_id)
            else:
                self._remembered.put(saga, revision + 1)

    def add_history(self, entries: Sequence[HistoryEntry]) -> None:
        """See the port."""
        columns = [
            [entry.saga_id for entry in entries],
            [entry.version for entry in entries],
            [entry.at for entry in entries],
            [kind_of(entry.accepted) for entry in entries],
            [dump_input(entry.accepted) for entry in entries],
            [dump_json(entry.led_to) for entry in entries],
        ]
        self.write(INSERT_HISTORY, columns, len(entries))

    async def claim_keys(
        self, claims: Sequence[KeyClaim], now: datetime, expired_before: datetime
    ) -> Mapping[tuple[str, str], KeyClaim]:
        """See the port."""
        names = [[claim.customer_id for claim in claims], [claim.key for claim in claims]]
        values = [[claim.fingerprint for claim in claims], [claim.order_id for claim in claims]]
        taken = await self.fetch(CLAIM_KEYS, [now, *names, *values, expired_before])
        if len(taken) == len(claims):
            return {}
        ours = {(row[0], row[1]) for row in taken}
        found = [
            KeyClaim(row[0], row[1], bytes(row[2]), row[3]) for row in await self.fetch(FIND_KEYS, names)
        ]
        return {
            (claim.customer_id, claim.key): claim
            for claim in found
            if (claim.customer_id, claim.key) not in ours
        }

    def give_up_keys(self, claims: Sequence[KeyClaim]) -> None:
        """See the port."""
        names = [[claim.customer_id for claim in claims], [claim.key for claim in claims]]
        self.write(GIVE_UP_KEYS, [*names, [claim.order_id for claim in claims]], len(claims))

    async def claim_references(
        self, claims: Sequence[ReferenceClaim]
    ) -> Mapping[tuple[str, str, str], ReferenceClaim]:
        """See the port."""
        columns = [[getattr(claim, field.name) for claim in claims] for field in fields(ReferenceClaim)]
        found = [ReferenceClaim(*row) for row in await self.fetch(CLAIM_REFERENCES, columns)]
        ours = set(claims)
        return {claim.name: claim for claim in found if claim not in ours}

    def add_metadata(self, metadata: Mapping[UUID, Mapping[str, str]]) -> None:
        """See the port."""
        rows = [(saga_id, key, value) for saga_id, each in metadata.items() for key, value in each.items()]
        self.write(INSERT_METADATA, [list(column) for column in zip(*rows, strict=True)], len(rows))

    async def sagas_about(self, subject_ids: Collection[UUID]) -> Mapping[UUID, UUID]:
        """See the port."""
        return {row[0]: row[1] for row in await self.fetch(SELECT_SAGAS_ABOUT, [list(subject_ids)])}

    async def followers(
        self, definition: str, key: str, subject_ids: Collection[UUID]
    ) -> Mapping[UUID, Followers]:
        """See the port."""
        values = [str(subject_id) for subject_id in subject_ids]
        return followers_of(await self.fetch(SELECT_FOLLOWERS, [key, values, definition]), self._registry)

    async def existing_orders(self, order_ids: Sequence[UUID]) -> set[UUID]:
        """See the port."""
        query = "SELECT order_id FROM orchestrator.orders WHERE order_id = ANY(%s)"
        return {row[0] for row in await self.fetch(query, [list(order_ids)])}

    async def known_deaths(self, deaths: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """See the port."""
        rows = await self.fetch(KNOWN_DEATHS, [[key for key, _ in deaths], [death for _, death in deaths]])
        return {(row[0], row[1]) for row in rows}

    def record_deaths(self, dead_letters: Sequence[DeadLetter]) -> None:
        """See the port."""
        for dead in dead_letters:
            self.write(RECORD_DEATH, death_parameters(dead))

    def resolve_dead_letters(self, ended: Sequence[WorkEnded], now: datetime) -> None:
        """See the port."""
        columns = [
            [work.saga_id for work in ended],
            [work.step for work in ended],
            [work.direction for work in ended],
            [work.cause for work in ended],
        ]
        self.write(RESOLVE_DEAD_LETTERS, [now, *columns])

    def resolve_replayed(self, work_keys: Sequence[str], cause: str, now: datetime) -> None:
        """See the port."""
        self.write(RESOLVE_REPLAYED, [cause, now, list(work_keys)])

    async def read_dead_letter(self, dead_letter_id: UUID) -> DeadLetter | None:
        """See the port."""
        rows = await self.fetch(f"{SELECT_DEAD_LETTERS} WHERE dead_letter_id = %s", [dead_letter_id])
        return dead_letter_of(rows[0]) if rows else None

    async def lock_dead_letters(self, dead_letter_ids: Collection[UUID]) -> Mapping[UUID, DeadLetter]:
        """See the port."""
        query = (
            f'{SELECT_DEAD_LETTERS} WHERE dead_letter_id = ANY(%s) ORDER BY work_key COLLATE "C" FOR UPDATE'
        )
        rows = await self.fetch(query, [list(dead_letter_ids)])
        return {row[0]: dead_letter_of(row) for row in rows}

    def save_dead_letters(self, dead_letters: Sequence[DeadLetter], now: datetime) -> None:
        """See the port."""
        for dead in dead_letters:
            identity = [dead.dead_letter_id, dead.version - 1]
            self.write(UPDATE_DEAD_LETTER, [str(dead.status), dead.cause, dead.version, now, *identity], 1)

    async def low_water_mark(self) -> UUID | None:
        """See the port."""
        rows = await self.fetch(READ_MARK)
        return rows[0][0] if rows else None

    async def audited(self, action: str, subjects: Sequence[str]) -> set[str]:
        """See the port."""
        query = "SELECT DISTINCT subject FROM orchestrator.audit_log WHERE subject = ANY(%s) AND action = %s"
        return {row[0] for row in await self.fetch(query, [list(subjects), action])}

    async def audit_entry(self, audit_id: UUID) -> AuditEntry | None:
        """See the port."""
        rows = await self.fetch(SELECT_AUDIT, [audit_id])
        return AuditEntry(*rows[0]) if rows else None

    def add_audit(self, entries: Sequence[AuditEntry]) -> None:
        """See the port."""
        for entry in entries:
            values = [getattr(entry, field.name) for field in fields(AuditEntry)]
            self.write(INSERT_AUDIT, [*values[:6], dump_json(entry.before), dump_json(entry.after)], 1)
