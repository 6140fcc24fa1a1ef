"""Routes whose endpoint gets the request as it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class DirectRoute(APIRoute):
    """A route that is documented like any other and costs nothing: no injection, no conversion.

    An ordinary route's dependency injection costs twice as much as everything else that is done for an
    order, the database aside. Such a route stands on the application itself, not on an included router.
    """

    def __init__(self, path: str, endpoint: Endpoint, **described: Any) -> None:
        super().__init__(path, endpoint, **described)
        self.app = _application(endpoint)


def _application(endpoint: Endpoint) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    return application
