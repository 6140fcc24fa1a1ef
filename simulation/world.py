"""One world: services, network, databases, providers, people and weather, put together from a plan."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from contracts.commands import AdvanceLowWaterMark
from contracts.routing import OUTCOMES_QUEUE, Batches, command_queue
from messaging.compose import instruction_message
from messaging.identifiers import first_id_at
from messaging.in_process import InProcessBroker
from messaging.topology import (
    batches_of_commands,
    batches_of_outcomes,
    orchestrator_topology,
    participant_topology,
)
from messaging.transport import Binding, Topology
from orchestrator.core.state import ENDED, Saga
from orchestrator.storage import DeadLetter
from simulation.cast import Cast
from simulation.courses.people import CourseOperator, Starter
from simulation.effects import effects_in
from simulation.facts import Aged, Committed, Fact, Struck
from simulation.garbage import Forger
from simulation.loop import SimulatedLoop
from simulation.network import Wire
from simulation.people import Customer, Operator
from simulation.plan import (
    API,
    ORCHESTRATOR_DATABASE,
    ORDERS_COME_WITHIN_S,
    RETRIES,
    STORM_LASTS_S,
    WAREHOUSE_DATABASE,
    Plan,
    Storm,
)
from simulation.process import Host, Process
from simulation.providers import Provider
from simulation.returns import Returner
from simulation.rotten_parts import RottenParts
from simulation.servers import DatabaseServer, MemoryServer, Tell
from simulation.services import Wiring
from simulation.stand_in import Outside
from simulation.storage.orchestrator import DEAD_LETTERS, SAGAS
from simulation.storage.transaction import OUTBOX
from simulation.stories.hands import NotAsTold
from simulation.stories.simulated import Teller
from simulation.stories.story import Ending
from simulation.strangers import Stranger
from simulation.weather import Chance, Fault, Weather

RECOVERY_LASTS_S: Final = 3000.0
"""Seconds without faults after which everything must have ended."""

LOOK_EVERY_S: Final = 5.0
DAYS_GO_BY: Final = timedelta(days=9)
KEPT_FOR: Final = timedelta(days=8)
PRUNING_LASTS_S: Final = 60.0
"""Seconds from the mark's rise until all behind it is gone: the relay's lease and some of the paces."""


class Watcher(Protocol):
    """Who is told everything that happens."""

    def see(self, at_s: float, fact: Fact) -> None:
        """Take note of one fact; ``at_s`` is the world's time in seconds."""


class Storage(Protocol):
    """Where the worlds of a run keep their rows."""

    def loop(self) -> SimulatedLoop:
        """The loop on which a world with this storage lives."""

    def begin(self, cast: Cast, loop: SimulatedLoop, tell: Tell) -> Mapping[str, DatabaseServer]:
        """Empty servers for a new world, one for each service."""

    def close(self) -> None:
        """No world will live here any more."""


class MemoryStorage:
    """The fast one."""

    def loop(self) -> SimulatedLoop:
        """See `Storage.loop`."""
        return SimulatedLoop()

    def begin(self, cast: Cast, loop: SimulatedLoop, tell: Tell) -> Mapping[str, DatabaseServer]:
        """See `Storage.begin`."""
        return {name: MemoryServer(name, loop, tell) for name in cast.databases}

    def close(self) -> None:
        """See `Storage.close`."""


class World:
    """Everything there is. Run `live` on its loop."""

    def __init__(self, plan: Plan, loop: SimulatedLoop, watcher: Watcher, storage: Storage) -> None:
        self.plan = plan
        self.loop = loop
        self.chance = Chance(plan.seed)
        self._watcher = watcher
        self._strays = plan.strays
        self.weather = Weather(self.chance, plan.rates, self._struck)
        self.broker = InProcessBroker()
        self.wire = Wire(self.broker, self.chance.stream("network"), self.tell)
        if plan.garbage:
            self.wire.rotten = RottenParts(self.chance.stream("rotten parts"))
        self.cast = plan.cast
        self.cast.edition.edited = False
        self.servers = storage.begin(self.cast, loop, self.tell)
        self._provider = Provider(loop, self.weather, self.tell, offers_void=plan.offers_void)
        self.outside = Outside(self.chance)
        self.wiring = Wiring(
            self.cast,
            self.chance,
            self.wire,
            self.servers,
            self._provider,
            self.outside,
            self._knows_new_version,
        )
        self.processes = [
            self._process(name, number) for name, count in plan.replicas.items() for number in range(count)
        ]
        self._upgraded: set[str] = set()
        self._spoilt: dict[UUID, Saga] = {}
        self.owners: dict[UUID, str] = {}
        """Who has started which saga, where they were told."""
        self.told: dict[str, Ending | NotAsTold] = {}
        self._forger = Forger(self.broker, self.chance.stream("garbage"), self.cast.registry)
        self._stranger = Stranger(self.broker, self.chance.stream("stranger"), self._struck)
        self._storm_rng = self.chance.stream("storms")
        self._spoils_rng = self.chance.stream("spoilt rows of the world")
        self._warehouse_rng = self.chance.stream("warehouse")

    # -- what people see --------------------------------------------------------------------------------

    @property
    def apis(self) -> list[Process]:
        """See `Office.apis`."""
        return [process for process in self.processes if process.service == API]

    @property
    def provider(self) -> Provider:
        """See `Office.provider`."""
        return self._provider

    def tell(self, fact: Fact) -> None:
        """See `Office.tell`."""
        self._watcher.see(self.loop.time(), fact)
        if isinstance(fact, Committed) and not self.cast.is_orders:
            for effect in effects_in(fact):
                self._watcher.see(self.loop.time(), effect)
        if self._strays and isinstance(fact, Committed):
            for change in fact.of(SAGAS):
                if change.before is None and self._strays:
                    self._strays -= 1
                    self._forger.release_too_early(change.after)

    async def sagas(self) -> list[Saga]:
        """See `Office.sagas`."""
        return list(self.servers[ORCHESTRATOR_DATABASE].rows.table(SAGAS).values())

    async def dead_letters(self) -> list[DeadLetter]:
        """See `Office.dead_letters`."""
        rows = self.servers[ORCHESTRATOR_DATABASE].rows.table(DEAD_LETTERS).values()
        return [row.dead for row in rows]

    # -- its course ---------------------------------------------------------------------------------------

    async def live(self) -> str | None:
        """From the first order to the last; says what has not come to its end, if anything."""
        self._declare()
        await self._stock_up()
        for process in self.processes:
            process.start()
        busy = [self._later(0.0, customer.live) for customer in self._customers()]
        for storm in self.plan.storms:
            self.loop.call_later(storm.at_s, self._storm, storm)
        kind = Operator if self.cast.is_orders else CourseOperator
        operator = kind(self, self.chance.stream("operator"))
        meddling = [self._later(at_s, operator.meddle) for at_s in self._times(self.plan.meddling)]
        for at_s in self._times(self.plan.garbage):
            self.loop.call_later(at_s, self._forger.forge)
        for at_s in self._times_of_strangers():
            self.loop.call_later(at_s, self._call_strangers)
        changes = self._times(self.plan.stock_changes)
        meddling += [self._later(at_s, self._change_stock) for at_s in changes]
        for at_s in self.plan.spoils:
            self.loop.call_later(at_s, self._spoil)
        if self.plan.new_version_at_s is not None:
            self._deploy(self.plan.new_version_at_s)
        if self.plan.edited_at_s is not None:
            self.loop.call_later(self.plan.edited_at_s, self._edit)
        await asyncio.sleep(STORM_LASTS_S)
        self._calm_down()
        await asyncio.gather(*busy, *meddling)
        unfinished = await self._recover(operator)
        if unfinished is None and self._spoilt:
            self._repair()
            unfinished = await self._recover(operator)
        if unfinished is None and self.plan.is_pruned:
            await self._forget()
            unfinished = await self._recover(operator)
        return unfinished

    async def _forget(self) -> None:
        """Days go by, everything is pruned, and then old commands come out of nowhere (P7)."""
        self.tell(Aged(DAYS_GO_BY))
        for server in self.servers.values():
            server.clock_is_off_s += DAYS_GO_BY.total_seconds()
        orchestrator = self.servers[ORCHESTRATOR_DATABASE]
        now = orchestrator.clock()
        mark = first_id_at(now - KEPT_FOR)
        told = AdvanceLowWaterMark(mark=mark)
        messages = [
            instruction_message(told, name, self._forger.new_id(), now, ORCHESTRATOR_DATABASE)
            for name in self.cast.participants
        ]
        await orchestrator.raise_mark(mark, messages)
        await asyncio.sleep(PRUNING_LASTS_S)
        for saga in await self.sagas():
            self._forger.repeat_the_past(saga)
        await asyncio.sleep(LOOK_EVERY_S)

    async def _recover(self, operator: Operator) -> str | None:
        """Faults are off: everything must come to its end, with an operator who does what incidents ask.

        What cannot be read waits for its repair, and keeps nothing else from its end (S25).
        """
        give_up_at = self.loop.time() + RECOVERY_LASTS_S
        while self.loop.time() < give_up_at:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._unfinished() is None:
                await asyncio.sleep(LOOK_EVERY_S)
                if self._unfinished() is None:
                    return None
            await operator.put_right()
        return self._unfinished()

    def _unfinished(self) -> str | None:
        sagas = self.servers[ORCHESTRATOR_DATABASE].rows.table(SAGAS).values()
        for saga in sagas:
            if saga.saga_id in self._spoilt:
                continue
            if saga.status not in ENDED:
                return f"saga {saga.saga_id} is {saga.status}, awaiting {saga.awaited}"
            if saga.incidents:
                return f"saga {saga.saga_id} has ended with {saga.incidents}"
        for row in self.servers[ORCHESTRATOR_DATABASE].rows.table(DEAD_LETTERS).values():
            if row.is_open and row.dead.saga_id not in self._spoilt:
                return f"dead letter {row.dead.dead_letter_id} is {row.dead.status}"
        for name, server in self.servers.items():
            if server.rows.table(OUTBOX):
                return f"the outbox of {name} is not empty"
        for name in self.broker.queues:
            if self.broker.depth(name).ready:
                return f"queue {name} is not empty"
        return None

    def _later(self, delay_s: float, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        async def run() -> None:
            await asyncio.sleep(delay_s)
            await work()

        return self.loop.create_task(run())

    def _customers(self) -> Iterator[Customer | Starter | Returner | Teller]:
        for number, plan in enumerate(self.plan.orders):
            yield Customer(self, self.chance.stream(f"customer {number}"), plan)
        for number, start in enumerate(self.plan.starts):
            yield Starter(self, self.chance.stream(f"starter {number}"), start)
        for number, back in enumerate(self.plan.returns):
            yield Returner(self, self.chance.stream(f"returner {number}"), back)
        for number, story in enumerate(self.plan.stories):
            yield Teller(self, self.chance.stream(f"teller {number}"), story)

    def _times_of_strangers(self) -> list[float]:
        rng = self.chance.stream("times of strangers")
        return sorted(rng.uniform(1, STORM_LASTS_S) for _ in range(self.plan.strangers))

    def _call_strangers(self) -> None:
        self._stranger.call(list(self.servers[ORCHESTRATOR_DATABASE].rows.table(SAGAS).values()))

    def _times(self, count: int) -> list[float]:
        rng = self.chance.stream(f"times {count}")
        return sorted(rng.uniform(0, STORM_LASTS_S) for _ in range(count))

    # -- its beginning ------------------------------------------------------------------------------------

    def _declare(self) -> None:
        outcomes = self.cast.registry.outcome_keys
        declared = [orchestrator_topology(outcomes, RETRIES.delays_s)]
        declared += [participant_topology(name, RETRIES.delays_s) for name in self.cast.participants]
        for each in declared:
            self.broker.declare(replace(each, first_bindings=()))
        asked: dict[Batches, tuple[Callable[[str], Binding], ...]] = {
            Batches.NONE: (),
            Batches.COMMANDS: (batches_of_commands,),
            Batches.ALL: (batches_of_commands, batches_of_outcomes),
        }
        for ask in asked[self.plan.batches]:
            bindings = tuple(ask(name) for name in self.cast.participants)
            self.broker.declare(Topology(bindings=bindings))

    async def _stock_up(self) -> None:
        for sku, count in self.cast.stock.items():
            await self.servers[WAREHOUSE_DATABASE].count_stock(sku, lambda *_, count=count: count)
        for place, count in self.cast.places.items():
            await self.servers[WAREHOUSE_DATABASE].place_stock(place, count)

    async def _change_stock(self) -> None:
        rng = self._warehouse_rng
        sku = rng.choice(sorted(self.cast.stock))
        await self.servers[WAREHOUSE_DATABASE].count_stock(
            sku, lambda on_hand, reserved: rng.randrange(reserved, on_hand + 3)
        )

    def _process(self, service: str, number: int) -> Process:
        boots: dict[str, Callable[[Host], Awaitable[Any]]] = {
            API: self.wiring.boot_api,
            ORCHESTRATOR_DATABASE: self.wiring.boot_orchestrator,
        }
        boot = boots.get(service, self.wiring.boot_participant)
        rng = self.chance.stream(f"downtime of {service}-{number}")
        name = f"{service}-{number}"
        return Process(name, service, self.loop, self.weather, boot, lambda: rng.uniform(0.5, 12.0))

    def _knows_new_version(self, host: Host) -> bool:
        return host.name.rpartition(".")[0] in self._upgraded

    def _deploy(self, at_s: float) -> None:
        """Replicas get the second version one after the other, those that start sagas not always last."""
        rng, lasts_s = self.chance.stream("deployment"), self.plan.deployment_lasts_s
        for process in self.processes:
            if process.service in (API, ORCHESTRATOR_DATABASE):
                self.loop.call_later(at_s + rng.uniform(0, lasts_s), self._upgrade, process)

    def _upgrade(self, process: Process) -> None:
        self._upgraded.add(process.name)
        self._struck(Fault.OLD_VERSION, process.name, None)
        process.crash()

    # -- its weather --------------------------------------------------------------------------------------

    def _struck(self, fault: Fault, who: str, saga_id: Any) -> None:
        self.tell(Struck(fault, who, saga_id))

    def _calm_down(self) -> None:
        self.weather.calm_down()
        for server in self.servers.values():
            server.down_until = 0.0
        self._provider.down_until = 0.0
        self.outside.down_until = 0.0

    def _edit(self) -> None:
        self.cast.edition.edited = True
        self._struck(Fault.DEFINITION_EDITED, "the definitions", None)

    def _spoil(self) -> None:
        """Somebody writes over what is stored of one order that is under way."""
        sagas = self.servers[ORCHESTRATOR_DATABASE].rows.table(SAGAS).values()
        active = [each for each in sagas if each.status not in ENDED and each.saga_id not in self._spoilt]
        if active:
            saga = self._spoils_rng.choice(active)
            self._spoilt[saga.saga_id] = saga
            self.servers[ORCHESTRATOR_DATABASE].spoil(saga)
            self._struck(Fault.ROW_SPOILT, "orchestrator", saga.saga_id)

    def _repair(self) -> None:
        for saga in self._spoilt.values():
            self.servers[ORCHESTRATOR_DATABASE].repair(saga)
        self._spoilt.clear()

    def _storm(self, storm: Storm) -> None:
        struck = self._storm_rng.choice(self.processes)
        for process in self.processes:
            if process is struck or (storm.everywhere and process.service == struck.service):
                self._strike(process, storm)

    def _strike(self, process: Process, storm: Storm) -> None:
        """One storm at one process, or at what it stands for."""
        rng, lasts_s = self._storm_rng, storm.lasts_s
        self._struck(storm.fault, process.name, None)
        match storm.fault:
            case Fault.BROKER_CUT_OFF:
                self._cut_off(process, lasts_s)
            case Fault.BROKER_RESTARTED:
                for connection in list(self.wire.connections):
                    connection.cut(lasts_s / 4)
            case Fault.QUEUE_PURGED:
                self.broker.purge(rng.choice(self._purgeable()))
            case Fault.DATABASE_CUT_OFF:
                if process.host is not None and process.host.alive:
                    self.wiring.lines[process.host.name].cut(lasts_s)
            case Fault.DATABASE_RESTARTED:
                self.servers[rng.choice(self.cast.databases)].restart(lasts_s / 4)
            case Fault.CLOCK_JUMPED:
                self._jump(rng.choice(self.cast.databases), rng.uniform(-1, 1))
            case Fault.CRASH:
                process.crash()
            case Fault.PROCESS_STOPPED:
                process.stop_for(lasts_s)
            case Fault.PROVIDER_DOWN:
                self._provider.down_until = self.outside.down_until = self.loop.time() + lasts_s
            case _:
                self._break_orders()
                self._break_starts()

    def _cut_off(self, process: Process, lasts_s: float) -> None:
        for connection in list(self.wire.connections):
            if connection.host is process.host:
                connection.cut(lasts_s)

    def _purgeable(self) -> list[str]:
        return [OUTCOMES_QUEUE, *map(command_queue, self.cast.participants)]

    def _jump(self, name: str, far: float) -> None:
        """A participant's proof that nothing happened rests on its clock: there it jumps less (P10)."""
        most_s = 60.0 if name in (ORCHESTRATOR_DATABASE, WAREHOUSE_DATABASE) else 10.0
        self.servers[name].clock_is_off_s += far * most_s

    def _break_orders(self) -> None:
        customers = zip(self.plan.orders, range(len(self.plan.orders)), strict=True)
        wrong = {number for plan, number in customers if plan.refused_by_provider}
        sagas = self.servers[ORCHESTRATOR_DATABASE].rows.table(SAGAS).values()
        for number, saga in enumerate(sagas):
            if number in wrong and saga.status not in ENDED:
                self._provider.broken_orders.add(str(saga.subject_id))

    def _break_starts(self) -> None:
        wrong = {plan.owner for plan in self.plan.starts if plan.fails_for_good}
        for saga_id, owner in self.owners.items():
            saga = self.servers[ORCHESTRATOR_DATABASE].rows.table(SAGAS).get(saga_id)
            if owner in wrong and saga is not None and saga.status not in ENDED:
                self.outside.broken[saga_id] = None


assert ORDERS_COME_WITHIN_S < STORM_LASTS_S
