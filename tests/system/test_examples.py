"""The examples of the pages, run as they stand on one `oms run`."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest
import pytest_asyncio

from tests.support.pages import ROOT, Block, pages
from tests.system.deployment import ServiceProcess, an_order, free_port

pytestmark = [pytest.mark.postgresql, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

RUN: Final = (
    ("README.md", ".venv/bin/oms stock set SKU-1 10"),
    ("README.md", "curl -i http://127.0.0.1:8000/orders -H 'Content-Type: application/json' \\"),
    ("docs/production.md", "oms tokens create --name jane --role operator --expires 90d"),
    ("README.md", "oms sagas list --incident any"),
    (
        "docs/console.md",
        "oms dead-letters replay --all --queue payment.commands --error-type ProviderUnavailable --dry-run",
    ),
    ("docs/production.md", 'oms dead-letters show ID --full --reason "which card was it"'),
    ("docs/providers.md", "curl 'http://127.0.0.1:8000/sandbox/charges?order_id=ORDER'"),
    ("docs/runbook.md", "oms sagas list --incident any"),
    ("docs/events.md", "oms events --limit 3"),
    (
        "docs/webhooks.md",
        "oms webhooks add https://shop.example.com/hooks --type OrderCompletedEvent "
        '--reason "for the shop" --json',
    ),
)
"""Page and first line of each block that is run, in this order."""

NOT_RUN: Final = {
    (
        "docs/sagas.md",
        "curl -i http://127.0.0.1:8000/orders/ORDER/returns -H 'Content-Type: application/json' "
        "-H 'Idempotency-Key: back-1' \\",
    ): "goods that nobody has sent back; tests/system/test_returns.py does all of it",
    ("docs/sagas.md", "oms stock set SKU-1 10 --location north"): "stock of later examples is elsewhere; "
    "tests/system/test_split_shipments.py does the same",
    ("docs/sagas.md", "oms sagas waiting"): "no holds there; tests/integration/test_holds.py and "
    "tests/unit/cli/test_holds.py do all of it",
    ("docs/console.md", "oms sagas each retry --incident overdue --dry-run"): "nothing is stuck there; "
    "tests/integration/test_saga_jobs.py and tests/unit/cli/test_saga_jobs.py do both",
    (
        "docs/versions.md",
        "ssh-keygen -Y verify -f allowed -I NAME -n oms-release -s SHA256SUMS.sig < SHA256SUMS",
    ): "nothing is released here; tests/unit/tools/test_release.py signs and checks",
    ("README.md", "make demo"): "CI does both: all there is, and this test itself",
    ("README.md", "make run"): "what every example here runs on",
    ("README.md", "export OMS_DATABASE_URL=postgresql://oms:secret@db.internal:5432/oms"): "servers that are "
    "not here; the same processes run in every other test of this folder",
    ("docs/production.md", 'rabbitmqctl add_user "oms" "secret"'): "a user of another installation's broker; "
    "tests/system/test_least_privilege.py makes its own",
    ("CONTRIBUTING.md", "make setup"): "each is a whole run of its own",
    ("docs/production.md", "python3 -m venv /opt/oms"): "fetches every package anew",
    ("docs/production.md", "pip install --require-hashes -r tools/requirements/telemetry.txt"): "the same",
    (
        "docs/production.md",
        "docker build -t oms-saga-orchestrator .",
    ): "`make containers` builds it, in podman",
    (
        "docs/kubernetes.md",
        "kubectl kustomize deploy/kubernetes/base",
    ): "`make manifests` does it for every folder",
    ("docs/kubernetes.md", "kubectl create namespace oms-data"): "there is no cluster here, as the page says",
    ("docs/kubernetes.md", "kubectl create namespace oms"): "the same",
    ("docs/kubernetes.md", "kubectl --namespace=oms delete job setup --ignore-not-found"): "the same",
    (
        "docs/production.md",
        "psql --set ON_ERROR_STOP=1 -f deploy/postgresql/roles.sql postgresql://postgres@db.internal/oms",
    ): "tests/system/test_least_privilege.py runs the same files",
    (
        "docs/production.md",
        "OMS_DATABASE_URL='postgresql://oms_payment:...@db.internal/oms?"
        "sslmode=verify-full&sslrootcert=/etc/oms/authority.pem'",
    ): "tests/system/test_least_privilege.py, too",
    (
        "docs/production.md",
        "export OMS_OIDC_ISSUER=https://id.example.com/realms/work",
    ): "a provider that is not here; tests/browser/test_provider_sign_in.py has one",
    (
        "docs/production.md",
        "oms people list",
    ): "nobody has signed in; tests/integration/test_provider_sign_in.py does the same",
    ("docs/production.md", "oms doctor"): "a broker's own tools; tests/system/test_doctor.py runs the same",
    ("docs/participants.md", "oms stock set SKU-1 1000000"): "tests/system/test_conformance.py runs the same",
    (
        "examples/enrolment/README.md",
        'pip install . ".[test]"',
    ): "tests/system/test_installed_extensions.py does the same in an environment of its own",
    (
        "examples/enrolment/README.md",
        "curl -i http://127.0.0.1:8000/sagas/enrolment -H 'Content-Type: application/json' \\",
    ): "a saga of that environment",
    (
        "examples/gift_order/README.md",
        'pip install . ".[test]"',
    ): "tests/system/test_an_order_saga_of_ones_own.py does the same in an environment of its own",
    (
        "examples/gift_order/README.md",
        "curl -i http://127.0.0.1:8000/sagas/gift_order -H 'Content-Type: application/json' "
        "-H 'Idempotency-Key: gift-1' -d '{",
    ): "a saga of that environment",
    ("examples/participants/node/README.md", "npm ci"): "tests/system/test_node_participant.py does the same",
    (
        "examples/participants/node/README.md",
        'psql "$WAREHOUSE_DATABASE_URL" -c "SELECT warehouse.set_on_hand(\'SKU-1\', 10)"',
    ): "there, too",
    (
        "examples/participants/node/README.md",
        "oms conformance inventory --broker-url amqp://guest:guest@127.0.0.1:5672/trial "
        "--restart 'sh restart.sh'",
    ): "there, too",
    (
        "examples/participants/node/README.md",
        'psql "$WAREHOUSE_DATABASE_URL" -f audit.sql',
    ): "there, too",
    (
        "docs/stripe.md",
        "pip install ./examples/oms_stripe",
    ): "needs a key of Stripe's; tests/unit/conformance/test_stripe.py does the same against the stand-in",
    ("docs/stripe.md", "oms stock set SKU-1 10"): "the same order as the README's, which is run",
    (
        "docs/sagas.md",
        "curl -i http://127.0.0.1:8000/sagas/enrolment -H 'Content-Type: application/json' \\",
    ): "a saga of the reader's own; tests/integration/test_http_sagas.py starts one in the same way",
    (
        "docs/runbook.md",
        "psql $DATABASE -c 'DROP SCHEMA orchestrator CASCADE'",
    ): "takes the orchestrator's schema away; tests/integration/test_orphans.py has the story",
    ("docs/reliability.md", "make chaos"): "a whole run of its own",
    ("docs/reliability.md", "make fuzz"): "a whole run of its own",
    ("docs/reliability.md", "make failover"): "a whole run of its own",
    (
        "docs/reliability.md",
        "debootstrap --variant=minbase --include=rabbitmq-server trixie /srv/trixie",
    ): "fetches whole systems",
}
"""Why a block is not run here; that what it names exists is tests/unit/oms/test_pages.py's."""


_PLACEHOLDER: Final = re.compile(r"\b(?:SAGA_ID|MESSAGE_ID|JOB_ID|ORDER|ID)\b")


class Installation:
    """`oms run` in a folder of its own, beside which examples are typed in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        port = free_port()
        settings = {"OMS_RETRY_DELAYS_S": "0.1", "OMS_MAX_ATTEMPTS": "2", "OMS_RESEND_AFTER_S": "600"}
        self.process = ServiceProcess("run", ["run", "--port", str(port)], settings, port, folder)
        self.url = f"http://127.0.0.1:{port}"
        self.words: dict[str, str] = {}

    async def start(self) -> None:
        """In its folder, where `.venv` is the one of the project."""
        (self.folder / ".venv/bin").mkdir(parents=True)
        program = self.folder / ".venv/bin/oms"
        code = "import sys; from oms.cli import main; sys.exit(main())"
        program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{code}' \"$@\"\n")
        program.chmod(0o755)
        await self.process.start(("env", "-C", str(self.folder), str(program)))
        await self.process.ready()

    def client(self) -> httpx.AsyncClient:
        """The API, as the installation's admin."""
        token = (self.folder / ".oms/admin-token").read_text()
        return httpx.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    async def type_in(self, block: Block) -> None:
        """Run a block, with our words for its placeholders; a job that it names begins just before."""
        text = block.text.replace("http://127.0.0.1:8000", self.url).replace("http://API", self.url)
        for part in re.split(r"^(?=.*\bJOB_ID\b)", text, flags=re.MULTILINE):
            words = dict(self.words)
            if "JOB_ID" in part:
                words["JOB_ID"] = await self.slow_job()
            await self._run(block, _PLACEHOLDER.sub(lambda found, words=words: words[found[0]], part))

    async def _run(self, block: Block, text: str) -> None:
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-e", "-c", text),
            cwd=self.folder,
            env={**self._environment(), "OMS_API_URL": self.url, "OMS_DATABASE_URL": self.database_url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await shell.communicate()
        assert shell.returncode == 0, f"{block.page}:{block.line}\n{said.decode()}"

    async def slow_job(self) -> str:
        """A job that goes on for half a minute."""
        await failed_orders(self, 4)
        selected = {"filter": {"queue": ["payment.commands"]}, "rate_per_second": 0.1, "reason": "an example"}
        async with self.client() as client:
            begun = await client.post("/admin/dead-letters/replay", json=selected)
        assert begun.status_code == 202, begun.text
        return str(begun.json()["job_id"])

    @property
    def database_url(self) -> str:
        """Of the embedded server."""
        lines = (self.folder / ".oms/postgres/data/postmaster.pid").read_text().splitlines()
        password = (self.folder / ".oms/postgres/password").read_text().strip()
        return f"postgresql://oms:{password}@127.0.0.1:{lines[3]}/oms"

    def _environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMS_", "OTEL_"))}
        return {**plain, "PATH": f"{self.folder}/.venv/bin:{plain['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("examples"))
    await made.start()
    yield made
    assert await made.process.end() == 0
    shutil.rmtree(made.folder, ignore_errors=True)


def block_of(page: str, begins: str) -> Block:
    (block,) = (
        each for known in pages() if known.name == page for each in known.blocks if each.begins == begins
    )
    return block


LINES: Final = [{"sku": "SKU-OF-OURS", "quantity": 1, "unit_price": 1299}]


async def failed_orders(installation: Installation, count: int) -> dict[str, str]:
    """So many more orders whose gateway is down; words for one of them, its saga and its dead letter.

    Good orders come along: while the circuit breaker is open nothing gives up, and one of them closes it.
    """
    async with installation.client() as client:
        await client.put("/inventory/SKU-OF-OURS", json={"on_hand": 1_000_000})
        bad = [await submitted(client, "pm_gateway_down") for _ in range(count)]
        for order in bad:
            path = f"/admin/dead-letters?status=open&saga_id={order['saga_id']}"
            while not (found := await items(client, path)):
                await submitted(client, "pm_card_visa")
                await asyncio.sleep(0.2)
        messages = await items(client, f"/admin/sagas/{order['saga_id']}/messages")
    return {
        "ORDER": order["order_id"],
        "SAGA_ID": order["saga_id"],
        "ID": found[0]["dead_letter_id"],
        "MESSAGE_ID": messages[0]["message_id"],
    }


async def submitted(client: httpx.AsyncClient, payment_method: str) -> dict[str, str]:
    accepted = await client.post("/orders", json=an_order(payment_method=payment_method, lines=LINES))
    assert accepted.status_code == 202, accepted.text
    order: dict[str, str] = accepted.json()
    return order


async def items(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


@pytest.mark.parametrize(("page", "begins"), RUN)
async def test_an_example_does_what_the_page_says(installation: Installation, page: str, begins: str) -> None:
    block = block_of(page, begins)
    if _PLACEHOLDER.search(block.text):
        installation.words = await failed_orders(installation, 1)
    await installation.type_in(block)


async def test_the_queries_are_answered(installation: Installation) -> None:
    """Which versions are in use, and what holds up the feed."""
    blocks = [each for page in pages() for each in page.blocks if each.text.startswith("SELECT")]
    assert len(blocks) == 2
    async with await psycopg.AsyncConnection.connect(installation.database_url) as connection:
        for block in blocks:
            await connection.execute(block.text.encode())
