"""`oms conformance` against our own participants and the sandbox, as processes; some are killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest
import pytest_asyncio

from contracts.routing import PARTICIPANTS
from tests.support.servers import Databases
from tests.system.by_script import ByScript
from tests.system.deployment import OMS, Deployment, run_oms

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module")]

WAIT_S: Final = "60"
BURST: Final = "600"


class UnderTrial:
    """A broker with participants and a sandbox, and no orchestrator."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self.deployment = deployment
        self.folder = folder

    def participant(self, name: str) -> ByScript:
        """One of our own, which is not started yet."""
        port = self.deployment.services[name].port
        variables = {**self.deployment.environment, "OMS_HEALTH_PORT": str(port)}
        return ByScript(name, (*OMS, "participant", name), variables, self.folder)

    async def run(self, *arguments: str) -> tuple[int, str]:
        """`oms conformance ...` with the broker of this trial."""
        broker = {"OMS_BROKER_URL": self.deployment.broker_url}
        return await run_oms(("conformance", *arguments), {**self.deployment.environment, **broker})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trial(
    own_broker_url: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[UnderTrial]:
    """All schemas, stock to reserve, the sandbox; nobody else."""
    url = databases.create()
    folder = tmp_path_factory.mktemp("trial")
    deployment = Deployment(own_broker_url, url, folder)
    await deployment.command("migrate")
    await asyncio.to_thread(stock_up, url)
    sandbox = deployment.services["sandbox"]
    await sandbox.start()
    await sandbox.ready()
    yield UnderTrial(deployment, folder)
    await sandbox.end()
    databases.drop(url)


def stock_up(url: str) -> None:
    from sqlalchemy import NullPool, create_engine, text

    with create_engine(url, poolclass=NullPool).begin() as connection:
        connection.execute(text("INSERT INTO inventory.stock VALUES ('SKU-1', 1000000, 0, now())"))


@pytest.mark.parametrize("name", PARTICIPANTS)
async def test_our_own_participants_pass_everything(trial: UnderTrial, name: str) -> None:
    participant, junit = trial.participant(name), trial.folder / f"{name}.xml"
    await participant.start()
    try:
        code, printed = await trial.run(
            name,
            *("--restart", participant.restart, "--junit", str(junit)),
            *("--answer-within", WAIT_S, "--burst", BURST, "--prefetch", "500"),
        )
    finally:
        participant.end()
    assert code == 0, printed
    assert f"{name} conforms" in printed
    assert "--restart was not given" not in printed
    [suite] = ET.parse(junit).getroot()
    assert suite.attrib["failures"] == "0"


@pytest.mark.parametrize("kind", ["gateway", "carrier"])
async def test_the_sandbox_passes_as_a_provider(trial: UnderTrial, kind: str) -> None:
    code, printed = await trial.run(f"--{kind}", trial.deployment.sandbox_url)
    assert code == 0, printed
    assert f"{kind} conforms" in printed
    assert "not tried" not in printed


async def test_it_leaves_a_running_installation_alone(trial: UnderTrial) -> None:
    orchestrator = trial.deployment.services["orchestrator"]
    await orchestrator.start()
    await orchestrator.ready()
    try:
        code, printed = await trial.run("inventory")
    finally:
        await orchestrator.end()
    assert code == 1
    assert "an orchestrator is at work on this virtual host" in printed


async def test_it_says_when_nobody_consumes(trial: UnderTrial) -> None:
    code, printed = await trial.run("shipping", "--answer-within", "0.5")
    assert code == 1
    assert "nobody consumes shipping.commands" in printed
