"""Reads of jobs: list, one, and what became of each of its items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy import Row, Select, select

from contracts.words import Word
from orchestrator.core.state import Status
from orchestrator.jobs.job import ABOUT_SAGAS, ItemResult, JobKind, JobState, document_of, refusals_of
from orchestrator.queries.paging import KEY, Listing, Page, read_page, shown
from orchestrator.queries.reader import Reader
from orchestrator.queries.views import Time, View
from orchestrator.storage import DeadLetterStatus
from orchestrator.tables import dead_letters, job_items, jobs, sagas


class RefusalView(View):
    """How many items were refused for one reason."""

    code: str
    count: int
    example: str = Field(description="What was said of the first of them")


class JobView(View):
    """A job on many dead letters or sagas: what it is to do, and how far it is."""

    job_id: UUID
    kind: Word[JobKind]
    state: Word[JobState]
    filter: dict[str, Any] = Field(description="What it was to select, as it was asked for")
    details: dict[str, Any] = Field({}, description="What the action itself says, such as a verdict")
    reason: str
    actor: str
    rate_per_second: float = Field(description="Items a second, at most")
    total: int = Field(
        description="Dead letters or sagas that it chose when it began; later ones are none of it"
    )
    done: int
    succeeded: int
    refused: int
    refusals: tuple[RefusalView, ...] = Field(description="Why some were refused, the most frequent first")
    failure: str | None = Field(description="Why it could not go on")
    ended_by: str | None = Field(description="Who cancelled it")
    end_reason: str | None
    version: int = Field(description="Changes with the state, not with the progress")
    allowed_actions: tuple[Literal["cancel"], ...]
    created_at: Time
    updated_at: Time
    finished_at: Time | None


class JobList(Listing[JobView]):
    """One page of jobs."""


class JobItemView(View):
    """A dead letter or saga of a job, and what became of it."""

    dead_letter_id: UUID | None = Field(description="null where the job is on sagas")
    result: Word[ItemResult]
    code: str | None = Field(description="Why it was refused, for programs")
    explanation: str | None = Field(description="Why it was refused, for people")
    at: Time | None = Field(description="When it was done with")
    status: DeadLetterStatus | Status | str | None = Field(
        union_mode="left_to_right",
        description="Of the dead letter or the saga, as it is now; null where it is gone",
    )
    definition: str | None = Field(None, description="Of the saga, where the job is on sagas")
    type: str | None
    queue: str | None
    error_type: str | None
    saga_id: UUID | None


class JobItemList(Listing[JobItemView]):
    """One page of a job's items."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are wanted; several values of one filter mean "or", an empty filter means all."""

    states: tuple[JobState, ...] = ()
    kinds: tuple[JobKind, ...] = ()


class JobQueries:
    """Jobs, for people with the right to see them."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def job(self, job_id: UUID) -> JobView | None:
        """One job. Raises StorageUnavailable."""
        row = await self._reader.row(select(jobs).where(jobs.c.job_id == job_id))
        return shown(self._reader, JobView, _view)(row) if row is not None else None

    async def page(self, wanted: JobFilter, page: Page) -> JobList:
        """Jobs, newest first. Raises InvalidCursor and StorageUnavailable."""
        statement = select(jobs, jobs.c.job_id.label(KEY))
        for column, values in ((jobs.c.state, wanted.states), (jobs.c.kind, wanted.kinds)):
            if values:
                statement = statement.where(column.in_(values))
        view = shown(self._reader, JobView, _view)
        items, following = await read_page(self._reader, [statement], page, "j", view)
        return JobList(items=items, next_cursor=following)

    async def items(self, job: JobView, results: tuple[ItemResult, ...], page: Page) -> JobItemList:
        """What a job acts on, newest first. Raises InvalidCursor and StorageUnavailable."""
        view = shown(self._reader, JobItemView, _item)
        base = (_on_sagas if job.kind in ABOUT_SAGAS else _on_dead_letters)(job.job_id)
        found = await read_page(self._reader, list(_branches(base, results)), page, "i", view)
        return JobItemList(items=found[0], next_cursor=found[1])


_OF_THE_LETTER: Final = ("status", "type", "queue", "error_type", "saga_id")


def _on_sagas(job_id: UUID) -> Select[Any]:
    item = job_items.c
    own = (item.result, item.code, item.explanation, item.at)
    saga = (sagas.c.status, sagas.c.definition)
    chosen = select(*own, *saga, item.dead_letter_id.label("saga_id"), item.dead_letter_id.label(KEY))
    joined = chosen.join_from(job_items, sagas, sagas.c.saga_id == item.dead_letter_id, isouter=True)
    return joined.where(item.job_id == job_id)


def _on_dead_letters(job_id: UUID) -> Select[Any]:
    return (
        select(
            job_items,
            *(dead_letters.c[name] for name in _OF_THE_LETTER),
            job_items.c.dead_letter_id.label(KEY),
        )
        .join_from(
            job_items,
            dead_letters,
            dead_letters.c.dead_letter_id == job_items.c.dead_letter_id,
            isouter=True,
        )
        .where(job_items.c.job_id == job_id)
    )


def _branches(base: Select[Any], results: tuple[ItemResult, ...]) -> Iterator[Select[Any]]:
    """One selection a result: what was refused has an index of its own."""
    if not results:
        yield base
    for result in dict.fromkeys(results):
        yield base.where(job_items.c.result == result)


def _view(row: Row[Any]) -> JobView:
    columns = row._asdict()
    refusals = refusals_of(columns.pop("refusals"))
    columns |= {name: document_of(columns[name]) for name in ("filter", "details")}
    found = [
        RefusalView(code=code, count=each.count, example=each.example) for code, each in refusals.items()
    ]
    return JobView(
        **{name: columns[name] for name in JobView.model_fields if name in columns},
        refusals=tuple(sorted(found, key=lambda refusal: -refusal.count)),
        done=row.succeeded + row.refused,
        allowed_actions=("cancel",) if row.state == JobState.RUNNING else (),
    )


def _item(row: Row[Any]) -> JobItemView:
    letter = {"dead_letter_id": None, "type": None, "queue": None, "error_type": None}
    return JobItemView.model_validate({**letter, **row._asdict()})
