"""Works jobs through, item by item, and goes on where a crash has left them (D5).

What is done to an item, its result, its audit entry and the job's progress are one transaction. The
progress is guarded: it is written only by whoever holds the job's lease, from where the job stood, while the
job runs. Of two replicas that both believe a job theirs only one gets anything done, and a cancel is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import structlog

from messaging.background import finished
from messaging.identifiers import NewId
from messaging.measures import Reading
from messaging.postgresql import LostUpdate
from messaging.unit_of_work import UnitOfWork
from orchestrator.jobs.job import (
    SUCCEEDED,
    Item,
    ItemResult,
    Job,
    JobKind,
    JobState,
    Outcome,
    after,
    ended,
    next_turn_at,
)
from orchestrator.jobs.storage import JobTransaction, Turn
from orchestrator.jobs.tasks import Tasks, outcome_of
from orchestrator.measures import JOB_ITEMS
from orchestrator.operations import NotAllowed, NotFound

log = structlog.get_logger(__name__)


class JobRunner:
    """Runs whatever job may go on, a turn at a time, so that several jobs go on side by side."""

    def __init__(self, unit_of_work: UnitOfWork[JobTransaction], tasks: Tasks, new_id: NewId) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._unit_of_work = unit_of_work
        self._tasks = tasks
        self._new_id = new_id

    async def run_once(self) -> int:
        """Work through one turn of one job; returns how many items it had."""
        lease = self._new_id()

        async def take(transaction: JobTransaction) -> Turn | None:
            return await transaction.take_turn(lease, await transaction.now())

        turn = await self._unit_of_work.run(take)
        if turn is None:
            return 0
        try:
            await self._work_through(turn)
        except LostUpdate:
            log.info("a job was cancelled, or is somebody else's now", job_id=str(turn.job.job_id))
        return len(turn.items)

    def readings(self) -> Iterator[Reading]:
        """What this process has done."""
        for kind in JobKind:
            for result in (ItemResult.SUCCEEDED, ItemResult.REFUSED):
                yield JOB_ITEMS.of(kind.value, result.value), self.counts[kind, result]

    async def _work_through(self, turn: Turn) -> None:
        job = turn.job
        for item in turn.items:
            job = await finished(self._do(turn, job, item))
        if job.state is not JobState.RUNNING:
            log.info("a job has ended", job_id=str(job.job_id), succeeded=job.succeeded, refused=job.refused)
        elif turn.items:
            await self._end_turn(turn)
        else:
            await self._fail(job, "the list of its items is not whole")

    async def _do(self, turn: Turn, job: Job, item: Item) -> Job:
        """Act on one item; the job after it. Raises LostUpdate where the job is not ours to move."""
        audit_id = self._new_id()

        async def work(transaction: JobTransaction) -> tuple[Job, Outcome]:
            committed = await transaction.outcome_of(job.job_id, item.item_id)
            now = await transaction.now()
            if committed is not None:
                return after(job, item, committed, now), committed
            outcome = await self._act(transaction, job, item, audit_id)
            moved = after(job, item, outcome, now)
            transaction.finish_item(turn, item, outcome, moved, now)
            return moved, outcome

        try:
            moved, outcome = await self._unit_of_work.run(work)
        except LostUpdate:
            raise
        except Exception as error:
            log.error("a job cannot act on an item, going on", exc_info=error, job_id=str(job.job_id))
            moved, outcome = await self._give_up(turn, job, item, error)
        self.counts[job.kind, outcome.result] += 1
        return moved

    async def _act(self, transaction: JobTransaction, job: Job, item: Item, audit_id: UUID) -> Outcome:
        try:
            await self._tasks.of(job.kind).act(transaction, job, item, audit_id)
        except NotAllowed as refused:
            return outcome_of(refused)
        except NotFound as gone:
            return Outcome(ItemResult.REFUSED, "gone", str(gone))
        return SUCCEEDED

    async def _give_up(self, turn: Turn, job: Job, item: Item, error: Exception) -> tuple[Job, Outcome]:
        """What nobody foresaw refuses this item alone; the log says more."""
        outcome = Outcome(ItemResult.REFUSED, "unexpected_error", type(error).__name__)

        async def work(transaction: JobTransaction) -> Job:
            now = await transaction.now()
            moved = after(job, item, outcome, now)
            if await transaction.outcome_of(job.job_id, item.item_id) is None:
                transaction.finish_item(turn, item, outcome, moved, now)
            return moved

        return await self._unit_of_work.run(work), outcome

    async def _end_turn(self, turn: Turn) -> None:
        job = turn.job
        next_at = next_turn_at(job.next_at, turn.began_at, len(turn.items), job.rate_per_second)

        async def work(transaction: JobTransaction) -> None:
            transaction.end_turn(turn, await transaction.now(), next_at)

        await self._unit_of_work.run(work)

    async def _fail(self, job: Job, why: str) -> None:
        async def work(transaction: JobTransaction) -> None:
            now = await transaction.now()
            transaction.end_job(replace(ended(job, JobState.FAILED, now), failure=why), now)

        log.error("a job cannot go on", job_id=str(job.job_id), problem=why)
        await self._unit_of_work.run(work)
