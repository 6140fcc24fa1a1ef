"""Responses: JSON of a view, never kept by anybody on the way."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from contracts.problems import ProblemError

_UUID_LENGTH = 36


def answer(view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A view as JSON."""
    return Response(
        view.model_dump_json(warnings=False),  # what is spoilt is shown as it is stored (S25)
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        "application/json",
    )


def id_in_path(request: Request, name: str, what: str) -> UUID:
    """The id in a path. Raises ProblemError (404) for what cannot be one: there is nothing of that name."""
    text = request.path_params[name]
    try:
        if len(text) == _UUID_LENGTH:
            return UUID(text)
    except ValueError:
        pass
    raise not_found(what)


def not_found(what: str) -> ProblemError:
    """404."""
    return ProblemError(404, "not_found", f"There is no such {what}.")
