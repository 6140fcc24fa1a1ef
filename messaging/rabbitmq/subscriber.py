"""Receives in batches from one queue, outliving lost channels, lost connections and deleted queues."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from aiormq.abc import DeliveredMessage

from contracts.envelope import BATCH_CONTENT_TYPE
from messaging.backoff import Pauses
from messaging.batches import unpacked
from messaging.batching import Arrivals
from messaging.rabbitmq import frames
from messaging.rabbitmq.acknowledging import Owed
from messaging.rabbitmq.connection import (
    BrokerConnection,
    BrokerError,
    Link,
    asking,
    close_quietly,
    for_ever,
)
from messaging.rabbitmq.topology import Names
from messaging.rabbitmq.window import Window
from messaging.rabbitmq.wire import Channel
from messaging.transport import Delivery

Restore = Callable[[BrokerConnection], Awaitable[None]]


class RabbitMqSubscription:
    """A `Subscription` with a channel of its own."""

    def __init__(
        self,
        link: Link,
        names: Names,
        queue: str,
        prefetch: int,
        pauses: Pauses,
        restore: Restore,
        log: Any,
        mean: float = 1.0,
        linger_s: float = 0.0,
    ) -> None:
        """
        Args:
            mean: how many parts a message is taken to have until some have come.
            linger_s: see `Arrivals`.
        """
        self.trouble: str | None = None
        """Why the queue cannot be consumed although the broker is there."""
        self.closed = False
        self._link = link
        self._names = names
        self._queue = queue
        self._prefetch = prefetch
        self._mean = mean
        self._window = Window(prefetch, mean)
        self._refitting: asyncio.Task[None] | None = None
        self._pauses = pauses
        self._restore = restore
        self._log = log.bind(queue=queue)
        self._arrivals: Arrivals[Delivery] = Arrivals(linger_s)
        self._channel: Channel | None = None
        self._owed = Owed()
        self._flowing = True
        self._consumer: str | None = None
        self._changing = asyncio.Lock()
        self._started = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(for_ever(self._keep_consuming, pauses, log))

    async def started(self) -> None:
        """Wait until the broker has accepted the consumer for the first time."""
        await self._started.wait()

    async def receive(self, limit: int) -> list[Delivery]:
        """See `Subscription.receive`."""
        return await self._arrivals.take(limit)

    @property
    def arrived(self) -> int:
        """See `Subscription.arrived`."""
        return len(self._arrivals)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """See `Subscription.acknowledge`."""
        channel = self._channel
        if channel is None:
            return
        done = self._window.done
        own = (each.tag for each in deliveries if each.tag[0] is channel)
        tags = self._owed.acknowledge([tag for _, tag, place in own if done(tag, place)])
        if tags:
            channel.write(frames.acknowledgements(channel.number, tags))
        self._fit()

    async def pause(self) -> None:
        """See `Subscription.pause`. A channel that fails at this is given up, so nothing flows either."""
        self._flowing = False
        await self._ask_to_follow()

    async def resume(self) -> None:
        """See `Subscription.resume`. A channel that fails at this is given up; the next one follows."""
        self._flowing = True
        await self._ask_to_follow()

    async def close(self) -> None:
        """See `Subscription.close`."""
        tasks = [task for task in (self._task, self._refitting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.trouble = None
        self.closed = True

    # -------------------------------------------------------------------------------------- as a Receiver

    def method(self, index: int, arguments: bytes) -> bool:
        """The broker's own cancel: the queue was deleted or moved. A new channel puts it right."""
        if index == frames.CANCEL:
            self._log.warning("consumer cancelled by the broker")
            if self._channel is not None:
                self._channel.end()
        return False

    def content(self, index: int, arguments: bytes, properties: bytes, body: bytes) -> None:
        """One delivery."""
        deliver = frames.read_deliver(arguments)
        exchange, routing_key = self._names.read(deliver.exchange, deliver.routing_key)
        message_id, type_, correlation_id, headers, content_type = frames.read_properties(properties)
        is_batch = content_type == BATCH_CONTENT_TYPE
        tag = (self._channel, deliver.tag)
        delivery = Delivery(
            self._queue,
            body,
            message_id,
            type_,
            correlation_id,
            headers,
            exchange,
            routing_key,
            deliver.redelivered,
            tag if is_batch else (*tag, 0),
            died_of=frames.latest_death(headers),
        )
        parts = unpacked(delivery) if is_batch else [delivery]
        self._window.arrived(deliver.tag, len(parts))
        self._arrivals.extend(parts)
        self._fit()

    def ended(self) -> None:
        """The channel is gone: what it brought and nobody took yet will be delivered again."""
        self._channel = self._consumer = None
        self._arrivals.clear()

    # --------------------------------------------------------------------------------------- its own care

    async def _keep_consuming(self) -> None:
        """One channel's life."""
        connection = await self._link.connected()
        channel: Channel | None = None
        try:
            channel = await connection.channel(self, confirms=False)
            await self._consume(channel)
            with self._pauses.between():
                await channel.ended.wait()
            if channel.refusal is not None:
                self._log.warning("consumer's channel closed by the broker", why=channel.refusal.text)
        except BrokerError as error:
            self._say(f"queue {self._queue} cannot be consumed: {error}")
        finally:
            if channel is not None:
                await close_quietly(channel)
        if not connection.lost.is_set():
            await self._pauses.pause()
            await self._restore(connection)

    async def _consume(self, channel: Channel) -> None:
        self._owed, self._window = Owed(), Window(self._prefetch, self._mean)
        self._channel = channel
        await self._follow()
        self.trouble = None
        self._started.set()
        self._log.info("consuming")

    async def _ask_to_follow(self) -> None:
        """Without an answer the channel and its flow end; the next one begins as is wanted by then."""
        with suppress(BrokerError):
            await self._follow()

    async def _follow(self) -> None:
        """Make the broker's side agree with whether deliveries are to flow, and how many at once."""
        async with self._changing:
            while (channel := self._channel) is not None and not self._agrees:
                try:
                    async with asking(channel):
                        consumer = await self._another(channel)
                except BaseException:
                    channel.end()  # the library has given it up: a new one follows what is wanted by then
                    raise
                self._consumer = consumer

    @property
    def _agrees(self) -> bool:
        """Whether the broker's side is as it is to be."""
        if self._consumer is None:
            return not self._flowing or not self._window.has_room
        return self._flowing and not self._window.is_overfull and not self._window.is_outgrown

    async def _another(self, channel: Channel) -> str | None:
        """The consumer that there is from now on, if any; it begins before the former one ends."""
        consumer: str | None = None
        if self._flowing and not self._window.is_overfull:
            await channel.rpc.basic_qos(prefetch_count=self._window.renew())
            answer = await channel.rpc.basic_consume(self._names.queue(self._queue), _library_sees_none)
            consumer = answer.consumer_tag
        if self._consumer is not None:
            await channel.rpc.basic_cancel(self._consumer)
        return consumer

    def _fit(self) -> None:
        """See to it, beside everything else, that what is in hand stays about the prefetch."""
        if self._channel is None or self._agrees or self._changing.locked():
            return
        if self._refitting is None or self._refitting.done():
            self._refitting = asyncio.get_running_loop().create_task(self._ask_to_follow())

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            self._log.warning("subscription in trouble", trouble=trouble)
        self.trouble = trouble


async def _library_sees_none(message: DeliveredMessage) -> None:
    """The callback that the library asks for. Deliveries are taken from the socket before it sees them."""
