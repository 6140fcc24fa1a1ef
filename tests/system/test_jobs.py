"""A job on 500 dead letters, on real parts, with the orchestrator killed in the middle."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest

from contracts.routing import INVENTORY, command_queue
from messaging.errors import PermanentFailure
from messaging.identifiers import time_ordered_ids
from messaging.rabbitmq import RabbitMqTransport
from messaging.retries import RetryPolicy, after_failure
from messaging.transport import Message, Publisher, Receipt
from tests.system.deployment import Deployment, an_order

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module")]

ORDERS = 500
NOT_YET = range(1, ORDERS)


async def dead_reservations(deployment: Deployment, client: httpx.AsyncClient) -> list[str]:
    """Orders whose reservation has died for good, while inventory is away; their sagas."""
    await deployment.services[INVENTORY].end()
    answers = await asyncio.gather(*(client.post("/orders", json=an_order()) for _ in range(ORDERS)))
    sagas = {answer.json()["saga_id"] for answer in answers}
    new_id, policy = time_ordered_ids(random.Random()), RetryPolicy()
    transport = RabbitMqTransport([deployment.broker_url], name="a test")
    inbox, publisher = await transport.subscribe(command_queue(INVENTORY), 500), transport.publisher()
    left = set(sagas)
    async with asyncio.timeout(60):
        while left:
            deliveries = await inbox.receive(200)
            error, now = PermanentFailure("warehouse_closed", "nobody is there"), datetime.now(UTC)
            dead = [after_failure(each, error, policy, new_id(), now, "test") for each in deliveries]
            await publish(publisher, dead)
            inbox.acknowledge(deliveries)
            left -= {str(each.correlation_id) for each in deliveries}
        while await open_ones(client) < ORDERS:
            await asyncio.sleep(0.2)
    await inbox.close()
    await transport.close()
    return sorted(sagas)


async def publish(publisher: Publisher, messages: Sequence[Message]) -> None:
    """Publish until the broker has taken everything; a connection may still be on its way."""
    receipts: asyncio.Queue[tuple[UUID, Receipt]] = asyncio.Queue()
    left = {message.message_id: message for message in messages}
    while left:
        publisher.publish(list(left.values()), lambda *receipt: receipts.put_nowait(receipt))
        for identity, receipt in [await receipts.get() for _ in tuple(left)]:
            if receipt is Receipt.CONFIRMED:
                del left[identity]
        await asyncio.sleep(0.1 if left else 0)


async def open_ones(client: httpx.AsyncClient) -> int:
    groups = (await client.get("/admin/dead-letters/groups")).json()["items"]
    return sum(group["count"] for group in groups if group["error_type"] == "warehouse_closed")


async def done_with(client: httpx.AsyncClient, job_id: str) -> int:
    done: int = (await client.get(f"/admin/jobs/{job_id}")).json()["done"]
    return done


async def test_d5_a_job_outlives_its_orchestrator_and_replays_each_dead_letter_once(
    deployment: Deployment,
) -> None:
    async with deployment.client() as client:
        await client.put("/inventory/SKU-1", json={"on_hand": 100_000})
        sagas = await dead_reservations(deployment, client)
        selected = ("--all", "--error-type", "warehouse_closed", "--reason", "it is open again")
        begun = ("dead-letters", "replay", *selected, "--rate", "100", "--yes", "--detach", "--json")
        code, printed = await deployment.command(*begun)
        assert code == 0, printed
        job_id = json.loads(printed[printed.index("{") :])["job_id"]
        watching = asyncio.create_task(deployment.command("jobs", "watch", job_id))

        async with asyncio.timeout(60):
            while await done_with(client, job_id) == 0:
                await asyncio.sleep(0.05)
        await deployment.services["orchestrator"].end(signal.SIGKILL)
        assert await done_with(client, job_id) in NOT_YET
        await deployment.services["orchestrator"].start()
        code, printed = await watching
        assert code == 0, printed
        assert f"{ORDERS} of {ORDERS}" in printed

        retries = "SELECT saga_id::text, count(*) FROM orchestrator.history WHERE kind = :what GROUP BY 1"
        retried = await deployment.rows(retries, what="retry_requested")
        assert sorted(retried) == [(saga_id, 1) for saga_id in sagas]
        replays = "SELECT subject, count(*) FROM orchestrator.audit_log WHERE action = :what GROUP BY 1"
        replayed = await deployment.rows(replays, what="dead_letter.replay")
        assert [count for _, count in replayed] == [1] * ORDERS

        await deployment.services[INVENTORY].start()
        async with asyncio.timeout(120):
            while await open_ones(client) or (await unfinished(client)):
                await asyncio.sleep(0.5)
    code, printed = await deployment.command("audit")
    assert code == 0, printed


async def unfinished(client: httpx.AsyncClient) -> list[object]:
    found: list[object] = (await client.get("/admin/sagas?status=running&limit=1")).json()["items"]
    return found
