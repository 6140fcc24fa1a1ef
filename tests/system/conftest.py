"""A deployment for the tests of one module."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support import servers
from tests.support.servers import Databases
from tests.system.deployment import Deployment, empty


@pytest.fixture(scope="module")
def own_broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker whose queues may have their real names: the given one, else one of the module's own."""
    given = os.environ.get(servers.BROKER_VARIABLE)
    if given:
        yield given
        return
    folder = tmp_path_factory.mktemp("rabbitmq")
    with servers.new_broker(folder) as broker:
        yield broker.url
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(
    own_broker_url: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    """All services as processes, ready; short delays so that trouble passes quickly."""
    await empty(own_broker_url)
    url = databases.create()
    folder: Path = tmp_path_factory.mktemp("logs")
    made = Deployment(own_broker_url, url, folder, OMS_RETRY_DELAYS_S="0.2,0.5", OMS_RESEND_AFTER_S="2")
    await made.start()
    yield made
    await made.stop()
    databases.drop(url)
