"""A rolling upgrade on real parts: two versions of a definition side by side, with orders under way (S13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest
import pytest_asyncio

from tests.support.servers import PROJECT, Databases
from tests.system.customers import Customers
from tests.system.deployment import ADMIN_TOKEN, Deployment, empty

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

NEW: Final = {
    "OMS_SAGA_DEFINITIONS": "tests.system.second_version:payment_first",
    "PYTHONPATH": str(PROJECT),
}
"""What the new release knows besides: sagas that begin there run version 2."""

COURSES: Final = {
    1: ["ReserveInventory", "ChargePayment", "ShipOrder", "CommitInventory"],
    2: ["ChargePayment", "ReserveInventory", "ShipOrder", "CommitInventory"],
}

SAGAS: Final = """
SELECT s.definition_version, s.status, s.ended_at > :moment,
       array_agg(sent.message ->> 'type' ORDER BY h.version, sent.at)
FROM orchestrator.sagas s JOIN orchestrator.history h USING (saga_id),
     json_array_elements(h.led_to -> 'sent') WITH ORDINALITY AS sent (message, at)
GROUP BY s.saga_id
"""
"""Every saga with all that it has sent; and whether it ended after a moment."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def old(
    own_broker_url: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    """The old release: it knows version 1 alone, and has two replicas of what decides about sagas."""
    await empty(own_broker_url)
    url = databases.create()
    folder: Path = tmp_path_factory.mktemp("logs")
    # Calls are repeated for longer than it takes the providers to be back, on however busy a machine.
    made = Deployment(own_broker_url, url, folder, OMS_RETRY_DELAYS_S="0.5,5,30", OMS_RESEND_AFTER_S="1")
    made.add("api-2", ["api", "--port", "{port}"])
    made.add("orchestrator-2", ["orchestrator"])
    await made.start()
    yield made
    await made.stop()
    databases.drop(url)


async def test_s13_sagas_end_on_the_version_they_began_with_while_replicas_are_replaced_one_by_one(
    old: Deployment,
) -> None:
    services = old.services
    urls = [f"http://127.0.0.1:{services[name].port}" for name in ("api", "api-2")]
    customers = Customers(urls, number=2, pause_s=0.4)
    async with old.client() as client:
        answer = await client.put("/inventory/SKU-1", json={"on_hand": 100_000})
        assert answer.status_code == 200, answer.text

    async with customers.ordering():
        await customers.until_accepted(20)
        assert await services["shipping"].end() == 0  # orders wait for it, whatever their version
        while not await old.rows("SELECT 1 FROM orchestrator.sagas WHERE step = 'ship' LIMIT 1"):
            await asyncio.sleep(0.1)
        await services["orchestrator"].replaced(**NEW)
        await services["api"].replaced(**NEW)
        # In the wrong order, orchestrator-2 being old still: it must do no harm to what it does not know.
        while "definition version that is not known here" not in services["orchestrator-2"].said:
            await asyncio.sleep(0.1)
        await the_old_api_shows_and_leaves_alone_what_it_does_not_know(old, urls[1])
        await services["orchestrator-2"].replaced(**NEW)
        [[moment]] = await old.rows("SELECT clock_timestamp()")
        await services["api-2"].replaced(**NEW)
        await services["shipping"].start()
        await services["shipping"].ready()
        for name in ("inventory", "payment", "sandbox"):
            await services[name].replaced()
        await customers.until_accepted(10)

    while await old.rows("SELECT 1 FROM orchestrator.sagas WHERE ended_at IS NULL LIMIT 1"):
        await asyncio.sleep(0.1)
    assert customers.wrongs == []
    sagas = await old.rows(SAGAS, moment=moment)
    assert len(sagas) == len(customers.accepted) == len(set(customers.accepted))
    for version, status, _, sent in sagas:
        course = [command for command in sent if command in COURSES[version]]
        assert course == COURSES[version][: len(course)]
        assert status != "completed" or course == COURSES[version]
    assert {(version, status) for version, status, late, _ in sagas if late} == {
        (version, status) for version in COURSES for status in ("completed", "compensated")
    }
    assert await old.rows("SELECT error_type, error_message FROM orchestrator.dead_letters") == []
    code, printed = await old.command("audit")
    assert code == 0, printed


async def the_old_api_shows_and_leaves_alone_what_it_does_not_know(old: Deployment, url: str) -> None:
    """A saga of version 2, seen and cancelled through a replica that lacks it: nobody is refused for good."""
    newest = "SELECT order_id::text, saga_id::text FROM orchestrator.sagas WHERE definition_version = 2"
    [order_id, saga_id] = (await old.rows(newest))[0]
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        for path in (f"/orders/{order_id}", f"/admin/sagas/{saga_id}", f"/admin/sagas/{saga_id}/explain"):
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
        answer = await client.post(f"/orders/{order_id}/cancel", json={})
        assert answer.status_code == 503
        assert answer.json()["code"] == "unknown_version"
