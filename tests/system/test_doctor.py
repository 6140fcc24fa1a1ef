"""`oms doctor` on real servers: all is well, and one thing after the other is not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import psycopg
import pytest
import pytest_asyncio
from sqlalchemy import make_url

from oms.variables import PREFIX
from tests.support.pgbouncer import pooler
from tests.support.servers import Databases
from tests.system.deployment import empty, run_oms

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgresql, pytest.mark.asyncio(loop_scope="module")]


@dataclass(frozen=True)
class Patient:
    """An installation that is examined."""

    environment: dict[str, str]

    async def run(self, *arguments: str, **changes: str) -> tuple[int, str]:
        """Run `oms ...` with its settings, and others."""
        return await run_oms(arguments, {**self.environment, **changes})

    async def findings(self, *arguments: str, **changes: str) -> tuple[int, dict[str, tuple[str, str]]]:
        """The exit code, and by what was looked at the verdict and the sentence; the wrong ones first."""
        code, printed = await self.run("doctor", "--json", *arguments, **changes)
        found: dict[str, Any] = json.loads(printed[printed.index("{") :])
        assert found["healthy"] == (code == 0)
        ordered = sorted(found["findings"], key=lambda each: each["verdict"] == "wrong")
        return code, {each["of"]: (each["verdict"], each["sentence"]) for each in ordered}

    async def wrong(self, *arguments: str, **changes: str) -> dict[str, str]:
        """What is wrong, by what it is."""
        code, found = await self.findings(*arguments, **changes)
        assert code == 1
        return {of: sentence for of, (verdict, sentence) in found.items() if verdict == "wrong"}

    async def execute(self, statement: str) -> None:
        """Do something to its database."""
        url = make_url(self.environment["OMS_DATABASE_URL"]).set(drivername="postgresql")
        async with await psycopg.AsyncConnection.connect(url.render_as_string(False)) as connection:
            await connection.execute(statement)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def patient(own_broker_url: str, databases: Databases) -> AsyncIterator[Patient]:
    """One that is well."""
    await empty(own_broker_url)
    url = databases.create()
    made = Patient(
        {
            "OMS_DATABASE_URL": url,
            "OMS_BROKER_URL": own_broker_url,
            "OMS_ADMIN_TOKEN": "a-token-for-tests",
            "OMS_ORDERS_TOKEN": "another-token",
        }
    )
    for command in (("migrate",), ("broker", "setup")):
        code, said = await made.run(*command)
        assert code == 0, said
    yield made
    databases.drop(url)


async def test_a_healthy_installation_has_a_tick_at_everything_that_matters(patient: Patient) -> None:
    code, found = await patient.findings()
    assert code == 0, found
    well = {of for of, (verdict, _) in found.items() if verdict == "well"}
    services = {
        f"database {name}" for name in ("orchestrator", "inventory", "payment", "shipping", "sandbox")
    }
    assert services | {"version", "settings", "clock", "installation", "queues", "virtual host"} <= well
    assert any(of.startswith("broker ") and "RabbitMQ" in said for of, (_, said) in found.items())


async def test_people_see_ticks_and_no_secret(patient: Patient) -> None:
    code, said = await patient.run("doctor", PYTHONUTF8="1")
    assert code == 0, said
    assert "✓  clock: within" in said
    for name in ("OMS_ADMIN_TOKEN", "OMS_ORDERS_TOKEN"):
        assert patient.environment[name] not in said
    assert str(make_url(patient.environment["OMS_DATABASE_URL"]).password) not in said


async def test_a_schema_that_is_behind_is_told_with_the_command(
    patient: Patient, databases: Databases
) -> None:
    url = databases.create()
    found = await patient.wrong(OMS_PAYMENT_DATABASE_URL=url)
    assert found["schema payment"].startswith("run `oms migrate`:")
    databases.drop(url)


async def test_rights_that_are_missing_are_named(patient: Patient) -> None:
    role = f"doctor_{uuid4().hex[:8]}"
    await patient.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'doctor'; GRANT USAGE ON SCHEMA payment TO {role}"
    )
    await patient.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA payment TO {role}")
    url = make_url(patient.environment["OMS_DATABASE_URL"]).set(username=role, password="doctor")
    found = await patient.wrong(OMS_PAYMENT_DATABASE_URL=url.render_as_string(False))
    assert "not for this role: INSERT on payment" in found["database payment"]
    assert "deploy/postgresql/roles.sql" in found["database payment"]
    await patient.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_schemas_of_two_installations_are_told(patient: Patient, databases: Databases) -> None:
    url = databases.create()
    code, said = await run_oms(("migrate",), {"OMS_DATABASE_URL": url})
    assert code == 0, said
    found = await patient.wrong(OMS_SHIPPING_DATABASE_URL=url)
    assert "belong to different installations" in found["installation"]
    found = await patient.wrong(OMS_DATABASE_URL=url)
    assert "another installation's" in found["virtual host"]
    databases.drop(url)


async def test_a_queue_that_is_missing_is_named(patient: Patient) -> None:
    connection = await aio_pika.connect(patient.environment["OMS_BROKER_URL"])
    async with connection:
        await (await connection.channel()).queue_delete("payment.commands")
    found = await patient.wrong()
    assert found["queues"].startswith("run `oms broker setup`: payment.commands of ")
    code, said = await patient.run("broker", "setup")
    assert code == 0, said
    assert (await patient.findings())[0] == 0


async def test_servers_that_are_not_there_or_let_nobody_in_are_told(patient: Patient) -> None:
    nobody = make_url(patient.environment["OMS_DATABASE_URL"]).set(password="wrong")
    found = await patient.wrong(
        OMS_BROKER_URL="amqp://127.0.0.1:1",
        OMS_PAYMENT_DATABASE_URL="postgresql://a:b@127.0.0.1:1/x",
        OMS_SHIPPING_DATABASE_URL=nobody.render_as_string(False),
        OMS_OIDC_ISSUER="http://127.0.0.1:1",
        OMS_OIDC_AUDIENCE="a",
        OMS_OIDC_ROLES="admin=a",
    )
    assert "cannot be reached" in found["broker 127.0.0.1:1"]
    assert "Connection refused" in found["database payment"]
    assert "password authentication failed" in found["database shipping"]
    assert "the provider cannot be reached" in found["sign-in"]


async def test_a_pooler_is_noticed_with_its_mode(patient: Patient, tmp_path: Path) -> None:
    with pooler(patient.environment["OMS_DATABASE_URL"], tmp_path / "pooler", "transaction", 4) as url:
        code, found = await patient.findings(OMS_INVENTORY_DATABASE_URL=url)
    assert code == 0, found
    assert found["pooler inventory"] == (
        "note",
        "in transaction mode: statements are not prepared, which costs a little",
    )


async def test_policies_that_lose_messages_are_told(patient: Patient, tmp_path: Path) -> None:
    harmful = tmp_path / "policies.json"
    definition = {"message-ttl": 1000}
    policy = {"name": "short", "pattern": "^payment", "apply-to": "queues", "definition": definition}
    harmful.write_text(json.dumps([policy]))
    found = await patient.wrong("--policies", str(harmful))
    assert "policy short on payment.commands" in found["policies"]
    harmful.write_text("[]")
    code, healthy = await patient.findings("--policies", str(harmful))
    assert (code, healthy["policies"]) == (0, ("well", "none harms our queues"))


async def test_wrong_settings_end_it_and_misspelt_ones_are_wrong(patient: Patient) -> None:
    found = await patient.wrong(OMS_MAX_ATTEMPTS="s3cret")
    assert found["settings"].startswith("OMS_MAX_ATTEMPTS: ")
    assert "s3cret" not in str(found)
    found = await patient.wrong(**{f"{PREFIX}ORDERS_TOKN": "s3cret"})
    assert "did you mean OMS_ORDERS_TOKEN?" in found["settings"]
