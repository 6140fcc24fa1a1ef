"""How many requests may be open at once: the next one is told to come back."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from contracts.problems import ProblemError
from orchestrator.http.problems import RETRY_SOON, respond

OPEN_LIMIT: Final = 2_000
"""Requests open at once, those that follow something included, which have lower limits of their own."""

PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""Answered in any case: a process that has much to do is alive, and somebody must see it."""


class Crowd:
    """Middleware that answers 503 while too many requests are open."""

    def __init__(self, app: ASGIApp, limit: int = OPEN_LIMIT) -> None:
        self._app = app
        self._limit = limit
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and self._open >= self._limit and scope["path"] not in PROBES:
            await _full()(scope, receive, send)
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1


def _full() -> ASGIApp:
    detail = "Too many requests are open here."
    return respond(ProblemError(503, "too_many_requests_open", detail, headers=RETRY_SOON))
