"""What a process without an HTTP API of its own says of its health: livez, readyz, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp

from messaging.transport import Transport
from oms.embedded_keeper import Keeper
from oms.readiness import database_trouble
from oms.settings import SANDBOX
from oms.wiring import Parts
from orchestrator.http.health import Component, Condition, HealthEndpoints
from orchestrator.http.problems import HANDLERS
from orchestrator.http.security import SecurityHeaders
from orchestrator.metrics import Metrics, Sources
from participants.service import ParticipantService

VERSION: Final = version("oms-saga-orchestrator")

Trouble = Callable[[], Awaitable[str | None]]


def database_component(name: str, database: AsyncEngine) -> Component:
    """A database that the service cannot do without."""
    return Component(f"database {name}", lambda: database_trouble(database))


def server_component(keeper: Keeper) -> Component:
    """The database server that this process runs itself."""

    async def trouble() -> str | None:
        return keeper.trouble

    return Component("embedded PostgreSQL", trouble)


def broker_component(transport: Transport) -> Component:
    """The broker: while it is away, orders are accepted and wait."""

    async def trouble() -> str | None:
        return transport.trouble

    return Component("broker", trouble, in_trouble=Condition.DEGRADED)


def participant_component(service: ParticipantService) -> Component:
    """A participant in this process, with the circuit breaker at its provider."""

    async def trouble() -> str | None:
        return "; ".join(service.troubles) or None

    def breaker() -> str | None:
        return service.breaker.value if service.breaker is not None else None

    return Component(service.name, trouble, in_trouble=Condition.DEGRADED, breaker=breaker)


def provider_components(parts: Parts) -> list[Component]:
    """Says where a provider is only played."""
    chosen = {
        "payment gateway": parts.settings.payment_gateway_url,
        "carrier": parts.settings.carrier_url,
    }
    note = "the sandbox: nobody is charged and nothing is shipped"
    return [Component(name, _fine, note=note) for name, url in chosen.items() if url == SANDBOX]


def health_app(
    components: Sequence[Component], sources: Sources, mounts: Mapping[str, ASGIApp] | None = None
) -> FastAPI:
    """The application; ``mounts`` are further ones below their paths."""
    app = FastAPI(
        title="OMS health", openapi_url=None, docs_url=None, redoc_url=None, exception_handlers=dict(HANDLERS)
    )
    endpoints = HealthEndpoints(components, Metrics(sources, VERSION), VERSION)
    app.router.routes.extend(endpoints.routes())
    app.add_middleware(SecurityHeaders)
    for path, mounted in (mounts or {}).items():
        app.mount(path, mounted)
    return app


async def _fine() -> str | None:
    return None
