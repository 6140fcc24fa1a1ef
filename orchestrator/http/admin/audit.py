"""The audit log for operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from orchestrator.http.admin.described import LISTED
from orchestrator.http.admin.requests import AuditListQuery
from orchestrator.http.answers import answer
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.openapi import NEEDS_TOKEN, success
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
    router.add_api_route(
        "/audit-log",
        AuditEndpoints(dependencies.queries.audit_log).page,
        methods=["GET"],
        summary="List the audit log",
        responses=success(200, AuditList, "One page") | LISTED,
        openapi_extra=NEEDS_TOKEN,
    )
