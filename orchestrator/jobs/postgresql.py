"""Jobs on PostgreSQL, in the same transaction as what they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import TupleRow
from sqlalchemy import Column, ColumnElement, func, insert, literal, select

from contracts.words import word_of
from messaging.identifiers import CLOCKS_AGREE_WITHIN, first_id_at, time_of
from orchestrator import selection
from orchestrator.codec import dump_json
from orchestrator.dead_letters.rows import SELECT_DEAD_LETTERS, dead_letter_of
from orchestrator.dead_letters.selection import STILL_OPEN, DeadLetterFilter, conditions
from orchestrator.jobs.job import (
    Item,
    ItemResult,
    Job,
    JobKind,
    JobState,
    Outcome,
    document_of,
    refusals_of,
    turn_size,
)
from orchestrator.jobs.storage import LEASE_S, Selected, Turn
from orchestrator.postgresql import PostgresTransaction
from orchestrator.selection import STILL_GOING, SagaFilter
from orchestrator.storage import DeadLetter
from orchestrator.tables import dead_letters, job_items, sagas

_COLUMNS: Final = tuple(each.name for each in fields(Job))
_LISTED: Final = ", ".join(_COLUMNS)

INSERT_JOB: Final = """
INSERT INTO orchestrator.jobs (job_id, kind, filter, reason, actor, rate_per_second, state, total, succeeded,
    refused, refusals, next_at, leased_until, version, created_at, updated_at, details)
VALUES (%s, %s, %s::json, %s, %s, %s, 'running', %s, 0, 0, '{}', %s, %s, 1, %s, %s, %s::json)
"""

SELECT_JOB: Final = f"SELECT {_LISTED} FROM orchestrator.jobs WHERE job_id = %s"  # noqa: S608

TAKE_TURN: Final = f"""
UPDATE orchestrator.jobs SET lease = %s, leased_until = %s::timestamptz + make_interval(secs => %s)
WHERE job_id = (
    SELECT job_id FROM orchestrator.jobs
    WHERE state = 'running' AND kind = ANY(%s) AND next_at <= %s AND (leased_until <= %s OR lease = %s)
    ORDER BY next_at, job_id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING {_LISTED}
"""  # noqa: S608

END_TURN: Final = """
UPDATE orchestrator.jobs SET leased_until = %s, next_at = %s WHERE job_id = %s AND lease = %s
"""

NEXT_ITEMS: Final = """
SELECT dead_letter_id, seen_version FROM orchestrator.job_items
WHERE job_id = %s AND dead_letter_id > %s ORDER BY dead_letter_id LIMIT %s
"""

SELECT_OUTCOME: Final = """
SELECT result, code, explanation FROM orchestrator.job_items
WHERE job_id = %s AND dead_letter_id = %s AND result <> 'pending'
"""

FINISH_ITEM: Final = """
UPDATE orchestrator.job_items SET result = %s, code = %s, explanation = %s, at = %s
WHERE job_id = %s AND dead_letter_id = %s AND result = 'pending'
"""

MOVE_JOB: Final = """
UPDATE orchestrator.jobs SET position = %s, succeeded = %s, refused = %s, refusals = %s::json, state = %s,
    version = %s, finished_at = %s, updated_at = %s,
    leased_until = %s::timestamptz + make_interval(secs => %s)
WHERE job_id = %s AND lease = %s AND state = 'running' AND succeeded + refused = %s
"""

END_JOB: Final = """
UPDATE orchestrator.jobs SET state = %s, failure = %s, ended_by = %s, end_reason = %s, version = %s,
    finished_at = %s, updated_at = %s
WHERE job_id = %s AND version = %s AND state = 'running'
"""

HOLD_FORM: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"

SELECT_BEGUN: Final = """
SELECT subject FROM orchestrator.audit_log
WHERE action = 'job.start' AND audit_id >= %s AND after ->> 'form_id' = %s
"""

_BEFORE_ALL: Final = UUID(int=0)


class JobPostgresTransaction(PostgresTransaction):
    """`orchestrator.jobs.storage.JobTransaction` on PostgreSQL."""

    async def choose_items(self, job_id: UUID, selected: Selected) -> int:
        """See the port."""
        key, version = _key_and_version(selected)
        values = (literal(job_id), key, version, literal(ItemResult.PENDING.value))
        columns = ("job_id", "dead_letter_id", "seen_version", "result")
        chosen = select(*values).where(*_conditions(selected))
        insertion = insert(job_items).from_select(columns, chosen).execution_options(preserve_rowcount=True)
        return (await self.connection.execute(insertion)).rowcount

    def add_job(self, job: Job) -> None:
        """See the port."""
        what = [job.job_id, str(job.kind), dump_json(job.filter), job.reason, job.actor, job.rate_per_second]
        self.write(INSERT_JOB, [*what, job.total, job.next_at, *[job.created_at] * 3, _details(job)], 1)

    async def count_selected(self, selected: Selected) -> int:
        """See the port."""
        table = _key_and_version(selected)[0].table
        counted = select(func.count()).select_from(table).where(*_conditions(selected))
        count: int = (await self.connection.execute(counted)).scalar_one()
        return count

    async def first_dead_letters(
        self, selected: DeadLetterFilter, after: UUID | None, limit: int
    ) -> Sequence[DeadLetter]:
        """See the port."""
        found = await self.first_selected(selected, after, limit)
        query = f"{SELECT_DEAD_LETTERS} WHERE dead_letter_id = ANY(%s) ORDER BY dead_letter_id"
        return [dead_letter_of(row) for row in await self.fetch(query, [list(found)])]

    async def first_selected(self, selected: Selected, after: UUID | None, limit: int) -> Sequence[UUID]:
        """See the port."""
        key, _ = _key_and_version(selected)
        chosen = select(key).where(key > (after or _BEFORE_ALL), *_conditions(selected))
        return (await self.connection.execute(chosen.order_by(key).limit(limit))).scalars().all()

    async def read_job(self, job_id: UUID) -> Job | None:
        """See the port."""
        rows = await self.fetch(SELECT_JOB, [job_id])
        return _job(rows[0]) if rows else None

    async def job_of_form(self, form_id: UUID) -> UUID | None:
        """See the port."""
        await self.fetch(HOLD_FORM, [str(form_id)])
        since = first_id_at(time_of(form_id) - CLOCKS_AGREE_WITHIN)
        rows = await self.fetch(SELECT_BEGUN, [since, str(form_id)])
        return UUID(rows[0][0].removeprefix("job:")) if rows else None

    async def lock_job(self, job_id: UUID) -> Job | None:
        """See the port."""
        rows = await self.fetch(f"{SELECT_JOB} FOR UPDATE", [job_id])
        return _job(rows[0]) if rows else None

    def end_job(self, job: Job, now: datetime) -> None:
        """See the port."""
        values = [str(job.state), job.failure, job.ended_by, job.end_reason, job.version]
        self.write(END_JOB, [*values, job.finished_at, now, job.job_id, job.version - 1], 1)

    async def take_turn(self, lease: UUID, now: datetime) -> Turn | None:
        """See the port."""
        rows = await self.fetch(TAKE_TURN, [lease, now, LEASE_S, list(map(str, JobKind)), now, now, lease])
        if not rows:
            return None
        job = _job(rows[0])
        behind = [job.job_id, job.position or _BEFORE_ALL, turn_size(job.rate_per_second)]
        return Turn(job, lease, now, [Item(*row) for row in await self.fetch(NEXT_ITEMS, behind)])

    def end_turn(self, turn: Turn, now: datetime, next_at: datetime) -> None:
        """See the port."""
        self.write(END_TURN, [now, next_at, turn.job.job_id, turn.lease])

    async def outcome_of(self, job_id: UUID, item_id: UUID) -> Outcome | None:
        """See the port."""
        rows = await self.fetch(SELECT_OUTCOME, [job_id, item_id])
        return Outcome(word_of(ItemResult, rows[0][0]), *rows[0][1:]) if rows else None

    def finish_item(self, turn: Turn, item: Item, outcome: Outcome, after: Job, now: datetime) -> None:
        """See the port."""
        result = [str(outcome.result), outcome.code, outcome.explanation, now]
        self.write(FINISH_ITEM, [*result, after.job_id, item.item_id], 1)
        moved = [after.position, after.succeeded, after.refused, _refusals(after), str(after.state)]
        end = [after.version, after.finished_at, now, now, LEASE_S]
        self.write(MOVE_JOB, [*moved, *end, after.job_id, turn.lease, after.done - 1], 1)


def _key_and_version(selected: Selected) -> tuple[Column[UUID], Column[int]]:
    """The columns by which what is selected is known."""
    if isinstance(selected, SagaFilter):
        return sagas.c.saga_id, sagas.c.version
    return dead_letters.c.dead_letter_id, dead_letters.c.version


def _conditions(selected: Selected) -> Iterator[ColumnElement[bool]]:
    if isinstance(selected, SagaFilter):
        yield sagas.c.status.in_(selected.statuses or STILL_GOING)
        yield from selection.conditions(selected)
    else:
        yield dead_letters.c.status.in_(selected.statuses or STILL_OPEN)
        yield from conditions(selected)


def _details(job: Job) -> str | None:
    return dump_json(job.details) if job.details else None


def _refusals(job: Job) -> str:
    return dump_json({code: {"count": r.count, "example": r.example} for code, r in job.refusals.items()})


def _job(row: TupleRow) -> Job:
    columns = dict(zip(_COLUMNS, row, strict=True))
    refusals = refusals_of(columns["refusals"])
    known = {"kind": word_of(JobKind, columns["kind"]), "state": word_of(JobState, columns["state"])}
    documents = {name: document_of(columns[name]) for name in ("filter", "details")}
    return Job(**{**columns, **known, **documents, "refusals": refusals})
