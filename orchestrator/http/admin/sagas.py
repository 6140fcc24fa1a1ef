"""Sagas for operators: list, look, explain, act."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.core.inputs import Actor, ResolveRequested
from orchestrator.explanation import Explanation
from orchestrator.http.access import Permission
from orchestrator.http.admin.described import ACTED, IF_MATCH, LISTED, SEEN
from orchestrator.http.admin.requests import Action, Resolution, SagaListQuery
from orchestrator.http.answers import answer, id_in_path, not_found
from orchestrator.http.bodies import json_of
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.openapi import NEEDS_TOKEN, id_parameter, success, takes
from orchestrator.queries.views import SagaDetail, SagaList

A = TypeVar("A", bound=Action)

_ID: Final = id_parameter("saga_id")
_ETAG: Final = {"ETag": {"schema": {"type": "string"}, "description": "The version", "required": True}}


class SagaEndpoints:
    """What operators do with sagas."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._access = dependencies.access
        self._operations = dependencies.operations
        self._sagas = dependencies.queries.sagas
        self._explainer = dependencies.explainer

    async def page(self, wanted: Annotated[SagaListQuery, Query()]) -> Response:
        """Sagas, newest first. `created_after` includes its moment, `created_before` does not."""
        return answer(await self._sagas.page(wanted.wanted, wanted.page))

    async def show(self, request: Request) -> Response:
        """A saga with its steps, incidents and history."""
        return await self._shown(id_in_path(request, "saga_id", "saga"))

    async def explain(self, request: Request) -> Response:
        """Why the saga stands where it stands."""
        explanation = await self._explainer.explain(id_in_path(request, "saga_id", "saga"))
        if explanation is None:
            raise not_found("saga")
        return answer(explanation)

    async def retry(self, request: Request) -> Response:
        """Send what the saga awaits once more, with a full deadline (S10)."""
        saga_id, asked, actor = await self._asked(request, Action)
        await self._operations.retry(saga_id, actor, asked.version(request))
        return await self._shown(saga_id)

    async def cancel(self, request: Request) -> Response:
        """Undo the order, as long as it has not been handed to the carrier (S9)."""
        saga_id, asked, actor = await self._asked(request, Action)
        await self._operations.cancel(saga_id, actor, asked.version(request))
        return await self._shown(saga_id)

    async def resolve(self, request: Request) -> Response:
        """Take a verdict on a stuck piece of work to its participant, who answers (S19)."""
        saga_id, asked, actor = await self._asked(request, Resolution)
        verdict = ResolveRequested(actor, asked.step, asked.verdict, asked.reference, asked.amount)
        await self._operations.resolve(saga_id, verdict, asked.version(request))
        return await self._shown(saga_id)

    async def _asked(self, request: Request, model: type[A]) -> tuple[UUID, A, Actor]:
        principal = await self._access.admit(request, Permission.OPERATE)
        saga_id = id_in_path(request, "saga_id", "saga")
        asked = await json_of(request, model)
        return saga_id, asked, Actor(principal.name, asked.reason)

    async def _shown(self, saga_id: UUID) -> Response:
        detail = await self._sagas.detail(saga_id, self._operations.allowed)
        if detail is None:
            raise not_found("saga")
        return answer(detail, headers={"ETag": f'"{detail.version}"'})


def add_saga_routes(router: APIRouter, dependencies: Dependencies) -> None:
    """Everything under `/admin/sagas`."""
    endpoints = SagaEndpoints(dependencies)
    one = {"parameters": [_ID], **NEEDS_TOKEN}
    router.add_api_route(
        "/sagas",
        endpoints.page,
        methods=["GET"],
        summary="List sagas",
        responses=success(200, SagaList, "One page") | LISTED,
        openapi_extra=NEEDS_TOKEN,
    )
    router.add_api_route(
        "/sagas/{saga_id}",
        endpoints.show,
        methods=["GET"],
        summary="See a saga",
        responses=success(200, SagaDetail, "The saga", _ETAG) | SEEN,
        openapi_extra=one,
    )
    router.add_api_route(
        "/sagas/{saga_id}/explain",
        endpoints.explain,
        methods=["GET"],
        summary="Why a saga stands where it stands",
        responses=success(200, Explanation, "The explanation") | SEEN,
        openapi_extra=one,
    )
    actions: dict[str, type[Action]] = {"retry": Action, "cancel": Action, "resolve": Resolution}
    for name, body in actions.items():
        router.add_api_route(
            f"/sagas/{{saga_id}}/actions/{name}",
            getattr(endpoints, name),
            methods=["POST"],
            summary=f"{name.capitalize()} a saga",
            responses=success(200, SagaDetail, "The saga after it", _ETAG) | ACTED,
            openapi_extra={**takes(body), "parameters": [_ID, IF_MATCH], **NEEDS_TOKEN},
        )
