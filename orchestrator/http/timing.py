"""How long requests take until their response begins, by route."""

from __future__ import annotations

from time import perf_counter

from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.http.problems import METHODS


class RequestTimes:
    """Middleware that observes every response by method, route and status."""

    def __init__(self, app: ASGIApp, requests: Histogram) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._requests.labels(*_labels(scope, message)).observe(perf_counter() - began)
            await send(message)

        await self._app(scope, receive, timed)


def _labels(scope: Scope, message: Message) -> tuple[str, str, int]:
    """Labels of which there are few: whatever a client makes up counts as other."""
    method = scope["method"] if scope["method"] in METHODS else "other"
    return method, getattr(scope.get("route"), "path", "other"), message["status"]
