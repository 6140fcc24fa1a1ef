"""Machines whose clocks are wrong, ahead or behind: their orders are found, and never taken for expired."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from messaging.clock import StorageClock
from messaging.identifiers import time_of, time_ordered_ids
from oms import processes
from oms.settings import Settings
from orchestrator.intake import ClocksDisagree, Submission
from orchestrator.sagas.order_fulfillment import NAME
from tests.support.api import an_api
from tests.support.orders import AN_ORDER, an_order

pytestmark = pytest.mark.postgresql

TOKEN = "a-token-for-tests"
WRONG = [timedelta(hours=2), timedelta(days=-10)]


@pytest.mark.parametrize("wrong_by", WRONG, ids=str)
async def test_orders_of_a_machine_with_a_wrong_clock_are_found_and_the_machine_is_told(
    migrated_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong_by: timedelta
) -> None:
    def wrong() -> float:
        return time.time() + wrong_by.total_seconds()

    monkeypatch.setattr(StorageClock.__init__, "__defaults__", (wrong, time.monotonic))
    before = datetime.now(UTC) - timedelta(minutes=1)
    settings = Settings(database_url=migrated_database_url, admin_token=SecretStr(TOKEN))
    async with processes.stack(settings, "127.0.0.1", 0, tmp_path) as running:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=running.api_url, headers=headers, timeout=40) as http:
            order = (await http.post("/orders", json=AN_ORDER)).json()
            during = {
                "created_after": before.isoformat(),
                "created_before": (before + timedelta(minutes=15)).isoformat(),
            }
            found = (await http.get("/admin/sagas", params=during)).json()["items"]
            health = (await http.get("/readyz")).json()
            metrics = (await http.get("/metrics")).text
    assert [saga["order_id"] for saga in found] == [order["order_id"]]
    assert health["status"] == health["components"]["clock"]["status"] == "degraded"
    assert "the database's" in health["components"]["clock"]["detail"]
    [line] = [line for line in metrics.splitlines() if line.startswith("oms_clock_ahead_seconds ")]
    assert float(line.split()[1]) == pytest.approx(wrong_by.total_seconds(), abs=60)


@pytest.mark.parametrize("wrong_by", WRONG, ids=str)
async def test_an_order_with_ids_of_another_time_is_not_taken(
    migrated_database_url: str, wrong_by: timedelta
) -> None:
    """As when a machine was stopped for days and has not looked at the database's clock since."""
    new_id = time_ordered_ids(
        random.Random(1), lambda: int((datetime.now(UTC) + wrong_by).timestamp() * 1000)
    )
    async with an_api(migrated_database_url) as api:
        with pytest.raises(ClocksDisagree):
            await api.front.intake.submit(Submission(NAME, an_order(), "c-1", new_id(), new_id()))
        async with api.deployment.database.connect() as connection:
            stored = (await connection.execute(text("SELECT count(*) FROM orchestrator.orders"))).scalar_one()
        order = await api.order()
    assert stored == 0
    assert order["status"] == "pending"


async def test_a_command_draws_its_ids_by_the_databases_clock_too(
    migrated_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from oms.tokens import tokens_of

    monkeypatch.setattr(StorageClock.__init__, "__defaults__", (lambda: 1e9, time.monotonic))
    async with tokens_of(Settings(database_url=migrated_database_url), tmp_path) as tokens:
        assert abs(time_of(tokens._new_id()) - datetime.now(UTC)) < timedelta(minutes=5)
