"""Makes the exchanges, queues and bindings of `docs/broker.md` exist, over AMQP alone."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
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
    """What a queue is declared with: its dead letters leave at least once, straight to their queue.

    Should a policy limit its length, a full queue refuses; unless that policy itself names another overflow,
    which goes before this argument.
    """
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": queue.delivery_limit,
        "x-overflow": "reject-publish",
    }
    if queue.dead_letter_queue is not None:
        arguments |= {
            "x-dead-letter-exchange": DEFAULT_EXCHANGE,
            "x-dead-letter-routing-key": names.queue(queue.dead_letter_queue),
            "x-dead-letter-strategy": "at-least-once",
        }
    if queue.ttl_s is not None:
        arguments["x-message-ttl"] = round(queue.ttl_s * 1000)
    return arguments


def former_arguments(queue: Queue, names: Names) -> dict[str, Any] | None:
    """What an earlier release declared a queue with, if something else: what exists stays as it is."""
    if queue.dead_letter_queue is not None:
        return None
    arguments = queue_arguments(queue, names)
    del arguments["x-overflow"]
    return arguments


@dataclass(frozen=True, slots=True)
class Declared:
    """What came of making a topology exist.

    Attributes:
        created: a line for each exchange and queue that was not there.
        former: queues that are as an earlier release has declared them.
        mark: a line where nobody had marked the virtual host, and it is marked as ours now (M4).
    """

    created: Sequence[str]
    former: Sequence[str]
    mark: Sequence[str]


async def declare(connection: Channels, topology: Topology, names: Names) -> Declared:
    """Make the topology exist.

    A binding cannot be looked up over AMQP, so bindings are made again and not reported.
    A user without the right to declare gets along with what somebody else has declared.

    Raises:
        TopologyMismatch: something of that name exists with other properties.
        ForeignBroker: the virtual host is another installation's.
        BrokerError: the broker could not be asked.
    """
    missing = await _missing(connection, topology, names)
    mark = await _mark(connection, topology, names)
    asking = [binding for binding in topology.first_bindings if f"queue {binding.queue}" in missing]
    try:
        return Declared(missing, await _declare_all(connection, topology, asking, names), mark)
    except BrokerError as error:
        if error.code != _ACCESS_REFUSED:
            raise
        if missing := await _missing(connection, topology, names):
            raise BrokerError(
                f"{missing[0]} does not exist, and this broker user may not make it: "
                "run `oms broker setup` as a user who may",
                error.code,
            ) from error
        return Declared((), (), mark)


async def _mark(connection: Channels, topology: Topology, names: Names) -> list[str]:
    """Before anything is declared: the virtual host is nobody's or ours (M4). Returns a line for a new mark.

    Raises ForeignBroker.
    """
    if topology.installation is None:
        return []
    was_claimed = await is_claimed(connection, names.prefix)
    is_ours = await claim(connection, topology.installation, names.prefix)
    return [f"mark of installation {topology.installation}"] if is_ours and not was_claimed else []


async def _missing(connection: Channels, topology: Topology, names: Names) -> list[str]:
    """Looked up one by one on one channel, which the broker closes at each that is not there."""
    missing: list[str] = []
    channel: AbstractChannel | None = None
    try:
        for what, named in _things(topology):
            channel = channel or await connection.plain_channel()
            if not await _exists(channel, named, names):
                missing.append(f"{what} {named.name}")
                await close_quietly(channel)
                channel = None
    finally:
        if channel is not None:
            await close_quietly(channel)
    return missing


def _things(topology: Topology) -> Iterator[tuple[str, Exchange | Queue]]:
    yield from (("exchange", exchange) for exchange in topology.exchanges)
    yield from (("queue", queue) for queue in topology.queues)


async def _exists(channel: AbstractChannel, wanted: Exchange | Queue, names: Names) -> bool:
    try:
        async with asking():
            if isinstance(wanted, Queue):
                await channel.queue_declare(names.queue(wanted.name), passive=True)
            else:
                await channel.exchange_declare(names.exchange(wanted.name), passive=True)
    except BrokerError as error:
        if error.code == NOT_FOUND:
            return False
        raise
    return True


async def _declare_all(
    connection: Channels, topology: Topology, first_bindings: Sequence[Binding], names: Names
) -> list[str]:
    """Returns the queues that are as an earlier release has declared them."""
    channel = await connection.plain_channel()
    former: list[str] = []
    try:
        for exchange in topology.exchanges:
            await _declared("exchange", exchange.name, _declare_exchange(channel, exchange, names))
        for queue in topology.queues:
            try:
                await _declared("queue", queue.name, _declare_queue(channel, queue, names))
            except TopologyMismatch as mismatch:
                await close_quietly(channel)  # which the broker has closed
                channel = await connection.plain_channel()
                await _declared_formerly(channel, queue, names, mismatch)
                former.append(queue.name)
        for binding in (*topology.bindings, *first_bindings):
            await _declared("binding of queue", binding.queue, _bind(channel, binding, names))
    finally:
        await close_quietly(channel)
    return former


async def _declared_formerly(
    channel: AbstractChannel, queue: Queue, names: Names, mismatch: TopologyMismatch
) -> None:
    """Raises TopologyMismatch where the queue is not as an earlier release has declared it either."""
    arguments = former_arguments(queue, names)
    if arguments is None:
        raise mismatch
    again = channel.queue_declare(names.queue(queue.name), durable=True, arguments=arguments)
    await _declared("queue", queue.name, again)


async def _declare_exchange(channel: AbstractChannel, exchange: Exchange, names: Names) -> None:
    await channel.exchange_declare(names.exchange(exchange.name), exchange_type=exchange.kind, durable=True)


async def _declare_queue(channel: AbstractChannel, queue: Queue, names: Names) -> None:
    await channel.queue_declare(
        names.queue(queue.name), durable=True, arguments=queue_arguments(queue, names)
    )


async def _bind(channel: AbstractChannel, binding: Binding, names: Names) -> None:
    await channel.queue_bind(names.queue(binding.queue), names.exchange(binding.exchange), binding.key)


async def rebind(
    connection: Channels, bindings: Sequence[Binding], no_bindings: Sequence[Binding], names: Names
) -> None:
    """Make some bindings, and see to it that others are gone. Raises BrokerError."""
    channel = await connection.plain_channel()
    try:
        for binding in no_bindings:
            async with asking():
                await channel.queue_unbind(
                    names.queue(binding.queue), names.exchange(binding.exchange), binding.key
                )
        for binding in bindings:
            await _declared("binding of queue", binding.queue, _bind(channel, binding, names))
    finally:
        await close_quietly(channel)


async def _declared(what: str, name: str, answer: Awaitable[object]) -> None:
    try:
        async with asking():
            await answer
    except BrokerError as error:
        if error.code == _PRECONDITION_FAILED and (found := _ARGUMENT.search(str(error))):
            raise TopologyMismatch(_mismatch(what, name, found[1], str(error))) from error
        raise BrokerError(f"{what} {name} cannot be declared: {error}", error.code) from error


def _mismatch(what: str, name: str, argument: str, words: str) -> str:
    return (
        f"{what} {name} exists with another {argument} ({words}). "
        f"To replace it: stop what publishes to it, let its consumers empty it or move its messages, "
        f"delete the {what} at the broker, and start again; it is then declared anew."
    )
