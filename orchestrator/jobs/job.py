"""A job as a value: what it is to do, how far it is, and how fast it may go (D5).

The dead letters or sagas of a job are chosen when it is created, and worked through in the order of their
ids. How far it is stands in its row, and moves in the transaction that acts on the next one: whoever goes on
after a crash goes on exactly there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from orchestrator.storage import DeadLetter, DeadLetterStatus

DEFAULT_RATE: Final = 50.0
"""Items a second, unless a job says otherwise."""

LOWEST_RATE: Final = 0.1
HIGHEST_RATE: Final = 1000.0

LARGEST_TURN: Final = 100
"""Items that are worked through before the next job has its turn."""

CREDIT_S: Final = 2.0
"""Seconds by which a job that was held up may go faster than its rate to catch up."""


class JobKind(StrEnum):
    """What is done to every item of a job: the first two to dead letters, the others to sagas."""

    REPLAY = "replay"
    DISCARD = "discard"
    RETRY = "retry"
    CANCEL = "cancel"
    RESOLVE = "resolve"


ABOUT_SAGAS: Final[frozenset[str]] = frozenset({JobKind.RETRY, JobKind.CANCEL, JobKind.RESOLVE})
"""Kinds whose items are sagas."""


class JobState(StrEnum):
    """Only a running job moves; a cancel holds from the moment that it is answered."""

    RUNNING = "running"
    CANCELLED = "cancelled"
    FINISHED = "finished"
    FAILED = "failed"


class ItemResult(StrEnum):
    """What became of one item of a job."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Item:
    """A dead letter or a saga as it was when the job chose it."""

    item_id: UUID
    seen_version: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item; ``code`` and ``explanation`` say why it was refused."""

    result: ItemResult | str
    code: str | None = None
    explanation: str | None = None


SUCCEEDED: Final = Outcome(ItemResult.SUCCEEDED)


@dataclass(frozen=True, slots=True)
class Refusals:
    """How many items were refused for one reason, with the words of the first of them."""

    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands. Nothing is done about one whose kind or state is not known here (S25).

    Attributes:
        filter: what it was to select, as the API writes it; for people.
        rate_per_second: items a second, at most.
        total: how many were selected.
        refusals: code → how many, and an example.
        position: the last item that is done with; None before the first.
        next_at: when it may go on.
        failure: why it could not go on.
        end_reason: why somebody cancelled it.
        version: changes with the state, not with the progress.
        details: what the action itself says, such as a verdict.
    """

    job_id: UUID
    kind: JobKind | str
    filter: Mapping[str, Any]
    reason: str
    actor: str
    rate_per_second: float
    created_at: datetime
    next_at: datetime
    total: int = 0
    state: JobState | str = JobState.RUNNING
    succeeded: int = 0
    refused: int = 0
    refusals: Mapping[str, Refusals] = field(default_factory=dict)
    position: UUID | None = None
    failure: str | None = None
    ended_by: str | None = None
    end_reason: str | None = None
    version: int = 1
    finished_at: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Items that are done with."""
        return self.succeeded + self.refused


def why_changed(item: Item, now: DeadLetter) -> str | None:
    """Why an item must be left alone: somebody has replayed it since it was chosen, so it is on its way.

    One that died once more since then is still to be replayed: it is the same work.
    """
    on_its_way = now.status is DeadLetterStatus.REPLAYING and now.version != item.seen_version
    return "somebody has replayed it since the job began" if on_its_way else None


def after(job: Job, item: Item, outcome: Outcome, now: datetime) -> Job:
    """The job once an item of it is done with; after its last one it has ended."""
    refused = outcome.result is ItemResult.REFUSED
    moved = replace(
        job,
        position=item.item_id,
        succeeded=job.succeeded + (not refused),
        refused=job.refused + refused,
        refusals=_with(job.refusals, outcome) if refused else job.refusals,
    )
    return moved if moved.done < moved.total else ended(moved, JobState.FINISHED, now)


def ended(job: Job, state: JobState, now: datetime) -> Job:
    """The job at its end."""
    return replace(job, state=state, finished_at=now, version=job.version + 1)


def _with(refusals: Mapping[str, Refusals], outcome: Outcome) -> Mapping[str, Refusals]:
    code = outcome.code or "refused"
    before = refusals.get(code, Refusals(0, outcome.explanation or ""))
    return {**refusals, code: replace(before, count=before.count + 1)}


def document_of(stored: object) -> Mapping[str, Any]:
    """A filter or details as they are stored; what is no object stands below the name ``stored`` (S25)."""
    if stored is None or isinstance(stored, Mapping):
        return stored or {}
    return {"stored": stored}


def refusals_of(stored: object) -> dict[str, Refusals]:
    """Refusals as they are stored. What of them cannot be read is said, and the job goes on (S25)."""
    try:
        return {code: Refusals(int(each["count"]), str(each["example"])) for code, each in stored.items()}  # type: ignore[attr-defined]
    except (AttributeError, KeyError, TypeError, ValueError):
        return {"unreadable": Refusals(0, "what was stored of earlier refusals cannot be read")}


def counted(outcomes: Iterable[Outcome]) -> Mapping[str, Refusals]:
    """How many outcomes are refusals, by their codes."""
    refusals: Mapping[str, Refusals] = {}
    for outcome in outcomes:
        if outcome.result is ItemResult.REFUSED:
            refusals = _with(refusals, outcome)
    return refusals


def turn_size(rate_per_second: float) -> int:
    """How many items a turn may take: about a second's worth."""
    return max(1, min(LARGEST_TURN, math.ceil(rate_per_second)))


def next_turn_at(planned: datetime, began: datetime, count: int, rate_per_second: float) -> datetime:
    """When the turn after one of ``count`` items may begin.

    Args:
        planned: when this turn might have begun; looking late costs no speed within `CREDIT_S`.
        began: when it did.
    """
    counted_from = max(planned, began - timedelta(seconds=CREDIT_S))
    return counted_from + timedelta(seconds=count / rate_per_second)
