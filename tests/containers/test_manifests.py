"""What deploy/kubernetes says of a container is enough for it to work: run here without a cluster."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.containers.pods import Pods
from tests.manifests.rendering import containers, pods, rendered
from tools.containers.compose import Compose
from tools.containers.image import IMAGE
from tools.containers.stand_ins import POSTGRESQL

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

WITHIN_S: Final = 300.0
IMAGES: Final = {"oms-saga-orchestrator": IMAGE, "postgres": POSTGRESQL}
PROVIDERS: Final = {
    "OMS_PAYMENT_GATEWAY_URL": "http://sandbox:8090",
    "OMS_CARRIER_URL": "http://sandbox:8090",
}


def database(role: str) -> str:
    return f"postgresql://{role}:{role}@postgres:5432/oms"


def broker(user: str) -> str:
    return f"amqp://{user}:{user}@rabbitmq:5672/"


OF_SERVICES: Final = {
    f"oms-{name}": {"database-url": database(f"oms_{name}"), "broker-url": broker(f"oms_{name}")}
    for name in ("orchestrator", "inventory", "payment", "shipping")
}
SECRETS: Final = {
    **OF_SERVICES,
    "oms-rights": {"pg_service.conf": "[oms]\nhost=postgres\ndbname=oms\nuser=oms\npassword=oms\n"},
    "oms-migrate": {"database-url": database("oms_migrate")},
    "oms-broker-setup": {"database-url": database("oms_audit"), "broker-url": broker("oms_setup")},
    "oms-api": {
        "orchestrator-database-url": database("oms_orchestrator"),
        "inventory-database-url": database("oms_inventory"),
        "audit-database-url": database("oms_audit"),
        "broker-url": broker("oms_orchestrator"),
        "admin-token": "an-admin's-long-one",
        "orders-token": "a-customer's-long-one",
    },
}


def test_the_setup_of_a_release_runs_to_its_end_again_and_again(services: Compose, tmp_path: Path) -> None:
    manifests = rendered("setup")
    run = Pods(services.engine, manifests, SECRETS, IMAGES, tmp_path)
    ((_, template),) = list(pods(manifests))
    for container in containers(template):
        run.complete(f"setup-{container['name']}", template, container)


def test_every_service_answers_where_the_cluster_asks_for_it(services: Compose, tmp_path: Path) -> None:
    manifests = rendered("base")
    run = Pods(services.engine, manifests, SECRETS, IMAGES, tmp_path)
    started = {f"pod-{name}": (name, template) for name, template in pods(manifests)}
    for pod, (_, template) in started.items():
        run.start(pod, template, containers(template)[0], **PROVIDERS)
    for pod, (_, template) in started.items():
        for url in run.probes(pod, containers(template)[0]):
            answers(url)
    api = run.probes("pod-api", containers(started["pod-api"][1])[0])[0].removesuffix("/livez")
    assert httpx.get(f"{api}/orders/none", timeout=30).status_code == 401
    services.engine("stop", *started)
    codes = {pod: services.engine.inspect(pod)["State"]["ExitCode"] for pod in started}
    assert codes == dict.fromkeys(started, 0)


def answers(url: str) -> None:
    """Return once it does, with 200."""
    until = time.monotonic() + WITHIN_S
    said: object = None
    while time.monotonic() < until:
        try:
            said = httpx.get(url, timeout=10)
        except httpx.TransportError as error:
            said = error
        if isinstance(said, httpx.Response) and said.status_code == 200:
            return
        time.sleep(0.5)
    pytest.fail(f"{url}: {said}")
