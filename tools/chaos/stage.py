"""Everything that a chaos run plays on: private servers, proxies before them, all services as processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import aio_pika
from sqlalchemy import make_url
from yarl import URL

from contracts.routing import OUTCOMES_QUEUE, PARTICIPANTS, command_queue
from oms.embedded.postgresql import EmbeddedPostgres
from tests.system.deployment import Deployment
from tools.chaos.proxy import Proxy
from tools.chaos.scene import Scene
from tools.servers.given import new_broker
from tools.servers.rabbitmq.cluster import RabbitCluster
from tools.servers.rabbitmq.node import RabbitNode

WORK_QUEUES: Final = (OUTCOMES_QUEUE, *map(command_queue, PARTICIPANTS))
STARTED_WITHIN_S: Final = 300.0
"""For PostgreSQL: recovery after a crash on a machine with much else to do."""

PROVIDER_TIMEOUT_S: Final = 3.0
SHORTENED: Final = {
    "OMS_RETRY_DELAYS_S": "0.2,0.5",
    "OMS_RESEND_AFTER_S": "2",
    "OMS_STEP_DEADLINE_S": "30",
    "OMS_STEP_GRACE_S": "3",
    "OMS_PROVIDER_TIMEOUT_S": str(PROVIDER_TIMEOUT_S),
}
"""Patience for a run of minutes: deadlines are reached while a server is away, providers soon are late."""


class Stage(Scene):
    """The servers, the proxies and the services."""

    def __init__(
        self,
        broker: RabbitNode,
        database: EmbeddedPostgres,
        proxies: dict[str, Proxy],
        services: Deployment,
    ) -> None:
        super().__init__(services)
        self.broker = broker
        self.database = database
        self.proxies = proxies
        self.declared_at = 0.0
        """When a queue was last declared anew, by the loop's clock."""

    @property
    def database_url(self) -> str:
        """Past the proxy."""
        return self.database.url

    async def control(self, *arguments: str) -> str:
        """`rabbitmqctl` on the private node."""
        return await asyncio.to_thread(self.broker.control, *arguments)

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
        """A channel past the proxy."""
        async with await aio_pika.connect(self.broker.url) as connection, connection.channel() as channel:
            yield channel

    async def calm(self) -> None:
        """End what a fault may have left behind, whichever it was."""
        for proxy in self.proxies.values():
            proxy.calm()
        for service in self.services.services.values():
            service.signal(signal.SIGCONT)


Cast = Callable[[EmbeddedPostgres, Proxy], Callable[..., Deployment]]
"""Who plays the services: makes a deployment's maker, once there are a database and the proxy before it."""


def our_own(database: EmbeddedPostgres, way: Proxy) -> Callable[..., Deployment]:
    """Every service is the product's."""
    return Deployment


@asynccontextmanager
async def staged(
    folder: Path, cast: Cast = our_own, told: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[Stage]:
    """A stage in `folder`; all that was started is ended by its own id, whatever happens.

    `told` are further variables of every service.
    """
    async with AsyncExitStack() as exits:
        broker = new_broker(folder / "rabbitmq")
        assert isinstance(broker, RabbitNode), "chaos needs RabbitMQ's programs, a container will not do"
        database = EmbeddedPostgres(folder / "postgres", start_timeout_s=STARTED_WITHIN_S)
        await asyncio.gather(started(exits, broker), exits.enter_async_context(database))
        proxies = {
            "broker": Proxy(broker.port, amqp=True),
            "database": Proxy(make_url(database.url).port or 0),
            "gateway": Proxy(),
            "carrier": Proxy(),
        }
        for proxy in proxies.values():
            await exits.enter_async_context(proxy)
        deployed = partial(cast(database, proxies["database"]), **told)
        services = _services(deployed, broker, database, proxies, folder / "logs")
        stage = Stage(broker, database, proxies, services)
        exits.push_async_callback(end, services)
        exits.push_async_callback(stage.calm)
        await services.start()
        yield stage


def _services(
    deployed: Callable[..., Deployment],
    broker: RabbitNode,
    database: EmbeddedPostgres,
    proxies: dict[str, Proxy],
    logs: Path,
) -> Deployment:
    logs.mkdir(parents=True)
    behind = make_url(database.url).set(port=proxies["database"].port)
    services = deployed(
        str(URL(broker.url).with_port(proxies["broker"].port)),
        behind.render_as_string(hide_password=False),
        logs,
        OMS_SANDBOX_DATABASE_URL=database.url,
        OMS_PAYMENT_GATEWAY_URL=f"http://127.0.0.1:{proxies['gateway'].port}",
        OMS_CARRIER_URL=f"http://127.0.0.1:{proxies['carrier'].port}",
        **SHORTENED,
    )
    for provider in ("gateway", "carrier"):
        proxies[provider].target = services.services["sandbox"].port
    return services


async def started(exits: AsyncExitStack, broker: RabbitNode | RabbitCluster) -> None:
    """Start a broker that `exits` stops, also when it does not come up."""
    exits.push_async_callback(asyncio.to_thread, broker.stop)
    await asyncio.to_thread(broker.start)


async def end(services: Deployment) -> None:
    """As an operator would; who does not listen is killed."""
    for service in services.services.values():
        service.signal(signal.SIGTERM)
    for service in services.services.values():
        try:
            await service.end()
        except TimeoutError:
            await service.end(signal.SIGKILL)
        except AssertionError:  # it had not been started yet
            continue
