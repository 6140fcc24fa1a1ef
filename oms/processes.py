"""Every process there is: what it is made of, what it waits for, how it ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from fastapi import FastAPI
from pydantic import SecretStr

from contracts.routing import ORCHESTRATOR
from messaging.measures import Reading, read_loops
from messaging.topology import installation_of
from messaging.transport import ForeignBroker, TopologyMismatch
from oms.clocks import compared, wait_for_time
from oms.definitions import registry
from oms.embedded.keeper import kept
from oms.embedded.postgresql import EmbeddedPostgres
from oms.exposure import (
    is_beyond_loopback,
    may_show_sandbox,
    require_orders_guarded,
    require_sandbox_guarded,
)
from oms.failures import Failure
from oms.garbage import collect_seldom
from oms.health import (
    broker_component,
    clock_component,
    database_component,
    health_app,
    participant_component,
    server_component,
    with_loops,
)
from oms.http_api import Notifying, api_app
from oms.installed_participants import participant_named, participant_names, require_participant
from oms.observing.logs import configure_logs
from oms.observing.metrics import outbox_look
from oms.observing.telemetry import OFF, Telemetry, telemetry_of
from oms.readiness import wait_for_database, wait_for_schema
from oms.sandbox import create_sandbox
from oms.serving import served, until_told_to_stop
from oms.settings import HTTP, SANDBOX, Settings
from oms.tokens import admin_token_in
from oms.variables import PREFIX
from oms.wiring import (
    Parts,
    deployment,
    migrate,
    over_rabbitmq,
    participant_service,
    parts_of,
    services_of,
    webhook_sender,
    within_this_process,
)
from orchestrator.http.health import Component
from orchestrator.metrics import Sources
from orchestrator.service import Deployment, Front, OrchestratorService, topology
from participants.service import ParticipantService

log = structlog.get_logger(__name__)

FOLDER: Final = Path(".oms")
"""Where `oms run` keeps its database and its admin token."""

ASKED_FOR_S: Final = 3.0
"""Seconds that the API waits for a broker that may be away, before it takes orders."""


Service = OrchestratorService | ParticipantService


@asynccontextmanager
async def started(
    services: Iterable[Service], finish_within_s: float = 10.0
) -> AsyncIterator[asyncio.Task[None]]:
    """Services that start side by side while the block runs; gives the task that ends when all have.

    Args:
        finish_within_s: seconds that they get in the end for what they have begun.

    Raises:
        TopologyMismatch: from the task, when the broker's queues are not ours.
    """
    running = list(services)

    async def start_all() -> None:
        await asyncio.gather(*(service.start() for service in running))

    starting = asyncio.create_task(start_all(), name="starting")
    try:
        yield starting
    finally:
        if not starting.done():
            starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await _stopped(running, finish_within_s)


async def _stopped(running: Iterable[Service | Front], within_s: float) -> None:
    """All have finished what they had begun, or have had their time for it."""
    try:
        async with asyncio.timeout(within_s):
            await asyncio.gather(*(each.stop() for each in running))
    except TimeoutError:
        log.warning("stopping before everything is finished; it will be taken up again")


async def run_orchestrator(settings: Settings) -> None:
    """`oms orchestrator`: outcomes, dead letters, due sagas, relay, until told to stop."""
    registry(settings)  # what is wrong with a definition is said before anything is waited for
    await _worker(settings, "orchestrator", orchestrator_service)


def orchestrator_service(parts: Parts, exits: AsyncExitStack) -> OrchestratorService:
    """The orchestrator, whose progress is told to whoever waits for it."""
    notifying = Notifying(parts)
    notifying.start()
    exits.push_async_callback(notifying.stop)
    made_with = deployment(parts)
    return OrchestratorService(made_with, notifying.notifier, webhook_sender(parts, made_with))


async def run_participant(settings: Settings, name: str) -> None:
    """`oms participant NAME`: one participant's commands, until told to stop."""
    require_participant(name, settings.extensions_off)
    participant_named(name)  # what is wrong with it is said before anything is waited for
    await _worker(settings, name, lambda parts, _: participant_service(parts, name))


async def run_api(settings: Settings, host: str, port: int) -> None:
    """`oms api`: the HTTP API, until told to stop. Orders are accepted also while the broker is down."""
    telemetry = _observed(settings, "api")
    if settings.admin_token is None:
        raise Failure(f"{PREFIX}ADMIN_TOKEN must be set: it is what /admin asks for")
    require_orders_guarded(settings, host)
    registry(settings)
    stop = until_told_to_stop(settings.stop_within_s)
    async with parts_of(settings, over_rabbitmq(settings), telemetry) as parts:
        if not await _unless(stop, _prepared(parts, ORCHESTRATOR)):
            return
        async with (
            compared(parts.clock, parts.database(ORCHESTRATOR), parts.rng),
            serving_api(parts, host, port, settings.admin_token) as url,
        ):
            collect_seldom()
            log.info("ready", url=url)
            await stop.wait()


async def run_migrate(settings: Settings, installation: UUID | None = None) -> dict[str, tuple[str, ...]]:
    """`oms migrate`: every schema whose database is given; returns the revisions applied, by service.

    Args:
        installation: see `oms.wiring.migrate`.
    """
    configure_logs(settings, "migrate")
    for service in services_of(settings):
        if settings.database_url_of(service) is not None:
            await wait_for_database(settings, service)
    return await migrate(settings, installation)


async def run_sandbox(settings: Settings, host: str, port: int) -> None:
    """`oms sandbox`: payment gateway and carrier to play against, as one HTTP server."""
    telemetry = _observed(settings, "sandbox")
    require_sandbox_guarded(settings, host)
    stop = until_told_to_stop(settings.stop_within_s)
    async with parts_of(settings, within_this_process(), telemetry) as parts:
        sandbox = parts.sandbox()
        if not await _unless(stop, wait_for_schema(settings, "sandbox")):
            return
        components = [database_component("sandbox", parts.database("sandbox"))]
        app = health_app(components, Sources(), {"/": create_sandbox(sandbox)})
        async with served(app, host, port) as url:
            log.info("ready", url=url)
            await stop.wait()


async def run(settings: Settings, host: str, port: int) -> None:
    """`oms run`: everything in one process, on what is given and on embedded parts for the rest."""
    telemetry = _observed(settings, "oms")
    stop = until_told_to_stop(settings.stop_within_s)
    async with stack(settings, host, port, FOLDER, telemetry) as running:
        collect_seldom()
        log.info("ready", url=running.api_url, console=f"{running.api_url}/console")
        await stop.wait()


class Running:
    """A whole system in this process.

    Attributes:
        api_url: where its HTTP API is.
        admin_token: what ``/admin`` asks for.
        settings: with everything that was filled in.
    """

    def __init__(self, api_url: str, admin_token: str, settings: Settings) -> None:
        self.api_url = api_url
        self.admin_token = admin_token
        self.settings = settings


@asynccontextmanager
async def stack(
    settings: Settings, host: str, port: int, folder: Path, telemetry: Telemetry = OFF
) -> AsyncIterator[Running]:
    """Everything in one process: migrated, started, served.

    Raises:
        Failure: an embedded part would be reachable from elsewhere, or something cannot be started.
    """
    registry(settings)
    _check_participants(settings)
    embedded = _embedded_parts(settings)
    if embedded and is_beyond_loopback(host):
        raise Failure(f"{', '.join(embedded)} must be set to serve on {host}: the defaults are for loopback")
    require_orders_guarded(settings, host)
    beside: list[Component] = []
    async with AsyncExitStack() as exits:
        if settings.database_url is None and f"{PREFIX}DATABASE_URL" in embedded:
            log.info("using an embedded PostgreSQL", folder=str(folder / "postgres"))
            server = await exits.enter_async_context(EmbeddedPostgres(folder / "postgres"))
            beside.append(server_component(await exits.enter_async_context(kept(server))))
            settings = settings.model_copy(update={"database_url": server.url})
        settings = _with_sandbox(settings)
        token = settings.admin_token or admin_token_in(folder, settings)
        if not settings.broker_url:
            log.info("using the in-process transport")
        transport = over_rabbitmq(settings) if settings.broker_url else within_this_process()
        parts = await exits.enter_async_context(parts_of(settings, transport, telemetry))
        names = participant_names(settings.extensions_off)
        for service in ("orchestrator", *names, SANDBOX):
            await wait_for_database(settings, service)
        await migrate(settings)
        await _prepared(parts, ORCHESTRATOR)
        await exits.enter_async_context(compared(parts.clock, parts.database(ORCHESTRATOR), parts.rng))
        services: list[Service] = [participant_service(parts, name) for name in names]
        services.append(orchestrator_service(parts, exits))
        starting = await exits.enter_async_context(started(services, settings.finish_within_s))
        starting.add_done_callback(_report)
        url = await exits.enter_async_context(serving_api(parts, host, port, token, services, beside))
        yield Running(url, token.get_secret_value(), settings)


def _check_participants(settings: Settings) -> None:
    """What is wrong with an installed participant is said before anything is started."""
    for name in participant_names(settings.extensions_off):
        participant_named(name)


@asynccontextmanager
async def serving_api(
    parts: Parts,
    host: str,
    port: int,
    admin_token: SecretStr,
    local: Sequence[Service] = (),
    beside: Sequence[Component] = (),
) -> AsyncIterator[str]:
    """The HTTP API served while the block runs; gives its URL. ``local`` services run in this process.

    What is ``beside`` them belongs to its health too.

    Raises:
        Failure: the broker's virtual host is another installation's (M4).
    """
    made_with = deployment(parts)
    front = Front(made_with)
    async with AsyncExitStack() as exits:
        exits.push_async_callback(_stopped, [front], parts.settings.finish_within_s)
        await front.start()
        declaring = asyncio.create_task(_declare(made_with, front), name="declaring")
        exits.push_async_callback(_cancelled, declaring)
        await _whose_broker(declaring)
        declaring.add_done_callback(_report)
        api = await exits.enter_async_context(api_app(parts, made_with, front, admin_token, local, beside))
        _show_sandbox(api.app, parts, host)
        url = await exits.enter_async_context(served(api.app, host, port))
        exits.callback(api.say_goodbye)
        yield url


def _show_sandbox(app: FastAPI, parts: Parts, host: str) -> None:
    """Where this process plays a provider, people can look at what was asked of it below `/sandbox`."""
    if not parts.settings.uses_sandbox:
        return
    if may_show_sandbox(parts.settings, host):
        app.mount("/sandbox", create_sandbox(parts.sandbox()))
    else:
        log.warning(f"/sandbox asks for no token, so it is not served here without {PREFIX}SANDBOX_OPEN=yes")


async def _declare(made_with: Deployment, front: Front) -> Sequence[str]:
    queues = topology(made_with.registry, made_with.retry_policy)
    return await made_with.transport.declare(installation_of(await front.identity()) + queues)


async def _whose_broker(declaring: asyncio.Task[Sequence[str]]) -> None:
    """Give the broker a moment to say whose it is. Orders are accepted while it cannot be asked.

    Raises:
        Failure: it is another installation's.
    """
    await asyncio.wait({declaring}, timeout=ASKED_FOR_S)
    if declaring.done() and isinstance(error := declaring.exception(), ForeignBroker):
        raise Failure(str(error)) from None


async def _worker(settings: Settings, name: str, make: Callable[[Parts, AsyncExitStack], Service]) -> None:
    """A process without an HTTP API of its own."""
    telemetry = _observed(settings, name)
    stop = until_told_to_stop(settings.stop_within_s)
    async with AsyncExitStack() as exits:
        parts = await exits.enter_async_context(parts_of(settings, over_rabbitmq(settings), telemetry))
        service = make(parts, exits)
        parts.loops += service.loops
        if settings.health_port is not None:
            address = ("0.0.0.0", settings.health_port)  # noqa: S104  health is asked for from outside
            components = with_loops(_components(parts, name, service), parts.loops)
            app = health_app(components, _sources(parts, name, service))
            await exits.enter_async_context(served(app, *address))
        if not await _unless(stop, _prepared(parts, name)):
            return
        await exits.enter_async_context(compared(parts.clock, parts.database(name), parts.rng))
        starting = await exits.enter_async_context(started([service], settings.finish_within_s))
        if not await _unless(stop, _waited(starting)):
            return
        collect_seldom()
        log.info("ready")
        await stop.wait()
        log.info("stopping")


def _observed(settings: Settings, service: str) -> Telemetry:
    """Logs, and traces where the environment asks for them."""
    configure_logs(settings, service)
    telemetry = telemetry_of(service, os.environ)
    if telemetry.log_context is not None:
        configure_logs(settings, service, telemetry.log_context)
    return telemetry


async def _prepared(parts: Parts, service: str) -> None:
    """The service's schema is up to date, and its database has told its time."""
    await wait_for_schema(parts.settings, service)
    await wait_for_time(parts.clock, parts.database(service))


def _components(parts: Parts, name: str, service: Service) -> list[Component]:
    components = [
        database_component(name, parts.database(name)),
        broker_component(parts.transport_of(name)),
        clock_component(parts.clock),
    ]
    if isinstance(service, ParticipantService):
        components.append(participant_component(service))
    return components


def _sources(parts: Parts, name: str, service: Service) -> Sources:
    readings: list[Callable[[], Iterable[Reading]]] = [service.readings, parts.clock.readings]
    readings.append(partial(read_loops, parts.loops))
    return Sources(readings, [outbox_look(name, parts.database(name))])


async def _waited(starting: asyncio.Task[None]) -> None:
    try:
        await asyncio.shield(starting)
    except TopologyMismatch as error:
        raise Failure(str(error)) from None


async def _unless(stop: asyncio.Event, work: Awaitable[None]) -> bool:
    """Wait for work, or for being told to stop; says whether the work is done."""
    doing = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not doing.done():
        doing.cancel()
        await asyncio.wait({doing})
        return False
    doing.result()
    return True


async def _cancelled(task: asyncio.Task[object]) -> None:
    task.cancel()
    await asyncio.wait({task})


def _report(task: asyncio.Task[object]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("cannot go on as it is", problem=str(error))


def _embedded_parts(settings: Settings) -> list[str]:
    """Variables that `oms run` replaces by embedded parts."""
    missing = []
    services = ("orchestrator", *participant_names(settings.extensions_off))
    if any(settings.database_url_of(service) is None for service in services):
        missing.append(f"{PREFIX}DATABASE_URL")
    if not settings.broker_url:
        missing.append(f"{PREFIX}BROKER_URL")
    if settings.payment_gateway_chosen == HTTP and settings.payment_gateway_url is None:
        missing.append(f"{PREFIX}PAYMENT_GATEWAY_URL")
    if settings.carrier_chosen == HTTP and settings.carrier_url is None:
        missing.append(f"{PREFIX}CARRIER_URL")
    if settings.admin_token is None:
        missing.append(f"{PREFIX}ADMIN_TOKEN")
    return missing


def _with_sandbox(settings: Settings) -> Settings:
    """The settings with the sandbox wherever no provider was given; said aloud."""
    given = {"payment_gateway_url": settings.payment_gateway_chosen, "carrier_url": settings.carrier_chosen}
    chosen = {name: SANDBOX for name, by in given.items() if by == HTTP and getattr(settings, name) is None}
    settings = settings.model_copy(update=chosen)
    if settings.uses_sandbox:
        log.warning("using the sandbox: nobody is charged and nothing is shipped")
    return settings
