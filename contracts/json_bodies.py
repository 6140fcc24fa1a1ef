"""JSON bodies of requests, whoever serves them: they say what they are, and are parsed from the bytes."""

from __future__ import annotations

from typing import Protocol, TypeVar

from pydantic import BaseModel

from contracts.media_types import JSON, Fields, require
from contracts.problems import parsed

M = TypeVar("M", bound=BaseModel)


class Request(Protocol):
    """A request, as far as its body is concerned."""

    @property
    def headers(self) -> Fields:
        """The fields of its head."""

    async def body(self) -> bytes:
        """All of it. May end the request where it is too long."""


async def json_bytes_of(request: Request) -> bytes:
    """The body of a request that must be JSON. Raises ProblemError (415) when it does not say that it is."""
    body = await request.body()
    require(JSON, request.headers)
    return body


async def json_of(request: Request, model: type[M]) -> M:
    """The body of a request.

    Raises:
        ProblemError: 400 when it is no JSON, 415 when it does not say that it is, 422 when it is not valid.
    """
    return parsed(model, await json_bytes_of(request))
