"""Each service with a role and a broker user of its own, over TLS: all works, and nobody reaches further."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import aiormq
import psycopg
import pytest
import pytest_asyncio
import yaml
from aiormq.exceptions import ChannelAccessRefused
from psycopg.errors import InsufficientPrivilege

from contracts.routing import COMMANDS_EXCHANGE, EVENTS_EXCHANGE, OUTCOMES_QUEUE, PARTICIPANTS, command_queue
from messaging.rabbitmq import RabbitMqTransport
from messaging.transport import Queue, Topology
from migrations.run import SERVICES
from tests.integration.rabbitmq_line import Journal
from tests.support.servers import PROJECT
from tests.system.deployment import Deployment, an_order, run_oms
from tests.system.secured import (
    Broker,
    Certificates,
    Database,
    certificates,
    secured_broker,
    secured_database,
)

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module")]

ROLES: Final = tuple(f"oms_{service}" for service in SERVICES)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, made: Certificates) -> Iterator[Broker]:
    with secured_broker(tmp_path_factory.mktemp("rabbitmq"), made) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(tmp_path_factory: pytest.TempPathFactory, made: Certificates) -> AsyncIterator[Database]:
    async with secured_database(tmp_path_factory.mktemp("postgres") / "server", made) as running:
        yield running


class Composed:
    """The environments of `compose.yaml`, with this test's servers in the place of its own."""

    def __init__(self, broker: Broker, database: Database) -> None:
        self._services: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"]
        self._broker = broker
        self._database = database

    def environment(self, service: str) -> dict[str, str]:
        """The URLs of one service, over TLS."""
        given = self._services[service]["environment"]
        return {
            name: self._url(given[name]) for name in given if name.endswith(("DATABASE_URL", "BROKER_URL"))
        }

    def command(self, service: str) -> list[str]:
        command: list[str] = self._services[service]["command"]
        return command

    def _url(self, text: str) -> str:
        user = str(urlsplit(text).username)
        return self._database.url(user) if text.startswith("postgresql") else self._broker.url(user)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(
    broker: Broker, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    composed = Composed(broker, database)
    for once in ("migrate", "broker-setup"):
        code, printed = await run_oms(composed.command(once), composed.environment(once))
        assert code == 0, printed
    database.give_rights()
    made = Deployment("", "", tmp_path_factory.mktemp("logs"), OMS_RESEND_AFTER_S="2")
    for name, service in made.services.items():
        service.give(**composed.environment(name))
        await service.start()
    await asyncio.gather(*(service.ready() for service in made.services.values()))
    yield made
    await made.stop()


async def test_orders_go_their_way_and_the_auditor_and_retention_do_theirs(
    deployment: Deployment, broker: Broker, database: Database
) -> None:
    async with deployment.client() as client:
        stocked = await client.put("/inventory/SKU-1", json={"on_hand": 9})
        assert stocked.status_code == 200, stocked.text
        wait = {"Prefer": "wait=30"}
        done = await client.post("/orders", json=an_order(), headers=wait)
        refused = await client.post("/orders", json=an_order(payment_method="pm_card_declined"), headers=wait)
        flaky = await client.post("/orders", json=an_order(payment_method="pm_gateway_flaky"), headers=wait)
        assert [each.json()["status"] for each in (done, refused, flaky)] == [
            "completed",
            "rejected",
            "completed",
        ]

        named = an_order(reference="A-1", metadata={"channel": "web"})
        first = await client.post("/orders", json=named, headers={"Idempotency-Key": "first"})
        second = await client.post("/orders", json=named, headers={"Idempotency-Key": "second"})
        assert (first.status_code, second.status_code) == (202, 409)
        assert (await client.get("/orders?reference=A-1&metadata.channel=web")).json()["items"]

        await _publish(broker, "oms_orchestrator", COMMANDS_EXCHANGE, "payment")
        while not (letters := (await client.get("/admin/dead-letters")).json()["items"]):
            await asyncio.sleep(0.2)
        assert [letter["queue"] for letter in letters] == ["payment.commands"]

    audit = {"OMS_AUDIT_DATABASE_URL": database.url("oms_audit")}
    code, printed = await run_oms(["audit"], audit)
    assert code == 0, printed
    prune = {"OMS_ORCHESTRATOR_DATABASE_URL": database.url("oms_prune")}
    code, printed = await run_oms(["prune", "--older-than", "30d", "--yes"], prune)
    assert code == 0, printed


def _denied(database: Database, role: str, statement: str) -> None:
    with (
        psycopg.connect(database.plain_url(role), autocommit=True) as connection,
        pytest.raises(InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_reaches_no_other_schema_and_makes_nothing(
    role: str, deployment: Deployment, database: Database
) -> None:
    own = role.removeprefix("oms_")
    for schema in set(SERVICES) - {own}:
        table = "charges" if schema == "sandbox" else "outbox"
        _denied(database, role, f"SELECT 1 FROM {schema}.schema_version")
        _denied(database, role, f"DELETE FROM {schema}.{table}")
    for statement in (
        f"CREATE TABLE {own}.mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        f"DROP TABLE {own}.schema_version",
        f"UPDATE {own}.schema_version SET version_num = 'x'",
    ):
        _denied(database, role, statement)


async def test_what_was_written_down_stays(deployment: Deployment, database: Database) -> None:
    for statement in (
        "UPDATE orchestrator.audit_log SET actor = 'nobody'",
        "DELETE FROM orchestrator.audit_log",
        "TRUNCATE orchestrator.audit_log",
        "UPDATE orchestrator.history SET kind = 'x'",
        "DELETE FROM orchestrator.history",
        "DELETE FROM orchestrator.sagas",
    ):
        _denied(database, "oms_orchestrator", statement)
    for statement in (
        "UPDATE orchestrator.audit_log SET actor = 'nobody'",
        "DELETE FROM orchestrator.audit_log",
        "SELECT 1 FROM payment.ledger",
    ):
        _denied(database, "oms_prune", statement)


async def test_the_auditor_may_only_read_and_may_read_what_comes_later(
    deployment: Deployment, database: Database
) -> None:
    with psycopg.connect(database.plain_url("oms_migrate"), autocommit=True) as connection:
        connection.execute("CREATE TABLE payment.later (id int)")
    with psycopg.connect(database.plain_url("oms_audit"), autocommit=True) as connection:
        connection.execute("SELECT FROM payment.later")
    for statement in (
        "INSERT INTO payment.later VALUES (1)",
        "DELETE FROM payment.ledger",
        "SELECT secret FROM orchestrator.webhooks",
    ):
        _denied(database, "oms_audit", statement)


async def _publish(broker: Broker, user: str, exchange: str, key: str) -> None:
    async with aiormq.connect(broker.plain_url(user)) as connection:
        channel = await connection.channel()
        await channel.basic_publish(b"{", exchange=exchange, routing_key=key)


QUEUES: Final = (OUTCOMES_QUEUE, *map(command_queue, PARTICIPANTS))
FORBIDDEN_KEYS: Final = {
    "inventory": "payment.successful",
    "payment": "shipping.fulfilled",
    "shipping": "order.created",
}


@pytest.mark.parametrize("participant", PARTICIPANTS)
async def test_a_participants_user_reads_its_own_queue_and_writes_its_own_events(
    participant: str, deployment: Deployment, broker: Broker
) -> None:
    user, own = f"oms_{participant}", command_queue(participant)
    others = [queue for queue in QUEUES if queue != own]
    for exchange, key in (
        (COMMANDS_EXCHANGE, participant),
        ("", others[0]),
        (EVENTS_EXCHANGE, FORBIDDEN_KEYS[participant]),
        *((f"{queue}.failed", f"{queue}.dlq") for queue in others),
    ):
        with pytest.raises(ChannelAccessRefused):
            await _publish(broker, user, exchange, key)
    async with aiormq.connect(broker.plain_url(user)) as connection:
        for queue in (*others, f"{own}.dlq", f"{own}.retry.1s"):
            channel = await connection.channel()
            with pytest.raises(ChannelAccessRefused):
                await channel.basic_get(queue)
        for queue in (own, "mine"):
            channel = await connection.channel()
            with pytest.raises(ChannelAccessRefused):
                await channel.queue_declare(queue, durable=True)
        channel = await connection.channel()
        with pytest.raises(ChannelAccessRefused):
            await channel.queue_delete(own)


async def test_the_orchestrators_user_reads_no_commands_and_poses_as_no_participant(
    deployment: Deployment, broker: Broker
) -> None:
    async with aiormq.connect(broker.plain_url("oms_orchestrator")) as connection:
        for queue in map(command_queue, PARTICIPANTS):
            channel = await connection.channel()
            with pytest.raises(ChannelAccessRefused):
                await channel.basic_get(queue)
    with pytest.raises(ChannelAccessRefused):
        await _publish(broker, "oms_orchestrator", EVENTS_EXCHANGE, "payment.successful")


async def test_a_missing_queue_that_a_user_may_not_make_is_named(broker: Broker) -> None:
    journal = Journal()
    transport = RabbitMqTransport([broker.plain_url("oms_payment")], rng=Random(1), log=journal)
    declaring = asyncio.create_task(transport.declare(Topology(queues=(Queue("nobody.commands", 100),))))
    told = await journal.says("topology in trouble")
    declaring.cancel()
    await asyncio.wait({declaring})
    await transport.close()

    assert "queue nobody.commands does not exist" in told["trouble"]
    assert "oms broker setup" in told["trouble"]


@pytest.mark.parametrize(
    ("query", "word"), [("cafile={stranger}", "not trusted"), ("cafile=/none", "cannot be used")]
)
async def test_a_broker_with_a_certificate_that_is_not_trusted_is_refused(
    query: str, word: str, broker: Broker
) -> None:
    url = broker.url("oms_payment").partition("?")[0]
    journal = Journal()
    given = f"{url}?{query.format(stranger=broker.certificates.stranger)}"
    transport = RabbitMqTransport([given], rng=Random(1), log=journal)
    declaring = asyncio.create_task(transport.declare(Topology()))
    told = await journal.says("broker trouble")
    declaring.cancel()
    await asyncio.wait({declaring})
    await transport.close()

    assert word in told["trouble"]
    assert "oms_payment:oms_payment" not in told["trouble"]


async def test_a_database_with_a_certificate_that_is_not_trusted_is_refused(database: Database) -> None:
    trusting = database.url("oms_migrate")
    given = re.sub(r"sslrootcert=.*", f"sslrootcert={database.certificates.stranger}", trusting)

    code, printed = await run_oms(["migrate"], {"OMS_DATABASE_URL": given})

    assert code == 1
    last = printed.strip().splitlines()[-1]
    assert last.startswith("oms: OMS_ORCHESTRATOR_DATABASE_URL (or OMS_DATABASE_URL): ")
    assert "certificate verify failed" in last
    assert "oms_migrate:" not in printed
