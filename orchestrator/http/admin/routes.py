"""What the routes of the admin API share: who asks, for what, and how each kind is described."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.core.inputs import Actor
from orchestrator.http.access import Access, Permission
from orchestrator.http.admin.described import (
    ACTED,
    ASSIGNED,
    IF_MATCH,
    IF_NONE_MATCH,
    LISTED,
    SEEN,
    UNCHANGED,
)
from orchestrator.http.admin.requests import Reasoned
from orchestrator.http.answers import answer, id_in_path
from orchestrator.http.bodies import json_of
from orchestrator.http.headers import if_none_match
from orchestrator.http.openapi import NEEDS_TOKEN, Description, Responses, id_parameter, success, takes

A = TypeVar("A", bound=Reasoned)

Endpoint = Callable[..., Awaitable[Response]]

_ETAG: Final = {"ETag": {"schema": {"type": "string"}, "description": "The version", "required": True}}


async def asked(access: Access, request: Request, model: type[A]) -> tuple[A, Actor]:
    """What somebody who may act asks for, and who it is (D6). Raises ProblemError."""
    principal = await access.admit(request, Permission.OPERATE)
    body = await json_of(request, model)
    return body, Actor(principal.name, body.reason)


async def asked_of(
    access: Access, request: Request, model: type[A], id_name: str, what: str
) -> tuple[UUID, A, Actor]:
    """The same of an action on the thing whose id is in the path. Raises ProblemError."""
    principal = await access.admit(request, Permission.OPERATE)
    identity = id_in_path(request, id_name, what)
    body = await json_of(request, model)
    return identity, body, Actor(principal.name, body.reason)


def versioned(view: BaseModel, version: int) -> Response:
    """A view with its version as entity tag."""
    return answer(view, headers={"ETag": f'"{version}"'})


def unless_known(request: Request, response: Response) -> Response:
    """The response, or 304 where the version is one that the client has already."""
    if if_none_match(request.headers).isdisjoint({"*", response.headers["ETag"]}):
        return response
    return Response(status_code=304, headers={"ETag": response.headers["ETag"], "Cache-Control": "no-store"})


class AdminRoutes:
    """Puts routes onto a router, each with everything that its kind has in common."""

    def __init__(self, router: APIRouter) -> None:
        self._router = router

    def a_list(self, path: str, endpoint: Endpoint, view: type[BaseModel], summary: str) -> None:
        """A list to which filters apply; of the parts of one thing, where the path has its id."""
        problems = LISTED | SEEN if _ids(path) else LISTED
        self._add("GET", path, endpoint, summary, success(200, view, "One page") | problems, _ids(path))

    def a_look(self, path: str, endpoint: Endpoint, view: type[BaseModel], summary: str) -> None:
        """A look at something that has no version."""
        self._add("GET", path, endpoint, summary, success(200, view, "As it is now") | SEEN, _ids(path))

    def a_versioned_look(self, path: str, endpoint: Endpoint, view: type[BaseModel], summary: str) -> None:
        """A look at something that an action may be bound to."""
        responses = success(200, view, "As it is now", _ETAG) | SEEN
        self._add("GET", path, endpoint, summary, responses, _ids(path))

    def a_conditional_look(self, path: str, endpoint: Endpoint, view: type[BaseModel], summary: str) -> None:
        """The same for clients that ask again and again whether the version is another."""
        responses = success(200, view, "As it is now", _ETAG) | UNCHANGED | SEEN
        self._add("GET", path, endpoint, summary, responses, [*_ids(path), IF_NONE_MATCH])

    def an_action(
        self, path: str, endpoint: Endpoint, body: type[BaseModel], view: type[BaseModel], summary: str
    ) -> None:
        """An action on one thing at a version of it."""
        responses = success(200, view, "As it is after it, or would be", _ETAG) | ACTED
        self._add("POST", path, endpoint, summary, responses, [*_ids(path), IF_MATCH], takes(body))

    def a_job(
        self, path: str, endpoint: Endpoint, body: type[BaseModel], view: Responses, summary: str
    ) -> None:
        """The beginning of a job on whatever a filter selects."""
        self._add("POST", path, endpoint, summary, view | ASSIGNED, [], takes(body))

    def _add(
        self,
        method: str,
        path: str,
        endpoint: Endpoint,
        summary: str,
        responses: Responses,
        parameters: list[Description],
        body: Description | None = None,
    ) -> None:
        extra = {**(body or {}), **NEEDS_TOKEN, **({"parameters": parameters} if parameters else {})}
        self._router.add_api_route(
            path, endpoint, methods=[method], summary=summary, responses=responses, openapi_extra=extra
        )


def _ids(path: str) -> list[Description]:
    """The ids in a path: ``/sagas/{saga_id}/explain`` has one."""
    return [id_parameter(part[1:-1]) for part in path.split("/") if part.startswith("{")]
