"""Whole orders as they stand on the wire: `python -m tests.system.exchange` records them for docs/wire.md.

A queue bound to both exchanges gets a copy of every command and event. Each stands in the record once, and
after the one that caused it, however often it was sent. Ids, times and references of providers are replaced
by fixed ones, in the order in which they appear: the same order always gives the same record.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aio_pika
import httpx
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from contracts.envelope import CAUSATION_ID
from contracts.routing import COMMANDS_EXCHANGE, EVENTS_EXCHANGE, PARTICIPANTS
from tests.support import servers
from tests.support.servers import PROJECT
from tests.system.deployment import Deployment, an_order

RECORD: Final = PROJECT / "docs/recorded/exchange.json"
TRACEPARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AT: Final = 1767225600
"""When everything was sent, in seconds as AMQP counts them."""

ORDERS: Final[Mapping[str, dict[str, Any]]] = {
    "completed": an_order(),
    "rejected": an_order(shipping_address={**an_order()["shipping_address"], "postal_code": "00000"}),
}
"""What is recorded, by how it ends; the carrier refuses the second one, so everything is undone."""

Exchange = list[dict[str, Any]]

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_REFERENCE: Final = re.compile(r'("reference":\s*")([^"]+)"')


async def recorded(deployment: Deployment) -> dict[str, Exchange]:
    """Submit the orders one after the other; what was on the wire meanwhile, by how each ends."""
    exchanges = {}
    async with deployment.client() as client:
        for status, order in ORDERS.items():
            async with _tap(deployment.broker_url) as queue:
                await _ended(client, order, status)
                exchanges[status] = normalised(await _taken(queue))
    return exchanges


async def _ended(client: httpx.AsyncClient, order: dict[str, Any], status: str) -> None:
    headers = {"Prefer": "wait=30", "traceparent": TRACEPARENT}
    answer = await client.post("/orders", json=order, headers=headers)
    async with asyncio.timeout(60):
        while answer.json()["status"] != status:
            await asyncio.sleep(0.1)
            answer = await client.get(f"/orders/{answer.json()['order_id']}")


@asynccontextmanager
async def _tap(broker_url: str) -> AsyncIterator[AbstractQueue]:
    """A queue that gets a copy of everything."""
    connection = await aio_pika.connect(broker_url)
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(EVENTS_EXCHANGE, "#")
        for participant in PARTICIPANTS:
            await queue.bind(COMMANDS_EXCHANGE, participant)
        yield queue


async def _taken(queue: AbstractQueue) -> list[AbstractIncomingMessage]:
    """Everything up to the event that tells the order's end."""
    messages: list[AbstractIncomingMessage] = []
    async with asyncio.timeout(60), queue.iterator(no_ack=True) as arriving:
        async for message in arriving:
            messages.append(message)
            if (message.routing_key or "") in ("order.completed", "order.rejected"):
                break
    return messages


def normalised(messages: list[AbstractIncomingMessage]) -> Exchange:
    """The messages as documents, with ids, times and references that are always the same."""
    text = json.dumps(_in_order_of_cause(_each_once([_document(message) for message in messages])))
    names: dict[str, str] = {}
    references: dict[str, str] = {}

    def identity(found: re.Match[str]) -> str:
        return names.setdefault(found[0], f"019aa7b2-0000-7000-8000-{len(names) + 1:012x}")

    def reference(found: re.Match[str]) -> str:
        return f'{found[1]}{references.setdefault(found[2], f"ref-{len(references) + 1}")}"'

    exchange: Exchange = json.loads(_UUID.sub(identity, _REFERENCE.sub(reference, text)))
    return exchange


def _each_once(documents: Exchange) -> Exchange:
    """Without what was sent again; what a copy has caused was caused by the first."""
    first: dict[str, dict[str, Any]] = {}
    original: dict[str, str] = {}
    for each in documents:
        said = json.dumps([each["properties"]["type"], each["body"]], sort_keys=True)
        kept = first.setdefault(said, each)
        original[each["properties"]["message_id"]] = kept["properties"]["message_id"]
    for each in first.values():
        if cause := each["headers"].get(CAUSATION_ID):
            each["headers"][CAUSATION_ID] = original[cause]
    return list(first.values())


def _in_order_of_cause(documents: Exchange) -> Exchange:
    """Sorted by how many others had to come before, then by type: two have no cause on the wire."""
    causes = {each["properties"]["message_id"]: each["headers"].get(CAUSATION_ID) for each in documents}

    def before(message_id: str | None) -> int:
        return 0 if message_id is None else 1 + before(causes[message_id])

    return sorted(
        documents, key=lambda each: (before(each["headers"].get(CAUSATION_ID)), each["properties"]["type"])
    )


def _document(message: AbstractIncomingMessage) -> dict[str, Any]:
    properties = {
        "message_id": message.message_id,
        "correlation_id": message.correlation_id,
        "type": message.type,
        "app_id": message.app_id,
        "timestamp": AT if message.timestamp is not None else None,
        "content_type": message.content_type,
        "delivery_mode": int(message.delivery_mode or 0),
    }
    return {
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "properties": {name: value for name, value in properties.items() if value is not None},
        "headers": dict(sorted(message.headers.items())),
        "body": json.loads(message.body),
    }


async def _record() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with servers.broker(folder / "rabbitmq") as broker_url, servers.databases(folder / "pg") as databases:
            url = databases.create()
            deployment = Deployment(broker_url, url, folder)
            await deployment.start()
            try:
                async with deployment.client() as client:
                    (await client.put("/inventory/SKU-1", json={"on_hand": 10})).raise_for_status()
                exchanges = await recorded(deployment)
            finally:
                await deployment.stop()
                databases.drop(url)
    RECORD.write_text(f"{json.dumps(exchanges, indent=1, ensure_ascii=False)}\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(_record())
