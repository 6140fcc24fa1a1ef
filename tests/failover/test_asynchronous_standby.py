"""An asynchronous standby may lack the last commits: what that loses is found, and orders can be repeated."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import httpx
import pytest

from contracts.routing import INVENTORY, ORCHESTRATOR, OUTCOMES_QUEUE, command_queue
from tests.system.deployment import Deployment, an_order
from tools.failover.standby import StandbyStage, asynchronous

pytestmark = [pytest.mark.failover, pytest.mark.rabbitmq, pytest.mark.postgresql, pytest.mark.timeout(900)]

ORDERS = 10
WITHIN_S = 120

Orders = dict[str, dict[str, Any]]
"""What was answered, by idempotency key."""


@pytest.mark.parametrize(
    ("participants_apart", "frozen", "queue"),
    [
        pytest.param(True, ORCHESTRATOR, OUTCOMES_QUEUE, id="the orchestrator alone loses commits"),
        pytest.param(False, INVENTORY, command_queue(INVENTORY), id="all services lose commits"),
    ],
)
async def test_what_was_lost_is_found_and_a_repeated_order_begins_again(
    participants_apart: bool, frozen: str, queue: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("standby")
    async with (
        asynchronous(folder, participants_apart=participants_apart) as stage,
        stage.services.client() as client,
    ):
        await client.put("/inventory/SKU-1", json={"on_hand": 1000})
        kept = await submitted(client, "kept")
        await completed(client, kept)
        await asyncio.to_thread(stage.pair.catch_up)

        await asyncio.to_thread(stage.pair.cut)
        ended = await submitted(client, "ended")
        await completed(client, ended)
        stage.services.services[frozen].signal(signal.SIGSTOP)
        begun = await submitted(client, "begun")
        await waiting_in(stage, queue, len(begun))
        await asyncio.to_thread(stage.pair.fail_over)
        stage.services.services[frozen].signal(signal.SIGCONT)

        await dead_letters_name(client, begun)
        assert {await status(client, order) for order in (ended | begun).values()} == {404}

        again = await submitted(client, "ended", "begun")
        assert not sagas(again) & sagas(ended | begun)
        await completed(client, again)
        assert await submitted(client, "kept", expected=200) == await documents(client, kept)

        found = await findings(stage.services)
        assert {finding["check"] for finding in found} == {"has_saga"}
        without_saga = sagas(begun | ended) if participants_apart else sagas(begun)
        assert {finding["saga_id"] for finding in found} - {None} == without_saga
        charged = {order["order_id"] for order in ended.values()}
        assert {finding["order_id"] for finding in found} - {None} == charged


async def submitted(client: httpx.AsyncClient, *names: str, expected: int = 202) -> Orders:
    """`ORDERS` orders for each name, each with a key, until they are answered."""
    keys = [f"{name}-{number}" for name in names for number in range(ORDERS)]
    answers = await asyncio.gather(*(_submitted(client, key) for key in keys))
    assert {answer.status_code for answer in answers} == {expected}
    return {key: answer.json() for key, answer in zip(keys, answers, strict=True)}


async def _submitted(client: httpx.AsyncClient, key: str) -> httpx.Response:
    async with asyncio.timeout(WITHIN_S):
        while True:
            answer = await client.post("/orders", json=an_order(), headers={"Idempotency-Key": key})
            if answer.status_code != 503:
                return answer
            await asyncio.sleep(0.2)


async def status(client: httpx.AsyncClient, order: dict[str, Any]) -> int:
    return (await client.get(f"/orders/{order['order_id']}")).status_code


async def documents(client: httpx.AsyncClient, orders: Orders) -> Orders:
    """The same orders as they are now."""
    return {key: (await client.get(f"/orders/{order['order_id']}")).json() for key, order in orders.items()}


async def completed(client: httpx.AsyncClient, orders: Orders) -> None:
    async with asyncio.timeout(WITHIN_S):
        while {order["status"] for order in (await documents(client, orders)).values()} != {"completed"}:
            await asyncio.sleep(0.2)


def sagas(orders: Orders) -> set[str]:
    return {order["saga_id"] for order in orders.values()}


async def waiting_in(stage: StandbyStage, queue: str, count: int) -> None:
    """Until so many messages are in the queue, held by somebody or not; re-sends make them more."""
    async with asyncio.timeout(WITHIN_S):
        while await _messages(stage, queue) < count:
            await asyncio.sleep(0.2)


async def _messages(stage: StandbyStage, queue: str) -> int:
    listed = await stage.control("-q", "list_queues", "--no-table-headers", "name", "messages")
    return int(dict(line.split("\t") for line in listed.splitlines())[queue])


async def dead_letters_name(client: httpx.AsyncClient, lost: Orders) -> None:
    """Until each of these orders' sagas has an open dead letter that names it, and no other has one."""
    expected = {("unknown_saga", f"there is no saga {saga}") for saga in sagas(lost)}
    async with asyncio.timeout(WITHIN_S):
        while await _dead_letters(client) != expected:
            await asyncio.sleep(0.2)


async def _dead_letters(client: httpx.AsyncClient) -> set[tuple[str, str]]:
    answer = await client.get("/admin/dead-letters", params={"status": "open", "limit": 200})
    items = answer.json()["items"] if answer.status_code == 200 else []
    return {(letter["error_type"], letter["error_message"]) for letter in items}


async def findings(services: Deployment) -> list[dict[str, Any]]:
    """What the audit objects to."""
    code, printed = await services.command("audit", "--json")
    assert code == 1, printed
    found: list[dict[str, Any]] = json.loads(printed)["findings"]
    return found
