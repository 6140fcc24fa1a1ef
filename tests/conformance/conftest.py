"""Both transports, each behind the same fixture: whatever is tested here, both must do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from random import Random

import pytest

from messaging.in_process import InProcessBroker, InProcessTransport
from messaging.transport import Publisher, Topology, Transport
from tests.conformance.correspondence import PLAIN
from tests.conformance.leftovers import TidyTransport, remove

Connect = Callable[[], Transport]


@pytest.fixture(params=["in_process", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Makes transports to one broker, where this test has all names to itself."""
    if request.param == "rabbitmq":
        url, prefix = request.getfixturevalue("broker_url"), request.getfixturevalue("unique_prefix")
        tidy: list[TidyTransport] = []

        def to_rabbitmq() -> Transport:
            tidy.append(TidyTransport([url], prefix=prefix, rng=Random(1)))
            return tidy[-1]

        yield to_rabbitmq
        for each in tidy:
            await each.close()
        await remove(url, prefix, sum((each.declared for each in tidy), Topology()))
        return

    broker, made = InProcessBroker(), list[Transport]()

    def in_process() -> Transport:
        made.append(InProcessTransport(broker))
        return made[-1]

    yield in_process
    for transport in made:
        await transport.close()


@pytest.fixture
async def transport(connect: Connect) -> Transport:
    """A transport to a broker that has the queue ``orders``."""
    made = connect()
    await made.declare(PLAIN)
    return made


@pytest.fixture
async def publisher(transport: Transport) -> Publisher:
    """A way out of that transport."""
    return transport.publisher()
