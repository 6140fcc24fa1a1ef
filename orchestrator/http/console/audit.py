"""The audit log: who did what, why, before and after (D6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.http.admin.requests import AuditListQuery
from orchestrator.http.console.desk import Desk, filled_in, following
from orchestrator.http.console.forms import query_of
from orchestrator.http.console.session import Session
from orchestrator.http.dependencies import Dependencies

_PAGES: Final = {
    "saga": "/console/sagas",
    "dead_letter": "/console/dead-letters",
    "job": "/console/jobs",
    "webhook": "/console/webhooks",
}


class AuditPages:
    """What operators read in the audit log."""

    def __init__(self, desk: Desk, dependencies: Dependencies) -> None:
        self._desk = desk
        self._audit_log = dependencies.queries.audit_log

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        yield self._desk.page("/console/audit-log", self._list)

    async def _list(self, request: Request, session: Session) -> Response:
        wanted = query_of(request, AuditListQuery)
        found = await self._audit_log.page(wanted.wanted, wanted.page)
        return self._desk.show(
            "audit_log.html",
            session,
            entries=[(entry, _page_of(entry.subject)) for entry in found.items],
            more=following(request, found.next_cursor),
            given=filled_in(request),
        )


def _page_of(subject: str) -> str | None:
    """Where the subject of an entry can be seen."""
    kind, _, identity = subject.partition(":")
    return f"{_PAGES[kind]}/{identity}" if kind in _PAGES else None
