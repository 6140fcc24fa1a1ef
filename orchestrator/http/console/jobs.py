"""Jobs: what one would do, beginning it, how far it is, cancelling it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from contracts.commands import Verdict
from contracts.problems import ProblemError
from orchestrator.core.inputs import Actor
from orchestrator.http.access import Permission
from orchestrator.http.admin.jobs import previewed
from orchestrator.http.admin.requests import (
    SAGA_ACTIONS,
    Action,
    Bulk,
    BulkAction,
    DeadLetterSelection,
    JobItemListQuery,
    JobListQuery,
    SagaSelection,
    StepName,
)
from orchestrator.http.answers import id_in_path, not_found
from orchestrator.http.console.deeds import Deed, Deeds, done_before
from orchestrator.http.console.desk import Desk, Tried, filled_in, following
from orchestrator.http.console.forms import checked, chosen, query_of
from orchestrator.http.console.rendering import moment, redirect
from orchestrator.http.console.session import Session
from orchestrator.http.dependencies import Dependencies
from orchestrator.jobs.job import (
    ABOUT_SAGAS,
    DEFAULT_RATE,
    HIGHEST_RATE,
    LOWEST_RATE,
    ItemResult,
    JobKind,
    JobState,
)
from orchestrator.jobs.operations import BegunBefore
from orchestrator.jobs.tasks import Assignment

BEGUN: Final = "The job has begun. It goes on by itself, whether anybody looks or not."
CANCELLED: Final = "It is cancelled. What it has done stays done; nothing more is."


class Kind(BaseModel):
    """What is to be done, whatever else is said."""

    kind: JobKind = JobKind.REPLAY


class DeadLetterPlan(DeadLetterSelection, Kind):
    """What the address of a new job on dead letters says."""


class SagaPlan(SagaSelection, Kind):
    """What the address of a new job on sagas says.

    Attributes:
        of_step: which step a verdict is on; `step` is the filter of the list.
    """

    of_step: StepName | None = None
    verdict: Verdict | None = None

    @property
    def details(self) -> dict[str, Any]:
        """What the action itself says. Raises ProblemError (422) where a verdict is not whole."""
        said = {"step": self.of_step, "verdict": self.verdict.value if self.verdict else None}
        if self.kind is JobKind.RESOLVE and None in said.values():
            raise ProblemError(422, "invalid", "A verdict needs its step and what became of it.")
        return {name: value for name, value in said.items() if value} if self.kind in _WITH_STEP else {}


_WITH_STEP: Final = (JobKind.RETRY, JobKind.RESOLVE)


class JobPages:
    """What operators see and do about jobs."""

    def __init__(self, desk: Desk, dependencies: Dependencies) -> None:
        self._desk = desk
        self._new_id = dependencies.new_id
        self._deeds = Deeds(dependencies.queries.audit_log, desk.notes)
        self._operations = dependencies.jobs
        self._jobs = dependencies.queries.jobs

    def routes(self) -> Iterator[APIRoute]:
        """Their routes."""
        one = "/console/jobs/{job_id}"
        yield self._desk.page("/console/jobs", self._list)
        yield from self._desk.action("/console/jobs", self._begin, self._begin_again)
        yield self._desk.page("/console/jobs/new", self._new)
        yield self._desk.page(one, self._show)
        yield from self._desk.action(f"{one}/cancel", self._cancel, self._cancel_again)
        yield self._desk.page(f"{one}/cancel", self._back)

    async def _list(self, request: Request, session: Session) -> Response:
        wanted = query_of(request, JobListQuery)
        found = await self._jobs.page(wanted.wanted, wanted.page)
        return self._desk.show(
            "jobs.html",
            session,
            jobs=found.items,
            more=following(request, found.next_cursor),
            given=filled_in(request),
            states=list(JobState),
        )

    async def _new(self, request: Request, session: Session) -> Response:
        self._desk.sessions.require(session, Permission.OPERATE)
        if checked(Kind, request.query_params).kind in ABOUT_SAGAS:
            plan = query_of(request, SagaPlan)
            meant = Assignment(plan.kind, plan.wanted, details=plan.details)
        else:
            letters = query_of(request, DeadLetterPlan)
            meant = Assignment(letters.kind, letters.wanted)
        return await self._planned(session, meant)

    async def _begin(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        kind, model, filled = _meant(form)
        form_id = self._desk.sessions.form_id(session, form.get("form", ""))
        given: dict[str, object] = {**filled}
        given |= chosen(form, ("reason", "rate_per_second", "expected_count"))
        asked = checked(model, given)
        assignment = replace(asked.assignment(kind), form_id=form_id)
        try:
            job, sentence = await self._operations.start(assignment, _actor(session, asked.reason)), BEGUN
        except BegunBefore as before:
            job, sentence = before.job, done_before(f"{moment(before.job.created_at)} UTC")
        return self._deeds.told(request, session, f"/console/jobs/{job.job_id}", sentence)

    async def _begin_again(self, _: Request, session: Session, tried: Tried) -> Response:
        """What the job would do now, and why it was not begun."""
        kind, model, filled = _meant(tried.form)
        meant = checked(model, {**filled, "reason": "not yet"}).assignment(kind)
        return await self._planned(session, meant, tried)

    async def _planned(self, session: Session, meant: Assignment, tried: Tried | None = None) -> Response:
        return self._desk.show(
            "job_new.html",
            session,
            status=tried.status if tried else 200,
            kind=meant.kind,
            things=_things(meant.kind),
            details=meant.details,
            preview=previewed(meant.kind, await self._operations.preview(meant)),
            filter=meant.selected.document,
            rates=(LOWEST_RATE, HIGHEST_RATE),
            default_rate=f"{DEFAULT_RATE:g}",
            form=self._desk.sessions.form(session, self._new_id()),
            tried=tried,
        )

    async def _show(self, request: Request, session: Session) -> Response:
        return await self._shown(request, session, said_before=self._desk.notes.of(request, session))

    async def _back(self, request: Request, _: Session) -> Response:
        """Where an action's answer is asked for without the action, as browsers do that load a page anew."""
        return redirect(f"/console/jobs/{_id(request)}")

    async def _cancel(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        job_id = _id(request)
        asked = checked(Action, chosen(form, Action.model_fields))
        actor, version = _actor(session, asked.reason), asked.version(request)

        async def act() -> str:
            await self._operations.cancel(job_id, actor, version)
            return CANCELLED

        deed = Deed("job.cancel", f"job:{job_id}", actor, version)
        return await self._deeds.done(request, session, deed, act, f"/console/jobs/{job_id}")

    async def _cancel_again(self, request: Request, session: Session, tried: Tried) -> Response:
        return await self._shown(request, session, tried=tried)

    async def _shown(
        self,
        request: Request,
        session: Session,
        *,
        said_before: str | None = None,
        tried: Tried | None = None,
    ) -> Response:
        job = await self._jobs.job(_id(request))
        if job is None:
            raise not_found("job")
        wanted = query_of(request, JobItemListQuery)
        items = await self._jobs.items(job, tuple(wanted.result), wanted.page)
        return self._desk.show(
            "job.html",
            session,
            status=tried.status if tried else 200,
            job=job,
            things=_things(job.kind),
            items=items.items,
            more=following(request, items.next_cursor),
            given=filled_in(request),
            results=list(ItemResult),
            said_before=said_before,
            tried=tried,
        )


def _meant(form: Mapping[str, str]) -> tuple[JobKind, type[Bulk], dict[str, Any]]:
    """What a form for a new job is about, whatever else is filled in. Raises ProblemError (422)."""
    kind = checked(Kind, chosen(form, ["kind"])).kind
    model: type[Bulk] = SAGA_ACTIONS.get(kind, BulkAction)
    return kind, model, {"filter": _json_of(form.get("filter", "")), **_details(model, form)}


def _details(model: type[Bulk], form: Mapping[str, str]) -> dict[str, str]:
    """What the action itself says, as hidden fields of the form have it."""
    return chosen(form, [name for name in ("step", "verdict") if name in model.model_fields])


def _things(kind: str) -> str:
    """What a job is on; of one of a later release nobody here knows (S25)."""
    if kind in ABOUT_SAGAS:
        return "sagas"
    return "dead letters" if kind in set(JobKind) else "items"


def _id(request: Request) -> UUID:
    return id_in_path(request, "job_id", "job")


def _actor(session: Session, reason: str) -> Actor:
    return Actor(session.principal.name, reason)


def _json_of(text: str) -> dict[str, Any]:
    """What a page of ours has put into a hidden field. Raises ProblemError (422)."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ProblemError(422, "invalid", "This cannot be used: filter. Please begin anew from the list.")
    return found
