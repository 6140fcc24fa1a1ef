"""The HTTP application: every route, every error as a problem, as little as possible in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from contracts.problems import ProblemError
from orchestrator.http.access import Permission
from orchestrator.http.admin.audit import add_audit_routes
from orchestrator.http.admin.bodies import add_body_routes
from orchestrator.http.admin.dead_letters import add_dead_letter_routes
from orchestrator.http.admin.jobs import add_job_routes
from orchestrator.http.admin.sagas import add_saga_routes
from orchestrator.http.admin.webhooks import add_webhook_routes
from orchestrator.http.bodies import BodyLimit
from orchestrator.http.console.pages import console_routes
from orchestrator.http.crowd import Crowd
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.events import READERS
from orchestrator.http.feed import feed_routes
from orchestrator.http.head import Head
from orchestrator.http.health import HealthEndpoints
from orchestrator.http.openapi import describe
from orchestrator.http.orders import order_routes
from orchestrator.http.problems import HANDLERS, RETRY_LATER
from orchestrator.http.returns import return_routes
from orchestrator.http.routing import Endpoint
from orchestrator.http.sagas import saga_routes
from orchestrator.http.security import SecurityHeaders
from orchestrator.http.timing import RequestTimes


def create_app(dependencies: Dependencies) -> FastAPI:
    """The application; what it is made with is started and stopped by whoever made it."""
    app = FastAPI(
        title="OMS saga orchestrator",
        summary="Starts sagas of every installed definition, lets operators look and act.",
        version=dependencies.version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=dict(HANDLERS),
        telemetry=dependencies.telemetry,
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(Crowd)
    app.add_middleware(RequestTimes, requests=dependencies.metrics.requests)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Head)
    turns = asyncio.Semaphore(READERS)
    app.router.routes.extend(order_routes(dependencies, turns))
    app.router.routes.extend(return_routes(dependencies, turns))
    app.router.routes.extend(saga_routes(dependencies, turns))
    app.router.routes.extend(feed_routes(dependencies, turns))
    health = HealthEndpoints(dependencies.components, dependencies.metrics, dependencies.version)
    app.router.routes.extend(health.routes())
    app.router.routes.extend(console_routes(dependencies))
    app.include_router(_admin(dependencies))
    for router in (*dependencies.routers, *_missing(dependencies)):
        app.include_router(router)
    describe(app)
    return app


def _admin(dependencies: Dependencies) -> APIRouter:
    guard = Depends(dependencies.access.guard(Permission.VIEW))
    router = APIRouter(prefix="/admin", tags=["admin"], dependencies=[guard], default_response_class=Response)
    add_saga_routes(router, dependencies)
    add_dead_letter_routes(router, dependencies)
    add_job_routes(router, dependencies)
    add_webhook_routes(router, dependencies)
    add_audit_routes(router, dependencies)
    add_body_routes(router, dependencies)
    return router


def _missing(dependencies: Dependencies) -> Iterator[APIRouter]:
    """Routes of participants whose database was not given: they say which variable would bring them."""
    for prefix, variable in dependencies.missing_participants.items():
        router = APIRouter()
        for path in (prefix, f"{prefix}/{{rest:path}}"):
            router.add_api_route(path, _missing_without(variable), methods=_ANY, include_in_schema=False)
        yield router


_ANY: Final = ["GET", "PUT", "POST", "DELETE"]


def _missing_without(variable: str) -> Endpoint:
    async def missing(_: Request) -> Response:
        detail = f"This process was not given {variable}, so it cannot answer here."
        raise ProblemError(503, "participant_not_configured", detail, headers=RETRY_LATER)

    return missing
