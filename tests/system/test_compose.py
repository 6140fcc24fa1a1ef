"""`compose.yaml` without a container engine: each command with its environment, as a process here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.support.servers import Databases
from tests.system.deployment import ServiceProcess, an_order, empty, free_port, run_oms

pytestmark = pytest.mark.rabbitmq

PROJECT: Final = Path(__file__).parents[2]
OURS: Final = ("sandbox", "api", "orchestrator", "inventory", "payment", "shipping")
ONCE: Final = ("migrate", "rights", "broker-setup")
"""Services that do something and end."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())
    return loaded


def test_it_has_every_service_with_a_health_check(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {*OURS, *ONCE, "postgres", "rabbitmq"}
    assert services["orchestrator"]["deploy"]["replicas"] == 2
    for name, service in services.items():
        assert name in ONCE or service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
    volumes = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert {volume for volume in volumes if not volume.startswith(".")} == set(compose["volumes"])
    assert all((PROJECT / volume).is_file() for volume in volumes if volume.startswith("."))


def test_what_is_ours_writes_nothing_and_may_do_nothing_special(compose: dict[str, Any]) -> None:
    for name in (*OURS, "migrate", "broker-setup"):
        service = compose["services"][name]
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges"]
        assert not {"privileged", "cap_add", "user"} & service.keys()


def test_no_port_is_open_to_the_outside(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_every_service_waits_for_what_exists(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            assert wait["condition"] in ("service_healthy", "service_completed_successfully")
            assert name in services


class OnThisMachine:
    """Puts addresses of this machine in the place of compose's service names and ports."""

    def __init__(self, broker_url: str, database_url: str) -> None:
        self._broker_url = broker_url
        self._database_url = database_url
        self._ports: dict[tuple[str, str], int] = {}

    def port(self, service: str, port: str) -> int:
        return self._ports.setdefault((service, port), free_port())

    def value(self, text: str) -> str:
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
        if text.startswith("postgresql://"):
            assert urlsplit(text).hostname == "postgres"
            return self._database_url
        if text.startswith("amqp://"):
            assert urlsplit(text).hostname == "rabbitmq"
            return self._broker_url
        if text.startswith("http://"):
            parts = urlsplit(text)
            return f"http://127.0.0.1:{self.port(str(parts.hostname), str(parts.port))}"
        return text

    def process(self, name: str, replica: int, service: Mapping[str, Any], folder: Path) -> ServiceProcess:
        environment = {key: self.value(str(value)) for key, value in service["environment"].items()}
        health_port = free_port()
        environment["OMS_HEALTH_PORT"] = str(health_port)
        arguments = ["127.0.0.1" if word == "0.0.0.0" else word for word in service["command"]]
        if "--port" in arguments:
            at = arguments.index("--port") + 1
            health_port = self.port(name, arguments[at])
            arguments[at] = str(health_port)
        return ServiceProcess(f"{name}-{replica}", arguments, environment, health_port, folder)


async def test_its_commands_bring_an_order_through(
    compose: dict[str, Any], own_broker_url: str, databases: Databases, tmp_path: Path
) -> None:
    await empty(own_broker_url)
    url = databases.create()
    here = OnThisMachine(own_broker_url, url)
    services = compose["services"]
    migrate = {key: here.value(str(value)) for key, value in services["migrate"]["environment"].items()}
    code, printed = await run_oms(services["migrate"]["command"], migrate)
    assert code == 0, printed
    processes = [
        here.process(name, replica, services[name], tmp_path)
        for name in OURS
        for replica in range(services[name].get("deploy", {}).get("replicas", 1))
    ]
    for process in processes:
        await process.start()
    try:
        await asyncio.gather(*(process.ready() for process in processes))
        api = f"http://127.0.0.1:{here.port('api', '8000')}"
        token = here.value(services["api"]["environment"]["OMS_ADMIN_TOKEN"])
        async with httpx.AsyncClient(base_url=api, timeout=40) as client:
            admin = {"Authorization": f"Bearer {token}"}
            stocked = await client.put("/inventory/SKU-1", json={"on_hand": 5}, headers=admin)
            assert stocked.status_code == 200, stocked.text
            ended = await client.post("/orders", json=an_order(), headers={"Prefer": "wait=30"})
        assert ended.json()["status"] == "completed", ended.text
    finally:
        await asyncio.gather(*(process.end() for process in processes))
        databases.drop(url)
