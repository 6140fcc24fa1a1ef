"""`python -m tools.fuzz`: made-up requests from a seed at every route; ends with 1 when an answer is wrong.

Schemathesis reads the API's own description, makes good and bad requests of it, alone and in sequences along
its links, and compares every answer with what is described: no 5xx, no status, header, type or field that is
not described, and nothing accepted that the description forbids. RabbitMQ, PostgreSQL and the services are
real processes; afterwards every order has ended or waits for a person, and the audit is clean.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import aio_pika
import httpx

from contracts.routing import OUTCOMES_QUEUE, PARTICIPANTS, command_queue
from oms.embedded.child import ServerError
from oms.embedded.postgresql import EmbeddedPostgres
from tests.system.deployment import ADMIN_TOKEN, Deployment, an_order
from tools.arguments import positive
from tools.benchmarks.environment import Environment, NoEnvironment
from tools.servers.given import new_broker

FUZZERS: Final = Environment("fuzz")
EXAMPLES: Final = 100
"""Made-up requests at each route in each phase of a round; with coverage and sequences it makes thousands."""

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
ENDLESS: Final = "/orders/{order_id}/events"
"""Not asked: its answer goes on until the order has ended."""

_HEADINGS: Final = f"{'round':>5}  {'requests':>9}  {'wrong':>6}  {'a second':>8}"


def main() -> int:
    """Play rounds until there were so many requests."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked = _asked()
    folder = Path(mkdtemp(prefix=f"oms-fuzz-{asked.seed}-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
    print(f"seed {asked.seed}: at least {asked.requests:,} requests", flush=True)
    try:
        FUZZERS.make()
        wrong = asyncio.run(run(asked.requests, asked.seed, folder))
    except KeyboardInterrupt:
        wrong = ["stopped; everything that was started has been ended"]
    except (ServerError, NoEnvironment, AssertionError) as error:
        wrong = [str(error)]
    for each in wrong:
        print(f"WRONG: {each}")
    if wrong:
        print(f"logs and reports are kept in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    print("every answer was as it is described, and the audit is clean")
    return 0


async def run(requests: int, seed: int, folder: Path) -> list[str]:
    """Everything that was wrong."""
    wrong: list[str] = []
    async with deployed(folder) as services:
        await something_to_see(services)
        done, rounds, began = 0, 0, time.monotonic()
        print(_HEADINGS)
        while done < requests:
            report = await one_round(services.url, seed + rounds, folder / f"round-{rounds}")
            rounds, done = rounds + 1, done + report["test_cases"]["generated"]
            found = report["test_cases"]["unique_failures"] + report["test_cases"]["errored"]
            if found:
                wrong.append(f"round {rounds - 1}: {found} answers, see round-{rounds - 1}.log")
            rate = done / (time.monotonic() - began)
            print(f"{rounds:>5}  {done:>9,}  {len(wrong):>6}  {rate:>8.0f}", flush=True)
        wrong += await aftermath(services)
    return wrong


@asynccontextmanager
async def deployed(folder: Path) -> AsyncIterator[Deployment]:
    """All services on servers of their own; whatever was started is ended."""
    async with AsyncExitStack() as exits:
        broker = new_broker(folder / "rabbitmq")
        exits.enter_context(broker)
        database = await exits.enter_async_context(EmbeddedPostgres(folder / "postgres"))
        logs = folder / "logs"
        logs.mkdir()
        services = Deployment(broker.url, database.url, logs, OMS_RETRY_DELAYS_S="0.2,0.5")
        exits.push_async_callback(services.stop)
        await services.start()
        yield services


async def something_to_see(services: Deployment) -> None:
    """Orders of several fates and dead letters, so that lists are not empty and links lead somewhere."""
    async with services.client() as client:
        await client.put("/inventory/SKU-1", json={"on_hand": 1_000_000})
        for method in ("pm_card_visa", "pm_card_declined", "pm_gateway_flaky"):
            for _ in range(20):
                answer = await client.post("/orders", json=an_order(payment_method=method))
                assert answer.status_code == 202, answer.text
    async with await aio_pika.connect(services.broker_url) as connection, connection.channel() as channel:
        for queue in (OUTCOMES_QUEUE, *map(command_queue, PARTICIPANTS)):
            for number in range(50):
                garbage = aio_pika.Message(b"garbage", type=f"Unknown{number % 3}", delivery_mode=2)
                await channel.default_exchange.publish(garbage, queue)


async def one_round(url: str, seed: int, files: Path) -> dict[str, Any]:
    """Schemathesis once over every route; its report."""
    report = files.with_suffix(".json")
    with files.with_suffix(".log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            FUZZERS.python,
            *("-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--header", f"Authorization: Bearer {ADMIN_TOKEN}"),
            *("--checks", ",".join(CHECKS), "--exclude-path", ENDLESS),
            *("--max-examples", str(EXAMPLES), "--seed", str(seed), "--continue-on-failure"),
            *("--generation-database", "none", "--request-timeout", "45", "--workers", "2"),
            *("--report", "json", "--report-json-path", str(report)),
            cwd=files.parent,
            stdout=log,
            stderr=log,
        )
        await process.wait()
    assert report.exists(), f"schemathesis gave no report:\n{files.with_suffix('.log').read_text()[-2000:]}"
    found: dict[str, Any] = json.loads(report.read_text())
    return found


async def aftermath(services: Deployment) -> list[str]:
    """What is wrong once all is quiet."""
    async with services.client() as client:
        going = await _still_going(client)
    wrong = [f"saga {saga['saga_id']} has not ended" for saga in going]
    code, printed = await services.command("audit")
    wrong += [] if code == 0 else [f"the audit: {printed}"]
    tracebacks = [each.name for each in services.services.values() if "Traceback" in each.said]
    return [*wrong, *(f"{name} logged a traceback" for name in tracebacks)]


async def _still_going(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Sagas that neither end nor have an incident that waits for a person, after five minutes."""
    going: list[dict[str, Any]] = []
    for _ in range(300):
        answer = await client.get("/admin/sagas?status=running&status=compensating&limit=200")
        items = answer.raise_for_status().json()["items"]
        going = [saga for saga in items if not saga["incident_kinds"]]
        if not going:
            break
        await asyncio.sleep(1)
    return going


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__.splitlines()[0])
    parser.epilog = "Example: make fuzz REQUESTS=100000 SEED=1"
    parser.add_argument("--requests", type=positive, default=10_000, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(2**31), metavar="S", help="default: a random one"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
