"""Two installations that meet in one virtual host: neither takes the other's work (M4)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import NullPool, create_engine, text

from contracts import events
from contracts.commands import Command
from contracts.envelope import INSTALLATION
from contracts.orders import Order
from contracts.routing import INVENTORY, PAYMENT, SHIPPING
from messaging.compose import command_message
from messaging.errors import ForeignMessage, PermanentFailure
from messaging.identifiers import time_ordered_ids
from messaging.in_process import InProcessBroker, InProcessTransport
from messaging.postgresql import create_engine as create_async_engine
from messaging.retries import RetryPolicy, after_failure
from messaging.transport import Message, Topology, Transport
from messaging.unit_of_work import StorageUnavailable
from migrations.installation import MEMBERS, identify
from oms.audit import Sources, audit
from oms.audit.sources import NEEDED, SANDBOX
from oms.installed_participants import OUR_OWN
from orchestrator.core.definition import StepPolicy
from orchestrator.core.inputs import Actor
from orchestrator.core.registry import Registry
from orchestrator.core.state import Saga, Status
from orchestrator.intake import Submission
from orchestrator.operations import NotAllowed
from orchestrator.sagas.order_fulfillment import NAME, order_fulfillment
from orchestrator.service import Deployment, Front, OrchestratorService
from orchestrator.service import Pace as OrchestratorPace
from participants import service as participant
from participants.kit.service import kit_service, kit_storage
from tests.integration.test_orchestrator import World, a_deployment, an_order
from tests.support.participant_stage import PACE, payment_stage
from tests.support.participants import NOW, Case, new_id
from tests.support.providers import Carrier, Gateway
from tests.support.servers import Databases

pytestmark = pytest.mark.postgresql

OURS, THEIRS = UUID(int=1), UUID(int=2)
ORDERS = 6
RETRIES = RetryPolicy(delays_s=(0.05,), max_attempts=3)
IMPATIENT = StepPolicy(deadline_s=600, grace_s=5, resend_after_s=0.1, resend_cap_s=0.2)


class Unmarked(InProcessTransport):
    """A way to a broker that nobody has marked: what is left is what each message says."""

    async def declare(self, topology: Topology) -> Sequence[str]:
        return await super().declare(replace(topology, installation=None))


class Installation:
    """All services over a database of their own."""

    def __init__(self, url: str, broker: InProcessBroker, its: UUID) -> None:
        identify(dict.fromkeys(MEMBERS, url), its)
        self.url = url
        self.gateway, self.carrier = Gateway(), Carrier()
        self.ended: set[UUID] = set()
        self._changed = asyncio.Event()
        self._its = its
        self.new_id = time_ordered_ids(random.Random(its.int))
        self._connect(broker)

    def _connect(self, broker: InProcessBroker) -> None:
        self._engine = create_async_engine(self.url, 20)
        self._transports: list[Transport] = []
        self._broker = broker
        rng = random.Random(self._its.int)
        self.deployment = Deployment(
            registry=Registry([order_fulfillment(IMPATIENT)]),
            database=self._engine,
            transport=self._transport(),
            new_id=self.new_id,
            rng=rng,
            retry_policy=RETRIES,
            idempotency_key_lifetime_s=86400,
            pace=OrchestratorPace(due_s=0.05, relay_s=0.05, sweep_s=0.05),
        )
        self.front = Front(self.deployment)

    def _transport(self) -> Transport:
        self._transports.append(Unmarked(self._broker))
        return self._transports[-1]

    async def start(self) -> None:
        made = participant.ParticipantDeployment(
            self._transport(), self.new_id, random.Random(5), RETRIES, PACE
        )
        providers: dict[str, Any] = {PAYMENT: self.gateway, SHIPPING: self.carrier}
        self.services: list[OrchestratorService | participant.ParticipantService] = [
            OrchestratorService(self.deployment, self._progress),
        ]
        for name, each in OUR_OWN.items():
            storage = kit_storage(each, self._engine, random.Random(6))
            own = replace(made, transport=self._transport())
            self.services.append(kit_service(own, storage, each, providers.get(name)))
        for service in self.services:
            await service.start()
        await self.front.start()

    async def stop(self) -> None:
        await self.front.stop()
        for service in self.services:
            await service.stop()
        for transport in self._transports:
            await transport.close()
        await self._engine.dispose()

    async def move_to(self, broker: InProcessBroker) -> None:
        await self.stop()
        self._connect(broker)
        await self.start()

    async def sell(self, count: int) -> set[UUID]:
        order = Order.model_validate(an_order())
        taken = [
            Submission(NAME, order, order.customer_id, self.new_id(), self.new_id()) for _ in range(count)
        ]
        for each in taken:
            await self.front.intake.submit(each)
        return {each.saga_id for each in taken}

    async def until_ended(self, saga_ids: set[UUID]) -> None:
        async with asyncio.timeout(120):
            while not saga_ids <= self.ended:
                self._changed.clear()
                await self._changed.wait()

    def _progress(self, sagas: Sequence[Saga]) -> None:
        for saga in sagas:
            if saga.status is Status.COMPLETED:
                self.ended.add(saga.saga_id)
        self._changed.set()


@pytest.fixture
async def two(databases: Databases, migrated_database_url: str) -> AsyncIterator[list[Installation]]:
    broker = InProcessBroker()
    other = databases.copy_of("migrated", _never)
    made = [Installation(migrated_database_url, broker, OURS), Installation(other, broker, THEIRS)]
    for each in made:
        execute(
            each.url,
            "INSERT INTO inventory.stock VALUES ('SKU-1', 1000, 0, now());"
            "INSERT INTO inventory.stock_movements (sku, kind, quantity, recorded_at)"
            " VALUES ('SKU-1', 'adjustment', 1000, now())",
        )
        await each.start()
    yield made
    for each in made:
        await each.stop()
    databases.drop(other)


def _never(_: str) -> None:
    raise AssertionError("the template is there already")


def execute(url: str, statement: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement))


REFUSED = "SELECT count(*) FROM orchestrator.dead_letters WHERE error_type = 'foreign_installation'"


def count(url: str, query: str) -> int:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


async def test_m4_neither_does_the_others_work_and_all_is_done_once_each_has_a_broker(
    two: list[Installation],
) -> None:
    sold = [await each.sell(ORDERS) for each in two]
    async with asyncio.timeout(60):
        while not all(count(each.url, REFUSED) for each in two):
            await asyncio.sleep(0.05)
    await two[1].move_to(InProcessBroker())
    for each, sagas in zip(two, sold, strict=True):
        await each.until_ended(sagas)

    for each in two:
        assert each.gateway.balance == ORDERS * 2598
        report = await audit(Sources(dict.fromkeys((*NEEDED, SANDBOX), (each.url,))))
        assert report.ok, report.findings
        assert report.ended == ORDERS


async def test_m4_payment_does_not_charge_for_another_installation(migrated_database_url: str) -> None:
    identify(dict.fromkeys(MEMBERS, migrated_database_url), OURS)
    engine, gateway, case = create_async_engine(migrated_database_url), Gateway(), Case()
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        foreign = replace(_sent(case.charge(2598)), headers={INSTALLATION: str(THEIRS)})
        stage.publish(foreign)
        dead = await stage.dead_letter()

        assert dead.headers["error-type"] == "foreign_installation"
        assert dead.headers["error-permanent"] is False
        assert str(THEIRS) in dead.headers["error-message"]
        assert gateway.calls == []
        assert await stage.rows("SELECT * FROM payment.ledger") == []
        assert (await stage.answer(case.charge(2598))).type == "PaymentSuccessfulEvent"
    await engine.dispose()


@pytest.fixture
async def world(migrated_database_url: str) -> AsyncIterator[World]:
    identify(dict.fromkeys(MEMBERS, migrated_database_url), OURS)
    made = World(a_deployment(migrated_database_url))
    await made.start()
    yield made
    await made.stop()


async def test_m4_an_outcome_of_another_installation_moves_no_saga(world: World) -> None:
    saga_id = await world.submit()
    _, reserve = await world.command(INVENTORY)
    outcome = world.outcome(reserve, events.InventoryRejectedEvent, code="out_of_stock")
    world.publish(replace(outcome, headers={**outcome.headers, INSTALLATION: str(THEIRS)}))
    await world.eventually(
        "SELECT count(*), min(error_type) FROM orchestrator.dead_letters", (1, "foreign_installation")
    )
    await world.answer(reserve, events.InventoryReservedEvent, lines=[{"sku": "SKU-1", "quantity": 2}])
    delivery, _ = await world.command(PAYMENT)

    assert delivery.headers[INSTALLATION] == str(OURS)
    await world.eventually(
        "SELECT status, version FROM orchestrator.sagas WHERE saga_id = :id", ("running", 2), id=saga_id
    )


async def test_m4_no_order_is_taken_in_before_the_api_knows_whose_it_is(world: World) -> None:
    front = Front(replace(world.deployment, patience_s=0.1))
    await front.start()
    async with world.deployment.database.begin() as connection:
        await connection.execute(text("ALTER TABLE orchestrator.installation RENAME TO elsewhere"))
    with pytest.raises(StorageUnavailable):
        await front.intake.submit(world.submission(an_order(), None))
    async with world.deployment.database.begin() as connection:
        await connection.execute(text("ALTER TABLE orchestrator.elsewhere RENAME TO installation"))
    await front.intake.submit(world.submission(an_order(), None))

    delivery, _ = await world.command(INVENTORY)

    assert delivery.headers[INSTALLATION] == str(OURS)
    await front.stop()


async def test_m4_anothers_dead_letters_are_one_line_and_cannot_be_replayed(world: World) -> None:
    """A poisoned command of theirs for a saga id that is ours, too: it is not told."""
    saga_id = await world.submit()
    delivery, _ = await world.command(INVENTORY)
    theirs = replace(delivery, headers={**delivery.headers, INSTALLATION: str(THEIRS)})
    error = PermanentFailure("payload_mismatch", "theirs")
    for _ in range(3):
        hop = after_failure(theirs, error, RETRIES, world.deployment.new_id(), NOW, INVENTORY)
        world.publish(hop)
    await world.eventually(
        "SELECT count(*), sum(deaths), min(kind), min(error_type), bool_or(permanent) "
        "FROM orchestrator.dead_letters",
        (1, 3, "message", "foreign_installation", False),
    )
    await world.eventually(
        "SELECT incident_kinds FROM orchestrator.sagas WHERE saga_id = :id", ([],), id=saga_id
    )
    [dead_letter_id] = await world.row("SELECT dead_letter_id FROM orchestrator.dead_letters")
    with pytest.raises(NotAllowed, match=f"it is of installation {THEIRS}"):
        await world.front.dead_letters.replay(dead_letter_id, Actor("jane", "why not"))


async def test_m4_a_command_that_another_installation_refused_is_an_incident_and_is_sent_again(
    world: World,
) -> None:
    """It names the cause, and does not stop the saga."""
    saga_id = await world.submit()
    delivery, _ = await world.command(INVENTORY)
    refusal = ForeignMessage("it is of installation 1, and this is installation 2")
    world.publish(after_failure(delivery, refusal, RETRIES, world.deployment.new_id(), NOW, INVENTORY))

    saga = await world.until(saga_id, lambda saga: bool(saga.incidents))

    [incident] = saga.incidents
    assert "foreign_installation" in incident.message
    assert [awaited.held for awaited in saga.awaited] == [False]


def _sent(command: Command) -> Message:
    return command_message(command, PAYMENT, new_id(), NOW, "orchestrator")
