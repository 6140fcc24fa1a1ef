"""Makes the exchanges, queues and bindings of `broker.md` exist, over AMQP alone."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any, Final, Protocol

from aiormq.abc import AbstractChannel

from contracts.routing import DEFAULT_EXCHANGE
from messaging.rabbitmq.connection import BrokerError, asking, close_quietly
from messaging.rabbitmq.ownership import claim, is_claimed
from messaging.transport import Binding, Exchange, Queue, Topology, TopologyMismatch

NOT_FOUND: Final = 404
_PRECONDITION_FAILED: Final = 406
_ACCESS_REFUSED: Final = 403
_ARGUMENT: Final = re.compile(r"inequivalent arg '([^']+)'")


class Names:
    """Puts a prefix before every name on the wire and takes it off again: several can share a broker."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def exchange(self, name: str) -> str:
        """An exchange's name on the wire; the default exchange has none."""
        return self.prefix + name if name != DEFAULT_EXCHANGE else name

    def queue(self, name: str) -> str:
        """A queue's name on the wire."""
        return self.prefix + name

    def key(self, exchange: str, routing_key: str) -> str:
        """A routing key on the wire: on the default exchange it is a queue's name."""
        return self.prefix + routing_key if exchange == DEFAULT_EXCHANGE else routing_key

    def read(self, exchange: str, routing_key: str) -> tuple[str, str]:
        """Exchange and routing key as they were meant."""
        if exchange == DEFAULT_EXCHANGE:
            return exchange, routing_key.removeprefix(self.prefix)
        return exchange.removeprefix(self.prefix), routing_key


class Channels(Protocol):
    """Where a channel for questions comes from."""

    async def plain_channel(self) -> AbstractChannel:
        """Open one. Raises BrokerError."""


def queue_arguments(queue: Queue, names: Names) -> dict[str, Any]:
    """What a queue is declared with: its dead letters leave at least once, straight to their queue."""
    arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": queue.delivery_limit}
    if queue.dead_letter_queue is not None:
        arguments |= {
            "x-dead-letter-exchange": DEFAULT_EXCHANGE,
            "x-dead-letter-routing-key": names.queue(queue.dead_letter_queue),
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
    if queue.ttl_s is not None:
        arguments["x-message-ttl"] = round(queue.ttl_s * 1000)
    return arguments


async def declare(connection: Channels, topology: Topology, names: Names) -> list[str]:
    """Make the topology exist; returns a line for each exchange and queue that did not.

    A binding cannot be looked up over AMQP, so bindings are made again and not reported.

    Raises:
        TopologyMismatch: something of that name exists with other properties.
        ForeignBroker: the virtual host is another installation's.
        BrokerError: the broker could not be asked.
    """
    unclaimed = topology.installation is not None and not await is_claimed(connection, names.prefix)
    missing = await _missing(connection, topology, names)
    is_ours = await redeclare(connection, topology, names)
    made = [f"mark of installation {topology.installation}"] if unclaimed and is_ours else []
    return [*made, *missing]


async def redeclare(connection: Channels, topology: Topology, names: Names) -> bool:
    """The same without looking what was there before; says whether it is marked as ours. Raises as `declare`.

    A user without the right to declare gets along with what somebody else has declared.
    """
    installation = topology.installation
    marked = installation is not None and await claim(connection, installation, names.prefix)
    try:
        await _declare_all(connection, topology, names)
    except BrokerError as error:
        if error.code != _ACCESS_REFUSED:
            raise
        if missing := await _missing(connection, topology, names):
            raise BrokerError(
                f"{missing[0]} does not exist, and this broker user may not make it: "
                "run `oms broker setup` as a user who may",
                error.code,
            ) from error
    return marked


async def _missing(connection: Channels, topology: Topology, names: Names) -> list[str]:
    return [
        f"{what} {named.name}"
        for what, things in (("exchange", topology.exchanges), ("queue", topology.queues))
        for named in things
        if not await _exists(connection, named, names)
    ]


async def _declare_all(connection: Channels, topology: Topology, names: Names) -> None:
    channel = await connection.plain_channel()
    try:
        for exchange in topology.exchanges:
            await _declared("exchange", exchange.name, _declare_exchange(channel, exchange, names))
        for queue in topology.queues:
            await _declared("queue", queue.name, _declare_queue(channel, queue, names))
        for binding in topology.bindings:
            await _declared("binding of queue", binding.queue, _bind(channel, binding, names))
    finally:
        await close_quietly(channel)


async def _exists(connection: Channels, wanted: Exchange | Queue, names: Names) -> bool:
    """Looked up on a channel of its own: the broker closes one that asks for what is not there."""
    channel = await connection.plain_channel()
    try:
        async with asking():
            if isinstance(wanted, Queue):
                await channel.queue_declare(names.queue(wanted.name), passive=True)
            else:
                await channel.exchange_declare(names.exchange(wanted.name), passive=True)
        return True
    except BrokerError as error:
        if error.code == NOT_FOUND:
            return False
        raise
    finally:
        await close_quietly(channel)


async def _declare_exchange(channel: AbstractChannel, exchange: Exchange, names: Names) -> None:
    await channel.exchange_declare(names.exchange(exchange.name), exchange_type=exchange.kind, durable=True)


async def _declare_queue(channel: AbstractChannel, queue: Queue, names: Names) -> None:
    await channel.queue_declare(
        names.queue(queue.name), durable=True, arguments=queue_arguments(queue, names)
    )


async def _bind(channel: AbstractChannel, binding: Binding, names: Names) -> None:
    await channel.queue_bind(names.queue(binding.queue), names.exchange(binding.exchange), binding.key)


async def _declared(what: str, name: str, answer: Awaitable[None]) -> None:
    try:
        async with asking():
            await answer
    except BrokerError as error:
        if error.code == _PRECONDITION_FAILED:
            raise TopologyMismatch(_mismatch(what, name, str(error))) from error
        raise BrokerError(f"{what} {name} cannot be declared: {error}", error.code) from error


def _mismatch(what: str, name: str, words: str) -> str:
    found = _ARGUMENT.search(words)
    argument = found.group(1) if found else "properties"
    return (
        f"{what} {name} exists with another {argument} ({words}). "
        f"To replace it: stop what publishes to it, let its consumers empty it or move its messages, "
        f"delete the {what} at the broker, and start again; it is then declared anew."
    )
