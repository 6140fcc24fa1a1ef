"""The orchestrator with its HTTP face on real PostgreSQL, in process, participants played by the test."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import httpx
from fastapi import APIRouter, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from contracts import events
from messaging.background import BackgroundLoops
from messaging.connecting import connect
from orchestrator.core.registry import Registry
from orchestrator.core.state import Saga
from orchestrator.explanation import Explainer
from orchestrator.http.access import Access
from orchestrator.http.app import create_app
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.health import Component, Condition
from orchestrator.metrics import Metrics, Sources
from orchestrator.progress import ProgressListener, ProgressNotifier, connector
from orchestrator.queries import Queries
from orchestrator.queries.tokens import TokenQueries
from orchestrator.service import Front, Pace
from orchestrator.webhooks.addresses import Reach
from tests.integration.test_orchestrator import World, a_deployment
from tests.support.any_saga import READ_WITHIN_S
from tests.support.orders import AN_ORDER

ADMIN: Final = {"Authorization": "Bearer admin-token"}
ORDERS: Final = {"Authorization": "Bearer orders-token"}


class Api(World):
    """A world that is also spoken to over HTTP."""

    def __init__(
        self,
        url: str,
        orders_token: str | None = None,
        routers: Sequence[APIRouter] = (),
        missing: Mapping[str, str] | None = None,
        pace: Pace | None = None,
        registry: Registry | None = None,
        reach: Reach = Reach.PUBLIC,
    ) -> None:
        plain = replace(a_deployment(url), reach=reach)
        given = {"database": _engine(url), "pace": pace or Pace(), "registry": registry or plain.registry}
        super().__init__(replace(plain, **given))  # type: ignore[arg-type]
        self.notifier = ProgressNotifier(connector(url))
        self.front = Front(self.deployment, self._progress)
        self.queries = Queries(self.deployment.database, self.deployment.registry, READ_WITHIN_S)
        self.listener = ProgressListener(
            connector(url), self.queries.orders.standings, random.Random(3), watch_limit=20
        )
        self.broker_trouble: str | None = None
        self._notifying = BackgroundLoops(random.Random(4))
        self.dependencies = Dependencies(
            intake=self.front.intake,
            operations=self.front.operations,
            dead_letters=self.front.dead_letters,
            disclosures=self.front.disclosures,
            jobs=self.front.jobs,
            webhooks=self.front.webhooks,
            queries=self.queries,
            explainer=Explainer(
                self.queries,
                self.deployment.registry,
                self.deployment.transport.depth,
                self.front.operations.allowed,
            ),
            registry=self.deployment.registry,
            depth=self.deployment.transport.depth,
            listener=self.listener,
            access=Access.by_tokens("admin-token", orders_token, TokenQueries(self.queries.reader)),
            new_id=self.deployment.new_id,
            metrics=Metrics(
                Sources(
                    [self.front.readings, self.service.readings],
                    [
                        lambda: self.queries.gauges.readings(self.deployment.registry.participants),
                        self.queries.webhooks.readings,
                    ],
                )
            ),
            components=[
                Component("database", self.queries.reader.trouble),
                Component("broker", self._broker_trouble, Condition.DEGRADED),
            ],
            version="1.2.3",
            routers=routers,
            missing_participants=missing or {},
        )
        self.app: FastAPI = create_app(self.dependencies)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://oms")

    def _progress(self, sagas: Sequence[Saga]) -> None:
        super()._progress(sagas)
        self.notifier(sagas)

    async def _broker_trouble(self) -> str | None:
        return self.broker_trouble

    async def start(self) -> None:
        await self.service.start()
        await self.start_alone()

    async def start_alone(self) -> None:
        """As `oms api` does: the orchestrator is another process, and may wait for its database still."""
        await self.front.start()
        self.listener.start()
        self._notifying.start("notifier", self.notifier.run_once, pause_s=1.0)

    async def stop(self) -> None:
        await self.http.aclose()
        await self.listener.stop()
        await self._notifying.stop()
        await self.notifier.close()
        await super().stop()

    # -- what tests do ------------------------------------------------------------------------------------

    async def order(self, headers: Mapping[str, str] | None = None, **changes: Any) -> dict[str, Any]:
        """Submit an order; the order as it was answered."""
        response = await self.http.post("/orders", json={**AN_ORDER, **changes}, headers=headers)
        assert response.status_code == 202, response.text
        order: dict[str, Any] = response.json()
        return order

    async def reserved(self) -> None:
        """Inventory reserves what is asked for next."""
        _, command = await self.command("inventory")
        await self.answer(command, events.InventoryReservedEvent, lines=[{"sku": "SKU-1", "quantity": 2}])

    async def declined(self) -> None:
        """Payment declines what is asked for next."""
        _, command = await self.command("payment")
        await self.answer(command, events.PaymentDeclinedEvent, code="card_declined", message="no")

    async def released(self) -> None:
        """Inventory releases what is asked for next."""
        _, command = await self.command("inventory")
        await self.answer(command, events.InventoryReleasedEvent, effect="undone")

    async def rejected_for_stock(self) -> None:
        """Inventory has nothing of what is asked for next."""
        _, command = await self.command("inventory")
        await self.answer(command, events.InventoryRejectedEvent, code="out_of_stock", message="none left")

    async def completed(self) -> None:
        """Everybody does what the next order needs."""
        await self.reserved()
        _, charge = await self.command("payment")
        await self.answer(
            charge, events.PaymentSuccessfulEvent, amount=2598, currency="EUR", reference="ch_1"
        )
        _, ship = await self.command("shipping")
        await self.answer(ship, events.OrderFulfilledEvent, reference="parcel")
        _, commit = await self.command("inventory")
        await self.answer(commit, events.InventoryReducedEvent, lines=[{"sku": "SKU-1", "quantity": 2}])

    async def is_now(self, order: Mapping[str, Any], status: str) -> None:
        """Wait until an order's status is this one."""
        await self.until(UUID(order["saga_id"]), lambda saga: saga.label == status)


def _engine(url: str) -> AsyncEngine:
    """Tests stop while loops still connect: no connection may be left half-way, or no database is dropped."""
    return create_async_engine(url, async_creator=lambda: connect(url))


@asynccontextmanager
async def an_api(url: str, **changes: Any) -> AsyncIterator[Api]:
    """An API that is up while the block runs."""
    api = Api(url, **changes)
    await api.start()
    try:
        yield api
    finally:
        await api.stop()


@asynccontextmanager
async def an_api_alone(url: str) -> AsyncIterator[Api]:
    """An API without an orchestrator beside it, whose database need not be up."""
    api = Api(url)
    await api.start_alone()
    try:
        yield api
    finally:
        await api.stop()
