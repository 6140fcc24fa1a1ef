"""What a process without an HTTP API of its own says of its health: livez, readyz, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Final, overload

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp

from messaging.background import BackgroundLoops, LoopState
from messaging.clock import StorageClock
from messaging.transport import Transport
from oms.embedded.keeper import Keeper
from oms.readiness import database_trouble
from oms.settings import SANDBOX
from oms.wiring import Parts
from orchestrator.http.head import Head
from orchestrator.http.health import Component, Condition, HealthEndpoints
from orchestrator.http.problems import HANDLERS
from orchestrator.http.security import SecurityHeaders
from orchestrator.metrics import Metrics, Sources
from participants.service import ParticipantService

VERSION: Final = version("oms-saga-orchestrator")

Trouble = Callable[[], Awaitable[str | None]]


def database_component(name: str, database: AsyncEngine) -> Component:
    """A service's database, which it cannot do without."""
    return Component(f"database {name}", lambda: database_trouble(database, name))


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


def clock_component(clock: StorageClock) -> Component:
    """This machine's clock: nothing stored goes by it, yet logs, traces and certificates do."""

    async def trouble() -> str | None:
        return clock.trouble

    return Component("clock", trouble, in_trouble=Condition.DEGRADED)


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
        "payment gateway": parts.settings.payment_gateway_chosen,
        "carrier": parts.settings.carrier_chosen,
    }
    note = "the sandbox: nobody is charged and nothing is shipped"
    return [Component(name, _fine, note=note) for name, by in chosen.items() if by == SANDBOX]


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
    app.add_middleware(Head)
    for path, mounted in (mounts or {}).items():
        app.mount(path, mounted)
    return app


class _WithLoops(Sequence[Component]):
    """Components, and one more for each background loop that fails again and again just now."""

    def __init__(self, components: Iterable[Component], loops: Sequence[BackgroundLoops]) -> None:
        self._components = tuple(components)
        self._loops = loops

    def __len__(self) -> int:
        return len(self._now())

    @overload
    def __getitem__(self, at: int) -> Component: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[Component, ...]: ...

    def __getitem__(self, at: int | slice) -> Component | tuple[Component, ...]:
        return self._now()[at]

    def __iter__(self) -> Iterator[Component]:
        return iter(self._now())

    def _now(self) -> tuple[Component, ...]:
        states = ((name, state) for loops in self._loops for name, state in loops.states.items())
        failing = [_loop_component(name, state) for name, state in states if state.trouble is not None]
        return (*self._components, *failing)


def with_loops(components: Iterable[Component], loops: Sequence[BackgroundLoops]) -> Sequence[Component]:
    """These components and, as long as it fails, each background loop; looked at anew each time."""
    return _WithLoops(components, loops)


def _loop_component(name: str, state: LoopState) -> Component:
    async def trouble() -> str | None:
        return state.trouble

    return Component(f"loop {name}", trouble, in_trouble=Condition.DEGRADED)


async def _fine() -> str | None:
    return None
