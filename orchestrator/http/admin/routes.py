"""What the routes of the admin API share: who asks, for what, and how each kind is described."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from contracts.json_bodies import json_of
from orchestrator.core.inputs import Actor
from orchestrator.http.access import Access, Permission
from orchestrator.http.admin.requests import Reasoned
from orchestrator.http.answers import answer, id_in_path
from orchestrator.http.headers import IF_MATCH_PATTERN, entity_tag, if_none_match
from orchestrator.http.openapi import Description, Responses, header, id_parameter, problems, success, takes
from orchestrator.queries.jobs import JobView
from orchestrator.queries.views import DeadLetterDetail, SagaDetail
from orchestrator.queries.webhooks import WebhookView

A = TypeVar("A", bound=Reasoned)

Endpoint = Callable[..., Awaitable[Response]]


async def asked(
    access: Access, request: Request, model: type[A], permission: Permission = Permission.OPERATE
) -> tuple[A, Actor]:
    """What somebody who may act asks for, and who it is (D6). Raises ProblemError."""
    principal = await access.admit(request, permission)
    body = await json_of(request, model)
    return body, Actor(principal.name, body.reason)


async def asked_of(
    access: Access,
    request: Request,
    model: type[A],
    id_name: str,
    what: str,
    permission: Permission = Permission.OPERATE,
) -> tuple[UUID, A, Actor]:
    """The same of an action on the thing whose id is in the path. Raises ProblemError."""
    principal = await access.admit(request, permission)
    identity = id_in_path(request, id_name, what)
    body = await json_of(request, model)
    return identity, body, Actor(principal.name, body.reason)


Versioned = SagaDetail | DeadLetterDetail | JobView | WebhookView
"""What actions are bound to a version of."""


def versioned(view: Versioned) -> Response:
    """A view with its entity tag."""
    response = answer(view)
    response.headers["ETag"] = entity_tag(view.version, bytes(response.body))
    return response


def tag_of(view: Versioned) -> dict[str, str]:
    """The header with the entity tag of something, for an answer that tells more."""
    return {"ETag": versioned(view).headers["ETag"]}


def unless_known(request: Request, response: Response) -> Response:
    """The response, or 304 where it is one that the client has already."""
    if if_none_match(request.headers).isdisjoint({"*", response.headers["ETag"]}):
        return response
    return Response(status_code=304, headers={"ETag": response.headers["ETag"], "Cache-Control": "no-store"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What routes of one kind have in common.

    Attributes:
        says: what its answer is.
        answers: what it may be answered besides.
        takes: request headers, for the description.
        versioned: the answer has an entity tag.
    """

    method: str
    says: str
    answers: Responses
    takes: Sequence[Description] = ()
    versioned: bool = False


_ALWAYS: Final = (401, 403, 500, 503)
_ETAG: Final = {
    "ETag": {
        "schema": {"type": "string"},
        "description": "The version, and a digest of what is shown",
        "required": True,
    }
}
_UNCHANGED: Final[Responses] = {304: {"description": "It is as it is known; nothing is sent"}}
_IF_MATCH: Final = header(
    "If-Match",
    "What was looked at, as the ETag gave it: its version counts; or give `expected_version`",
    {"type": "string", "pattern": IF_MATCH_PATTERN},
)
_IF_NONE_MATCH: Final = header(
    "If-None-Match",
    "What is known already, as the ETag gave it: 304 when it is still so",
    {"type": "string"},
)

A_LIST: Final = Kind("GET", "One page", problems(400, 422, *_ALWAYS))
"""A list to which filters apply."""

A_LIST_OF_ONE: Final = replace(A_LIST, answers=problems(400, 404, 422, *_ALWAYS))
"""A list of the parts of one thing."""

A_LOOK: Final = Kind("GET", "As it is now", problems(404, *_ALWAYS))
"""A look at something that has no version."""

A_VERSIONED_LOOK: Final = replace(A_LOOK, versioned=True)
"""A look at something that an action may be bound to."""

A_CONDITIONAL_LOOK: Final = replace(
    A_VERSIONED_LOOK, answers=_UNCHANGED | A_LOOK.answers, takes=[_IF_NONE_MATCH]
)
"""The same for clients that ask again and again whether it is another."""

ALL_OF_ONE: Final = Kind("GET", "All of them", problems(404, 409, *_ALWAYS))
"""Every part of one thing, if they can be read."""

A_BODY: Final = Kind("GET", "Nothing is masked", problems(400, 404, 409, 422, *_ALWAYS))
"""What is sensitive, to whoever says why."""

AN_ACTION: Final = Kind(
    "POST",
    "As it is after it, or would be",
    problems(400, 404, 409, 412, 413, 415, 422, 428, *_ALWAYS),
    [_IF_MATCH],
    versioned=True,
)
"""An action on one thing at a version of it."""

A_JOB: Final = Kind("POST", "A dry run: what it would do", problems(400, 409, 412, 413, 415, 422, *_ALWAYS))
"""The beginning of a job on whatever a filter selects."""


def add(
    router: APIRouter,
    kind: Kind,
    path: str,
    endpoint: Endpoint,
    view: type[BaseModel],
    summary: str,
    body: type[BaseModel] | None = None,
    **declared: Any,
) -> None:
    """Put a route onto a router.

    Args:
        body: what the endpoint reads itself, once it knows who asks.
        declared: more of what FastAPI takes.
    """
    ids = [id_parameter(part[1:-1]) for part in path.split("/") if part.startswith("{")]
    parameters = [*ids, *kind.takes]
    extra = {**(takes(body) if body else {}), **({"parameters": parameters} if parameters else {})}
    seen = success(200, view, kind.says, _ETAG if kind.versioned else None)
    responses = {**seen, **kind.answers, **declared.pop("responses", {})}
    router.add_api_route(
        path,
        endpoint,
        methods=[kind.method],
        summary=summary,
        responses=responses,
        openapi_extra=extra,
        **declared,
    )
