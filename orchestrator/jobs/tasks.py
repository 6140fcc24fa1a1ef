"""What a job does to each of its items: to dead letters, or to sagas (D5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from contracts.commands import Verdict
from orchestrator.core.inputs import Actor, CancelRequested, Input, ResolveRequested, RetryRequested
from orchestrator.core.state import Saga
from orchestrator.dead_letters.replay import DeadLetterOperations, Mandate
from orchestrator.dead_letters.selection import DeadLetterFilter
from orchestrator.jobs.job import (
    ABOUT_SAGAS,
    DEFAULT_RATE,
    SUCCEEDED,
    Item,
    ItemResult,
    Job,
    JobKind,
    Outcome,
    why_changed,
)
from orchestrator.jobs.storage import JobTransaction, Selected
from orchestrator.operations import Errand, NotAllowed, Operations
from orchestrator.selection import SagaFilter
from orchestrator.storage import DeadLetter

Examined = tuple[UUID | None, list[Outcome]]
"""The last item that was looked at, None where there was none, and what would become of each."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a job is to do, and how fast.

    Attributes:
        expected_count: how many items the caller has seen; None takes whatever there is.
        form_id: of the form that asks for it, which begins one job at most; time-ordered.
        details: what the action itself says, such as a verdict.
    """

    kind: JobKind
    selected: Selected
    rate_per_second: float = DEFAULT_RATE
    expected_count: int | None = None
    form_id: UUID | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Task(Protocol):
    """What is done to items of one sort."""

    async def act(self, transaction: JobTransaction, job: Job, item: Item, audit_id: UUID) -> None:
        """Act on one item, in the transaction that moves the job. Raises NotAllowed and NotFound."""

    async def examine(
        self, transaction: JobTransaction, wanted: Assignment, after: UUID | None, limit: int
    ) -> Examined:
        """What would become of the next few items. Changes nothing."""


class DeadLetterTask:
    """Replays dead letters, or discards them."""

    def __init__(self, dead_letters: DeadLetterOperations) -> None:
        self._dead_letters = dead_letters

    async def act(self, transaction: JobTransaction, job: Job, item: Item, audit_id: UUID) -> None:
        """See `Task`."""

        def still_wanted(dead: DeadLetter) -> None:
            if (changed := why_changed(item, dead)) is not None:
                raise NotAllowed("replayed_meanwhile", changed)

        mandate = Mandate(Actor(job.actor, job.reason), audit_id, still_wanted, job.job_id)
        if job.kind is JobKind.REPLAY:
            await self._dead_letters.replay_within(transaction, item.item_id, mandate)
        else:
            await self._dead_letters.discard_within(transaction, item.item_id, mandate)

    async def examine(
        self, transaction: JobTransaction, wanted: Assignment, after: UUID | None, limit: int
    ) -> Examined:
        """See `Task`."""
        assert isinstance(wanted.selected, DeadLetterFilter)
        seen = await transaction.first_dead_letters(wanted.selected, after, limit)
        if wanted.kind is JobKind.DISCARD:
            refused: Mapping[UUID, NotAllowed] = {}
        else:
            refused = await self._dead_letters.refusals_within(transaction, seen)
        return _examined([dead.dead_letter_id for dead in seen], refused)


class SagaTask:
    """Retries sagas, cancels them, or takes the same verdict to each."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def act(self, transaction: JobTransaction, job: Job, item: Item, audit_id: UUID) -> None:
        """See `Task`. What has gone on by itself since it was chosen is wanted no more, but for a cancel."""

        def still_wanted(saga: Saga) -> None:
            if job.kind is not JobKind.CANCEL and saga.version != item.seen_version:
                raise NotAllowed("changed_meanwhile", "it has gone on since the job began")

        actor = Actor(job.actor, job.reason)
        asked, job_of = asked_for(job.kind, job.details, actor), {"job_id": str(job.job_id)}
        errand = Errand(str(job.kind), actor, asked, audit_id, still_wanted, job_of)
        await self._operations.act_within(transaction, item.item_id, errand)

    async def examine(
        self, transaction: JobTransaction, wanted: Assignment, after: UUID | None, limit: int
    ) -> Examined:
        """See `Task`."""
        assert isinstance(wanted.selected, SagaFilter)
        seen = await transaction.first_selected(wanted.selected, after, limit)
        asked = asked_for(wanted.kind, wanted.details, Actor("dry run", ""))
        return _examined(seen, await self._operations.refusals_within(transaction, seen, asked))


def asked_for(kind: str, details: Mapping[str, Any], actor: Actor) -> Input:
    """What a person would ask of one saga. Raises NotAllowed where a stored verdict says nothing here."""
    if kind is JobKind.CANCEL:
        return CancelRequested(actor)
    if kind is JobKind.RETRY:
        return RetryRequested(actor, details.get("step"))
    try:
        return ResolveRequested(actor, details["step"], Verdict(details["verdict"]))
    except (KeyError, ValueError):
        raise NotAllowed("unknown_verdict", f"no verdict is known here by {dict(details)}") from None


def outcome_of(refused: NotAllowed | None) -> Outcome:
    """What an item's refusal, or its absence, is."""
    if refused is None:
        return SUCCEEDED
    return Outcome(ItemResult.REFUSED, refused.code, str(refused))


def _examined(seen: Sequence[UUID], refused: Mapping[UUID, NotAllowed]) -> Examined:
    return (seen[-1] if seen else None), [outcome_of(refused.get(each)) for each in seen]


class Tasks:
    """Both sorts, by what a job does."""

    def __init__(self, dead_letters: DeadLetterOperations, operations: Operations) -> None:
        self._of_dead_letters = DeadLetterTask(dead_letters)
        self._of_sagas = SagaTask(operations)

    def of(self, kind: str) -> Task:
        """Who does it."""
        return self._of_sagas if kind in ABOUT_SAGAS else self._of_dead_letters
