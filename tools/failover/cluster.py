"""Three RabbitMQ nodes on one machine under all services, and what can happen to a node."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from oms.embedded.postgresql import EmbeddedPostgres
from tests.system.deployment import Deployment
from tools.chaos.faults import Fault
from tools.chaos.scene import Scene
from tools.chaos.stage import end, started
from tools.failover import PATIENCE
from tools.servers.given import PROJECT
from tools.servers.rabbitmq.broker import find_programs
from tools.servers.rabbitmq.cluster import RabbitCluster
from tools.servers.rabbitmq.node import RabbitNode

MINORITY_PAUSES: Final = "cluster_partition_handling = pause_minority\n"
"""As a cluster of three should be set up: a node that finds itself alone waits for the others."""


class ClusterStage(Scene):
    """A cluster, a database and the services. One node at most is `away`."""

    def __init__(self, cluster: RabbitCluster, database: EmbeddedPostgres, services: Deployment) -> None:
        super().__init__(services)
        self.cluster = cluster
        self.away: RabbitNode | None = None
        self._database = database

    @property
    def database_url(self) -> str:
        return self._database.url

    async def control(self, *arguments: str, tool: str = "rabbitmqctl") -> str:
        """On the first node that is not away."""
        node = next(node for node in self.cluster.nodes if node is not self.away)
        return await asyncio.to_thread(partial(node.control, *arguments, tool=tool))

    async def calm(self) -> None:
        """A node that hangs goes on."""
        if self.away is not None and self.away.pid is not None:
            self.away.resume()

    async def leaders(self) -> dict[str, str]:
        """The node that leads each queue."""
        listed = await self.control("-q", "list_queues", "--no-table-headers", "name", "leader")
        return dict(line.split("\t") for line in listed.splitlines())

    async def members(self) -> dict[str, int]:
        """On how many nodes that are up each queue stands."""
        listed = await self.control("-q", "list_queues", "--no-table-headers", "name", "online")
        return {name: nodes.count("@") for name, nodes in (line.split("\t") for line in listed.splitlines())}


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[ClusterStage]:
    """A stage in `folder`; all that was started is ended by its own id, whatever happens."""
    async with AsyncExitStack() as exits:
        cluster = RabbitCluster(
            find_programs(PROJECT / ".oms/servers"), folder / "rabbitmq", config=MINORITY_PAUSES
        )
        database = EmbeddedPostgres(folder / "postgres")
        await asyncio.gather(started(exits, cluster), exits.enter_async_context(database))
        (folder / "logs").mkdir(parents=True)
        services = Deployment(cluster.url, database.url, folder / "logs", **PATIENCE)
        stage = ClusterStage(cluster, database, services)
        exits.push_async_callback(end, services)
        exits.push_async_callback(stage.calm)
        await services.start()
        yield stage


# -- what happens to nodes ------------------------------------------------------------------------------


async def _kill(number: int, stage: ClusterStage, rng: random.Random) -> None:
    stage.away = stage.cluster.nodes[number]
    await asyncio.to_thread(stage.away.kill)


async def _stop(number: int, stage: ClusterStage, rng: random.Random) -> None:
    stage.away = stage.cluster.nodes[number]
    await asyncio.to_thread(stage.away.stop)


async def _start(stage: ClusterStage, rng: random.Random) -> None:
    assert stage.away is not None
    await asyncio.to_thread(stage.away.restart)
    stage.away = None


async def _hang(number: int, stage: ClusterStage, rng: random.Random) -> None:
    stage.away = stage.cluster.nodes[number]
    stage.away.suspend()


async def _go_on(stage: ClusterStage, rng: random.Random) -> None:
    assert stage.away is not None
    stage.away.resume()
    stage.away = None


async def _take_out(number: int, stage: ClusterStage, rng: random.Random) -> None:
    """As for an upgrade: listeners and connections are closed, leaders go to others, it is stopped."""
    node = stage.cluster.nodes[number]
    await asyncio.to_thread(partial(node.control, "drain", tool="rabbitmq-upgrade"))
    assert node.name not in (await stage.leaders()).values()
    await _stop(number, stage, rng)


async def _spread_leaders(stage: ClusterStage, rng: random.Random) -> None:
    before = await stage.leaders()
    await stage.control("rebalance", "quorum", tool="rabbitmq-queues")
    assert await stage.leaders() != before


INCIDENTS: Final[tuple[Fault[ClusterStage], ...]] = (
    Fault("a node killed", "cluster", partial(_kill, 0)),
    Fault("the killed node started", "cluster", _start),
    Fault("a node stopped", "cluster", partial(_stop, 1)),
    Fault("the stopped node started", "cluster", _start),
    Fault("a node hangs", "cluster", partial(_hang, 2)),
    Fault("the node goes on", "cluster", _go_on),
    Fault("a node drained and stopped", "cluster", partial(_take_out, 0)),
    Fault("the drained node started", "cluster", _start),
    Fault("leaders spread over the nodes", "cluster", _spread_leaders),
)
"""In this order every node is lost once while connections are on it: services take the URLs in turn."""
