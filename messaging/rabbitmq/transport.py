"""One service's way to RabbitMQ, over one connection for publishing and one for consuming."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, Final

import structlog
from aiormq.abc import AbstractChannel
from tenacity import AsyncRetrying, retry_if_exception_type

from contracts.routing import is_batch_key
from messaging.backoff import Pauses
from messaging.rabbitmq.connection import (
    BrokerConnection,
    BrokerError,
    Link,
    asking,
    broker_backoff,
    broker_url,
)
from messaging.rabbitmq.ownership import disclaim
from messaging.rabbitmq.publisher import RabbitMqPublisher
from messaging.rabbitmq.subscriber import RabbitMqSubscription
from messaging.rabbitmq.topology import NOT_FOUND, Declared, Names, declare, rebind
from messaging.rabbitmq.window import CAUTIOUS
from messaging.transport import (
    Binding,
    BrokerUnavailable,
    ForeignBroker,
    NoSuchQueue,
    QueueDepth,
    Topology,
    TopologyMismatch,
)

DEPTH_TIMEOUT_S: Final = 5.0

LOOK_AFTER_RETURN_S: Final = 5.0
"""Shortest time between two declarations because of returned messages."""


class RabbitMqTransport:
    """A `Transport` to RabbitMQ 3.10 or newer.

    ``urls`` are the nodes of one cluster, tried in turn; raises ValueError for one that is no AMQP URL.
    ``prefix`` is put before every name at the broker and taken off what comes in, so that several
    installations may share a virtual host. ``rng`` jitters the pauses between tries to reconnect. A
    consumer that has just taken many messages waits for as many again, ``linger_s`` seconds at most.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        prefix: str = "",
        rng: Random | None = None,
        log: Any = None,
        name: str = "oms",
        linger_s: float = 0.0,
    ) -> None:
        if not urls:
            raise ValueError("no broker URL was given")
        self._rng = rng if rng is not None else Random()  # noqa: S311  jitter is no secret
        self._log = log if log is not None else structlog.get_logger()
        self._names = Names(prefix)
        self._linger_s = linger_s
        nodes = [broker_url(url) for url in urls]
        self._consuming = Link(f"{name} consuming", nodes, self._rng, self._log, self.restore)
        self._publishing = Link(f"{name} publishing", nodes, self._rng, self._log, _nothing_to_prepare)
        self._topology = Topology()
        self._topology_trouble: str | None = None
        self._is_foreign = False
        """Nothing of ours may get to another installation's services: whatever leaves waits in the outbox."""
        self._former: set[str] = set()
        self.vanished = 0
        """See `Transport.vanished`."""
        self._looked_at = -LOOK_AFTER_RETURN_S
        """When the topology was last declared because a message came back, by the loop's clock."""
        self._mending: asyncio.Task[None] | None = None
        self._publishers: list[RabbitMqPublisher] = []
        self._subscriptions: list[RabbitMqSubscription] = []
        self._asked: tuple[BrokerConnection, AbstractChannel] | None = None
        self._asking = asyncio.Lock()

    async def declare(self, topology: Topology) -> Sequence[str]:
        """See `Transport.declare`. Bindings are made, but not reported."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(BrokerError),
            wait=broker_backoff(self._rng),
            sleep=asyncio.sleep,
        )
        declared: Declared
        try:
            declared = await retrying(self._declare, topology)
        except ForeignBroker as error:
            self._is_foreign, self._topology_trouble = True, str(error)
            self._topology += topology
            self._mend()  # for whoever goes on all the same
            raise
        self._topology_trouble, self._is_foreign = None, False
        self._topology += topology
        self._note_former(declared)
        created = [*declared.mark, *declared.created]
        for what in created:
            self._log.info("created at the broker", what=what)
        await self._publishing.connected()
        return created

    async def _declare(self, topology: Topology) -> Declared:
        connection = await self._consuming.connected()
        try:
            return await declare(connection, topology, self._names)
        except BrokerError as error:
            self._note_topology(str(error))
            raise

    def publisher(self) -> RabbitMqPublisher:
        """See `Transport.publisher`."""
        self._publishing.start()
        publisher = RabbitMqPublisher(
            self._publishing,
            self._names,
            Pauses(broker_backoff(self._rng)),
            self._restore_from_publishing,
            self._look_after_return,
            self._log,
            lambda: self._is_foreign,
            self._has_exchange,
        )
        self._publishers = [*(each for each in self._publishers if not each.closed), publisher]
        return publisher

    async def take_over(self, foreign: ForeignBroker) -> None:
        """Take the mark of the virtual host's owner away, so that the next who declares owns it (M4).

        Raises:
            BrokerUnavailable: the broker cannot be asked, or this user may not.
        """
        try:
            await disclaim(await self._consuming.connected(), foreign.owner, self._names.prefix)
        except BrokerError as error:
            raise BrokerUnavailable(f"the mark of the installation cannot be deleted: {error}") from error

    async def rebind(self, bindings: Sequence[Binding], no_bindings: Sequence[Binding]) -> None:
        """Make some bindings of queues that exist, and see to it that others are gone.

        Raises:
            BrokerUnavailable: the broker cannot be asked, or this user may not.
        """
        try:
            await rebind(await self._consuming.connected(), bindings, no_bindings, self._names)
        except BrokerError as error:
            raise BrokerUnavailable(f"bindings cannot be changed: {error}") from error

    async def subscribe(self, queue: str, prefetch: int) -> RabbitMqSubscription:
        """See `Transport.subscribe`. Waits until the broker has accepted the consumer."""
        subscription = RabbitMqSubscription(
            self._consuming,
            self._names,
            queue,
            prefetch,
            Pauses(broker_backoff(self._rng)),
            self.restore,
            self._log,
            CAUTIOUS if self._may_hold_batches(queue) else 1.0,
            self._linger_s,
        )
        self._subscriptions = [*(each for each in self._subscriptions if not each.closed), subscription]
        await subscription.started()
        return subscription

    async def depth(self, queue: str) -> QueueDepth:
        """See `Transport.depth`. One question on a channel that is kept open for it."""
        async with self._asking:
            try:
                channel = await self._channel_for_questions()
                async with asking(timeout_s=DEPTH_TIMEOUT_S):
                    answer = await channel.queue_declare(self._names.queue(queue), passive=True)
            except BrokerError as error:
                self._asked = None
                if error.code == NOT_FOUND:
                    raise NoSuchQueue(f"queue {queue} does not exist") from error
                raise BrokerUnavailable(f"queue {queue} cannot be asked about: {error}") from error
            return QueueDepth(answer.message_count or 0, answer.consumer_count or 0)

    def _has_exchange(self, name: str) -> bool:
        return any(exchange.name == name for exchange in self._topology.exchanges)

    def _may_hold_batches(self, queue: str) -> bool:
        """Whether we ourselves have it ask for them, so that the first look at it may meet full ones (M5)."""
        topology = self._topology
        return any(
            binding.queue == queue and is_batch_key(binding.key)
            for binding in topology.bindings + topology.first_bindings
        )

    @property
    def trouble(self) -> str | None:
        """See `Transport.trouble`."""
        troubles = (
            self._consuming.trouble,
            self._publishing.trouble,
            self._topology_trouble,
            *(subscription.trouble for subscription in self._subscriptions),
            *(publisher.trouble for publisher in self._publishers),
        )
        return next((trouble for trouble in troubles if trouble is not None), None)

    async def close(self) -> None:
        """See `Transport.close`."""
        await asyncio.gather(
            *(subscription.close() for subscription in self._subscriptions),
            *(publisher.close() for publisher in self._publishers),
        )
        await asyncio.gather(self._consuming.close(), self._publishing.close())
        if self._mending is not None:  # last: a link that is still up may have begun it anew
            self._mending.cancel()
            await asyncio.gather(self._mending, return_exceptions=True)

    async def restore(self, connection: BrokerConnection) -> None:
        """Declare everything again, after a reconnect or when something turned out to be missing.

        A mismatch, a refusal or silence becomes the transport's trouble, and is tried again until it is none;
        it is no reason to drop the connection.
        """
        try:
            declared = await declare(connection, self._topology, self._names)
        except (TopologyMismatch, BrokerError) as error:
            if not connection.lost.is_set():
                self._note_topology(str(error))
                if isinstance(error, TopologyMismatch):  # else nobody has said whose it is
                    self._is_foreign = isinstance(error, ForeignBroker)
                self._mend()
        else:
            self._is_foreign = False
            if self._topology_trouble is not None:
                self._log.info("topology in order again")
            self._topology_trouble = None
            self._note_vanished(declared)

    async def _restore_from_publishing(self, _: BrokerConnection) -> None:
        """Declared over the consuming connection: an alarm makes the broker deaf to the other one."""
        if (connection := self._consuming.connection) is not None:
            await self.restore(connection)

    def _look_after_return(self) -> None:
        """A message came back: a queue or binding is gone, and there need be no consumer who would notice."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= LOOK_AFTER_RETURN_S:
            self._looked_at = now
            self._mend()

    def _mend(self) -> None:
        if self._mending is None or self._mending.done():
            self._mending = asyncio.create_task(self._try_again(), name="topology")

    async def _try_again(self) -> None:
        """Nobody else would: what has no answer, or is amiss, need not break a connection or a channel."""
        pauses = Pauses(broker_backoff(self._rng))
        while True:
            await pauses.pause()
            await self.restore(await self._consuming.connected())
            if self._topology_trouble is None:
                return

    async def _channel_for_questions(self) -> AbstractChannel:
        connection = self._consuming.connection
        if connection is None:
            raise BrokerError(self._consuming.trouble or "not connected")
        if self._asked is None or self._asked[0] is not connection or self._asked[1].is_closed:
            self._asked = (connection, await connection.plain_channel())
        return self._asked[1]

    def _note_vanished(self, declared: Declared) -> None:
        """What was there once and then was not: deleted by a person or an ``expires`` policy, as a rule."""
        self._note_former(declared)
        self.vanished += len(declared.created)
        for what in declared.created:
            self._log.error("vanished from the broker with all it held, declared again", what=what)

    def _note_former(self, declared: Declared) -> None:
        for queue in sorted(set(declared.former) - self._former):
            self._former.add(queue)
            self._log.info(
                "queue is as an earlier release declared it: a length policy must refuse", queue=queue
            )

    def _note_topology(self, trouble: str) -> None:
        if trouble != self._topology_trouble:
            self._log.warning("topology in trouble", trouble=trouble)
        self._topology_trouble = trouble


async def _nothing_to_prepare(_: BrokerConnection) -> None:
    """A publishing connection needs nothing declared."""
