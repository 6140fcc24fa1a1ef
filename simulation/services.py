"""Boots the production services on simulated hosts: the counterpart of `oms.wiring`."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.routing import ORCHESTRATOR, PAYMENT, SHIPPING
from messaging.identifiers import NewId, time_ordered_ids
from messaging.outbox import Outbox
from messaging.sqlstates import is_transient
from messaging.unit_of_work import PatientUnitOfWork, UnitOfWork
from orchestrator.service import Deployment, Front, OrchestratorService, Pace, ServiceTransaction
from participants import service as participant
from participants.breaker import BreakerPolicy
from participants.inventory.handlers import inventory
from participants.kit.service import kit_service
from participants.payment.gateway import HttpPaymentGateway
from participants.payment.handlers import payment
from participants.shipping.carrier import HttpCarrier
from participants.shipping.handlers import shipping
from simulation.cast import Cast
from simulation.network import SimulatedTransport, Wire
from simulation.people import Desk
from simulation.plan import KEY_LIFETIME_S, RETRIES
from simulation.process import Host
from simulation.providers import LONGEST_CALL_S, TRAITS, Provider, ProviderLine
from simulation.servers import DatabaseServer, Line
from simulation.stand_in import Offers, Outside, stand_in_service
from simulation.weather import Chance

PACE: Final = Pace(due_s=2.0, relay_s=8.0, sweep_s=4.0, jobs_s=None)
PARTICIPANT_PACE: Final = participant.ParticipantPace(
    concurrency=4,
    longest_call_s=LONGEST_CALL_S,
    relay_s=8.0,
    sweep_s=4.0,
    prune_s=15.0,
    prune_after_s=5.0,
)
OUR_OWN: Final = {each.name: each for each in (inventory, payment, shipping)}
BREAKER: Final = BreakerPolicy(minimum_calls=4, cool_down_s=3.0, probe_patience_s=10.0)


@dataclass(frozen=True, slots=True)
class SimulatedDeployment(Deployment):
    """A deployment whose storage is one process's line to a simulated database."""

    line: Line | None = None

    def unit_of_work(self, outbox: Outbox, patience_s: float | None) -> UnitOfWork[ServiceTransaction]:
        """See `Deployment.unit_of_work`."""
        assert self.line is not None
        transactions = self.line.transactions(self.registry, self.remembered)
        return PatientUnitOfWork(transactions, is_transient, outbox, self.rng, patience_s)


class Wiring:
    """Makes the services of one world; what they draw at random comes from the host's own stream."""

    def __init__(
        self,
        cast: Cast,
        chance: Chance,
        wire: Wire,
        servers: Mapping[str, DatabaseServer],
        provider: Provider,
        outside: Outside,
        knows_new_version: Callable[[Host], bool],
    ) -> None:
        self._cast = cast
        self._outside = outside
        self._offers = {name: Offers(name, cast.definitions) for name in cast.stand_ins}
        self._chance = chance
        self._wire = wire
        self._servers = servers
        self._provider = provider
        self._knows_new_version = knows_new_version
        self.lines: dict[str, Line] = {}
        """Every host's line to its database, by the host's name."""

    async def boot_api(self, host: Host) -> Desk:
        """Start a process that takes orders in."""
        deployment = self._orchestrator(host)
        front = Front(deployment)
        await front.start()
        return Desk(front, deployment.new_id)

    async def boot_orchestrator(self, host: Host) -> OrchestratorService:
        """Start a process that runs sagas."""
        service = OrchestratorService(self._orchestrator(host))
        await service.start()
        return service

    async def boot_participant(self, host: Host) -> participant.ParticipantService:
        """Start a process of inventory, payment, shipping or a stand-in."""
        rng, new_id = self._random(host)
        deployment = participant.ParticipantDeployment(
            SimulatedTransport(self._wire, host), new_id, rng, RETRIES, PARTICIPANT_PACE
        )
        line = self._line(host, host.service)

        def storage(outbox: Outbox) -> UnitOfWork[Any]:
            return PatientUnitOfWork(line.transactions(self._cast.registry), is_transient, outbox, rng)

        if host.service in OUR_OWN:
            provider = self._provider_of(host, rng)
            service = kit_service(deployment, storage, OUR_OWN[host.service], provider, BREAKER)
        else:
            offers = self._offers[host.service]
            service = stand_in_service(offers, self._outside, host, deployment, storage)
        await service.start()
        return service

    def _provider_of(self, host: Host, rng: random.Random) -> Any:
        """The client of the host's provider, if it has one."""
        client = {PAYMENT: HttpPaymentGateway, SHIPPING: HttpCarrier}.get(host.service)
        return None if client is None else client(ProviderLine(host, self._provider, rng), TRAITS)

    def _orchestrator(self, host: Host) -> SimulatedDeployment:
        rng, new_id = self._random(host)
        return SimulatedDeployment(
            registry=self._cast.registry if self._knows_new_version(host) else self._cast.known_first,
            database=cast(AsyncEngine, None),
            transport=SimulatedTransport(self._wire, host),
            new_id=new_id,
            rng=rng,
            retry_policy=RETRIES,
            idempotency_key_lifetime_s=KEY_LIFETIME_S,
            pace=PACE,
            line=self._line(host, ORCHESTRATOR),
        )

    def _line(self, host: Host, service: str) -> Line:
        rng = self._chance.stream(f"database line of {host.name}")
        line = self._servers[service].line(host, rng)
        self.lines[host.name] = line
        return line

    def _random(self, host: Host) -> tuple[random.Random, NewId]:
        rng = self._chance.stream(host.name)
        server = self._servers[ORCHESTRATOR if host.service not in self._servers else host.service]
        return rng, time_ordered_ids(rng, lambda: int(server.clock().timestamp() * 1000))
