"""Leaves a shared broker as it was found."""

from __future__ import annotations

from collections.abc import Sequence

import aiormq

from contracts.routing import INSTALLATION_EXCHANGE, installation_exchange
from messaging.rabbitmq import RabbitMqTransport
from messaging.transport import Topology


class TidyTransport(RabbitMqTransport):
    """Remembers what it was asked to declare."""

    declared = Topology()

    async def declare(self, topology: Topology) -> Sequence[str]:
        self.declared += topology
        return await super().declare(topology)


async def remove(url: str, prefix: str, topology: Topology) -> None:
    """Delete queues and exchanges of a test."""
    async with aiormq.connect(url) as connection:
        channel = await connection.channel()
        for queue in topology.queues:
            await channel.queue_delete(prefix + queue.name)
        for exchange in topology.exchanges:
            await channel.exchange_delete(prefix + exchange.name)
        await channel.exchange_delete(prefix + INSTALLATION_EXCHANGE)
        await channel.exchange_delete(prefix + installation_exchange(topology.installation))
