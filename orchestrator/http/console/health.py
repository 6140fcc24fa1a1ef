"""How everything is that this process uses."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.http.console.desk import Desk
from orchestrator.http.console.session import Session
from orchestrator.http.console.situation import Situations
from orchestrator.http.dependencies import Dependencies


class HealthPages:
    """What readiness says, for people."""

    def __init__(self, desk: Desk, dependencies: Dependencies, situations: Situations) -> None:
        self._desk = desk
        self._situations = situations
        self._dependencies = dependencies

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        yield self._desk.page("/console/health", self._show)

    async def _show(self, request: Request, session: Session) -> Response:
        health = await self._situations.health.for_page(request)
        return self._desk.show(
            "health.html",
            session,
            readiness=health.here,
            others=health.others,
            missing=self._dependencies.missing_participants,
            definitions=self._dependencies.registry.known,
        )
