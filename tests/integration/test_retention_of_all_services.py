"""Retention seen from outside: orders go from every service, stock stays, what comes late is refused (P7)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.commands import ChargePayment, ReserveInventory
from contracts.events import InventoryReservedEvent
from contracts.routing import INVENTORY, ORCHESTRATOR, PAYMENT
from messaging.compose import command_message, event_message
from messaging.identifiers import NewId, time_ordered_ids
from messaging.outbox import Outbox
from messaging.postgresql import SqlUnitOfWork, create_engine
from messaging.transport import Message
from oms import processes, wiring
from oms.audit import Sources, audit
from oms.audit.sources import NEEDED, SANDBOX
from oms.cli import main
from oms.retention import LeftToTheRelay
from oms.settings import Settings
from orchestrator import intake
from orchestrator.core.registry import Registry
from orchestrator.postgresql import PostgresTransaction
from participants.service import ParticipantPace
from tests.support.orders import AN_ORDER

pytestmark = pytest.mark.postgresql

TOKEN = "a-token-for-tests"
LONG_AGO = datetime.now(UTC) - timedelta(days=50)


class Clock:
    """What the processes that draw ids take for the time."""

    def __init__(self) -> None:
        self.days_behind = 0.0

    def ids(self, rng: random.Random, _: object) -> NewId:
        """As `time_ordered_ids`; it forgets what it has drawn, so that it can be turned forwards alone."""

        def milliseconds() -> int:
            return int((datetime.now(UTC) - timedelta(days=self.days_behind)).timestamp() * 1000)

        return time_ordered_ids(rng, milliseconds)


class Shop:
    """All services in one process, spoken to over HTTP, and their database behind their back."""

    def __init__(self, http: httpx.AsyncClient, database: AsyncEngine, url: str) -> None:
        self.http = http
        self.url = url
        self._database = database

    async def ordered(self, status: str, **changes: Any) -> dict[str, Any]:
        """An order that has ended like this."""
        wait = {"Prefer": "wait=20"}
        answer = await self.http.post("/orders", json={**AN_ORDER, **changes}, headers=wait)
        order: dict[str, Any] = answer.json()
        assert order["status"] == status
        return order

    async def rows(self, query: str, **parameters: Any) -> list[Any]:
        async with self._database.connect() as connection:
            return list(await connection.execute(text(query), parameters))

    async def eventually(self, query: str, expected: list[tuple[Any, ...]]) -> None:
        """Wait until a query's rows are these."""
        async with asyncio.timeout(60):
            while [tuple(row) for row in await self.rows(query)] != expected:
                await asyncio.sleep(0.05)

    async def execute(self, statement: str) -> None:
        async with self._database.begin() as connection:
            await connection.execute(text(statement))

    async def prune(self) -> None:
        """The command, as an operator gives it; the relay need not wait for what it has left behind."""
        assert await asyncio.to_thread(main, ["prune", "--older-than", "30d", "--yes"]) == 0
        await self.execute("UPDATE orchestrator.outbox SET claimed_until = created_at")

    async def send(self, message: Message) -> None:
        """Let the orchestrator send a message that has long been on its way."""
        outbox = Outbox(LeftToTheRelay())
        transaction = partial(PostgresTransaction, registry=Registry([]))
        unit_of_work = SqlUnitOfWork(self._database, transaction, outbox, random.Random(1), 30)

        async def work(transaction: PostgresTransaction) -> None:
            transaction.send([message])

        await unit_of_work.run(work)

    async def stock(self) -> Any:
        return (await self.http.get("/inventory/SKU-1")).json()

    async def adds_up(self) -> bool:
        return (await audit(Sources(dict.fromkeys((*NEEDED, SANDBOX), (self.url,))))).ok


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(wiring, "time_ordered_ids", clock.ids)
    monkeypatch.setattr(intake, "CLOCKS_AGREE_WITHIN", timedelta(days=365))  # it is they who travel in time
    monkeypatch.setattr(
        wiring,
        "ParticipantPace",
        partial(ParticipantPace, prune_s=0.05, prune_after_s=0.0, prune_breath_s=0.0),
    )
    return clock


@pytest.fixture
async def shop(
    clock: Clock, migrated_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    """A shop fifty days ago."""
    clock.days_behind = 50
    monkeypatch.setenv("OMS_DATABASE_URL", migrated_database_url)
    async with opened(migrated_database_url, tmp_path) as shop:
        await shop.http.put("/inventory/SKU-1", json={"on_hand": 100})
        yield shop


@asynccontextmanager
async def opened(url: str, folder: Path) -> AsyncIterator[Shop]:
    settings = Settings(database_url=url, admin_token=SecretStr(TOKEN))
    database = create_engine(url)
    async with processes.stack(settings, "127.0.0.1", 0, folder) as running:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=running.api_url, headers=headers, timeout=40) as http:
            yield Shop(http, database, url)
    await database.dispose()


LEFT = (
    "SELECT (SELECT count(*) FROM orchestrator.sagas), (SELECT count(*) FROM inventory.ledger), "
    "(SELECT count(*) FROM payment.ledger), (SELECT count(*) FROM shipping.ledger), "
    "(SELECT count(*) FROM inventory.stock_movements WHERE kind = 'reduction')"
)


async def test_old_orders_go_from_every_service_and_young_ones_stay(shop: Shop, clock: Clock) -> None:
    old = [await shop.ordered("completed") for _ in range(3)]
    old.append(await shop.ordered("rejected", payment_method="pm_card_declined"))
    await shop.execute("UPDATE orchestrator.sagas SET updated_at = updated_at - interval '50 days'")
    clock.days_behind = 0
    young = await shop.ordered("completed")
    assert await shop.adds_up()
    before = await shop.stock()
    assert [tuple(row) for row in await shop.rows(LEFT)] == [(5, 9, 5, 4, 4)]

    await shop.prune()
    await shop.eventually(LEFT, [(1, 2, 1, 1, 1)])
    moved = "SELECT quantity, folded FROM inventory.stock_movements ORDER BY folded, quantity"
    await shop.eventually(moved, [(-6, 3), (-2, None), (100, None)])
    assert await shop.stock() == before
    assert await shop.adds_up()
    assert (await shop.http.get(f"/orders/{old[0]['order_id']}")).status_code == 404
    assert (await shop.http.get(f"/admin/sagas/{old[0]['saga_id']}")).status_code == 404
    assert (await shop.http.get(f"/orders/{young['order_id']}")).status_code == 200
    metrics = (await shop.http.get("/metrics")).text
    assert 'oms_orchestrator_rows_pruned_total{table="sagas"} 4.0' in metrics
    assert "oms_low_water_mark_age_seconds 2." in metrics
    assert 'oms_participant_rows_pruned_total{service="payment",table="ledger"} 4.0' in metrics

    await shop.prune()
    assert [tuple(row) for row in await shop.rows(LEFT)] == [(1, 2, 1, 1, 1)]


async def test_a_command_that_comes_after_its_row_was_pruned_is_expired(shop: Shop, clock: Clock) -> None:
    """Nobody is charged again, nothing is reserved again: it is a matter for a person."""
    old = await shop.ordered("completed")
    ids = {"saga_id": UUID(old["saga_id"]), "order_id": UUID(old["order_id"]), "direction": "forward"}
    await shop.execute("UPDATE orchestrator.sagas SET updated_at = updated_at - interval '50 days'")
    clock.days_behind = 0
    await shop.prune()
    await shop.eventually(LEFT, [(0, 0, 0, 0, 0)])
    before = await shop.stock()

    charge = ChargePayment(
        **ids, step="charge", customer_id="c", amount=5, currency="EUR", payment_method="pm_card_visa"
    )
    reserve = ReserveInventory.model_validate({**ids, "step": "reserve", "lines": AN_ORDER["lines"]})
    for command, participant in ((charge, PAYMENT), (reserve, INVENTORY)):
        new_id = time_ordered_ids(random.Random(2))
        await shop.send(command_message(command, participant, new_id(), LONG_AGO, ORCHESTRATOR))
    dead = "SELECT type, error_type, permanent, status FROM orchestrator.dead_letters ORDER BY type"
    await shop.eventually(
        dead,
        [("ChargePayment", "expired", True, "open"), ("ReserveInventory", "expired", True, "open")],
    )
    assert await shop.rows("SELECT 1 FROM payment.ledger UNION ALL SELECT 1 FROM inventory.ledger") == []
    assert await shop.stock() == before
    assert await shop.adds_up()


async def test_an_outcome_for_a_saga_that_was_pruned_is_stale(shop: Shop, clock: Clock) -> None:
    """S16 is for strangers: what is known to have been here once is no dead letter."""
    old = await shop.ordered("rejected", payment_method="pm_card_declined")
    await shop.execute("UPDATE orchestrator.sagas SET updated_at = updated_at - interval '50 days'")
    clock.days_behind = 0
    await shop.prune()
    new_id = time_ordered_ids(random.Random(3))
    for saga_id in (UUID(old["saga_id"]), new_id()):
        event = InventoryReservedEvent.model_validate(
            {
                "saga_id": saga_id,
                "order_id": old["order_id"],
                "step": "reserve",
                "direction": "forward",
                "lines": AN_ORDER["lines"],
            }
        )
        await shop.send(event_message(event, new_id(), new_id(), LONG_AGO, INVENTORY))
    strange = "SELECT error_type, headers ->> 'correlation-id' FROM orchestrator.dead_letters"
    await shop.eventually(strange, [("unknown_saga", str(saga_id))])
    assert "oms_inputs_stale_total 1.0" in (await shop.http.get("/metrics")).text
