"""The audit log for operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from orchestrator.http.admin.requests import AuditListQuery
from orchestrator.http.admin.routes import A_LIST, add
from orchestrator.http.answers import answer
from orchestrator.http.dependencies import Dependencies
from orchestrator.queries.audit import AuditQueries
from orchestrator.queries.views import AuditList


class AuditEndpoints:
    """What operators read in the audit log."""

    def __init__(self, audit_log: AuditQueries) -> None:
        self._audit_log = audit_log

    async def page(self, wanted: Annotated[AuditListQuery, Query()]) -> Response:
        """Who did what, why, before and after; newest first (D6)."""
        return answer(await self._audit_log.page(wanted.wanted, wanted.page))


def add_audit_routes(router: APIRouter, dependencies: Dependencies) -> None:
    """`/admin/audit-log`."""
    page = AuditEndpoints(dependencies.queries.audit_log).page
    add(router, A_LIST, "/audit-log", page, AuditList, "List the audit log")
