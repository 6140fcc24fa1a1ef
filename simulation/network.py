"""The way between a process and the broker: it takes time, loses, repeats and reorders, and it breaks."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from messaging.batches import Parcel, ids_of, parcels
from messaging.batching import Arrivals
from messaging.in_process import InProcessBroker, Stored
from messaging.parts import InHand
from messaging.retries import parse_id
from messaging.transport import (
    BrokerUnavailable,
    Confirm,
    Delivery,
    Message,
    QueueDepth,
    Receipt,
    Topology,
)
from simulation.facts import Acknowledged, Arrived, Delivered, Fact, HandedOut, Published, Refused, TakenOff
from simulation.process import Host
from simulation.rotten_parts import RottenParts
from simulation.servers import BEGINNING
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
        self.rotten: RottenParts | None = None
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
        together: list[Parcel] = []
        for parcel in parcels(messages, self._wire.broker.takes):
            if self._host.strikes(Fault.MESSAGE_DELAYED, _saga_of(parcel)):
                delay_s = self._host.weather.amount(Fault.MESSAGE_DELAYED, 0.1, 90.0)
                self._host.loop.in_the_world(delay_s, self._arrive, [parcel], self._connection.generation)
            else:
                together.append(parcel)
        if together:
            delay_s = self._wire.latency_s()
            self._host.loop.in_the_world(delay_s, self._arrive, together, self._connection.generation)

    def _arrive(self, together: Sequence[Parcel], generation: int) -> None:
        """The broker reads. What was on its way when the connection broke may or may not have got through."""
        if generation != self._connection.generation and self._wire.rng.random() < 0.5:
            return
        receipts: list[tuple[UUID, Receipt]] = []
        for parcel in together:
            receipt = self._route(parcel)
            receipts += [(message_id, receipt) for message_id in ids_of(parcel)]
        if self._host.strikes(Fault.CONFIRM_LOST, _saga_of(together[0])):
            down_s = self._host.weather.amount(Fault.CONFIRM_LOST, 0.1, 5.0)
            self._host.loop.in_the_world(self._wire.rng.random() * 3.0, self._connection.cut, down_s)
            return
        self._host.loop.in_the_world(self._wire.latency_s(), self._confirm, receipts, generation)

    def _route(self, parcel: Parcel) -> Receipt:
        message, saga_id = parcel.message, _saga_of(parcel)
        if self._is_full(message, saga_id):
            for part in parcel.parts:
                self._wire.tell(Refused(part))
            return Receipt.REFUSED
        if self._host.strikes(Fault.MESSAGE_FORGOTTEN, saga_id):
            return Receipt.CONFIRMED
        for part in parcel.parts:
            self._wire.tell(Arrived(part))
        rotten = self._wire.rotten
        receipt = self._wire.broker.publish(rotten.got_into(parcel) if rotten else message)
        if self._host.strikes(Fault.MESSAGE_DUPLICATED, saga_id):
            delay_s = self._host.weather.amount(Fault.MESSAGE_DUPLICATED, 0.0, 60.0)
            self._host.loop.in_the_world(delay_s, self._wire.broker.publish, message)
        return receipt

    def _is_full(self, message: Message, saga_id: UUID | None) -> bool:
        """Whether its queue takes nothing; one that has struck stays full for a while."""
        destination, now = (message.exchange, message.routing_key), self._host.loop.time()
        if now < self._wire.full_until.get(destination, 0.0):
            return True
        if not self._host.strikes(Fault.MESSAGE_REFUSED, saga_id):
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
        self.in_hand: InHand[int] = InHand()
        """Of which parts the process has not said that they are done."""
        self.generation = generation
        self._subscription = subscription
        self._last_tag = 0

    @property
    def has_room(self) -> bool:
        """See `QueueConsumer.has_room`."""
        return self.flowing and self.in_hand.parts < self._subscription.prefetch

    def deliver(self, stored: Stored) -> None:
        """See `QueueConsumer.deliver`."""
        self._last_tag += 1
        self.unacknowledged[self._last_tag] = stored
        parts = stored.delivered(self._subscription.queue, (self, self._last_tag))
        self.in_hand.arrived(self._last_tag, len(parts))
        self._subscription.send(parts)

    def done(self, tag: int, place: int) -> bool:
        """One part is done; whether the whole is to be acknowledged."""
        return self.in_hand.done(tag, place)

    def acknowledged(self, tag: int) -> Stored | None:
        """The broker hears that a message, with all of its parts, is done; None where it does not hold it."""
        return self.unacknowledged.pop(tag, None)

    def forget(self) -> None:
        """See `QueueConsumer.forget`."""
        self.unacknowledged.clear()
        self.in_hand = InHand()


class SimulatedSubscription:
    """A `Subscription` whose deliveries and acknowledgements travel over a connection."""

    def __init__(self, connection: Connection, queue: str, prefetch: int) -> None:
        self.prefetch = prefetch
        self._connection = connection
        self._wire = connection.wire
        self._host = connection.host
        self.queue = queue
        self._arrivals: Arrivals[Delivery] = Arrivals(linger_s=0.1, crowd=2)
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

    @property
    def arrived(self) -> int:
        """See `Subscription.arrived`."""
        return len(self._arrivals)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """See `Subscription.acknowledge`."""
        if not deliveries or self._host.dies(Fault.CRASH_BEFORE_ACK, deliveries[0].correlation_id):
            return
        for delivery in deliveries:
            self._wire.tell(Acknowledged(self._host.name, delivery))
        tags = [(side, tag) for side, tag, place in (e.tag for e in deliveries) if side.done(tag, place)]
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

    def send(self, parts: Sequence[Delivery]) -> None:
        """Put one message on its way to the process."""
        for each in parts:
            if each.flaw is None:
                self._wire.tell(HandedOut(self.queue, _read(each)))
        delay_s = LATENCY_S
        if self._host.strikes(Fault.REORDERED, parse_id(parts[0].correlation_id)):
            delay_s = self._host.weather.amount(Fault.REORDERED, 0.0, 5.0)
        self._host.loop.in_the_world(delay_s, self._arrive, parts)

    def _arrive(self, parts: Sequence[Delivery]) -> None:
        side: BrokerSide = parts[0].tag[0]
        if self._host.alive and side.generation == self._connection.generation and not self._closed:
            self._host.soon(lambda: self._arrivals.extend(parts))

    def _acknowledged(self, tags: Sequence[tuple[BrokerSide, int]]) -> None:
        for side, tag in tags:
            if side is self._side:
                stored = side.acknowledged(tag)
                if stored is not None:
                    self._wire.tell(TakenOff(side, tag, stored.message))
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


def _read(delivery: Delivery) -> Message:
    """A message as it came, for whoever watches."""
    return Message(
        message_id=UUID(delivery.message_id),
        type=delivery.type or "",
        exchange=delivery.exchange,
        routing_key=delivery.routing_key,
        body=delivery.body,
        correlation_id=parse_id(delivery.correlation_id),
        app_id="",
        timestamp=BEGINNING,
        mandatory=False,
        headers=delivery.headers,
    )


def _saga_of(parcel: Parcel) -> UUID | None:
    """The saga that a fault is written down to: its own, or that of a batch's first part."""
    return parcel.parts[0].correlation_id


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
