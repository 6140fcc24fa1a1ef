"""Whatever a stranger puts on our queues blocks nothing and loops nowhere; orders go on beside it (S16)."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import reduce
from typing import Any, Final
from uuid import UUID, uuid4

import aio_pika
import httpx
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel

from contracts.commands import RefundPayment, ReserveInventory
from contracts.envelope import BATCH_CONTENT_TYPE
from contracts.events import InventoryReservedEvent
from contracts.routing import (
    COMMANDS_EXCHANGE,
    EVENTS_EXCHANGE,
    OUTCOMES_QUEUE,
    PARTICIPANTS,
    batch_key,
    command_queue,
    dead_letter_queue,
)
from tests.conformance.correspondence import Raw
from tests.system.deployment import Deployment, an_order

log = logging.getLogger(__name__)

WORK_QUEUES: Final = (OUTCOMES_QUEUE, *map(command_queue, PARTICIPANTS))
QUEUES: Final = (*WORK_QUEUES, *map(dead_letter_queue, WORK_QUEUES))
EACH: Final = int(os.environ.get("OMS_TEST_HOSTILE_MESSAGES", "150"))
"""Messages on every queue."""

WITHIN_S: Final = 180 + EACH // 4
"""Seconds that queues get to drain, orders to end, and the collector to catch up."""

OF_BATCHES: Final = """
SELECT queue, count(*) FROM orchestrator.dead_letters WHERE error_type = 'bad_batch' GROUP BY queue
"""
OF_GOOD_PARTS: Final = """
SELECT queue, count(*) FROM orchestrator.dead_letters
WHERE type = 'DropTable' AND error_type <> 'bad_batch' AND body = '{}'::bytea GROUP BY queue
"""

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300 + 2 * WITHIN_S),
]

AT_ONCE: Final = 150
"""Of these, so many are published together."""

ORDERS: Final = 50
LARGE: Final = 16 * 1024 * 1024


OF_ITS_OWN: Final = {f"own-{number}": number for number in range(64)}
DEEP: Final[dict[str, Any]] = reduce(lambda inner, _: {"in": inner}, range(60), {"at": "last"})
HEADERS: Final[tuple[dict[str, Any], ...]] = (
    {"schema-version": 1},
    {"schema-version": 2**62, "attempt": 10**15},
    {"attempt": -1, "x-death": [{"count": 10**9}]},
    {"schema-version": "one", "attempt": "\x00", "event-id": 7, "traceparent": "00-" + "f" * 200},
    {},
    {"small": 1e-45, "large": 3e38, "attempt": 1.5, "nothing": -0.0},
    {
        "exact": Decimal("1e-200"),
        "nothing": None,
        "bytes": bytearray(b"\xff\x00"),
        "deep": DEEP,
        "list": [[[1]]],
    },
    {"first-failure-at": "9999-12-31T23:59:59-14:00", "last-failure-at": "0001-01-01T00:00:00+14:00"},
    {"first-failure-at": 1.5, "original-queue": 7, "original-type": bytearray(b"\xff"), "error-type": [1]},
    {**OF_ITS_OWN, "attempt": 4},
    {Raw("x" * 128): 1, "n" * 128: 2, "": 3},
    {f"large-{number}": "\N{SNOWMAN}" * 1000 for number in range(40)},
)
"""What RabbitMQ passes on: over a NaN, or an infinity, it ends the sender's connection."""


def bodies(rng: random.Random) -> Iterator[bytes]:
    """Bodies that no writer of ours would send, for ever."""
    identity = {"saga_id": str(uuid4()), "order_id": str(uuid4()), "step": "reserve", "direction": "forward"}
    good = json.dumps({**identity, "lines": [{"sku": "SKU-1", "quantity": 1}]}).encode()
    wrong: tuple[Any, ...] = ({}, [], "", 7, None, True, -1, 1e308, "\x00", "x" * 10_000, {"a": {"b": [1]}})
    while True:
        yield good[: rng.randrange(len(good))]
        yield b"[" * rng.randrange(1, 100_000)
        yield b'{"a":' * 10_000 + b"1" + b"}" * 10_000
        yield b'{"saga_id": ' + b"9" * rng.randrange(1, 5_000) + b"}"
        yield json.dumps({**identity, "lines": [{"sku": "SKU\x00", "quantity": 10**30}]}).encode()
        yield json.dumps({**identity, rng.choice(list(identity)): rng.choice(wrong)}).encode()
        yield json.dumps({**identity, "lines": rng.choice(wrong)}).encode()
        yield rng.randbytes(rng.randrange(200))
        yield "\ufeff{}".encode("utf-16")
        yield b'{"saga_id": "' + str(uuid4()).upper().encode() + b'", "saga_id": NaN}'


def messages(rng: random.Random, count: int) -> Iterator[aio_pika.Message]:
    """Hostile bodies under hostile, and under good, properties."""
    types = (
        *(model.__name__ for model in (ReserveInventory, RefundPayment, InventoryReservedEvent)),
        "",
        "\x00",
        "DropTable",
        "x" * 255,
    )
    ids = (lambda: str(uuid4()), lambda: "no id", lambda: "", lambda: "\x00" * 36)
    source = bodies(rng)
    for _ in range(count):
        yield aio_pika.Message(
            next(source),
            type=rng.choice(types),
            message_id=rng.choice(ids)(),
            correlation_id=rng.choice(ids)(),
            content_type=rng.choice(("application/json", "text/plain", "")),
            headers=rng.choice(HEADERS),
            delivery_mode=2,
        )


@asynccontextmanager
async def channel_of(deployment: Deployment) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(deployment.broker_url) as connection, connection.channel() as channel:
        yield channel


async def drained(channel: AbstractChannel) -> None:
    """Wait until nothing is left on any queue."""
    async with asyncio.timeout(WITHIN_S):
        for name in QUEUES:
            while (await channel.declare_queue(name, passive=True)).declaration_result.message_count:
                await asyncio.sleep(0.2)


async def collected(deployment: Deployment, count: int) -> None:
    """Wait until so many dead letters were collected: what lies on no queue may still be on its way."""
    async with asyncio.timeout(WITHIN_S):
        while (found := await deployment.rows("SELECT count(*) FROM orchestrator.dead_letters")) < [(count,)]:
            await asyncio.sleep(0.5)
    assert found == [(count,)]


async def accepted(client: httpx.AsyncClient, count: int = ORDERS) -> list[str]:
    answers = await asyncio.gather(*(client.post("/orders", json=an_order()) for _ in range(count)))
    assert {answer.status_code for answer in answers} == {202}
    return [answer.json()["order_id"] for answer in answers]


async def all_completed(client: httpx.AsyncClient, order_ids: list[str]) -> None:
    async with asyncio.timeout(WITHIN_S):
        for order_id in order_ids:
            while (await client.get(f"/orders/{order_id}")).json()["status"] != "completed":
                await asyncio.sleep(0.2)


@pytest_asyncio.fixture(loop_scope="module")
async def client(deployment: Deployment) -> AsyncIterator[httpx.AsyncClient]:
    async with deployment.client() as client:
        answer = await client.put("/inventory/SKU-1", json={"on_hand": 100_000})
        assert answer.status_code == 200, answer.text
        yield client


async def ordering(client: httpx.AsyncClient, enough: asyncio.Event) -> list[str]:
    """An order now and then, until it is enough."""
    order_ids = []
    while not enough.is_set():
        order_ids += await accepted(client, 1)
        await asyncio.sleep(0.2)
    return order_ids


async def pace(deployment: Deployment, order_ids: list[str]) -> float:
    """Median seconds from an order's acceptance to its end."""
    [[median]] = await deployment.rows(
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - created_at))"
        " FROM orchestrator.sagas WHERE order_id = ANY(:order_ids)",
        order_ids=[UUID(order_id) for order_id in order_ids],
    )
    return float(median)


async def clean_audit(deployment: Deployment) -> None:
    code, printed = await deployment.command("audit")
    assert code == 0, printed


async def test_s16_orders_go_on_while_every_queue_is_flooded(
    deployment: Deployment, client: httpx.AsyncClient
) -> None:
    rng, enough = random.Random(16), asyncio.Event()
    before = await accepted(client, 20)
    await all_completed(client, before)
    async with channel_of(deployment) as channel:
        customers = asyncio.create_task(ordering(client, enough))
        sources = {queue: messages(rng, EACH) for queue in QUEUES}
        for _ in range(0, EACH, AT_ONCE):
            flood = [
                channel.default_exchange.publish(message, queue)
                for queue, source in sources.items()
                for message in itertools.islice(source, AT_ONCE)
            ]
            rng.shuffle(flood)
            await asyncio.gather(*flood)
        at_once = await accepted(client)
        await drained(channel)
        await all_completed(client, at_once)
        enough.set()
        beside = await customers
        await all_completed(client, beside)
    await collected(deployment, len(QUEUES) * EACH)
    [found] = (await client.get("/admin/dead-letters?limit=1")).json()["items"]
    for path in (f"/admin/dead-letters/{found['dead_letter_id']}", "/admin/dead-letters/groups"):
        assert (await client.get(path)).status_code == 200
    await clean_audit(deployment)
    before_s, beside_s = [await pace(deployment, each) for each in (before, beside)]
    log.info("%d messages on each of %d queues, %d orders beside them", EACH, len(QUEUES), len(beside))
    log.info("median from acceptance to end: %.2f s before, %.2f s beside", before_s, beside_s)


async def test_s16_a_body_of_16_megabytes_is_a_dead_letter(
    deployment: Deployment, client: httpx.AsyncClient
) -> None:
    async with channel_of(deployment) as channel:
        for queue in WORK_QUEUES:
            large = aio_pika.Message(b"x" * LARGE, type="ReserveInventory", message_id=str(uuid4()))
            await channel.default_exchange.publish(large, queue)
        await drained(channel)
        await all_completed(client, await accepted(client, 5))


def a_part(queue: str, **fields: Any) -> dict[str, Any]:
    """A part of a batch as it is to be, though nobody knows its type."""
    participant = queue.partition(".")[0]
    to_participant = {"exchange": COMMANDS_EXCHANGE, "routing_key": participant}
    outcome = {"exchange": EVENTS_EXCHANGE, "routing_key": "inventory.reserved"}
    place = outcome if queue == OUTCOMES_QUEUE else to_participant
    return {"message_id": str(uuid4()), "type": "DropTable", "body": "{}", **place, **fields}


def batches(queue: str) -> Iterator[bytes]:
    """Batches that no writer of ours would send: eight dead letters, six of them for the batch's sake."""
    good = a_part(queue)
    nested = json.dumps({"count": 1, "messages": [a_part(queue)]})
    elsewhere = a_part(queue, exchange=COMMANDS_EXCHANGE, routing_key="nobody")
    yield json.dumps({"count": 3, "messages": [good]}).encode()
    yield json.dumps({"count": 10_000, "messages": [good] * 10_000}).encode()
    yield b"x" * LARGE
    yield as_a_batch(a_part(queue, content_type=BATCH_CONTENT_TYPE, body=nested))
    yield as_a_batch(elsewhere)
    yield as_a_batch(a_part(queue), 7, a_part(queue))


def as_a_batch(*parts: Any) -> bytes:
    return json.dumps({"count": len(parts), "messages": parts}).encode()


async def test_s16_m5_batches_that_nobody_would_send_are_dead_letters_part_by_part(
    deployment: Deployment, client: httpx.AsyncClient
) -> None:
    async with channel_of(deployment) as channel:
        for queue in WORK_QUEUES:
            for body in batches(queue):
                batch = aio_pika.Message(body, content_type=BATCH_CONTENT_TYPE, delivery_mode=2)
                await channel.default_exchange.publish(batch, queue)
        await drained(channel)
        await all_completed(client, await accepted(client, 20))

    async with asyncio.timeout(WITHIN_S):
        while dict(await deployment.rows(OF_BATCHES)) != dict.fromkeys(WORK_QUEUES, 6):
            await asyncio.sleep(0.5)
        while dict(await deployment.rows(OF_GOOD_PARTS)) != dict.fromkeys(WORK_QUEUES, 2):
            await asyncio.sleep(0.5)
    await clean_audit(deployment)


async def test_s1_p2_real_messages_again_and_out_of_order_change_nothing(
    deployment: Deployment, client: httpx.AsyncClient
) -> None:
    rng = random.Random(12)
    async with channel_of(deployment) as channel:
        tap = await channel.declare_queue(exclusive=True)
        await tap.bind(EVENTS_EXCHANGE, "#")
        for participant in PARTICIPANTS:
            await tap.bind(COMMANDS_EXCHANGE, participant)
            await tap.bind(COMMANDS_EXCHANGE, batch_key(participant))
        order_ids = await accepted(client)
        await all_completed(client, order_ids)
        seen = [each async for each in taken(tap)]
        assert sum(map(parts_in, seen)) >= 8 * ORDERS
        rng.shuffle(seen)
        fresh = await accepted(client)
        for each in seen:
            again = aio_pika.Message(
                each.body,
                type=each.type,
                message_id=each.message_id,
                correlation_id=each.correlation_id,
                content_type=each.content_type,
                headers=each.headers,
                delivery_mode=2,
            )
            exchange = await channel.get_exchange(str(each.exchange), ensure=False)
            await exchange.publish(again, str(each.routing_key))
        await all_completed(client, fresh)
        await drained(channel)
    await clean_audit(deployment)


def parts_in(message: aio_pika.abc.AbstractIncomingMessage) -> int:
    is_batch = message.content_type == BATCH_CONTENT_TYPE
    return int(json.loads(message.body)["count"]) if is_batch else 1


async def taken(queue: aio_pika.abc.AbstractQueue) -> AsyncIterator[aio_pika.abc.AbstractIncomingMessage]:
    """All that lies in a queue."""
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        yield message
