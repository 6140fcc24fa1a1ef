"""Sagas for operators: list, look, explain, act."""

from __future__ import annotations

from functools import partial
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.core.inputs import Actor, ResolveRequested
from orchestrator.explanation import Explanation
from orchestrator.http.admin.requests import Action, ListQuery, Resolution, Retry, SagaListQuery
from orchestrator.http.admin.routes import (
    A_CONDITIONAL_LOOK,
    A_LIST,
    A_LIST_OF_ONE,
    A_LOOK,
    AN_ACTION,
    add,
    asked_of,
    unless_known,
    versioned,
)
from orchestrator.http.answers import answer, id_in_path, not_found
from orchestrator.http.dependencies import Dependencies
from orchestrator.queries.views import HistoryList, SagaDetail, SagaList
from orchestrator.queries.waiting import WaitingList

A = TypeVar("A", bound=Action)


class SagaEndpoints:
    """What operators do with sagas."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._access = dependencies.access
        self._operations = dependencies.operations
        self._sagas = dependencies.queries.sagas
        self._explainer = dependencies.explainer
        self._waiting = dependencies.queries.waiting

    async def page(self, wanted: Annotated[SagaListQuery, Query()]) -> Response:
        """Sagas, newest first. `created_after` includes its moment, `created_before` does not."""
        return answer(await self._sagas.page(wanted.wanted, wanted.page))

    async def waiting(self, request: Request) -> Response:
        """What waits for an operator's word, oldest first: at most two hundred of them."""
        return answer(await self._waiting.page())

    async def show(self, request: Request) -> Response:
        """A saga with its steps, incidents and history."""
        return unless_known(request, await self._shown(id_in_path(request, "saga_id", "saga")))

    async def history(self, request: Request, wanted: Annotated[ListQuery, Query()]) -> Response:
        """A saga's history, the latest entries first."""
        found = await self._sagas.history(id_in_path(request, "saga_id", "saga"), wanted.page)
        if found is None:
            raise not_found("saga")
        return answer(found)

    async def explain(self, request: Request) -> Response:
        """Why the saga stands where it stands."""
        explanation = await self._explainer.explain(id_in_path(request, "saga_id", "saga"))
        if explanation is None:
            raise not_found("saga")
        return answer(explanation)

    async def retry(self, request: Request) -> Response:
        """Send what the saga awaits once more, with a full deadline (S10)."""
        saga_id, asked, actor = await self._asked(request, Retry)
        await self._operations.retry(saga_id, actor, asked.version(request), asked.step)
        return await self._shown(saga_id)

    async def cancel(self, request: Request) -> Response:
        """Undo what was done, as long as that is possible (S9)."""
        saga_id, asked, actor = await self._asked(request, Action)
        await self._operations.cancel(saga_id, actor, asked.version(request))
        return await self._shown(saga_id)

    async def resolve(self, request: Request) -> Response:
        """Take a verdict on a stuck piece of work to its participant, who answers (S19)."""
        saga_id, asked, actor = await self._asked(request, Resolution)
        verdict = ResolveRequested(actor, asked.step, asked.verdict, asked.reference, asked.amount)
        await self._operations.resolve(saga_id, verdict, asked.version(request))
        return await self._shown(saga_id)

    async def _shown(self, saga_id: UUID) -> Response:
        detail = await self._sagas.detail(saga_id, self._operations.allowed)
        if detail is None:
            raise not_found("saga")
        return versioned(detail)

    async def _asked(self, request: Request, model: type[A]) -> tuple[UUID, A, Actor]:
        return await asked_of(self._access, request, model, "saga_id", "saga")


def add_saga_routes(router: APIRouter, dependencies: Dependencies) -> None:
    """Everything under `/admin/sagas`."""
    endpoints, put, one = SagaEndpoints(dependencies), partial(add, router), "/sagas/{saga_id}"
    put(A_LIST, "/sagas", endpoints.page, SagaList, "List sagas")
    put(A_LIST, "/waiting", endpoints.waiting, WaitingList, "List what waits for a person")
    put(A_CONDITIONAL_LOOK, one, endpoints.show, SagaDetail, "See a saga")
    put(A_LIST_OF_ONE, f"{one}/history", endpoints.history, HistoryList, "List a saga's history")
    put(A_LOOK, f"{one}/explain", endpoints.explain, Explanation, "Why a saga stands where it stands")
    put(AN_ACTION, f"{one}/actions/retry", endpoints.retry, SagaDetail, "Retry a saga", Retry)
    put(AN_ACTION, f"{one}/actions/cancel", endpoints.cancel, SagaDetail, "Cancel a saga", Action)
    put(AN_ACTION, f"{one}/actions/resolve", endpoints.resolve, SagaDetail, "Resolve a saga", Resolution)
