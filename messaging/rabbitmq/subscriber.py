"""Receives in batches from one queue, outliving lost channels, lost connections and deleted queues."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from aiormq.abc import DeliveredMessage

from messaging.backoff import Pauses
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
    ) -> None:
        self.trouble: str | None = None
        """Why the queue cannot be consumed although the broker is there."""
        self.closed = False
        self._link = link
        self._names = names
        self._queue = queue
        self._prefetch = prefetch
        self._pauses = pauses
        self._restore = restore
        self._log = log.bind(queue=queue)
        self._arrivals: Arrivals[Delivery] = Arrivals()
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

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """See `Subscription.acknowledge`."""
        channel = self._channel
        if channel is None:
            return
        tags = self._owed.acknowledge(each.tag[1] for each in deliveries if each.tag[0] is channel)
        if tags:
            channel.write(frames.acknowledgements(channel.number, tags))

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
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
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
        message_id, type_, correlation_id, headers = frames.read_properties(properties)
        self._arrivals.add(
            Delivery(
                self._queue,
                body,
                message_id,
                type_,
                correlation_id,
                headers,
                exchange,
                routing_key,
                deliver.redelivered,
                (self._channel, deliver.tag),
                died_of=frames.latest_death(headers),
            )
        )

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
        async with asking(channel):
            await channel.rpc.basic_qos(prefetch_count=self._prefetch)
        self._owed = Owed()
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
        """Make the broker's side agree with whether deliveries are to flow."""
        async with self._changing:
            channel = self._channel
            if channel is None or self._flowing == (self._consumer is not None):
                return
            try:
                async with asking(channel):
                    consumer = await self._start_or_stop(channel)
            except BaseException:
                channel.end()  # the library has given it up: a new one follows what is wanted by then
                raise
            self._consumer = consumer

    async def _start_or_stop(self, channel: Channel) -> str | None:
        """The consumer that there is now, if any."""
        if self._consumer is None:
            queue = self._names.queue(self._queue)
            answer = await channel.rpc.basic_consume(queue, _library_sees_none)
            return answer.consumer_tag
        await channel.rpc.basic_cancel(self._consumer)
        return None

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            self._log.warning("subscription in trouble", trouble=trouble)
        self.trouble = trouble


async def _library_sees_none(message: DeliveredMessage) -> None:
    """The callback that the library asks for. Deliveries are taken from the socket before it sees them."""
