"""Retention on PostgreSQL: what keeps the mark down, and small batches of deletions behind it (P7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from contracts.routing import ORCHESTRATOR
from messaging.postgresql import SqlTransaction
from orchestrator.codec import dump_json
from orchestrator.postgresql import INSERT_AUDIT, READ_MARK, SELECT_AUDIT
from orchestrator.retention.mark import Reason
from orchestrator.storage import AuditEntry

_ADVANCE: Final = """
INSERT INTO orchestrator.retention AS r (id, mark, advanced_at) VALUES (1, %s, %s)
ON CONFLICT (id) DO UPDATE SET mark = excluded.mark, advanced_at = excluded.advanced_at
WHERE excluded.mark > r.mark
"""

_COUNT_PRUNED: Final = """
UPDATE orchestrator.retention SET pruned_sagas = pruned_sagas + %s,
    pruned_idempotency_keys = pruned_idempotency_keys + %s, pruned_dead_letters = pruned_dead_letters + %s
"""

_NOTE_PRUNED: Final = """
UPDATE orchestrator.retention
SET pruned_transaction_id = n.transaction_id::xid8, pruned_saga_id = n.saga_id, pruned_version = n.version
FROM (VALUES (%s::text, %s::uuid, %s::int)) AS n (transaction_id, saga_id, version)
WHERE (n.transaction_id::xid8, n.saga_id, n.version)
    > (pruned_transaction_id, coalesce(pruned_saga_id, '00000000-0000-0000-0000-000000000000'::uuid),
       pruned_version)
"""
"""Where in the feed something is missing: a reader who is before it must be told (S29)."""

_NEEDED: Final = {
    Reason.NOT_ENDED: """
SELECT saga_id FROM orchestrator.sagas WHERE saga_id < %s AND ended_as IS NULL ORDER BY saga_id LIMIT 1
""",
    Reason.INCIDENT: """
SELECT saga_id FROM orchestrator.sagas WHERE saga_id < %s AND incident_kinds <> '{}'::text[]
ORDER BY saga_id LIMIT 1
""",
    Reason.DEAD_LETTER: """
SELECT s.saga_id FROM orchestrator.dead_letters d JOIN orchestrator.sagas s ON s.saga_id = coalesce(
    d.saga_id, CASE WHEN d.headers ->> 'correlation-id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                    THEN (d.headers ->> 'correlation-id')::uuid END)
WHERE s.saga_id < %s AND d.status IN ('open', 'replaying') ORDER BY s.saga_id LIMIT 1
""",
}
_ENDED_LATELY: Final = """
SELECT saga_id FROM orchestrator.sagas WHERE saga_id < %s AND updated_at >= %s ORDER BY saga_id LIMIT 1
"""

_AT_REST: Final = """
s.saga_id < %s AND s.updated_at < %s AND s.ended_as IS NOT NULL AND s.incident_kinds = '{}'::text[]
AND NOT EXISTS (SELECT FROM orchestrator.dead_letters d
                WHERE d.saga_id = s.saga_id AND d.status IN ('open', 'replaying'))
"""
_COUNT_SAGAS: Final = f"SELECT count(*) FROM orchestrator.sagas s WHERE {_AT_REST}"  # noqa: S608
_PRUNE_SAGAS: Final = f"""
WITH behind AS (
    SELECT s.saga_id, s.order_id FROM orchestrator.sagas s WHERE {_AT_REST} AND s.saga_id > %s
    ORDER BY s.saga_id LIMIT %s FOR UPDATE OF s SKIP LOCKED),
letters AS (
    DELETE FROM orchestrator.dead_letters d USING behind b WHERE d.saga_id = b.saga_id RETURNING d.*),
entries AS (DELETE FROM orchestrator.history h USING behind b WHERE h.saga_id = b.saga_id RETURNING h.*),
latest AS (SELECT * FROM entries ORDER BY transaction_id DESC, saga_id DESC, version DESC LIMIT 1),
named AS (
    DELETE FROM orchestrator.saga_references r USING behind b WHERE r.saga_id = b.saga_id RETURNING r.*),
marked AS (
    DELETE FROM orchestrator.saga_metadata m USING behind b WHERE m.saga_id = b.saga_id RETURNING m.*),
sold AS (DELETE FROM orchestrator.orders o USING behind b WHERE o.order_id = b.order_id RETURNING o.*),
gone AS (DELETE FROM orchestrator.sagas s USING behind b WHERE s.saga_id = b.saga_id RETURNING s.*)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM entries), (SELECT count(*) FROM letters),
       (SELECT saga_id FROM behind ORDER BY saga_id DESC LIMIT 1),
       (SELECT transaction_id::text FROM latest), (SELECT saga_id FROM latest), (SELECT version FROM latest),
       {{rows}}
"""  # noqa: S608 (constants of this module)

_CLOSED: Final = """
d.status IN ('resolved', 'discarded') AND d.updated_at < %s
AND NOT EXISTS (SELECT FROM orchestrator.sagas s WHERE s.saga_id = d.saga_id)
"""
_COUNT_LETTERS: Final = f"SELECT count(*) FROM orchestrator.dead_letters d WHERE {_CLOSED}"  # noqa: S608
_PRUNE_LETTERS: Final = f"""
WITH old AS (
    SELECT d.dead_letter_id FROM orchestrator.dead_letters d WHERE {_CLOSED} AND d.dead_letter_id > %s
    ORDER BY d.dead_letter_id LIMIT %s FOR UPDATE SKIP LOCKED),
letters AS (
    DELETE FROM orchestrator.dead_letters d USING old WHERE d.dead_letter_id = old.dead_letter_id
    RETURNING d.*)
SELECT (SELECT count(*) FROM letters), (SELECT max(dead_letter_id::text)::uuid FROM letters), {{rows}}
"""  # noqa: S608 (constants of this module)

_COUNT_KEYS: Final = "SELECT count(*) FROM orchestrator.idempotency_keys WHERE created_at < %s"
_PRUNE_KEYS: Final = """
WITH page AS MATERIALIZED (
    SELECT customer_id, key FROM orchestrator.idempotency_keys WHERE (customer_id, key) > (%s, %s)
    ORDER BY customer_id, key LIMIT %s),
expired AS (
    SELECT k.customer_id, k.key FROM orchestrator.idempotency_keys k JOIN page USING (customer_id, key)
    WHERE k.created_at < %s ORDER BY k.customer_id, k.key FOR UPDATE OF k SKIP LOCKED),
gone AS (
    DELETE FROM orchestrator.idempotency_keys k USING expired e
    WHERE k.customer_id = e.customer_id AND k.key = e.key RETURNING k.*)
SELECT customer_id, key, (SELECT count(*) FROM page), (SELECT count(*) FROM gone), {rows}
FROM page ORDER BY customer_id DESC, key DESC LIMIT 1
"""

_ENDED_JOBS: Final = "j.finished_at < %s"
_COUNT_JOBS: Final = f"SELECT count(*) FROM orchestrator.jobs j WHERE {_ENDED_JOBS}"  # noqa: S608
_PRUNE_JOB: Final = f"""
WITH old AS (
    SELECT j.job_id FROM orchestrator.jobs j WHERE {_ENDED_JOBS} AND j.job_id >= %s
    ORDER BY j.job_id LIMIT 1 FOR UPDATE SKIP LOCKED),
page AS (
    SELECT i.job_id, i.dead_letter_id FROM orchestrator.job_items i JOIN old USING (job_id)
    ORDER BY i.dead_letter_id LIMIT %s),
items AS (
    DELETE FROM orchestrator.job_items i USING page p
    WHERE i.job_id = p.job_id AND i.dead_letter_id = p.dead_letter_id RETURNING i.*),
gone AS (
    DELETE FROM orchestrator.jobs j USING old WHERE j.job_id = old.job_id AND NOT EXISTS (
        SELECT FROM orchestrator.job_items i WHERE i.job_id = old.job_id OFFSET %s)
    RETURNING j.*)
SELECT (SELECT job_id FROM old), (SELECT count(*) FROM gone), {{rows}}
"""  # noqa: S608 (constants of this module)

_FIRST: Final = UUID(int=0)

_ROWS: Final = "{rows}"
"""In the place of what a statement gives back, see `RetentionTransaction.rows_of`."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What may go: sagas below ``mark`` at rest since before ``quiet_since``, and what expired by itself."""

    mark: UUID
    quiet_since: datetime
    keys_expired_before: datetime


@dataclass(frozen=True, slots=True)
class Removed:
    """How many rows went, or would go. A saga's order and its dead letters go with it, a job's items too."""

    sagas: int = 0
    history: int = 0
    dead_letters: int = 0
    idempotency_keys: int = 0
    jobs: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(
            self.sagas + other.sagas,
            self.history + other.history,
            self.dead_letters + other.dead_letters,
            self.idempotency_keys + other.idempotency_keys,
            self.jobs + other.jobs,
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: what it removed, where the next one goes on (None at the end), and the rows as JSON."""

    removed: Removed
    after: Any | None
    rows: Sequence[str] = ()


class RetentionTransaction(SqlTransaction):
    """A transaction of the orchestrator's for retention."""

    schema = ORCHESTRATOR

    def rows_of(self, **_: str) -> str:
        """What a statement gives back of the rows that it removes; here nothing.

        Args:
            _: the table of each name that removed rows have in the statement.
        """
        return "ARRAY[]::text[]"

    async def mark(self) -> UUID | None:
        """The mark as it stands."""
        rows = await self.fetch(READ_MARK)
        return rows[0][0] if rows else None

    async def needed(self, below: UUID, quiet_since: datetime) -> dict[Reason, UUID | None]:
        """The lowest saga below a bound that must be kept, by reason."""
        found: dict[Reason, UUID | None] = {}
        for reason, query in _NEEDED.items():
            found[reason] = _one(await self.fetch(query, [below]))
        found[Reason.ENDED_LATELY] = _one(await self.fetch(_ENDED_LATELY, [below, quiet_since]))
        return found

    def advance(self, mark: UUID, now: datetime) -> None:
        """Let the mark stand here, unless it stands higher."""
        self.write(_ADVANCE, [mark, now])

    async def was_audited(self, audit_id: UUID) -> bool:
        """Whether an earlier run has been committed after all (S17)."""
        return bool(await self.fetch(SELECT_AUDIT, [audit_id]))

    def add_audit(self, entry: AuditEntry) -> None:
        """Append to the audit log (D6)."""
        who_and_what = [entry.audit_id, entry.at, entry.actor, entry.action, entry.subject, entry.reason]
        self.write(INSERT_AUDIT, [*who_and_what, dump_json(entry.before), dump_json(entry.after)], 1)

    async def count(self, behind: Behind) -> Removed:
        """What would go; the history of sagas is not counted."""
        sagas = await self.fetch(_COUNT_SAGAS, [behind.mark, behind.quiet_since])
        letters = await self.fetch(_COUNT_LETTERS, [behind.quiet_since])
        keys = await self.fetch(_COUNT_KEYS, [behind.keys_expired_before])
        jobs = await self.fetch(_COUNT_JOBS, [behind.quiet_since])
        return Removed(sagas[0][0], dead_letters=letters[0][0], idempotency_keys=keys[0][0], jobs=jobs[0][0])

    async def prune_sagas(self, behind: Behind, after: UUID | None, limit: int) -> Batch:
        """Remove ended sagas behind the mark with all that is theirs, lowest first; rows held are skipped."""
        parameters = [behind.mark, behind.quiet_since, after or _FIRST, limit]
        rows = self.rows_of(
            gone="sagas",
            sold="orders",
            entries="history",
            letters="dead_letters",
            named="saga_references",
            marked="saga_metadata",
        )
        [(sagas, history, letters, last, *latest, gone)] = await self.fetch(
            _PRUNE_SAGAS.replace(_ROWS, rows), parameters
        )
        if history:
            self.write(_NOTE_PRUNED, latest)
        return self._counted(Removed(sagas, history, letters), last if sagas == limit else None, gone)

    async def prune_dead_letters(self, behind: Behind, after: UUID | None, limit: int) -> Batch:
        """Remove closed dead letters whose saga is not there, or that had none."""
        statement = _PRUNE_LETTERS.replace(_ROWS, self.rows_of(letters="dead_letters"))
        [(letters, last, gone)] = await self.fetch(statement, [behind.quiet_since, after or _FIRST, limit])
        return self._counted(Removed(dead_letters=letters), last if letters == limit else None, gone)

    async def prune_keys(self, behind: Behind, after: tuple[str, str] | None, limit: int) -> Batch:
        """Look at some idempotency keys in their order and remove the expired ones (S14)."""
        customer_id, key = after or ("", "")
        statement = _PRUNE_KEYS.replace(_ROWS, self.rows_of(gone="idempotency_keys"))
        page = await self.fetch(statement, [customer_id, key, limit, behind.keys_expired_before])
        if not page:
            return Batch(Removed(), None)
        [(customer_id, key, looked_at, keys, gone)] = page
        following = (customer_id, key) if looked_at == limit else None
        return self._counted(Removed(idempotency_keys=keys), following, gone)

    async def prune_jobs(self, behind: Behind, after: UUID | None, limit: int) -> Batch:
        """Remove some of the list of the first job that ended long ago, and with the last of it the job."""
        parameters = [behind.quiet_since, after or _FIRST, limit, limit]
        statement = _PRUNE_JOB.replace(_ROWS, self.rows_of(gone="jobs", items="job_items"))
        [(job_id, jobs, gone)] = await self.fetch(statement, parameters)
        return Batch(Removed(jobs=jobs), job_id, gone)

    def _counted(self, removed: Removed, after: Any | None, rows: Sequence[str]) -> Batch:
        if removed != Removed():
            self.write(_COUNT_PRUNED, [removed.sagas, removed.idempotency_keys, removed.dead_letters])
        return Batch(removed, after, rows)


class ArchivingTransaction(RetentionTransaction):
    """The same; it gives back what it removes, each row as JSON with its table."""

    def rows_of(self, **removed: str) -> str:
        """See `RetentionTransaction`."""
        each = (
            f"SELECT json_build_object('table', '{table}', 'row', to_json({name}))::text FROM {name}"  # noqa: S608
            for name, table in removed.items()
        )
        return f"ARRAY({' UNION ALL '.join(each)})"


def _one(rows: list[Any]) -> UUID | None:
    return rows[0][0] if rows else None
