"""Told to stop, a service finishes what it has begun and leaves: under load, and beside silent servers.

The bound is `OMS_STOP_WITHIN_S`; within it `ServiceProcess.end` waits for every one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import NullPool, create_engine, make_url, text
from yarl import URL

from contracts.routing import PARTICIPANTS
from oms.serving import CUT_OFF
from tests.support.servers import Databases
from tests.system.customers import Customers
from tests.system.deployment import Deployment, an_order, empty
from tools.chaos.proxy import Proxy

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]


class Stage:
    """Services that reach their broker and their database through proxies."""

    def __init__(self, services: Deployment, broker: Proxy, database: Proxy, url: str) -> None:
        self.services = services
        self.broker = broker
        self.database = database
        self._engine = create_engine(url, poolclass=NullPool)

    def count(self, query: str) -> int:
        """Ask the database past the proxy."""
        with self._engine.connect() as connection:
            return int(connection.scalar(text(f"SELECT count(*) FROM {query}")) or 0)

    async def all_ended(self) -> None:
        """Return when no saga runs any more."""
        while await asyncio.to_thread(self.count, "orchestrator.sagas WHERE ended_at IS NULL"):
            await asyncio.sleep(0.2)

    async def start_again(self) -> None:
        """Every service, after all have ended."""
        for proxy in (self.broker, self.database):
            proxy.calm()
        for service in self.services.services.values():
            await service.start()
        await asyncio.gather(*(service.ready() for service in self.services.services.values()))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    own_broker_url: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    await empty(own_broker_url)
    url = databases.create()
    folder: Path = tmp_path_factory.mktemp("logs")
    async with (
        Proxy(URL(own_broker_url).port or 5672, amqp=True) as broker,
        Proxy(make_url(url).port or 5432) as database,
    ):
        services = Deployment(
            str(URL(own_broker_url).with_port(broker.port)),
            make_url(url).set(port=database.port).render_as_string(hide_password=False),
            folder,
            OMS_RETRY_DELAYS_S="0.2,0.5",
            OMS_RESEND_AFTER_S="2",
        )
        await services.start()
        async with services.client() as client:
            await client.put("/inventory/SKU-1", json={"on_hand": 100_000})
        yield Stage(services, broker, database, url)
        await services.stop()
    databases.drop(url)


async def test_under_load_each_service_in_turn_finishes_and_leaves_nothing_to_be_sent_again(
    stage: Stage,
) -> None:
    services = stage.services.services
    customers = Customers([stage.services.url], number=2)
    async with customers.ordering():
        for name in PARTICIPANTS:
            await customers.until_accepted(10)
            assert await services[name].end() == 0
            assert stage.count(f"{name}.outbox") == 0
            await services[name].start()
        await customers.until_accepted(10)
        for name in ("api", "orchestrator"):
            assert await services[name].end() == 0
        assert stage.count("orchestrator.outbox") == 0
        for name in ("api", "orchestrator"):
            await services[name].start()

    await stage.all_ended()
    assert customers.wrongs == []
    stored = stage.count(f"orchestrator.orders WHERE customer_id = '{customers.customer_id}'")
    assert stored == len(set(customers.accepted)) == len(customers.accepted)
    assert stage.count("orchestrator.dead_letters") == 0
    code, printed = await stage.services.command("audit")
    assert code == 0, printed


async def test_the_api_answers_what_it_was_asked_and_ends_its_streams(stage: Stage) -> None:
    services = stage.services.services
    await services["inventory"].end()  # so that orders wait
    async with stage.services.client() as client:
        order_id = (await client.post("/orders", json=an_order())).json()["order_id"]
        before, begun = stage.count("orchestrator.orders"), asyncio.Event()
        asking = client.post("/orders", json=an_order(), headers={"Prefer": "wait=30"})
        waiting = asyncio.create_task(asking)
        following = asyncio.create_task(lines(client, f"/orders/{order_id}/events", begun.set))
        await begun.wait()
        while stage.count("orchestrator.orders") == before:
            await asyncio.sleep(0.05)

        assert await services["api"].end() == 0

        assert (await waiting).status_code == 202
        assert "event: order.pending" in await following
        with pytest.raises(httpx.ConnectError):
            await client.get("/livez")
    for name in ("api", "inventory"):
        await services[name].start()
    await stage.all_ended()


async def lines(client: httpx.AsyncClient, path: str, on_event: Callable[[], None]) -> list[str]:
    """All lines of a stream, which must come to its end in good order."""
    read = []
    async with client.stream("GET", path) as answer:
        async for line in answer.aiter_lines():
            read.append(line)
            if line.startswith("event:"):
                on_event()
    return read


@pytest.mark.parametrize(("silent", "allowed"), [("broker", {0}), ("database", {0, CUT_OFF})])
async def test_a_silent_server_keeps_nobody_from_stopping_and_costs_no_order(
    stage: Stage, silent: str, allowed: set[int]
) -> None:
    """Without its database a batch cannot be finished: it may be left as a crash would leave it."""
    customers = Customers([stage.services.url], number=2)
    async with asyncio.TaskGroup() as together:
        ordering = together.create_task(ordered(customers, 20))
        while len(customers.accepted) < 10:
            await asyncio.sleep(0.05)
        proxy: Proxy = getattr(stage, silent)
        proxy.swallowing = True
        codes = await asyncio.gather(*(service.end() for service in stage.services.services.values()))
        await stage.start_again()
        await ordering

    assert set(codes) <= allowed
    await stage.all_ended()
    code, printed = await stage.services.command("audit")
    assert code == 0, printed


async def ordered(customers: Customers, number: int) -> None:
    async with customers.ordering():
        await customers.until_accepted(number)
