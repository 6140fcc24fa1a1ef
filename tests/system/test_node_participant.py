"""A participant in another language, written from docs/wire.md alone, does inventory's work in orders."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import aio_pika
import httpx
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from contracts.routing import (
    COMMANDS_EXCHANGE,
    EVENTS_EXCHANGE,
    INVENTORY,
    OUTCOMES_QUEUE,
    PARTICIPANTS,
    command_queue,
    dead_letter_queue,
    failure_exchange,
)
from messaging.identifiers import first_id_at, time_ordered_ids
from oms.embedded.child import ServerError
from tests.support.servers import Databases
from tests.system.by_script import ByScript
from tests.system.customers import KINDS
from tests.system.deployment import an_order, empty
from tests.system.node_inventory import EXAMPLE, NodeDeployment, NodeProcess, Warehouse
from tools.nodejs import find_node

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module")]

ORDERS: Final = 60
SCARCE: Final = "SKU-SCARCE"
BURST: Final = "300"
QUEUE: Final = command_queue(INVENTORY)
QUEUES: Final = (OUTCOMES_QUEUE, *map(command_queue, PARTICIPANTS))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(
    own_broker_url: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[NodeDeployment]:
    """All services as processes, inventory in Node.js with a database of its own; ready."""
    try:
        node = await asyncio.to_thread(find_node)
        await asyncio.to_thread(node.installed, EXAMPLE)
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)
    await empty(own_broker_url)
    url, warehouse = databases.create(), Warehouse(databases.create())
    folder: Path = tmp_path_factory.mktemp("logs")
    short = {"OMS_RETRY_DELAYS_S": "0.2,0.5", "OMS_RESEND_AFTER_S": "2"}
    made = NodeDeployment(node, warehouse, own_broker_url, url, folder, **short)
    await made.start()
    await made.count_stock("SKU-1", 100_000)
    yield made
    await made.stop()
    databases.drop(url)
    databases.drop(warehouse.url)


async def submitted(client: httpx.AsyncClient, orders: list[dict[str, Any]]) -> list[str]:
    answers = await asyncio.gather(*(client.post("/orders", json=order) for order in orders))
    assert {answer.status_code for answer in answers} == {202}
    return [answer.json()["order_id"] for answer in answers]


async def all_ended(client: httpx.AsyncClient, order_ids: list[str]) -> Counter[str]:
    async with asyncio.timeout(180):
        while True:
            answers = [await client.get(f"/orders/{order_id}") for order_id in order_ids]
            statuses = Counter(answer.json()["status"] for answer in answers)
            if set(statuses) <= {"completed", "rejected", "cancelled"}:
                return statuses
            await asyncio.sleep(0.3)


async def books_are_sound(deployment: NodeDeployment) -> None:
    """By our audit, and by the example's own tables."""
    code, printed = await deployment.command("audit")
    assert code == 0, printed
    wrong = await deployment.warehouse.rows(
        "SELECT s.sku, s.on_hand, s.reserved, sum(m.quantity) FROM warehouse.stock AS s "
        "JOIN warehouse.movements AS m USING (sku) GROUP BY s.sku "
        "HAVING s.reserved <> 0 OR s.on_hand <> sum(m.quantity)"
    )
    assert wrong == []


async def test_its_code_is_short() -> None:
    lines = [(EXAMPLE / name).read_text().splitlines() for name in ("participant.js", "ledger.js")]
    assert sum(map(len, lines)) <= 200


async def test_orders_complete_and_turn_round_at_every_step(deployment: NodeDeployment) -> None:
    await deployment.count_stock(SCARCE, 3)
    scarce = an_order(lines=[{"sku": SCARCE, "quantity": 2, "unit_price": 5}])
    async with deployment.client() as client:
        ids = await submitted(client, [*(an_order(**kind) for kind in KINDS), scarce, scarce])
        statuses = await all_ended(client, ids)
    assert statuses == {"completed": 3, "rejected": 4}
    [(on_hand,)] = await deployment.warehouse.rows(
        "SELECT on_hand FROM warehouse.stock WHERE sku = %s", SCARCE
    )
    assert on_hand == 1
    await books_are_sound(deployment)


async def test_every_order_ends_though_it_is_killed_and_every_queue_purged(
    deployment: NodeDeployment,
) -> None:
    rng = random.Random(7)
    orders = [an_order(**rng.choice(KINDS)) for _ in range(ORDERS)]
    node = deployment.services[INVENTORY]
    connection = await aio_pika.connect(deployment.broker_url)
    async with deployment.client() as client, connection, connection.channel() as channel:
        submitting = asyncio.create_task(submitted(client, orders))
        for _ in range(3):
            before = await deployment.warehouse.rows("SELECT count(*) FROM warehouse.ledger")
            async with asyncio.timeout(60):
                while await deployment.warehouse.rows("SELECT count(*) FROM warehouse.ledger") == before:
                    await asyncio.sleep(0.02)
            await node.end(signal.SIGKILL)
            for queue in QUEUES:
                await (await channel.get_queue(queue)).purge()
            submitting = await further(client, submitting)
            await node.start()
            await node.ready()
        statuses = await all_ended(client, await submitting)
    assert sum(statuses.values()) >= ORDERS
    assert set(statuses) == {"completed", "rejected"}
    await books_are_sound(deployment)


async def further(client: httpx.AsyncClient, before: asyncio.Task[list[str]]) -> asyncio.Task[list[str]]:
    """Some more orders behind those that were submitted."""
    ids = await before

    async def more() -> list[str]:
        return [*ids, *await submitted(client, [an_order() for _ in range(10)])]

    return asyncio.create_task(more())


async def test_a_failure_that_passes_hops_through_the_retry_queues(deployment: NodeDeployment) -> None:
    warehouse = deployment.warehouse
    async with deployment.client() as client, probe(deployment, failure_exchange(QUEUE)) as hops:
        await warehouse.execute("ALTER TABLE warehouse.stock RENAME TO away")
        [order_id] = await submitted(client, [an_order()])
        first = await hops.next(lambda hop: True)
        assert first.routing_key == f"{QUEUE}.retry.0.2s"
        second = await hops.next(lambda hop: hop.headers["attempt"] == 3)
        assert second.routing_key == f"{QUEUE}.retry.0.5s"
        await warehouse.execute("ALTER TABLE warehouse.away RENAME TO stock")
        assert await all_ended(client, [order_id]) == {"completed": 1}
    assert first.headers["attempt"] == 2
    assert first.headers["original-exchange"] == COMMANDS_EXCHANGE
    assert first.headers["error-permanent"] is False
    assert second.headers["first-failure-at"] == first.headers["first-failure-at"]
    assert second.headers["original-message-id"] == first.headers["original-message-id"]


async def test_what_used_up_its_attempts_is_a_dead_letter_and_its_order_goes_on_afterwards(
    deployment: NodeDeployment,
) -> None:
    warehouse = deployment.warehouse
    async with deployment.client() as client:
        await warehouse.execute("ALTER TABLE warehouse.stock RENAME TO away")
        [order_id] = await submitted(client, [an_order()])
        letter = await dead_letter(client, "ReserveInventory")
        await warehouse.execute("ALTER TABLE warehouse.away RENAME TO stock")
        assert letter["queue"] == QUEUE
        assert letter["attempts"] == 5
        assert await all_ended(client, [order_id]) == {"completed": 1}
    await books_are_sound(deployment)


async def test_a_database_that_hangs_up_burns_no_attempt(deployment: NodeDeployment) -> None:
    async with deployment.client() as client, probe(deployment, failure_exchange(QUEUE)) as hops:
        order_ids = await submitted(client, [an_order() for _ in range(20)])
        for _ in range(10):
            await deployment.warehouse.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.05)
        assert await all_ended(client, order_ids) == {"completed": 20}
        assert hops.taken == []
    await books_are_sound(deployment)


# -- on the wire alone: these sagas do not exist, so the audit comes before ----------------------------------


async def test_what_cannot_be_understood_is_a_dead_letter_with_its_reason(deployment: NodeDeployment) -> None:
    body = json.dumps(a_command("ReserveInventory", uuid4())[1]).encode()
    saga = str(json.loads(body)["saga_id"])
    wrong: dict[str, tuple[str | None, str | None, bytes, dict[str, Any]]] = {
        "undecodable": ("ReserveInventory", saga, b"\xff\x00 no message", {}),
        "unknown_type": ("ReserveMagic", saga, body, {**{f"own-{n}": n for n in range(64)}, "attempt": 4}),
        "unknown_version": ("ReserveInventory", saga, body, {"schema-version": 2}),
        "bad_envelope": ("ReserveInventory", str(uuid4()), body, {}),
        "wrong_direction": ("ReleaseInventory", saga, body, {}),
    }
    async with probe(deployment, failure_exchange(QUEUE)) as hops:
        for kind, (type_, correlation, content, headers) in wrong.items():
            await hops.send(type_, correlation, content, headers)
            dead = await hops.next(lambda hop, kind=kind: hop.headers["error-type"] == kind)
            assert dead.routing_key == dead_letter_queue(QUEUE)
            assert dead.body == content
            assert dead.headers["error-permanent"] is True
            assert dead.headers["original-queue"] == QUEUE
            assert dead.headers["attempt"] == headers.get("attempt", 1)
            assert len(dead.headers) <= 64


async def test_p2_p3_p4_p5_the_ledger_answers_whatever_comes_and_however_often(
    deployment: NodeDeployment,
) -> None:
    saga = uuid4()
    async with probe(deployment, EVENTS_EXCHANGE, "#") as events:
        first, again = [await events.answer("ReserveInventory", saga) for _ in range(2)]
        assert again.body == first.body
        assert again.headers["event-id"] == first.headers["event-id"]
        assert again.message_id != first.message_id
        assert first.headers["traceparent"] == TRACEPARENT
        assert first.headers["installation"] == HERE
        assert first.headers["causation-id"] == events.sent[-2]
        assert (first.type, first.routing_key) == ("InventoryReservedEvent", "inventory.reserved")
        undone, undone_again = [await events.answer("ReleaseInventory", saga) for _ in range(2)]
        assert json.loads(undone.body)["effect"] == "undone"
        assert undone_again.headers["event-id"] == undone.headers["event-id"]
        refused, refused_again = [await events.answer("ReserveInventory", saga) for _ in range(2)]
        assert refused.type == "StepRefused"
        assert refused_again.headers["event-id"] == refused.headers["event-id"]
        nothing = await events.answer("ReleaseInventory", other := uuid4())
        assert json.loads(nothing.body)["effect"] == "nothing"
        assert (await events.answer("ReserveInventory", other)).type == "StepRefused"
    [(reserved,)] = await deployment.warehouse.rows(
        "SELECT reserved FROM warehouse.stock WHERE sku = 'SKU-1'"
    )
    assert reserved == 0


async def test_p2_p11_what_contradicts_the_ledger_fails_for_good(deployment: NodeDeployment) -> None:
    saga = uuid4()
    async with (
        probe(deployment, failure_exchange(QUEUE)) as hops,
        probe(deployment, EVENTS_EXCHANGE, "#") as events,
    ):
        await events.answer("ReserveInventory", saga)
        for kind, name, step, fields in (
            ("payload_mismatch", "ReserveInventory", "reserve", {"lines": [{"sku": "SKU-1", "quantity": 2}]}),
            ("order_mismatch", "ReleaseInventory", "reserve", {"order_id": str(uuid4())}),
            ("step_mismatch", "CommitInventory", "reserve", {}),
        ):
            await hops.send_command(name, saga, step=step, **fields)
            await hops.next(lambda hop, kind=kind: hop.headers["error-type"] == kind)
        assert (await events.answer("CommitInventory", saga, step="commit")).type == "InventoryReducedEvent"
        await hops.send_command("ReleaseInventory", saga)
        await hops.next(lambda hop: hop.headers["error-type"] == "consumed")
        await hops.send_command("CommitInventory", uuid4(), step="commit")
        await hops.next(lambda hop: hop.headers["error-type"] == "not_reserved")


async def test_s19_a_verdict_is_accepted_where_the_ledger_agrees(deployment: NodeDeployment) -> None:
    saga = uuid4()
    async with probe(deployment, EVENTS_EXCHANGE, "#") as events:
        await events.answer("ReserveInventory", saga)
        denied = await events.answer("SettleStep", saga, verdict="no_effect")
        assert json.loads(denied.body)["accepted"] is False
        agreed, again = [await events.answer("SettleStep", saga, verdict="took_effect") for _ in range(2)]
        assert json.loads(agreed.body)["accepted"] is True
        assert again.headers["event-id"] == agreed.headers["event-id"]
        buried = await events.answer("SettleStep", other := uuid4(), verdict="no_effect", reference="R-1")
        assert json.loads(buried.body) == {
            **a_command("SettleStep", other, verdict="no_effect", reference="R-1")[1],
            "accepted": True,
        }
        assert (await events.answer("ReserveInventory", other)).type == "StepRefused"


async def test_p7_unknown_work_behind_the_low_water_mark_is_expired(deployment: NodeDeployment) -> None:
    [(now,)] = await deployment.warehouse.rows("SELECT clock_timestamp()")
    week_ms = 7 * 86_400_000
    old = time_ordered_ids(random.Random(3), lambda: int(now.timestamp() * 1000) - week_ms - 1000)()
    mark = first_id_at(now.fromtimestamp(now.timestamp() - week_ms / 1000, now.tzinfo))
    async with probe(deployment, failure_exchange(QUEUE)) as hops:
        await hops.send("AdvanceLowWaterMark", None, json.dumps({"mark": str(first_id_at(now))}).encode(), {})
        await hops.next(lambda hop: hop.headers["error-type"] == "mark_too_young")
        await hops.send("AdvanceLowWaterMark", None, json.dumps({"mark": str(mark)}).encode(), {})
        async with asyncio.timeout(30):
            while not await deployment.warehouse.rows("SELECT FROM warehouse.retention"):
                await asyncio.sleep(0.05)
        await hops.send_command("ReserveInventory", old)
        await hops.next(lambda hop: hop.headers["error-type"] == "expired")


async def test_it_ends_cleanly_on_sigterm_and_serves_again(deployment: NodeDeployment) -> None:
    node = deployment.services[INVENTORY]
    assert await node.end() == 0, node.said[-2000:]
    await node.start()
    await node.ready()
    async with probe(deployment, EVENTS_EXCHANGE, "#") as events:
        assert (await events.answer("ReserveInventory", uuid4())).type == "InventoryReservedEvent"


async def test_m4_a_command_of_another_installation_is_a_dead_letter_that_may_come_again(
    deployment: NodeDeployment,
) -> None:
    await deployment.services[INVENTORY].replaced(WAREHOUSE_INSTALLATION=HERE)
    type_, body = a_command("ReserveInventory", saga := uuid4())
    async with (
        probe(deployment, failure_exchange(QUEUE)) as hops,
        probe(deployment, EVENTS_EXCHANGE, "#") as events,
    ):
        await hops.send(type_, str(saga), json.dumps(body).encode(), {"installation": str(uuid4())})
        dead = await hops.next(lambda hop: hop.headers["error-type"] == "foreign_installation")
        assert dead.routing_key == dead_letter_queue(QUEUE)
        assert dead.headers["error-permanent"] is False
        assert (await events.answer("ReserveInventory", saga)).type == "InventoryReservedEvent"


async def test_it_passes_everything_that_oms_conformance_tries(
    deployment: NodeDeployment, tmp_path: Path
) -> None:
    """The last one: conformance wants no orchestrator. The dead letters are as of an earlier release."""
    for name in ("api", "orchestrator", INVENTORY):
        await deployment.services[name].end()
    await formerly_declared(deployment.broker_url, dead_letter_queue(QUEUE))
    node = deployment.services[INVENTORY]
    assert isinstance(node, NodeProcess)
    await deployment.count_stock("SKU-1", 1_000_000)
    participant = ByScript("node", node.command, node.environment, tmp_path)
    await participant.start()
    try:
        arguments = ("--restart", participant.restart, "--burst", BURST, "--answer-within", "60")
        code, printed = await deployment.command("conformance", INVENTORY, *arguments, "--yes")
    finally:
        participant.end()
    assert code == 0, printed
    assert "inventory conforms" in printed
    assert "--restart was not given" not in printed


async def formerly_declared(broker_url: str, queue: str) -> None:
    connection = await aio_pika.connect(broker_url)
    async with connection, connection.channel() as channel:
        await channel.queue_delete(queue)
        former: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
        await channel.declare_queue(queue, durable=True, arguments=former)


async def test_it_names_the_settings_that_it_cannot_use(deployment: NodeDeployment) -> None:
    node = deployment.services[INVENTORY]
    assert isinstance(node, NodeProcess)
    wrong = {**node.environment, "OMS_BROKER_URL": "http://127.0.0.1", "OMS_RETRY_DELAYS_S": "1,soon"}
    process = await asyncio.create_subprocess_exec(
        *node.command, env=wrong, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, complained = await process.communicate()
    assert process.returncode == 2
    assert said == b""
    expected = b"missing or not understood: OMS_BROKER_URL, OMS_RETRY_DELAYS_S (see README.md)\n"
    assert complained == expected


# -- the other side of the wire ------------------------------------------------------------------------------

TRACEPARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HERE: Final = "019aa7b2-0000-7000-8000-00000000000f"


def a_command(
    name: str, saga: UUID, step: str = "reserve", direction: str | None = None, **fields: Any
) -> tuple[str, dict[str, Any]]:
    """A command's type and body; the order's id follows from the saga's."""
    forward = "compensating" if name == "ReleaseInventory" else "forward"
    order = str(UUID(int=saga.int ^ 1))
    body = {"saga_id": str(saga), "order_id": order, "step": step, "direction": direction or forward}
    if name == "ReserveInventory":
        body["lines"] = [{"sku": "SKU-1", "quantity": 1}]  # type: ignore[assignment]
    return name, {**body, **fields}


class Probe:
    """A queue of one's own behind an exchange, and a way to put commands on the participant's."""

    def __init__(self, channel: AbstractChannel) -> None:
        self.sent: list[str] = []
        self.taken: list[AbstractIncomingMessage] = []
        self._channel = channel
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    async def listen(self, exchange: str, keys: tuple[str, ...]) -> None:
        """Everything that the exchange gets with these keys from now on."""
        queue = await self._channel.declare_queue(exclusive=True)
        for key in keys:
            await queue.bind(exchange, key)
        await queue.consume(self._arrived.put, no_ack=True)

    async def next(self, wanted: Any) -> AbstractIncomingMessage:
        """The next message of this kind; those before it are passed over."""
        async with asyncio.timeout(60):
            while True:
                message = await self._arrived.get()
                self.taken.append(message)
                if wanted(message):
                    return message

    async def send(
        self, type_: str | None, correlation: str | None, body: bytes, headers: dict[str, Any]
    ) -> None:
        """Any message to the participant."""
        self.sent.append(str(uuid4()))
        given = {
            "attempt": 1,
            "schema-version": 1,
            "traceparent": TRACEPARENT,
            "installation": HERE,
            **headers,
        }
        message = aio_pika.Message(
            body,
            type=type_,
            correlation_id=correlation,
            message_id=self.sent[-1],
            headers=given,
            delivery_mode=2,
        )
        await (await self._channel.get_exchange(COMMANDS_EXCHANGE)).publish(message, INVENTORY)

    async def send_command(self, name: str, saga: UUID, **fields: Any) -> None:
        """A command of a saga."""
        type_, body = a_command(name, saga, **fields)
        await self.send(type_, str(saga), json.dumps(body).encode(), {})

    async def answer(self, name: str, saga: UUID, **fields: Any) -> AbstractIncomingMessage:
        """Send a command and see its answer."""
        await self.send_command(name, saga, **fields)
        return await self.next(lambda event: event.headers.get("causation-id") == self.sent[-1])


@asynccontextmanager
async def probe(deployment: NodeDeployment, exchange: str, *keys: str) -> AsyncIterator[Probe]:
    """A probe behind an exchange; behind a failure exchange with the keys of all its queues."""
    hops = (dead_letter_queue(QUEUE), f"{QUEUE}.retry.0.2s", f"{QUEUE}.retry.0.5s")
    connection = await aio_pika.connect(deployment.broker_url)
    async with connection, connection.channel() as channel:
        made = Probe(channel)
        await made.listen(exchange, keys or hops)
        yield made


async def dead_letter(client: httpx.AsyncClient, type_: str) -> dict[str, Any]:
    """An open dead letter of this type, once there is one."""
    async with asyncio.timeout(60):
        while True:
            answer = await client.get("/admin/dead-letters", params={"status": "open"})
            found = [letter for letter in answer.json()["items"] if letter["type"] == type_]
            if found:
                return dict(found[0])
            await asyncio.sleep(0.1)
