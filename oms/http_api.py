"""The HTTP API put together: the orchestrator's routes, the participants' own, the sandbox, health."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, FastAPI
from pydantic import SecretStr

from contracts.routing import INVENTORY
from messaging.background import BackgroundLoops
from messaging.measures import Reading, read_loops
from oms.health import (
    VERSION,
    broker_component,
    clock_component,
    database_component,
    participant_component,
    provider_components,
    with_loops,
)
from oms.installed_participants import participant_names
from oms.observing.metrics import outbox_look, queue_look
from oms.observing.other_processes import OtherProcesses
from oms.oidc import OwnProvider, own_provider
from oms.settings import InvalidSettings, Settings
from oms.variables import PREFIX
from oms.wiring import Parts
from orchestrator.core.registry import Registry
from orchestrator.explanation import Explainer
from orchestrator.http.access import Access, Permission
from orchestrator.http.app import create_app
from orchestrator.http.dependencies import Dependencies, ReadLedger
from orchestrator.http.health import Component
from orchestrator.metrics import Metrics, Sources
from orchestrator.progress import ProgressListener, ProgressNotifier, connector
from orchestrator.queries import Queries
from orchestrator.queries.orders import order_definitions
from orchestrator.queries.tokens import TokenQueries
from orchestrator.service import Deployment, Front, OrchestratorService
from participants.http import LedgerReader, ledger_router
from participants.inventory.http import inventory_router
from participants.inventory.stockroom import Stockroom
from participants.service import ParticipantService


class Notifying:
    """Tells the processes whose customers wait that orders went on."""

    def __init__(self, parts: Parts) -> None:
        self.notifier = ProgressNotifier(connector(parts.settings.required_database_url("orchestrator")))
        self._loops = BackgroundLoops(parts.rng)
        parts.loops.append(self._loops)

    def start(self) -> None:
        """Begin to notify; the database need not be up."""
        self._loops.start("progress notifier", self.notifier.run_once, pause_s=1.0)

    async def stop(self) -> None:
        """Notify no more."""
        await self._loops.stop(1.0)
        await self.notifier.close()


@dataclass(frozen=True, slots=True)
class Api:
    """The application, and what to call when the process is about to stop: open streams then end."""

    app: FastAPI
    say_goodbye: Callable[[], None]


@asynccontextmanager
async def api_app(
    parts: Parts,
    deployment: Deployment,
    front: Front,
    admin_token: SecretStr,
    local: Sequence[OrchestratorService | ParticipantService] = (),
    beside: Sequence[Component] = (),
) -> AsyncIterator[Api]:
    """The application, with what it needs running.

    Args:
        local: services that run in this process too, and so show in its health and metrics.
        beside: what else belongs to its health.
    """
    queries = Queries(deployment.database, deployment.registry)
    async with own_provider(parts.settings, queries.reader, deployment.new_id) as provider:
        others = OtherProcesses(parts.settings.health_urls)
        database_url = parts.settings.required_database_url("orchestrator")
        listener = ProgressListener(connector(database_url), queries.orders.standings, parts.rng)
        for service in (front, listener, *local):
            parts.loops += service.loops
        access = _access(parts.settings, admin_token, queries, deployment.registry, provider)
        operations = front.operations
        dependencies = Dependencies(
            intake=front.intake,
            operations=operations,
            dead_letters=front.dead_letters,
            disclosures=front.disclosures,
            jobs=front.jobs,
            webhooks=front.webhooks,
            queries=queries,
            explainer=Explainer(queries, deployment.registry, deployment.transport.depth, operations.allowed),
            registry=deployment.registry,
            depth=deployment.transport.depth,
            listener=listener,
            access=access,
            new_id=deployment.new_id,
            metrics=Metrics(_sources(parts, deployment, front, queries, local), VERSION),
            components=[*with_loops(_components(parts, deployment, local), parts.loops), *beside],
            version=VERSION,
            routers=_participant_routers(parts, access, deployment.registry.sensitive),
            missing_participants=_missing(parts),
            ledgers=_ledgers(parts, deployment.registry.sensitive),
            others=others.readiness,
            tracing=parts.telemetry.tracing,
            telemetry=parts.telemetry.http(),
            sign_in=provider.sign_in,
        )
        app = create_app(dependencies)
        listener.start()
        try:
            yield Api(app, listener.say_goodbye)
        finally:
            await listener.stop()
            await others.close()


def _access(
    settings: Settings, admin_token: SecretStr, queries: Queries, registry: Registry, provider: OwnProvider
) -> Access:
    orders_token = settings.orders_token
    return Access.by_tokens(
        admin_token.get_secret_value(),
        orders_token.get_secret_value() if orders_token else None,
        TokenQueries(queries.reader),
        saga_tokens(settings, registry),
        issuer=provider.bearers,
        visitors=provider.people,
    )


def saga_tokens(settings: Settings, registry: Registry) -> dict[str, str]:
    """The tokens of single definitions. Raises InvalidSettings for what has none."""
    orders = order_definitions(registry)
    for name in settings.saga_tokens:
        if name in orders:
            raise InvalidSettings(f"{PREFIX}SAGA_TOKENS: {name} is for orders: its is {PREFIX}ORDERS_TOKEN")
        if name not in registry.started_here:
            others = ", ".join(sorted(registry.started_here.keys() - orders)) or "none"
            raise InvalidSettings(
                f"{PREFIX}SAGA_TOKENS: no definition {name!r} can be started here; there are: {others}"
            )
    return {name: token.get_secret_value() for name, token in settings.saga_tokens.items()}


def _sources(
    parts: Parts,
    deployment: Deployment,
    front: Front,
    queries: Queries,
    local: Sequence[OrchestratorService | ParticipantService],
) -> Sources:
    outboxes = [
        outbox_look(each.name, parts.database(each.name))
        for each in local
        if isinstance(each, ParticipantService)
    ]
    participants = deployment.registry.participants
    gauges = partial(queries.gauges.readings, participants)
    queues = queue_look(deployment.transport, participants)
    counted: list[Callable[[], Iterable[Reading]]] = [front.readings, queries.reader.readings]
    counted += [parts.clock.readings, *(each.readings for each in local)]
    counted.append(partial(read_loops, parts.loops))
    return Sources(counted, [gauges, queries.webhooks.readings, queues, *outboxes])


def _components(
    parts: Parts, deployment: Deployment, local: Sequence[OrchestratorService | ParticipantService]
) -> list[Component]:
    return [
        database_component("orchestrator", deployment.database),
        broker_component(deployment.transport),
        clock_component(parts.clock),
        *(participant_component(each) for each in local if isinstance(each, ParticipantService)),
        *provider_components(parts),
    ]


def _ledgers(parts: Parts, sensitive: Collection[str]) -> dict[str, ReadLedger]:
    """How the ledger of every participant whose database this process was given is read."""
    return {name: LedgerReader(name, parts.looked_up(name), sensitive).read for name in _at_hand(parts)}


def _participant_routers(parts: Parts, access: Access, sensitive: Collection[str]) -> list[APIRouter]:
    """The routes of every participant whose database this process was given."""
    may_see = access.guard(Permission.VIEW)
    routers = [ledger_router(name, parts.looked_up(name), may_see, sensitive) for name in _at_hand(parts)]
    if parts.settings.database_url_of(INVENTORY):
        may_set = access.guard(Permission.OPERATE)
        routers.append(inventory_router(Stockroom(parts.looked_up(INVENTORY)), may_set))
    return routers


def _at_hand(parts: Parts) -> list[str]:
    names = participant_names(parts.settings.extensions_off)
    return [name for name in names if parts.settings.database_url_of(name)]


def _missing(parts: Parts) -> dict[str, str]:
    missing = {
        f"/participants/{name}": f"{PREFIX}{name.upper()}_DATABASE_URL"
        for name in participant_names(parts.settings.extensions_off)
        if parts.settings.database_url_of(name) is None
    }
    if parts.settings.database_url_of(INVENTORY) is None:
        missing["/inventory"] = f"{PREFIX}INVENTORY_DATABASE_URL"
    return missing
