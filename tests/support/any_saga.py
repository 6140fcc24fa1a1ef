"""The orchestrator with its HTTP face and sagas of several kinds: orders, and enrolments with a stand-in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from messaging.background import BackgroundLoops
from messaging.connecting import connect
from messaging.identifiers import time_ordered_ids
from messaging.in_process import InProcessBroker, InProcessTransport
from messaging.retries import RetryPolicy
from orchestrator.core.definition import SagaDefinition, StepPolicy
from orchestrator.core.registry import Registry
from orchestrator.explanation import Explainer
from orchestrator.http.access import Access
from orchestrator.http.app import create_app
from orchestrator.http.dependencies import Dependencies
from orchestrator.metrics import Metrics, Sources
from orchestrator.progress import ProgressListener, ProgressNotifier, connector
from orchestrator.queries import Queries
from orchestrator.queries.tokens import TokenQueries
from orchestrator.sagas.order_fulfillment import order_fulfillment
from orchestrator.service import Deployment, Front, OrchestratorService
from tests.support.enrolment import StandIn, enrolment

ADMIN: Final = {"Authorization": "Bearer admin-token"}
ADA: Final[Mapping[str, Any]] = {
    "student": "Ada",
    "courses": ["logic", "engines"],
    "home": {"street": "1 Street", "phone": "0123-4567"},
}
YES: Final[Mapping[str, Any]] = {"approved": True, "level": "full"}
WITHIN_S: Final = 30
READ_WITHIN_S: Final = 60.0
"""A patience that no test needs, however busy the machine is."""


class AnySaga:
    """All of it on one database, in this process."""

    def __init__(
        self,
        url: str,
        definitions: Sequence[SagaDefinition] = (),
        orders_token: str | None = None,
        saga_tokens: Mapping[str, str] | None = None,
    ) -> None:
        rng = random.Random(7)
        policy = StepPolicy()
        registry = Registry(definitions or [order_fulfillment(policy), enrolment(policy)])
        self.deployment = Deployment(
            registry=registry,
            database=create_async_engine(url, async_creator=lambda: connect(url)),
            transport=InProcessTransport(InProcessBroker()),
            new_id=time_ordered_ids(rng),
            rng=rng,
            retry_policy=RetryPolicy(),
            idempotency_key_lifetime_s=86400,
        )
        self.notifier = ProgressNotifier(connector(url))
        self._loops = BackgroundLoops(random.Random(4))
        self.front = Front(self.deployment, self.notifier)
        self.service = OrchestratorService(self.deployment, self.notifier)
        self.stand_in = StandIn(self.deployment.transport, self.deployment.new_id)
        self.queries = Queries(self.deployment.database, registry, READ_WITHIN_S)
        self.listener = ProgressListener(connector(url), self.queries.orders.standings, random.Random(3))
        depth, operations = self.deployment.transport.depth, self.front.operations
        self.dependencies = Dependencies(
            intake=self.front.intake,
            operations=operations,
            dead_letters=self.front.dead_letters,
            disclosures=self.front.disclosures,
            jobs=self.front.jobs,
            webhooks=self.front.webhooks,
            queries=self.queries,
            explainer=Explainer(self.queries, registry, depth, operations.allowed),
            registry=registry,
            depth=depth,
            listener=self.listener,
            access=Access.by_tokens(
                "admin-token", orders_token, TokenQueries(self.queries.reader), saga_tokens or {}
            ),
            new_id=self.deployment.new_id,
            metrics=Metrics(Sources([self.front.readings, self.service.readings])),
            components=[],
            version="1.2.3",
            missing_participants={"/participants/inventory": "OMS_INVENTORY_DATABASE_URL"},
        )
        self.app: FastAPI = create_app(self.dependencies)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://oms")

    async def start(self) -> None:
        await self.service.start()
        await self.front.start()
        await self.stand_in.start()
        self.listener.start()
        self._loops.start("notifier", self.notifier.run_once, pause_s=1.0)

    async def stop(self) -> None:
        await self.http.aclose()
        await self.stand_in.stop()
        await self.listener.stop()
        await self._loops.stop()
        await self.notifier.close()
        await self.front.stop()
        await self.service.stop()
        await self.deployment.transport.close()
        await self.deployment.database.dispose()

    # -- what tests do ------------------------------------------------------------------------------------

    async def enrol(self, headers: Mapping[str, str] | None = None, **changes: Any) -> dict[str, Any]:
        """Start an enrolment; the saga as it was answered."""
        response = await self.http.post("/sagas/enrolment", json={**ADA, **changes}, headers=headers)
        assert response.status_code == 202, response.text
        saga: dict[str, Any] = response.json()
        return saga

    async def signal(self, saga: Mapping[str, Any], body: Any, name: str = "approval") -> httpx.Response:
        """Tell a saga something."""
        return await self.http.post(f"/sagas/{saga['saga_id']}/signals/{name}", json=body)

    async def detail(self, saga: Mapping[str, Any]) -> dict[str, Any]:
        """A saga as operators see it."""
        response = await self.http.get(f"/admin/sagas/{saga['saga_id']}", headers=ADMIN)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def once(
        self, saga: Mapping[str, Any], reached: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """A saga once this is true of it, as operators see it."""
        async with asyncio.timeout(WITHIN_S):
            while not reached(found := await self.detail(saga)):
                await asyncio.sleep(0.02)
        return found

    async def at_the_dean(self, **changes: Any) -> dict[str, Any]:
        """An enrolment that waits for its approval."""
        return await self.once(await self.enrol(**changes), lambda saga: saga["step"] == "approval")

    async def at_the_dean_early(self, body: Any) -> dict[str, Any]:
        """An enrolment that waits for its fee to be paid, whose signal has come already."""
        saga = await self.once(await self.enrol(), lambda found: found["label"] == "seated")
        assert (await self.signal(saga, body)).status_code == 202
        return saga

    async def ended(self, saga: Mapping[str, Any]) -> dict[str, Any]:
        """A saga once it has ended."""
        return await self.once(saga, lambda found: found["ended_at"] is not None)

    async def count(self, table: str) -> int:
        """Rows of a table of the orchestrator's."""
        async with self.deployment.database.connect() as connection:
            counted = await connection.execute(text(f"SELECT count(*) FROM orchestrator.{table}"))
            return int(counted.scalar_one())


@asynccontextmanager
async def any_saga(url: str, **changes: Any) -> AsyncIterator[AnySaga]:
    """All of it, up while the block runs."""
    made = AnySaga(url, **changes)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
