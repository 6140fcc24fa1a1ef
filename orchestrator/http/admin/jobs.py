"""Jobs for operators: begin one on many dead letters or sagas, follow it, cancel it (D5)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.http.admin.requests import (
    SAGA_ACTIONS,
    Action,
    Bulk,
    BulkAction,
    JobItemListQuery,
    JobListQuery,
)
from orchestrator.http.admin.routes import (
    A_JOB,
    A_LIST,
    A_LIST_OF_ONE,
    A_VERSIONED_LOOK,
    AN_ACTION,
    Endpoint,
    add,
    asked,
    asked_of,
    versioned,
)
from orchestrator.http.answers import answer, id_in_path, not_found
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.openapi import success
from orchestrator.jobs.job import JobKind
from orchestrator.jobs.operations import Preview
from orchestrator.queries.jobs import JobItemList, JobList, JobView, RefusalView


class JobPreview(BaseModel):
    """What a job would do now; nothing was done."""

    dry_run: bool = True
    kind: JobKind
    total: int = Field(description="Dead letters or sagas that it would choose")
    examined: int = Field(description="How many of them were looked at one by one, the oldest first")
    would_succeed: int = Field(description="Of those examined")
    would_be_refused: int = Field(description="Of those examined")
    refusals: tuple[RefusalView, ...]


class JobEndpoints:
    """What operators do with jobs."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._access = dependencies.access
        self._operations = dependencies.jobs
        self._jobs = dependencies.queries.jobs

    async def replay(self, request: Request) -> Response:
        """Replay every dead letter of a selection, as a job; the selection is fixed when the job begins."""
        return await self._begin(request, JobKind.REPLAY, BulkAction)

    async def discard(self, request: Request) -> Response:
        """Close every dead letter of a selection without sending anything, as a job."""
        return await self._begin(request, JobKind.DISCARD, BulkAction)

    def of_sagas(self, kind: JobKind) -> Endpoint:
        """The endpoint that begins jobs of one kind on sagas."""

        async def begin(request: Request) -> Response:
            return await self._begin(request, kind, SAGA_ACTIONS[kind])

        begin.__doc__ = _SAID_OF_SAGAS[kind]
        begin.__name__ = f"{kind}_sagas"
        return begin

    async def page(self, wanted: Annotated[JobListQuery, Query()]) -> Response:
        """Jobs, newest first."""
        return answer(await self._jobs.page(wanted.wanted, wanted.page))

    async def show(self, request: Request) -> Response:
        """A job and how far it is."""
        job = await self._job(id_in_path(request, "job_id", "job"))
        return versioned(job)

    async def items(self, request: Request, wanted: Annotated[JobItemListQuery, Query()]) -> Response:
        """A job's dead letters or sagas and what became of each, newest first."""
        job = await self._job(id_in_path(request, "job_id", "job"))
        return answer(await self._jobs.items(job, tuple(wanted.result), wanted.page))

    async def cancel(self, request: Request) -> Response:
        """End a job; once this answers, nothing more of it is done."""
        job_id, body, actor = await asked_of(self._access, request, Action, "job_id", "job")
        await self._operations.cancel(job_id, actor, body.version(request))
        job = await self._job(job_id)
        return versioned(job)

    async def _begin(self, request: Request, kind: JobKind, model: type[Bulk]) -> Response:
        body, actor = await asked(self._access, request, model)
        assignment = body.assignment(kind)
        if body.dry_run:
            return answer(previewed(kind, await self._operations.preview(assignment)))
        job = await self._operations.start(assignment, actor)
        return answer(await self._job(job.job_id), 202, {"Location": f"/admin/jobs/{job.job_id}"})

    async def _job(self, job_id: UUID) -> JobView:
        job = await self._jobs.job(job_id)
        if job is None:
            raise not_found("job")
        return job


def previewed(kind: JobKind, preview: Preview) -> JobPreview:
    """A preview as it is shown, the most frequent refusal first."""
    refusals = [
        RefusalView(code=code, count=found.count, example=found.example)
        for code, found in preview.refusals.items()
    ]
    refused = sum(refusal.count for refusal in refusals)
    return JobPreview(
        kind=kind,
        total=preview.total,
        examined=preview.examined,
        would_succeed=preview.examined - refused,
        would_be_refused=refused,
        refusals=tuple(sorted(refusals, key=lambda refusal: -refusal.count)),
    )


_SAID_OF_SAGAS: Final[Mapping[JobKind, str]] = {
    JobKind.RETRY: "Send what every saga of a selection awaits once more, as a job (S10).",
    JobKind.CANCEL: "Undo every saga of a selection, as far as that is possible, as a job (S9).",
    JobKind.RESOLVE: "Take the same verdict on a step of every saga of a selection to its participant (S19).",
}

_LOCATION = {"Location": {"schema": {"type": "string"}, "description": "The job", "required": True}}


def add_job_routes(router: APIRouter, dependencies: Dependencies) -> None:
    """Everything under `/admin/jobs`, and what begins one."""
    endpoints, put, one = JobEndpoints(dependencies), partial(add, router), "/jobs/{job_id}"
    begin = partial(put, A_JOB, view=JobPreview, responses=success(202, JobView, "It has begun", _LOCATION))
    for kind, endpoint in ((JobKind.REPLAY, endpoints.replay), (JobKind.DISCARD, endpoints.discard)):
        summary = f"{kind.capitalize()} many dead letters"
        begin(f"/dead-letters/{kind}", endpoint, summary=summary, body=BulkAction)
    for kind, body in SAGA_ACTIONS.items():
        summary = f"{kind.capitalize()} many sagas"
        begin(f"/sagas/{kind}", endpoints.of_sagas(kind), summary=summary, body=body)
    put(A_LIST, "/jobs", endpoints.page, JobList, "List jobs")
    put(A_VERSIONED_LOOK, one, endpoints.show, JobView, "See a job")
    put(A_LIST_OF_ONE, f"{one}/items", endpoints.items, JobItemList, "List what became of a job's items")
    put(AN_ACTION, f"{one}/cancel", endpoints.cancel, JobView, "Cancel a job", Action)
