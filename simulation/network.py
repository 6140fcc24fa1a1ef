"""The way between a process and the broker: it takes time, loses, repeats and reorders, and it breaks."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from messaging.batching import Arrivals
from messaging.in_process import InProcessBroker, Stored
from messaging.transport import (
    BrokerUnavailable,
    Confirm,
    Delivery,
    Message,
    QueueDepth,
    Receipt,
    Topology,
)
from simulation.facts import Acknowledged, Arrived, Delivered, Fact, HandedOut, Published, Refused
from simulation.process import Host
from simulation.weather import Fault

FULL_FOR_S = 30.0
"""Longest time for which a queue stays full, in seconds; mostly it is far less."""

LATENCY_S = 0.15
"""Longest usual time on the way, in seconds."""

NOTICED_AFTER_S = 8.0
"""Longest time until the broker notices that a connection is gone."""


class Wire:
    """What all connections share: the broker, chance, and whoever watches."""

    def __init__(self, broker: InProcessBroker, rng: random.Random, tell: Callable[[Fact], None]) -> None:
        self.broker = broker
        self.rng = rng
        self.tell = tell
        self.connections: dict[Connection, None] = {}
        self.full_until: dict[tuple[str, str], float] = {}
        """Until when nothing is taken, by exchange and routing key."""

    def latency_s(self) -> float:
        """How long something is on its way, in seconds."""
        return self.rng.random() * LATENCY_S


class Connection:
    """One process's connection to the broker; it comes back after it broke."""

    def __init__(self, wire: Wire, host: Host) -> None:
        self.wire = wire
        self.host = host
        self.generation = 0
        """Changes with every break: what belongs to an earlier one does not count any more."""
        self.up = True
        self.on_break: list[Callable[[], None]] = []
        self.on_return: list[Callable[[], None]] = []
        self._back: list[asyncio.Future[None]] = []
        self._down_until = 0.0
        wire.connections[self] = None
        host.life.at_the_end.append(self._end)

    def cut(self, down_s: float) -> None:
        """Break it now, for so many seconds."""
        self._down_until = max(self._down_until, self.host.loop.time() + down_s)
        if self.up:
            self._break()
        self.host.loop.in_the_world(down_s, self._return)

    async def wait_until_up(self) -> None:
        """Wait for the connection."""
        while not self.up:
            back = self.host.loop.create_future()
            self._back.append(back)
            await back

    def _break(self) -> None:
        self.up = False
        self.generation += 1
        for callback in self.on_break:
            callback()

    def _return(self) -> None:
        if self.up or not self.host.alive or self.host.loop.time() < self._down_until:
            return
        self.up = True
        for callback in self.on_return:
            callback()
        for back in self._back:
            if not back.done():
                back.set_result(None)
        self._back.clear()

    def _end(self) -> None:
        self.wire.connections.pop(self, None)
        if self.up:
            self._break()


class SimulatedPublisher:
    """A `Publisher` whose messages and confirms travel over a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._wire = connection.wire
        self._host = connection.host
        self._outstanding: dict[UUID, Confirm] = {}
        connection.on_break.append(self._broke)

    @property
    def room(self) -> int:
        """See `Publisher.room`."""
        return sys.maxsize if self._connection.up else 0

    def publish(self, messages: Sequence[Message], confirm: Confirm) -> None:
        """See `Publisher.publish`."""
        host, saga_id = self._host, messages[0].correlation_id
        if host.dies(Fault.CRASH_BEFORE_PUBLISH, saga_id):
            return
        for message in messages:
            if message.message_id in self._outstanding:
                raise AssertionError(f"message {message.message_id} is published while its receipt is due")
            self._outstanding[message.message_id] = confirm
            self._wire.tell(Published(host.service, message))
        ids = [message.message_id for message in messages]
        if not self._connection.up:
            host.soon(lambda: self._tell(ids, Receipt.UNKNOWN))
        elif host.strikes(Fault.MESSAGE_LOST, saga_id):
            arrive = self._wire.rng.randrange(len(messages))
            self._travel(messages[:arrive])
            self._connection.cut(self._host.weather.amount(Fault.MESSAGE_LOST, 0.1, 20.0))
        else:
            self._travel(messages)
        host.dies(Fault.CRASH_AFTER_PUBLISH, saga_id)

    async def close(self) -> None:
        """See `Publisher.close`."""
        self._tell(list(self._outstanding), Receipt.UNKNOWN)

    def _travel(self, messages: Sequence[Message]) -> None:
        together: list[Message] = []
        for message in messages:
            if self._host.strikes(Fault.MESSAGE_DELAYED, message.correlation_id):
                delay_s = self._host.weather.amount(Fault.MESSAGE_DELAYED, 0.1, 90.0)
                self._host.loop.in_the_world(delay_s, self._arrive, [message], self._connection.generation)
            else:
                together.append(message)
        if together:
            delay_s = self._wire.latency_s()
            self._host.loop.in_the_world(delay_s, self._arrive, together, self._connection.generation)

    def _arrive(self, messages: Sequence[Message], generation: int) -> None:
        """The broker reads. What was on its way when the connection broke may or may not have got through."""
        if generation != self._connection.generation and self._wire.rng.random() < 0.5:
            return
        receipts = [(message.message_id, self._route(message)) for message in messages]
        if self._host.strikes(Fault.CONFIRM_LOST, messages[0].correlation_id):
            down_s = self._host.weather.amount(Fault.CONFIRM_LOST, 0.1, 5.0)
            self._host.loop.in_the_world(self._wire.rng.random() * 3.0, self._connection.cut, down_s)
            return
        self._host.loop.in_the_world(self._wire.latency_s(), self._confirm, receipts, generation)

    def _route(self, message: Message) -> Receipt:
        if self._is_full(message):
            self._wire.tell(Refused(message))
            return Receipt.REFUSED
        if self._host.strikes(Fault.MESSAGE_FORGOTTEN, message.correlation_id):
            return Receipt.CONFIRMED
        self._wire.tell(Arrived(message))
        receipt = self._wire.broker.publish(message)
        if self._host.strikes(Fault.MESSAGE_DUPLICATED, message.correlation_id):
            delay_s = self._host.weather.amount(Fault.MESSAGE_DUPLICATED, 0.0, 60.0)
            self._host.loop.in_the_world(delay_s, self._wire.broker.publish, message)
        return receipt

    def _is_full(self, message: Message) -> bool:
        """Whether its queue takes nothing; one that has struck stays full for a while."""
        destination, now = (message.exchange, message.routing_key), self._host.loop.time()
        if now < self._wire.full_until.get(destination, 0.0):
            return True
        if not self._host.strikes(Fault.MESSAGE_REFUSED, message.correlation_id):
            return False
        full_for_s = self._host.weather.amount(Fault.MESSAGE_REFUSED, 0.0, FULL_FOR_S)
        self._wire.full_until[destination] = now + full_for_s
        return True

    def _confirm(self, receipts: Sequence[tuple[UUID, Receipt]], generation: int) -> None:
        if generation == self._connection.generation and self._host.alive:
            self._host.soon(partial(self._confirmed, receipts))

    def _confirmed(self, receipts: Sequence[tuple[UUID, Receipt]]) -> None:
        if self._host.dies(Fault.CRASH_BEFORE_CONFIRM):
            return
        for message_id, receipt in receipts:
            self._tell([message_id], receipt)
        self._host.dies(Fault.CRASH_AFTER_CONFIRM)

    def _broke(self) -> None:
        if self._host.alive and self._outstanding:
            ids = list(self._outstanding)
            self._host.soon(lambda: self._tell(ids, Receipt.UNKNOWN))

    def _tell(self, message_ids: Sequence[UUID], receipt: Receipt) -> None:
        for message_id in message_ids:
            confirm = self._outstanding.pop(message_id, None)
            if confirm is not None:
                confirm(message_id, receipt)


class BrokerSide:
    """A consumer as the broker sees it: what it was given and has not acknowledged."""

    def __init__(self, subscription: SimulatedSubscription, generation: int) -> None:
        self.flowing = True
        self.unacknowledged: dict[int, Stored] = {}
        self.generation = generation
        self._subscription = subscription
        self._last_tag = 0

    @property
    def has_room(self) -> bool:
        """See `QueueConsumer.has_room`."""
        return self.flowing and len(self.unacknowledged) < self._subscription.prefetch

    def deliver(self, stored: Stored) -> None:
        """See `QueueConsumer.deliver`."""
        self._last_tag += 1
        self.unacknowledged[self._last_tag] = stored
        self._subscription.send(stored, (self, self._last_tag))

    def forget(self) -> None:
        """See `QueueConsumer.forget`."""
        self.unacknowledged.clear()


class SimulatedSubscription:
    """A `Subscription` whose deliveries and acknowledgements travel over a connection."""

    def __init__(self, connection: Connection, queue: str, prefetch: int) -> None:
        self.prefetch = prefetch
        self._connection = connection
        self._wire = connection.wire
        self._host = connection.host
        self.queue = queue
        self._arrivals: Arrivals[Delivery] = Arrivals()
        self._side: BrokerSide | None = None
        self._flowing = True
        self._closed = False
        connection.on_break.append(self._broke)
        connection.on_return.append(self._attach)
        if connection.up:
            self._host.loop.in_the_world(self._wire.latency_s(), self._attach)

    @property
    def now_s(self) -> float:
        """The world's time."""
        return self._host.loop.time()

    async def receive(self, limit: int) -> list[Delivery]:
        """See `Subscription.receive`."""
        deliveries = await self._arrivals.take(limit)
        for delivery in deliveries:
            self._wire.tell(Delivered(self._host.name, delivery))
        return deliveries

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """See `Subscription.acknowledge`."""
        if not deliveries or self._host.dies(Fault.CRASH_BEFORE_ACK, deliveries[0].correlation_id):
            return
        for delivery in deliveries:
            self._wire.tell(Acknowledged(self._host.name, delivery))
        tags = [delivery.tag for delivery in deliveries]
        self._host.loop.in_the_world(self._wire.latency_s(), self._acknowledged, tags)
        self._host.dies(Fault.CRASH_AFTER_ACK, deliveries[0].correlation_id)

    async def pause(self) -> None:
        """See `Subscription.pause`."""
        self._flow(flowing=False)

    async def resume(self) -> None:
        """See `Subscription.resume`."""
        self._flow(flowing=not self._closed)

    async def close(self) -> None:
        """See `Subscription.close`."""
        self._closed = True
        self._detach()
        self._arrivals.clear()

    def send(self, stored: Stored, tag: tuple[BrokerSide, int]) -> None:
        """Put one message on its way to the process."""
        self._wire.tell(HandedOut(self.queue, stored.message))
        delay_s = LATENCY_S
        correlation_id = stored.message.correlation_id
        if self._host.strikes(Fault.REORDERED, correlation_id):
            delay_s = self._host.weather.amount(Fault.REORDERED, 0.0, 5.0)
        self._host.loop.in_the_world(delay_s, self._arrive, stored, tag)

    def _arrive(self, stored: Stored, tag: tuple[BrokerSide, int]) -> None:
        if self._host.alive and tag[0].generation == self._connection.generation and not self._closed:
            delivery = _delivery(self.queue, stored, tag)
            self._host.soon(lambda: self._arrivals.add(delivery))

    def _acknowledged(self, tags: Sequence[tuple[BrokerSide, int]]) -> None:
        for side, tag in tags:
            if side is self._side:
                side.unacknowledged.pop(tag, None)
        self._ask_for_more()

    def _flow(self, *, flowing: bool) -> None:
        self._flowing = flowing
        if self._side is not None and self._host.alive:
            # Always as long on its way: what is said later never overtakes what was said before.
            self._host.loop.in_the_world(LATENCY_S, self._set_flow, self._side, flowing)

    def _set_flow(self, side: BrokerSide, flowing: bool) -> None:  # noqa: FBT001 (called by the loop)
        side.flowing = flowing
        self._ask_for_more()

    def _attach(self) -> None:
        if self._side is None and self._connection.up and self._host.alive and not self._closed:
            self._side = BrokerSide(self, self._connection.generation)
            self._side.flowing = self._flowing
            self._wire.broker.consumers(self.queue).append(self._side)
            self._ask_for_more()

    def _broke(self) -> None:
        """The broker notices later; until then it keeps what it has delivered from everybody else."""
        side, self._side = self._side, None
        if side is not None:
            delay_s = self._wire.rng.random() * NOTICED_AFTER_S
            self._host.loop.in_the_world(delay_s, self._give_back, side)

    def _detach(self) -> None:
        side, self._side = self._side, None
        if side is not None:
            self._host.loop.in_the_world(self._wire.latency_s(), self._give_back, side)

    def _give_back(self, side: BrokerSide) -> None:
        self._wire.broker.consumers(self.queue).remove(side)
        queue = self._wire.broker.queue(self.queue)
        if queue is not None:
            queue.give_back(side.unacknowledged.values())

    def _ask_for_more(self) -> None:
        queue = self._wire.broker.queue(self.queue)
        if queue is not None:
            queue.hand_out()


def _delivery(queue: str, stored: Stored, tag: tuple[BrokerSide, int]) -> Delivery:
    message = stored.message
    return Delivery(
        queue=queue,
        body=message.body,
        message_id=str(message.message_id),
        type=message.type,
        correlation_id=None if message.correlation_id is None else str(message.correlation_id),
        headers=dict(message.headers),
        exchange=stored.exchange,
        routing_key=stored.routing_key,
        redelivered=stored.failures > 0,
        tag=tag,
        died_of=stored.died_of,
    )


class SimulatedTransport:
    """A `Transport` over one connection."""

    vanished = 0

    def __init__(self, wire: Wire, host: Host) -> None:
        self.connection = Connection(wire, host)
        self._wire = wire
        self._host = host

    @property
    def trouble(self) -> str | None:
        """See `Transport.trouble`."""
        return None if self.connection.up else "the connection is lost"

    async def declare(self, topology: Topology) -> Sequence[str]:
        """See `Transport.declare`."""
        await self.connection.wait_until_up()
        return self._wire.broker.declare(topology)

    def publisher(self) -> SimulatedPublisher:
        """See `Transport.publisher`."""
        return SimulatedPublisher(self.connection)

    async def subscribe(self, queue: str, prefetch: int) -> SimulatedSubscription:
        """See `Transport.subscribe`."""
        await self.connection.wait_until_up()
        return SimulatedSubscription(self.connection, queue, prefetch)

    async def depth(self, queue: str) -> QueueDepth:
        """See `Transport.depth`."""
        await asyncio.sleep(self._wire.latency_s())
        if not self.connection.up:
            raise BrokerUnavailable("the connection is lost")
        return self._wire.broker.depth(queue)

    async def close(self) -> None:
        """See `Transport.close`."""
        self.connection.cut(0.0)
