"""`oms run` with nothing configured, whose PostgreSQL is killed under it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.system.deployment import OMS, ServiceProcess, an_order, free_port

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(600)]


async def test_a_killed_postgresql_is_started_again_and_orders_go_on(tmp_path: Path) -> None:
    port = free_port()
    process = ServiceProcess("run", ["run", "--port", str(port)], {"OMS_LOG_FORMAT": "json"}, port, tmp_path)
    await process.start(("env", "-C", str(tmp_path), *OMS))
    await process.ready()
    token = (tmp_path / ".oms/admin-token").read_text()
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
        assert (await client.put("/inventory/SKU-1", json={"on_hand": 10})).status_code == 200
        before = (await client.post("/orders", json=an_order())).json()["order_id"]
        os.kill(server_of(tmp_path), signal.SIGKILL)
        while "the embedded PostgreSQL works again" not in process.said:
            await asyncio.sleep(0.2)
        await process.ready()
        after = (await client.post("/orders", json=an_order())).json()["order_id"]
        for order in (before, after):
            while (await client.get(f"/orders/{order}")).json()["status"] != "completed":
                await asyncio.sleep(0.2)
    assert await process.end() == 0


def server_of(folder: Path) -> int:
    """The process id of the server that works in the folder of `oms run`."""
    return int((folder / ".oms/postgres/data/postmaster.pid").read_text().splitlines()[0])
