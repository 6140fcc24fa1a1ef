"""Which parts a service is made of: transport, databases, providers. `oms/processes.py` starts them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import Any, Final, Protocol, runtime_checkable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.one_line import kind_and_line
from contracts.routing import ORCHESTRATOR, PAYMENT, SHIPPING
from messaging.background import BackgroundLoops
from messaging.clock import StorageClock
from messaging.identifiers import NewId, time_ordered_ids
from messaging.in_process import InProcessBroker, InProcessTransport
from messaging.outbox import Outbox
from messaging.postgresql import create_engine
from messaging.rabbitmq import RabbitMqTransport
from messaging.transport import Transport
from migrations.feed import set_in_order
from migrations.installation import agreed, identify
from migrations.run import SERVICES, MigrationFailed, migrate_async
from oms import extensions
from oms.definitions import registry
from oms.failures import Failure
from oms.installed_participants import histories, participant_named, participant_names, require_participant
from oms.observing.telemetry import OFF, Telemetry
from oms.sandbox import Sandbox, SandboxExchange
from oms.settings import HTTP, SANDBOX, Settings
from oms.variables import PREFIX
from orchestrator.queries import Queries
from orchestrator.queries.feed import FeedQueries
from orchestrator.sagas.order_fulfillment import PaymentFlow, Shipments
from orchestrator.service import Deployment
from orchestrator.webhooks.delivery import Courier
from orchestrator.webhooks.sender import WebhookSender, told_here
from participants.kit.methods import method_problems
from participants.kit.participant import Participant
from participants.kit.service import kit_service, kit_storage
from participants.payment.gateway import (
    AuthorizingGateway,
    HttpPaymentGateway,
    PaymentGateway,
    RenewingGateway,
)
from participants.provider_http import HttpExchange, InvalidProviderUrl, ProviderExchange
from participants.provider_terms import ProviderLimits
from participants.service import ParticipantDeployment, ParticipantPace, ParticipantService
from participants.shipping.carrier import Carrier, HttpCarrier

FOR_PROGRESS: Final = 2
"""Of the connections to the orchestrator's database, those that tell of progress and hear of it."""

LOOKED_UP_WITH: Final = 2
"""Connections to the database of a service that runs elsewhere, of which something is looked up here."""

CALL_MARGIN_S = 5.0
"""Seconds beyond its client's time-out within which a call to a provider has certainly ended."""


@runtime_checkable
class Closing(Protocol):
    """What holds connections, to be given back at the end of the process."""

    async def close(self) -> None:
        """Give them back."""


@dataclass(slots=True)
class Parts:
    """What the services of one process share, and what has to be closed at its end."""

    settings: Settings
    transport: Callable[[str], Transport]
    """Makes one service's own way to the broker."""
    telemetry: Telemetry = OFF
    rng: random.Random = field(default_factory=random.SystemRandom)
    clock: StorageClock = field(default_factory=StorageClock)
    """What ids are drawn by; whoever starts a process has it compared."""
    new_id: NewId = field(init=False)
    loops: list[BackgroundLoops] = field(default_factory=list)
    """Every background loop of the process: health and metrics tell how they fare."""
    _databases: dict[str, AsyncEngine] = field(default_factory=dict)
    _transports: dict[str, Transport] = field(default_factory=dict)
    _exchanges: list[Closing] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.new_id = time_ordered_ids(self.rng, self.clock.milliseconds)

    def database(self, service: str) -> AsyncEngine:
        """The database of a service that works here; raises MissingSettings when none was given."""
        allowed = self.settings.database_connections
        return self._database(service, allowed - FOR_PROGRESS if service == ORCHESTRATOR else allowed)

    def looked_up(self, service: str) -> AsyncEngine:
        """The same of a service that may work elsewhere, for a look or an entry now and then."""
        return self._database(service, LOOKED_UP_WITH)

    def _database(self, service: str, connections: int) -> AsyncEngine:
        if service not in self._databases:
            url = self.settings.required_database_url(service)
            self._databases[service] = create_engine(url, connections)
        return self._databases[service]

    def transport_of(self, service: str) -> Transport:
        """The service's way to the broker."""
        if service not in self._transports:
            self._transports[service] = self.transport(service)
        return self._transports[service]

    @property
    def transports(self) -> dict[str, Transport]:
        """Every way to the broker that is in use."""
        return dict(self._transports)

    @property
    def databases(self) -> dict[str, AsyncEngine]:
        """Every database that is in use."""
        return dict(self._databases)

    def provider(self, variable: str, url: str | None) -> ProviderExchange:
        """The way to a provider: over HTTP, or to the sandbox within this process."""
        if url == SANDBOX:
            exchange: ProviderExchange = SandboxExchange(
                self.sandbox(), timeout_s=self.settings.provider_timeout_s
            )
        elif url is None:
            raise Failure(f"{variable} must be set to the provider's URL, or to the word sandbox")
        else:
            exchange = self._over_http(variable, url)
        name = variable.removeprefix(PREFIX).removesuffix("_URL").lower()
        exchange = self.telemetry.exchange(exchange, name)
        self._exchanges.append(exchange)
        return exchange

    def payment_gateway(self) -> PaymentGateway:
        """The payment gateway of the settings: ours over HTTP, the sandbox, or an extension's."""
        variable, chosen = f"{PREFIX}PAYMENT_GATEWAY", self.settings.payment_gateway_chosen
        if chosen in (HTTP, SANDBOX):
            url = SANDBOX if chosen == SANDBOX else self.settings.payment_gateway_url
            return HttpPaymentGateway(self.provider(f"{variable}_URL", url))
        gateway: PaymentGateway = self._made(extensions.GATEWAYS, variable, chosen, RenewingGateway)
        self._check_offers(gateway, chosen, variable)
        return gateway

    def _check_offers(self, gateway: PaymentGateway, chosen: str, variable: str) -> None:
        """Raises Failure where orders would come to a step that the gateway does not do."""
        captures = self.settings.payment_flow is PaymentFlow.CAPTURE
        if captures and not isinstance(gateway, AuthorizingGateway):
            raise Failure(
                f"{PREFIX}PAYMENT_FLOW=capture: the payment gateway {chosen} does not authorize and capture; "
                f"use another {variable}, or {PREFIX}PAYMENT_FLOW=charge"
            )
        splits = self.settings.shipments is Shipments.SPLIT
        if splits and not captures and not gateway.traits.refunds_in_part:
            raise Failure(
                f"{PREFIX}SHIPMENTS=split: the payment gateway {chosen} does not refund in part; "
                f"use another {variable}, or {PREFIX}SHIPMENTS=single"
            )

    def carrier(self) -> Carrier:
        """The carrier of the settings: ours over HTTP, the sandbox, or an extension's."""
        variable, chosen = f"{PREFIX}CARRIER", self.settings.carrier_chosen
        if chosen in (HTTP, SANDBOX):
            url = SANDBOX if chosen == SANDBOX else self.settings.carrier_url
            return HttpCarrier(self.provider(f"{variable}_URL", url))
        carrier: Carrier = self._made(extensions.CARRIERS, variable, chosen, Carrier)
        return carrier

    def provider_of(self, participant: Participant) -> Any:
        """The client of a participant's provider: of the settings for our own, else its author's."""
        chosen = {PAYMENT: self.payment_gateway, SHIPPING: self.carrier}
        if participant.name in chosen:
            return chosen[participant.name]()
        if participant.provider is None:
            return None
        try:
            return self._closed_at_the_end(participant.provider(self._limits))
        except Exception as error:
            reason = f"the client of its provider cannot be made: {kind_and_line(error)}"
            raise Failure(f"participant {participant.name}: {reason}") from None

    @property
    def _limits(self) -> ProviderLimits:
        return ProviderLimits(self.settings.provider_timeout_s, self.settings.provider_concurrency)

    def _closed_at_the_end(self, client: Any, protocol: type = Closing) -> Any:
        """A client, which is awaited as the protocol says. Raises TypeError where it cannot be."""
        awaited = {name for name in dir(protocol) if iscoroutinefunction(getattr(protocol, name, None))}
        if problems := list(method_problems(client, awaited=sorted(awaited | {"close"}))):
            raise TypeError("; ".join(problems))
        if isinstance(client, Closing):
            self._exchanges.append(client)
        return client

    def _made(self, group: str, variable: str, name: str, protocol: type) -> Any:
        """A client that an extension makes, closed at the end where it can be."""
        try:
            extension, make = extensions.made_by(group, name, self.settings.extensions_off)
        except extensions.NotInstalled as error:
            raise Failure(f"{variable}: {error}") from None
        try:
            return self._closed_at_the_end(make(self._limits), protocol)
        except Exception as error:
            raise extensions.failure(extension, f"cannot be made: {kind_and_line(error)}") from None

    def sandbox(self) -> Sandbox:
        """A sandbox over the sandbox's own database."""
        return Sandbox(self.database(SANDBOX))

    async def close(self) -> None:
        """Give everything back."""
        for exchange in self._exchanges:
            await exchange.close()
        for transport in self._transports.values():
            await transport.close()
        for database in self._databases.values():
            await database.dispose()
        await self.telemetry.close()

    def _over_http(self, variable: str, url: str) -> HttpExchange:
        concurrency = self.settings.provider_concurrency
        try:
            return HttpExchange(url, timeout_s=self.settings.provider_timeout_s, connections=concurrency)
        except InvalidProviderUrl as error:
            raise Failure(f"{variable}: {error}") from None


@asynccontextmanager
async def parts_of(
    settings: Settings, transport: Callable[[str], Transport], telemetry: Telemetry = OFF
) -> AsyncIterator[Parts]:
    """The parts of one process, closed at the end of the block."""
    parts = Parts(settings, transport, telemetry)
    try:
        yield parts
    finally:
        await parts.close()


def over_rabbitmq(settings: Settings) -> Callable[[str], RabbitMqTransport]:
    """Transports to the broker of the settings; raises MissingSettings when there is none."""
    urls = settings.required_broker_urls()
    return lambda service: RabbitMqTransport(urls, name=f"oms {service}", linger_s=settings.linger_s)


def within_this_process() -> Callable[[str], Transport]:
    """Transports over one broker in this process's memory; a crash loses it, the reconciler heals that."""
    broker = InProcessBroker()
    return lambda _service: InProcessTransport(broker)


def deployment(parts: Parts) -> Deployment:
    """What the orchestrator's services are made with."""
    settings = parts.settings
    return Deployment(
        registry=registry(settings),
        database=parts.database("orchestrator"),
        transport=parts.transport_of("orchestrator"),
        new_id=parts.new_id,
        rng=parts.rng,
        retry_policy=settings.retry_policy,
        idempotency_key_lifetime_s=settings.idempotency_ttl_s,
        tracing=parts.telemetry.tracing,
        reach=settings.webhooks_reach,
    )


def webhook_sender(parts: Parts, made_with: Deployment) -> WebhookSender:
    """What sends events to receivers of webhooks."""
    queries = Queries(made_with.database, made_with.registry)
    is_told = told_here(made_with.registry)
    outbox = Outbox(made_with.transport.publisher(), made_with.tracing)
    return WebhookSender(
        made_with.webhook_unit_of_work(outbox, None),
        FeedQueries(queries.reader, queries.sagas, made_with.registry, is_told),
        Courier(made_with.reach),
        made_with.new_id,
        made_with.rng,
        timedelta(seconds=parts.settings.webhooks_give_up_s),
        parts.clock,
    )


def participant_service(parts: Parts, name: str) -> ParticipantService:
    """One participant over its own database, with the provider of the settings where it has one.

    Raises:
        Failure: there is no such participant, or something that it needs was not given.
    """
    settings = parts.settings
    require_participant(name, settings.extensions_off)
    pace = ParticipantPace(
        concurrency=settings.provider_concurrency,
        longest_call_s=settings.provider_timeout_s + CALL_MARGIN_S,
        finish_within_s=settings.finish_within_s,
    )
    made_with = ParticipantDeployment(
        parts.transport_of(name),
        parts.new_id,
        parts.rng,
        settings.retry_policy,
        pace,
        parts.telemetry.tracing,
    )
    participant = participant_named(name)
    storage = kit_storage(participant, parts.database(name), parts.rng)
    return kit_service(made_with, storage, participant, parts.provider_of(participant))


async def migrate(settings: Settings, installation: UUID | None = None) -> dict[str, tuple[str, ...]]:
    """Bring the schemas of every service whose database is given to this program's revision and identity.

    Args:
        installation: the identity of schemas that have none; by default what others have, or a new one (M4).

    Returns:
        The revisions applied, by service.
    """
    services = services_of(settings)
    urls = {name: url for name in services if (url := settings.database_url_of(name)) is not None}
    if not urls:
        raise Failure(f"{PREFIX}DATABASE_URL must be set to a PostgreSQL URL")
    try:
        await asyncio.to_thread(agreed, urls, installation)
        applied = {name: await _migrated(name, url) for name, url in urls.items()}
        await asyncio.to_thread(identify, urls, installation)
        if ORCHESTRATOR in urls:
            await asyncio.to_thread(set_in_order, urls[ORCHESTRATOR])
    except MigrationFailed as error:
        raise Failure(str(error)) from None
    return applied


async def _migrated(service: str, url: str) -> tuple[str, ...]:
    applied = [await migrate_async(history, url) for history in histories(service)]
    return tuple(revision for each in applied for revision in each)


def services_of(settings: Settings) -> tuple[str, ...]:
    """Every service of this installation that has a schema."""
    more = [name for name in participant_names(settings.extensions_off) if name not in SERVICES]
    return (*SERVICES, *more)
