"""Request bodies: bounded while they stream in, whoever reads them."""

from __future__ import annotations

from typing import Final, TypeVar

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.json_bodies import json_of
from contracts.limits import MAX_BODY_BYTES

M = TypeVar("M", bound=BaseModel)

_NO_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class BodyLimit:
    """Middleware that ends a request with 413 once its body is longer than allowed, whoever reads it."""

    def __init__(self, app: ASGIApp, limit_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] in _NO_BODY:
            await self._app(scope, receive, send)
        else:
            await self._app(scope, self._limited(_announced(scope), receive), send)

    def _limited(self, announced: int, receive: Receive) -> Receive:
        received = 0

        async def limited() -> Message:
            nonlocal received
            if announced > self._limit_bytes:
                raise HTTPException(413)
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit_bytes:
                raise HTTPException(413)
            return message

        return limited


async def json_or_nothing_of(request: Request, model: type[M]) -> M | None:
    """The body of a request that needs none. Raises as `json_of` does."""
    return await json_of(request, model) if await request.body() else None


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
