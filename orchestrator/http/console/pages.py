"""The console put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.http.answers import not_found
from orchestrator.http.console.audit import AuditPages
from orchestrator.http.console.dead_letters import DeadLetterPages
from orchestrator.http.console.desk import Desk
from orchestrator.http.console.health import HealthPages
from orchestrator.http.console.jobs import JobPages
from orchestrator.http.console.live import LivePages, Snapshot
from orchestrator.http.console.login import Login
from orchestrator.http.console.messages import MessagePages
from orchestrator.http.console.overview import OverviewPages
from orchestrator.http.console.provider_login import ProviderLogin
from orchestrator.http.console.rendering import Renderer, StaticFiles
from orchestrator.http.console.saga import SagaPage
from orchestrator.http.console.sagas import SagaPages
from orchestrator.http.console.session import Session, Sessions
from orchestrator.http.console.situation import Situations
from orchestrator.http.console.webhooks import WebhookPages
from orchestrator.http.dependencies import Dependencies


def _now() -> datetime:
    return datetime.now(UTC)


def console_routes(dependencies: Dependencies, now: Callable[[], datetime] = _now) -> Iterator[APIRoute]:
    """Everything under `/console`; routes of the application itself (see `DirectRoute`)."""
    static = StaticFiles()
    sign_in = dependencies.sign_in
    renderer = Renderer(static, dependencies.version, now)
    called = sign_in.flow.called if sign_in is not None else None
    desk = Desk(Sessions(dependencies.access), renderer, now, called)

    async def file(request: Request) -> Response:
        found = static.response(request.path_params["name"], request.query_params.get("v"))
        return found or desk.failed(None, not_found("file"))

    async def nothing(_: Request, session: Session) -> Response:
        return desk.failed(session, not_found("page"))

    yield desk.open("/console/static/{name}", file, "GET")
    provider_login = ProviderLogin(desk, sign_in) if sign_in is not None else None
    yield from Login(desk, provider_login).routes()
    if provider_login is not None:
        yield from provider_login.routes()
    situations = Situations(dependencies, now)
    yield from OverviewPages(desk, situations).routes()
    yield from HealthPages(desk, dependencies, situations).routes()
    snapshots: dict[str, Snapshot] = {
        "overview": situations.situation.recent,
        "health": situations.health.recent,
    }
    yield from LivePages(desk, dependencies, snapshots).routes()
    for pages in (SagaPages, SagaPage, MessagePages, DeadLetterPages, JobPages, WebhookPages, AuditPages):
        yield from pages(desk, dependencies).routes()
    yield desk.page("/console/{rest:path}", nothing)
