"""Trouble under load, on real parts: whatever goes away comes back, and every order still ends as it must."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from uuid import UUID, uuid4

import aio_pika
import httpx
import pytest

from contracts.routing import COMMANDS_EXCHANGE, INVENTORY, OUTCOMES_QUEUE, PARTICIPANTS, command_queue
from tests.system.deployment import Deployment, an_order

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module")]

ORDERS = 100

KILLED_BEFORE_ITS_FIRST_PUBLISH = (
    sys.executable,
    "-c",
    """
import os, signal, sys
from messaging.outbox import Outbox
from oms.cli import main
Outbox.publish = lambda self, messages: messages and os.kill(os.getpid(), signal.SIGKILL)
sys.exit(main())
""",
)
"""The command `oms` that dies when it has committed and is about to send what it has committed."""


@pytest.fixture
async def stocked(deployment: Deployment) -> Deployment:
    async with deployment.client() as client:
        answer = await client.put("/inventory/SKU-1", json={"on_hand": 100_000})
        assert answer.status_code == 200, answer.text
    return deployment


async def submit(client: httpx.AsyncClient, count: int = ORDERS) -> list[str]:
    answers = await asyncio.gather(*(client.post("/orders", json=an_order()) for _ in range(count)))
    assert {answer.status_code for answer in answers} == {202}
    return [answer.json()["order_id"] for answer in answers]


async def statuses(client: httpx.AsyncClient, order_ids: list[str]) -> set[str]:
    answers = [await client.get(f"/orders/{order_id}") for order_id in order_ids]
    return {answer.json()["status"] for answer in answers}


async def all_completed(client: httpx.AsyncClient, order_ids: list[str]) -> None:
    async with asyncio.timeout(120):
        while await statuses(client, order_ids) != {"completed"}:
            await asyncio.sleep(0.5)


async def clean_audit(deployment: Deployment) -> None:
    code, printed = await deployment.command("audit")
    assert code == 0, printed


async def dead_letters(client: httpx.AsyncClient) -> int:
    answer = await client.get("/admin/dead-letters?status=open")
    return len(answer.json()["items"])


async def test_p9_orders_wait_while_the_gateway_is_down_and_none_is_dead_lettered(
    stocked: Deployment,
) -> None:
    sandbox = stocked.services["sandbox"]
    await sandbox.end(signal.SIGKILL)
    async with stocked.client() as client:
        accepted = await submit(client)
        async with asyncio.timeout(60):
            while await statuses(client, accepted) != {"reserved"}:
                await asyncio.sleep(0.2)
        payment = f"http://127.0.0.1:{stocked.services['payment'].port}/readyz"
        async with asyncio.timeout(60):
            while "circuit breaker" not in (await client.get(payment)).text:
                await asyncio.sleep(0.2)
        await sandbox.start()
        await all_completed(client, accepted)
        assert await dead_letters(client) == 0
    await clean_audit(stocked)


async def test_s12_purging_every_queue_loses_no_order(stocked: Deployment) -> None:
    connection = await aio_pika.connect(stocked.broker_url)
    async with stocked.client() as client, connection, connection.channel() as channel:
        submitting = asyncio.create_task(submit(client))
        for _ in range(5):
            for queue in (OUTCOMES_QUEUE, *map(command_queue, PARTICIPANTS)):
                await (await channel.get_queue(queue)).purge()
            await asyncio.sleep(0.1)
        await all_completed(client, await submitting)
    await clean_audit(stocked)


@pytest.mark.parametrize("name", [*PARTICIPANTS, "orchestrator", "api"])
async def test_a_killed_process_is_made_up_for_when_it_is_back(stocked: Deployment, name: str) -> None:
    async with stocked.client() as client:
        accepted = await submit(client)
        await stocked.services[name].end(signal.SIGKILL)
        await stocked.services[name].start()
        await stocked.services[name].ready()
        await all_completed(client, accepted)
    await clean_audit(stocked)


@pytest.mark.parametrize("name", ["payment", "orchestrator"])
async def test_m1_a_process_killed_between_its_commit_and_its_publish_delays_and_loses_nothing(
    stocked: Deployment, name: str
) -> None:
    service = stocked.services[name]
    await service.end()
    async with stocked.client() as client:
        accepted = await submit(client, 20)
        await service.start(KILLED_BEFORE_ITS_FIRST_PUBLISH)
        assert await service.ended() == -signal.SIGKILL
        await service.start()
        await all_completed(client, accepted)
        assert await dead_letters(client) == 0
    await clean_audit(stocked)


async def test_p5_a_reservation_that_comes_after_its_release_is_refused(stocked: Deployment) -> None:
    saga_id, order_id = uuid4(), uuid4()
    connection = await aio_pika.connect(stocked.broker_url)
    async with stocked.client() as client, connection, connection.channel() as channel:
        before = (await client.get("/inventory/SKU-1")).json()
        exchange = await channel.get_exchange(COMMANDS_EXCHANGE)
        await exchange.publish(a_command("ReleaseInventory", saga_id, order_id, "compensating"), INVENTORY)
        lines = [{"sku": "SKU-1", "quantity": 1}]
        late = a_command("ReserveInventory", saga_id, order_id, "forward", lines=lines)
        await exchange.publish(late, INVENTORY)
        async with asyncio.timeout(30):
            while "StepRefused" not in {letter["type"] for letter in await letters(client)}:
                await asyncio.sleep(0.1)
        [row] = (await client.get(f"/participants/inventory/sagas/{saga_id}")).json()["steps"]
        assert row["state"] == "tombstone"
        assert (await client.get("/inventory/SKU-1")).json() == before


async def letters(client: httpx.AsyncClient) -> list[dict[str, str]]:
    answer = await client.get("/admin/dead-letters?limit=200")
    found: list[dict[str, str]] = answer.json()["items"]
    return found


def a_command(name: str, saga_id: UUID, order_id: UUID, direction: str, **fields: object) -> aio_pika.Message:
    body = {"saga_id": str(saga_id), "order_id": str(order_id), "step": "reserve", "direction": direction}
    return aio_pika.Message(
        json.dumps({**body, **fields}).encode(),
        type=name,
        message_id=str(uuid4()),
        correlation_id=str(saga_id),
        content_type="application/json",
        delivery_mode=2,
        headers={"schema-version": 1},
    )
