"""Dead letters for operators: list, groups, look, replay, discard."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.core.inputs import Actor
from orchestrator.http.access import Permission
from orchestrator.http.admin.described import ACTED, IF_MATCH, LISTED, SEEN
from orchestrator.http.admin.requests import Action, DeadLetterFilters, DeadLetterListQuery, ReplayAction
from orchestrator.http.answers import answer, id_in_path, not_found
from orchestrator.http.bodies import json_of
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.openapi import NEEDS_TOKEN, id_parameter, success, takes
from orchestrator.queries.views import (
    DeadLetterDetail,
    DeadLetterGroups,
    DeadLetterList,
)

A = TypeVar("A", bound=Action)

_ID: Final = id_parameter("dead_letter_id")
_ETAG: Final = {"ETag": {"schema": {"type": "string"}, "description": "The version", "required": True}}


class ReplayAnswer(BaseModel):
    """What a replay did, or would do."""

    dry_run: bool
    what: str = Field(description="A sentence for a person")
    dead_letter: DeadLetterDetail


class DeadLetterEndpoints:
    """What operators do with dead letters."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._access = dependencies.access
        self._operations = dependencies.dead_letters
        self._dead_letters = dependencies.queries.dead_letters

    async def page(self, wanted: Annotated[DeadLetterListQuery, Query()]) -> Response:
        """Dead letters, newest first."""
        return answer(await self._dead_letters.page(wanted.wanted, wanted.page))

    async def groups(self, wanted: Annotated[DeadLetterFilters, Query()]) -> Response:
        """Counts by queue and error, the largest first; of what is open unless `status` is given."""
        return answer(await self._dead_letters.groups(wanted.wanted))

    async def show(self, request: Request) -> Response:
        """A dead letter with headers and body; sensitive fields are masked."""
        detail = await self._detail(id_in_path(request, "dead_letter_id", "dead letter"))
        return answer(detail, headers=_etag(detail))

    async def replay(self, request: Request) -> Response:
        """Send its work once more: for a command that is the saga's retry (D4)."""
        dead_letter_id, asked, actor = await self._asked(request, ReplayAction)
        version = asked.version(request)
        if asked.dry_run:
            done = await self._operations.dry_run(dead_letter_id, version)
        else:
            done = await self._operations.replay(dead_letter_id, actor, version)
        detail = await self._detail(dead_letter_id)
        told = ReplayAnswer(dry_run=asked.dry_run, what=f"{done.what}.", dead_letter=detail)
        return answer(told, headers=_etag(detail))

    async def discard(self, request: Request) -> Response:
        """Close it without sending anything."""
        dead_letter_id, asked, actor = await self._asked(request, Action)
        await self._operations.discard(dead_letter_id, actor, asked.version(request))
        detail = await self._detail(dead_letter_id)
        return answer(detail, headers=_etag(detail))

    async def _asked(self, request: Request, model: type[A]) -> tuple[UUID, A, Actor]:
        principal = await self._access.admit(request, Permission.OPERATE)
        dead_letter_id = id_in_path(request, "dead_letter_id", "dead letter")
        asked = await json_of(request, model)
        return dead_letter_id, asked, Actor(principal.name, asked.reason)

    async def _detail(self, dead_letter_id: UUID) -> DeadLetterDetail:
        detail = await self._dead_letters.detail(dead_letter_id)
        if detail is None:
            raise not_found("dead letter")
        return detail


def _etag(detail: DeadLetterDetail) -> dict[str, str]:
    return {"ETag": f'"{detail.version}"'}


def add_dead_letter_routes(router: APIRouter, dependencies: Dependencies) -> None:
    """Everything under `/admin/dead-letters`."""
    endpoints = DeadLetterEndpoints(dependencies)
    router.add_api_route(
        "/dead-letters",
        endpoints.page,
        methods=["GET"],
        summary="List dead letters",
        responses=success(200, DeadLetterList, "One page") | LISTED,
        openapi_extra=NEEDS_TOKEN,
    )
    router.add_api_route(
        "/dead-letters/groups",
        endpoints.groups,
        methods=["GET"],
        summary="Count dead letters by queue and error",
        responses=success(200, DeadLetterGroups, "All groups") | LISTED,
        openapi_extra=NEEDS_TOKEN,
    )
    router.add_api_route(
        "/dead-letters/{dead_letter_id}",
        endpoints.show,
        methods=["GET"],
        summary="See a dead letter",
        responses=success(200, DeadLetterDetail, "The dead letter", _ETAG) | SEEN,
        openapi_extra={"parameters": [_ID], **NEEDS_TOKEN},
    )
    router.add_api_route(
        "/dead-letters/{dead_letter_id}/replay",
        endpoints.replay,
        methods=["POST"],
        summary="Replay a dead letter",
        responses=success(200, ReplayAnswer, "What was done, or would be", _ETAG) | ACTED,
        openapi_extra={**takes(ReplayAction), "parameters": [_ID, IF_MATCH], **NEEDS_TOKEN},
    )
    router.add_api_route(
        "/dead-letters/{dead_letter_id}/discard",
        endpoints.discard,
        methods=["POST"],
        summary="Discard a dead letter",
        responses=success(200, DeadLetterDetail, "The dead letter after it", _ETAG) | ACTED,
        openapi_extra={**takes(Action), "parameters": [_ID, IF_MATCH], **NEEDS_TOKEN},
    )
