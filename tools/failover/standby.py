"""A PostgreSQL with a standby under all services; the providers' books are elsewhere, as with real ones."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from contracts.routing import PARTICIPANTS
from oms.database_url import database_url
from oms.embedded.postgresql import EmbeddedPostgres
from tests.system.deployment import Deployment
from tools.chaos.faults import Fault
from tools.chaos.scene import Scene
from tools.chaos.stage import end, started
from tools.failover import PATIENCE
from tools.failover.replication import Pair
from tools.servers.given import new_broker
from tools.servers.rabbitmq.node import RabbitNode


class StandbyStage(Scene):
    """A broker, a pair of databases, and the services over both."""

    def __init__(self, broker: RabbitNode, pair: Pair, services: Deployment) -> None:
        super().__init__(services)
        self.pair = pair
        self._broker = broker

    @property
    def database_url(self) -> str:
        return database_url(self.pair.url)

    async def control(self, *arguments: str) -> str:
        return await asyncio.to_thread(self._broker.control, *arguments)

    async def calm(self) -> None:
        """Nothing here outlasts its fault."""


@asynccontextmanager
async def asynchronous(folder: Path, *, participants_apart: bool = False) -> AsyncIterator[StandbyStage]:
    """A stage in `folder` whose primary does not wait for the standby.

    With `participants_apart` the orchestrator alone is on it, the participants are where the providers are.
    """
    async with AsyncExitStack() as exits:
        broker = new_broker(folder / "rabbitmq")
        assert isinstance(broker, RabbitNode), "the services' queues are looked at by RabbitMQ's own tools"
        pair, elsewhere = Pair(folder / "postgres"), EmbeddedPostgres(folder / "providers")
        await asyncio.gather(started(exits, broker), exits.enter_async_context(elsewhere))
        exits.push_async_callback(asyncio.to_thread, pair.stop)
        await asyncio.to_thread(pair.start)
        (folder / "logs").mkdir(parents=True)
        apart = ("sandbox", *PARTICIPANTS) if participants_apart else ("sandbox",)
        databases = {f"OMS_{service.upper()}_DATABASE_URL": elsewhere.url for service in apart}
        services = Deployment(broker.url, pair.url, folder / "logs", **databases, **PATIENCE)
        exits.push_async_callback(end, services)
        await services.start()
        yield StandbyStage(broker, pair, services)


@asynccontextmanager
async def synchronous(folder: Path) -> AsyncIterator[StandbyStage]:
    """The same, but what the primary has confirmed is on the standby's disk."""
    async with asynchronous(folder) as stage:
        await asyncio.to_thread(stage.pair.make_synchronous)
        yield stage


async def _fail_over(stage: StandbyStage, rng: random.Random) -> None:
    await asyncio.to_thread(stage.pair.fail_over)


async def _rejoin(stage: StandbyStage, rng: random.Random) -> None:
    await asyncio.to_thread(stage.pair.rejoin)


FAILED_OVER: Final = Fault("the primary killed, its standby promoted", "database", _fail_over)

INCIDENTS: Final[tuple[Fault[StandbyStage], ...]] = (
    FAILED_OVER,
    Fault("a new standby made and waited for", "database", _rejoin),
    FAILED_OVER,
)
"""There and back again: each of the URL's two servers is lost once."""
