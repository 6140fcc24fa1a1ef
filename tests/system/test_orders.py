"""Orders through six processes, with everything that a customer and an operator would look at afterwards."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Sequence
from typing import Any

import aio_pika
import httpx
import pytest

from contracts.routing import OUTCOMES_QUEUE, PARTICIPANTS, command_queue, dead_letter_queue
from tests.system.deployment import Deployment, an_order

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.asyncio(loop_scope="module"),
]

ORDERS = 1000
CLIENTS = 50
SCARCE = "SKU-0"
SCARCE_STOCK = 30


def mixed_orders(count: int) -> list[dict[str, Any]]:
    """Orders over twenty products that succeed, run out of stock, are declined or refused by the carrier."""
    rng = random.Random(20)
    orders = []
    for number in range(count):
        method = rng.choices(("pm_card_visa", "pm_card_declined", "pm_gateway_flaky"), (85, 10, 5))[0]
        order = an_order(
            customer_id=f"c-{number % 97}",
            lines=[
                {"sku": sku, "quantity": rng.randint(1, 3), "unit_price": rng.randint(1, 10_000)}
                for sku in rng.sample([f"SKU-{n}" for n in range(20)], rng.randint(1, 4))
            ],
            payment_method=method,
        )
        order["shipping_address"]["postal_code"] = rng.choices(("12345", "00000"), (95, 5))[0]
        orders.append(order)
    return orders


async def set_stock(client: httpx.AsyncClient) -> None:
    for number in range(20):
        sku = f"SKU-{number}"
        on_hand = SCARCE_STOCK if sku == SCARCE else 100_000
        answer = await client.put(f"/inventory/{sku}", json={"on_hand": on_hand})
        assert answer.status_code == 200, answer.text


async def submit_all(client: httpx.AsyncClient, orders: Sequence[dict[str, Any]]) -> list[str]:
    """As fifty clients would, each with an idempotency key and a retry on trouble."""
    waiting = list(enumerate(orders))
    accepted: list[str] = []

    async def one_client() -> None:
        while waiting:
            number, order = waiting.pop()
            answer = await client.post("/orders", json=order, headers={"Idempotency-Key": f"key-{number}"})
            assert answer.status_code in (200, 202), answer.text
            accepted.append(answer.json()["order_id"])

    await asyncio.gather(*(one_client() for _ in range(CLIENTS)))
    return accepted


async def all_ended(client: httpx.AsyncClient, accepted: Sequence[str]) -> Counter[str]:
    """The status of every order, once all have ended."""
    async with asyncio.timeout(180):
        while (await active_sagas(client))["items"]:
            await asyncio.sleep(0.5)
    statuses: Counter[str] = Counter()
    for order_id in accepted:
        statuses[(await client.get(f"/orders/{order_id}")).json()["status"]] += 1
    return statuses


async def active_sagas(client: httpx.AsyncClient) -> Any:
    answer = await client.get("/admin/sagas?status=running&status=compensating&limit=1")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_thousand_orders_end_also_when_the_orchestrator_is_killed_amid_them(
    deployment: Deployment,
) -> None:
    orchestrator = deployment.services["orchestrator"]
    async with deployment.client() as client:
        await set_stock(client)
        submitting = asyncio.create_task(submit_all(client, mixed_orders(ORDERS)))
        async with asyncio.timeout(60):
            none_yet = 'oms_sagas_started_total{definition="order_fulfillment"} 0.0'
            while none_yet in (await client.get("/metrics")).text:
                await asyncio.sleep(0.05)
        await orchestrator.end(signal.SIGKILL)
        await asyncio.sleep(0.5)
        await orchestrator.start()
        accepted = await submitting

        statuses = await all_ended(client, accepted)

        assert sum(statuses.values()) == ORDERS
        assert set(statuses) == {"completed", "rejected"}
        scarce = (await client.get(f"/inventory/{SCARCE}")).json()
        assert scarce["reserved"] == 0
        assert 0 <= scarce["on_hand"] < SCARCE_STOCK
    code, printed = await deployment.command("audit")
    assert code == 0, printed


async def test_the_queues_are_the_designed_ones(deployment: Deployment) -> None:
    queues = [OUTCOMES_QUEUE, *map(command_queue, PARTICIPANTS)]
    connection = await aio_pika.connect(deployment.broker_url)
    async with connection, connection.channel() as channel:
        for queue in (*queues, *map(dead_letter_queue, queues)):
            await channel.declare_queue(queue, passive=True)
        for queue in queues:
            await channel.declare_queue(f"{queue}.retry.0.2s", passive=True)


async def test_garbage_on_every_queue_becomes_a_dead_letter_while_orders_go_on(
    deployment: Deployment,
) -> None:
    queues = [OUTCOMES_QUEUE, *map(command_queue, PARTICIPANTS)]
    connection = await aio_pika.connect(deployment.broker_url)
    async with connection, connection.channel() as channel:
        for queue in queues:
            garbage = aio_pika.Message(b"\x00 this is no message", type="ReserveInventory")
            await channel.default_exchange.publish(garbage, routing_key=queue)
    async with deployment.client() as client:
        answer = await client.post("/orders", json=an_order(), headers={"Prefer": "wait=30"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "completed"
        async with asyncio.timeout(30):
            while set(queues) != {letter["queue"] for letter in await dead_letters(client)}:
                await asyncio.sleep(0.1)
        for letter in await dead_letters(client):
            assert letter["error_type"] in ("bad_envelope", "unknown_type")


async def dead_letters(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await client.get("/admin/dead-letters", params={"status": "open"})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_gateway_that_takes_the_money_without_an_answer_charges_once(deployment: Deployment) -> None:
    async with deployment.client() as client:
        order = an_order(payment_method="pm_gateway_timeout")
        answer = await client.post("/orders", json=order)
        order_id = answer.json()["order_id"]
        async with asyncio.timeout(60):
            while (await client.get(f"/orders/{order_id}")).json()["status"] != "completed":
                await asyncio.sleep(0.2)
        charges = (await client.get(f"{deployment.sandbox_url}/charges?order_id={order_id}")).json()
        assert len(charges["items"]) == 1


async def test_every_process_ends_cleanly_on_sigterm(deployment: Deployment) -> None:
    for service in deployment.services.values():
        assert await service.end() == 0, service.said[-2000:]
        assert "Traceback" not in service.said, service.said
        await service.start()
        await service.ready()
