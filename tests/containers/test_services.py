"""The services of `compose.yaml` from the image: orders go through, whoever is killed or stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.system.deployment import an_order
from tools.containers.compose import NETWORK, Compose, kill, status_of
from tools.containers.image import IMAGE
from tools.containers.podman import Podman, options

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

OURS: Final = ("sandbox", "api", "orchestrator", "inventory", "payment", "shipping")
API: Final = "http://127.0.0.1:8000"
AUDITOR: Final = "postgresql://oms_audit:oms_audit@postgres:5432/oms"
KILLED: Final = 137
WITHIN_S: Final = 300.0


def ours(services: Compose) -> list[str]:
    return [container for service in OURS for container in services.containers(service)]


@pytest.fixture(scope="module")
def client(services: Compose) -> Iterator[httpx.Client]:
    admin = {"Authorization": "Bearer change-me-please"}
    with httpx.Client(base_url=API, timeout=60, headers=admin) as client:
        stocked = client.put("/inventory/SKU-1", json={"on_hand": 1000})
        assert stocked.status_code == 200, stocked.text
        yield client


def submitted(client: httpx.Client, count: int) -> list[str]:
    answers = [client.post("/orders", json=an_order()) for _ in range(count)]
    assert all(answer.status_code in (201, 202) for answer in answers), [each.text for each in answers]
    return [answer.json()["order_id"] for answer in answers]


def completed(client: httpx.Client, orders: list[str]) -> None:
    """Return when each of the orders is; fails with what is left."""
    until = time.monotonic() + WITHIN_S
    left = list(orders)
    while left and time.monotonic() < until:
        answers = {order: client.get(f"/orders/{order}").json() for order in left}
        left = [order for order, answer in answers.items() if answer["status"] != "completed"]
        time.sleep(0.2)
    assert left == []


def audited(engine: Podman) -> None:
    connected = ("--rm", f"--network={NETWORK}", f"--env=OMS_AUDIT_DATABASE_URL={AUDITOR}")
    engine("run", *connected, *options(), IMAGE, "audit")


def main_process(engine: Podman, container: str) -> dict[str, str]:
    """Of the program itself: the only child of the small one that begins as number 1."""
    first = int(engine.inspect(container)["State"]["Pid"])
    children = Path(f"/proc/{first}/task/{first}/children").read_text()
    return status_of(int(children.split()[0]))


def running_again(engine: Podman, container: str, before: str) -> bool:
    state = engine.inspect(container)["State"]
    return bool(state["Running"]) and state["StartedAt"] != before


def started_at(engine: Podman, container: str) -> str:
    return str(engine.inspect(container)["State"]["StartedAt"])


def test_no_process_can_do_more_than_its_work(services: Compose) -> None:
    for container in ours(services):
        status = main_process(services.engine, container)
        assert set(status["Uid"].split()) == {"10001"}, container
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, container
        assert status["NoNewPrivs"] == "1", container
        assert services.engine.inspect(container)["HostConfig"]["ReadonlyRootfs"] is True


def test_no_service_can_write_to_a_file(services: Compose) -> None:
    trying = "import sys; [open(f'{place}/x', 'w') for place in sys.argv[1:]]"
    for container in ours(services):
        for place in ("/tmp", "/opt/oms", "/etc", "/var/tmp"):
            done = services.engine.run("exec", container, "python", "-c", trying, place)
            assert done.returncode != 0, (container, place)
            assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr


def test_everything_that_was_to_run_once_ended_well(services: Compose) -> None:
    for container in ("migrate-1", "rights-1", "broker-setup-1"):
        assert services.engine.inspect(container)["State"]["ExitCode"] == 0


def test_an_order_goes_through(services: Compose, client: httpx.Client) -> None:
    answer = client.post("/orders", json=an_order(), headers={"Prefer": "wait=30"})
    assert answer.json()["status"] == "completed", answer.text


def test_a_service_needs_no_shell(services: Compose, client: httpx.Client) -> None:
    without = [f"--volume=/dev/null:{shell}:ro" for shell in ("/usr/bin/dash", "/usr/bin/bash")]
    services.start("payment", "payment-2", *without)

    services.until_healthy("payment-2")

    assert services.engine.run("exec", "payment-2", "sh", "-c", "true").returncode != 0
    completed(client, submitted(client, 5))
    assert services.engine("stop", "payment-2") == "payment-2"
    assert services.engine.inspect("payment-2")["State"]["ExitCode"] == 0


def test_a_process_that_hangs_fails_its_health_check(services: Compose) -> None:
    pid = int(main_process(services.engine, "shipping-1")["Pid"])
    assert services.healthy("shipping-1")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert not services.healthy("shipping-1")
    finally:
        os.kill(pid, signal.SIGCONT)
    services.until_healthy("shipping-1")


def test_whoever_is_killed_comes_back_and_no_order_is_lost(services: Compose, client: httpx.Client) -> None:
    orders: list[str] = []
    for container in ("orchestrator-1", "payment-1", "inventory-1", "shipping-1"):
        before = started_at(services.engine, container)
        orders += submitted(client, 10)
        kill(int(services.engine.inspect(container)["State"]["Pid"]))
        until = time.monotonic() + WITHIN_S
        while not running_again(services.engine, container, before):
            assert time.monotonic() < until, f"{container} is not started again"
            time.sleep(0.2)
    completed(client, orders)
    for container in ours(services):
        services.until_healthy(container)
    audited(services.engine)


@pytest.mark.parametrize("server", ["rabbitmq-1", "postgres-1"])
def test_orders_go_on_when_a_server_was_away(services: Compose, client: httpx.Client, server: str) -> None:
    orders = submitted(client, 10)

    services.engine("restart", server)

    services.until_healthy(server)
    services.until_healthy("api-1")
    completed(client, [*orders, *submitted(client, 10)])
    audited(services.engine)


def test_everybody_who_is_stopped_ends_with_0_and_leaves_nothing_half_done(
    services: Compose, client: httpx.Client
) -> None:
    orders = submitted(client, 20)
    containers = [container for container in ours(services) if not container.startswith("sandbox")]

    services.engine("stop", *containers)

    ended: dict[str, Any] = {each: services.engine.inspect(each)["State"]["ExitCode"] for each in containers}
    assert ended == dict.fromkeys(containers, 0)
    services.engine("start", *containers)
    for container in containers:
        services.until_healthy(container)
    completed(client, orders)
    audited(services.engine)


def test_a_process_that_hangs_is_ended_by_force_when_it_is_stopped(services: Compose) -> None:
    pid = int(main_process(services.engine, "inventory-1")["Pid"])
    os.kill(pid, signal.SIGSTOP)

    services.engine("stop", "--time=1", "inventory-1")

    assert services.engine.inspect("inventory-1")["State"]["ExitCode"] == KILLED
    services.engine("start", "inventory-1")
    services.until_healthy("inventory-1")
