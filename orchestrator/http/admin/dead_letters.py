"""Dead letters for operators: list, groups, look, replay, discard."""

from __future__ import annotations

from functools import partial
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.core.inputs import Actor
from orchestrator.http.admin.requests import Action, DeadLetterFilters, DeadLetterListQuery, ReplayAction
from orchestrator.http.admin.routes import (
    A_CONDITIONAL_LOOK,
    A_LIST,
    AN_ACTION,
    add,
    asked_of,
    tag_of,
    unless_known,
    versioned,
)
from orchestrator.http.answers import answer, id_in_path, not_found
from orchestrator.http.dependencies import Dependencies
from orchestrator.queries.views import (
    DeadLetterDetail,
    DeadLetterGroups,
    DeadLetterList,
)

A = TypeVar("A", bound=Action)


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
        return unless_known(request, versioned(detail))

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
        return answer(told, headers=tag_of(detail))

    async def discard(self, request: Request) -> Response:
        """Close it without sending anything."""
        dead_letter_id, asked, actor = await self._asked(request, Action)
        await self._operations.discard(dead_letter_id, actor, asked.version(request))
        detail = await self._detail(dead_letter_id)
        return versioned(detail)

    async def _asked(self, request: Request, model: type[A]) -> tuple[UUID, A, Actor]:
        return await asked_of(self._access, request, model, "dead_letter_id", "dead letter")

    async def _detail(self, dead_letter_id: UUID) -> DeadLetterDetail:
        detail = await self._dead_letters.detail(dead_letter_id)
        if detail is None:
            raise not_found("dead letter")
        return detail


def add_dead_letter_routes(router: APIRouter, dependencies: Dependencies) -> None:
    """Everything under `/admin/dead-letters` that concerns single ones."""
    endpoints, put = DeadLetterEndpoints(dependencies), partial(add, router)
    every, one = "/dead-letters", "/dead-letters/{dead_letter_id}"
    counted = "Count dead letters by queue and error"
    put(A_LIST, every, endpoints.page, DeadLetterList, "List dead letters")
    put(A_LIST, f"{every}/groups", endpoints.groups, DeadLetterGroups, counted)
    put(A_CONDITIONAL_LOOK, one, endpoints.show, DeadLetterDetail, "See a dead letter")
    put(AN_ACTION, f"{one}/replay", endpoints.replay, ReplayAnswer, "Replay a dead letter", ReplayAction)
    put(AN_ACTION, f"{one}/discard", endpoints.discard, DeadLetterDetail, "Discard a dead letter", Action)
