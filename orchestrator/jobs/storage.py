"""What jobs need of their storage, beside what acting on one dead letter needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from orchestrator.dead_letters.selection import DeadLetterFilter
from orchestrator.jobs.job import Item, Job, Outcome
from orchestrator.selection import SagaFilter
from orchestrator.storage import DeadLetter, OrchestratorTransaction

Selected = DeadLetterFilter | SagaFilter
"""Which dead letters, or which sagas, a job is to choose."""

LEASE_S: Final = 15.0
"""Seconds after which a job whose replica says nothing is somebody else's. Every item renews it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A job that this process may work on, and what it may do at once.

    Attributes:
        lease: by which the storage knows this process; a write under another's lease fails.
        items: the next ones, in the order of their ids.
    """

    job: Job
    lease: UUID
    began_at: datetime
    items: Sequence[Item]


class JobTransaction(OrchestratorTransaction, Protocol):
    """One transaction on the orchestrator's storage, jobs included.

    Rows of jobs are locked last (S18).
    """

    async def choose_items(self, job_id: UUID, selected: Selected) -> int:
        """Write an item for everything that is like this now; returns how many there are."""

    def add_job(self, job: Job) -> None:
        """Write a new job."""

    async def count_selected(self, selected: Selected) -> int:
        """How many dead letters or sagas are like this now."""

    async def first_dead_letters(
        self, selected: DeadLetterFilter, after: UUID | None, limit: int
    ) -> Sequence[DeadLetter]:
        """Dead letters that are like this now, in the order of their ids, behind ``after``; not locked."""

    async def first_selected(self, selected: Selected, after: UUID | None, limit: int) -> Sequence[UUID]:
        """What is like this now, in the order of the ids, behind ``after``; not locked."""

    async def read_job(self, job_id: UUID) -> Job | None:
        """A job, not locked."""

    async def job_of_form(self, form_id: UUID) -> UUID | None:
        """The job that a form has begun, as the audit log tells. Others who ask wait for this transaction."""

    async def lock_job(self, job_id: UUID) -> Job | None:
        """A job, locked: it does not move until the end of this transaction."""

    def end_job(self, job: Job, now: datetime) -> None:
        """Write a job's end; the commit fails when the job has ended otherwise."""

    async def take_turn(self, lease: UUID, now: datetime) -> Turn | None:
        """Lease a job that may go on, skipping what others hold; None when there is none."""

    def end_turn(self, turn: Turn, now: datetime, next_at: datetime) -> None:
        """Give the lease back, if it is still ours."""

    async def outcome_of(self, job_id: UUID, item_id: UUID) -> Outcome | None:
        """What an earlier run of this transaction has committed for an item (S17)."""

    def finish_item(self, turn: Turn, item: Item, outcome: Outcome, after: Job, now: datetime) -> None:
        """Write what became of an item, and how far that brings the job.

        The commit fails with `LostUpdate` when the job is not ours any more, has ended, or has moved: then
        nothing of the transaction happens.
        """
