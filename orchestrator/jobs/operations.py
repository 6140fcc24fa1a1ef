"""What people do with jobs: see what one would do, start it, cancel it (D5, D6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from contracts.words import said_of
from messaging.identifiers import NewId
from messaging.unit_of_work import UnitOfWork
from orchestrator.core.inputs import Actor
from orchestrator.jobs.job import (
    ABOUT_SAGAS,
    Job,
    JobKind,
    JobState,
    Outcome,
    Refusals,
    counted,
    ended,
)
from orchestrator.jobs.storage import JobTransaction
from orchestrator.jobs.tasks import Assignment, Examined, Tasks
from orchestrator.operations import NotAllowed, NotFound, StaleVersion
from orchestrator.storage import AuditEntry

EXAMINED: Final = 1000
"""Items that a dry run looks at one by one; the others it counts."""

_AT_ONCE: Final = 100


class CountChanged(Exception):
    """There are not as many items as the caller expected.

    Attributes:
        current: how many there are.
    """

    def __init__(self, current: int) -> None:
        super().__init__(f"there are {current} now")
        self.current = current


class BegunBefore(Exception):
    """The form that asks for this job has begun one already.

    Attributes:
        job: that one.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(f"it was begun at {job.created_at}")
        self.job = job


@dataclass(frozen=True, slots=True)
class Preview:
    """What a job would do now.

    Attributes:
        total: items that it would choose.
        examined: how many of them were looked at, the oldest first.
        refusals: of those examined, by code.
    """

    total: int
    examined: int
    refusals: Mapping[str, Refusals]


class JobOperations:
    """Actions of people on jobs."""

    def __init__(self, unit_of_work: UnitOfWork[JobTransaction], tasks: Tasks, new_id: NewId) -> None:
        self._unit_of_work = unit_of_work
        self._tasks = tasks
        self._new_id = new_id

    async def preview(self, wanted: Assignment) -> Preview:
        """What a job would do now. Changes nothing; holds no lock for longer than a moment."""
        total = await self._unit_of_work.run(lambda transaction: transaction.count_selected(wanted.selected))
        if wanted.kind is JobKind.DISCARD:
            return Preview(total, total, {})
        outcomes: list[Outcome] = []
        last: UUID | None = None
        while len(outcomes) < EXAMINED:
            last, some = await self._examined(wanted, last)
            if last is None:
                break
            outcomes += some
        return Preview(max(total, len(outcomes)), len(outcomes), counted(outcomes))

    async def start(self, assignment: Assignment, actor: Actor) -> Job:
        """Begin a job on every dead letter or saga that is like this now, and on no later one.

        Raises:
            BegunBefore: the same form has begun one.
            CountChanged: there are not as many as expected.
            NotAllowed: there is none.
        """
        job_id, audit_id = self._new_id(), self._new_id()

        async def work(transaction: JobTransaction) -> Job:
            found = await self._begun(transaction, job_id, assignment.form_id)
            if found is not None:
                return found
            total = await transaction.choose_items(job_id, assignment.selected)
            if assignment.expected_count not in (None, total):
                raise CountChanged(total)
            if total == 0:
                raise NotAllowed("nothing_selected", _nothing_like_this(assignment.kind))
            job = _new_job(job_id, assignment, actor, total, await transaction.now())
            transaction.add_job(job)
            entry = _entry(audit_id, job.created_at, actor, "job.start", None, job, assignment.form_id)
            transaction.add_audit([entry])
            return job

        return await self._unit_of_work.run(work)

    async def cancel(self, job_id: UUID, actor: Actor, expected_version: int | None = None) -> Job:
        """End a job: once this returns, nothing more of it is done.

        Raises:
            NotFound, StaleVersion, NotAllowed
        """
        audit_id = self._new_id()

        async def work(transaction: JobTransaction) -> Job:
            job = await transaction.lock_job(job_id)
            if job is None:
                raise NotFound(f"there is no job {job_id}")
            if await transaction.audit_entry(audit_id) is not None:
                return job
            if expected_version is not None and expected_version != job.version:
                raise StaleVersion(job.version)
            if job.state is not JobState.RUNNING:
                raise _is_over(job)
            now = await transaction.now()
            cancelled = replace(
                ended(job, JobState.CANCELLED, now), ended_by=actor.name, end_reason=actor.reason
            )
            transaction.end_job(cancelled, now)
            transaction.add_audit([_entry(audit_id, now, actor, "job.cancel", job, cancelled)])
            return cancelled

        return await self._unit_of_work.run(work)

    async def _begun(self, transaction: JobTransaction, job_id: UUID, form_id: UUID | None) -> Job | None:
        """The job where an earlier run has begun it (S17); holds whoever sends its form at the same time.

        Raises:
            BegunBefore: the form has begun another one.
        """
        of_form = await transaction.job_of_form(form_id) if form_id is not None else None
        job = await transaction.read_job(of_form or job_id)
        if job is not None and job.job_id != job_id:
            raise BegunBefore(job)
        return job

    async def _examined(self, wanted: Assignment, after: UUID | None) -> Examined:
        """The outcomes of the next few, and the last of them; None where there is none."""
        task = self._tasks.of(wanted.kind)
        return await self._unit_of_work.run(
            lambda transaction: task.examine(transaction, wanted, after, _AT_ONCE)
        )


def _is_over(job: Job) -> NotAllowed:
    if job.state in set(JobState):
        return NotAllowed("ended", f"it is {job.state} already")
    return NotAllowed("unknown_state", f"it is at the {said_of(JobState, job.state, 'state')}")


def _nothing_like_this(kind: JobKind) -> str:
    return "no saga is like this" if kind in ABOUT_SAGAS else "no open dead letter is like this"


def _new_job(job_id: UUID, assignment: Assignment, actor: Actor, total: int, now: datetime) -> Job:
    return Job(
        job_id=job_id,
        kind=assignment.kind,
        filter=assignment.selected.document,
        reason=actor.reason,
        actor=actor.name,
        rate_per_second=assignment.rate_per_second,
        created_at=now,
        next_at=now,
        total=total,
        details=assignment.details,
    )


def _entry(
    audit_id: UUID,
    now: datetime,
    actor: Actor,
    action: str,
    before: Job | None,
    after: Job,
    form_id: UUID | None = None,
) -> AuditEntry:
    was = {} if before is None else _view(before)
    then = _view(after) | ({} if form_id is None else {"form_id": str(form_id)})
    return AuditEntry(audit_id, now, actor.name, action, f"job:{after.job_id}", actor.reason, was, then)


def _view(job: Job) -> dict[str, object]:
    return {
        "status": str(job.state),
        "version": job.version,
        "kind": str(job.kind),
        "filter": dict(job.filter),
        **({"details": dict(job.details)} if job.details else {}),
        "total": job.total,
        "succeeded": job.succeeded,
        "refused": job.refused,
    }
