"""A broker inside this process: the same promises as RabbitMQ's, kept in memory and lost with it.

It serves `oms run` without a broker, the simulation and fast tests. Everything happens in an order that
depends on the calls alone, and time is the running loop's, so a loop with a simulated clock replays exactly.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Final, Protocol
from uuid import UUID

from contracts.routing import DEFAULT_EXCHANGE
from messaging.batches import Address, Parcel, delivered, ids_of, parcels
from messaging.batching import Arrivals
from messaging.parts import InHand
from messaging.transport import (
    Binding,
    Confirm,
    Delivery,
    Exchange,
    ForeignBroker,
    Message,
    NoSuchQueue,
    Queue,
    QueueDepth,
    Receipt,
    Topology,
    TopologyMismatch,
)

_ARGUMENTS: Final = {
    "kind": "type",
    "delivery_limit": "x-delivery-limit",
    "dead_letter_queue": "x-dead-letter-routing-key",
    "ttl_s": "x-message-ttl",
}
"""What RabbitMQ calls the properties, so that an error reads the same."""


def matches(pattern: str, routing_key: str) -> bool:
    """Whether a topic binding takes a key: ``*`` stands for one word, ``#`` for any number of them."""
    return _matches(pattern.split("."), routing_key.split("."))


def _matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    first, rest = pattern[0], pattern[1:]
    if first == "#":
        return any(_matches(rest, words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and first in ("*", words[0]) and _matches(rest, words[1:])


@dataclass(slots=True, eq=False)
class Stored:
    """One message in one queue."""

    message: Message
    exchange: str
    routing_key: str
    expires_at: float | None = None
    died_of: str | None = None
    failures: int = 0
    """How often it was delivered and came back without an acknowledgement."""

    def delivered(self, queue: str, tag: tuple[object, int]) -> list[Delivery]:
        """What a consumer gets of it: its parts, where it is a batch."""
        redelivered = self.failures > 0
        return delivered(self.message, queue, self.exchange, self.routing_key, redelivered, tag, self.died_of)


class QueueConsumer(Protocol):
    """Who takes messages from a queue, as the broker sees it."""

    @property
    def flowing(self) -> bool:
        """Whether it wants deliveries at all."""

    @property
    def has_room(self) -> bool:
        """Whether it takes one more delivery now."""

    def deliver(self, stored: Stored) -> None:
        """Take one message from the queue."""

    def forget(self) -> None:
        """The queue is gone: nothing that was delivered counts any more."""


class _Queue:
    """Messages in order, the consumers that share them fairly, and the way out for what expires or fails."""

    def __init__(self, properties: Queue, consumers: deque[QueueConsumer], broker: InProcessBroker) -> None:
        self.properties = properties
        self.consumers = consumers
        self.ready: deque[Stored] = deque()
        self._broker = broker
        self._expiry: asyncio.TimerHandle | None = None

    def put(self, message: Message, exchange: str, routing_key: str, died_of: str | None) -> None:
        """Append a message that was just routed here."""
        stored = Stored(message, exchange, routing_key, died_of=died_of)
        if self.properties.ttl_s is not None:
            stored.expires_at = asyncio.get_running_loop().time() + self.properties.ttl_s
        self.ready.append(stored)
        self.hand_out()

    def give_back(self, unacknowledged: Iterable[Stored]) -> None:
        """Deliveries whose consumer left: first in line again, or dead letters past the delivery limit."""
        again: list[Stored] = []
        for stored in unacknowledged:
            stored.failures += 1
            if stored.failures > self.properties.delivery_limit:
                self._dead_letter(stored, "delivery_limit")
            else:
                again.append(stored)
        self.ready.extendleft(reversed(again))
        self.hand_out()

    def hand_out(self) -> None:
        """Deliver what consumers have room for, turn by turn."""
        waiting = len(self.consumers)
        while self.ready and waiting:
            consumer = self.consumers[0]
            self.consumers.rotate(-1)
            if consumer.has_room:
                consumer.deliver(self.ready.popleft())
                waiting = len(self.consumers)
            else:
                waiting -= 1
        self._watch_oldest()

    def end(self) -> None:
        """The queue is deleted, and everything in it."""
        self.ready.clear()
        if self._expiry is not None:
            self._expiry.cancel()

    def _watch_oldest(self) -> None:
        """All messages live equally long here, so only the oldest needs a timer."""
        if self._expiry is not None or not self.ready or self.ready[0].expires_at is None:
            return
        loop = asyncio.get_running_loop()
        due = self.ready[0].expires_at
        self._expiry = loop.call_later(max(0.0, due - loop.time()), self._expire, due)

    def _expire(self, due: float) -> None:
        self._expiry = None
        while self.ready and (self.ready[0].expires_at or due) <= due:
            self._dead_letter(self.ready.popleft(), "expired")
        self._watch_oldest()

    def _dead_letter(self, stored: Stored, reason: str) -> None:
        if self.properties.dead_letter_queue is not None:
            target = self.properties.dead_letter_queue
            self._broker.route(stored.message, DEFAULT_EXCHANGE, target, died_of=reason)


class InProcessBroker:
    """What the transports of one process share. Use it from one event loop."""

    def __init__(self) -> None:
        self._exchanges: dict[str, Exchange] = {}
        self._bindings: dict[str, list[Binding]] = {}
        self._queues: dict[str, _Queue] = {}
        self._consumers: dict[str, deque[QueueConsumer]] = {}
        self._owner: UUID | None = None

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of all queues, in order of declaration."""
        return tuple(self._queues)

    def declare(self, topology: Topology) -> list[str]:
        """See `Transport.declare`."""
        created = self._claim(topology.installation)
        asking = [each for each in topology.first_bindings if each.queue not in self._queues]
        for exchange in topology.exchanges:
            if _is_new("exchange", exchange, self._exchanges.get(exchange.name)):
                self._exchanges[exchange.name] = exchange
                self._bindings[exchange.name] = []
                created.append(f"exchange {exchange.name}")
        for queue in topology.queues:
            existing = self._queues.get(queue.name)
            if _is_new("queue", queue, existing.properties if existing is not None else None):
                self._queues[queue.name] = _Queue(queue, self.consumers(queue.name), self)
                created.append(f"queue {queue.name}")
        for binding in (*topology.bindings, *asking):
            if binding not in self._bindings[binding.exchange]:
                self._bindings[binding.exchange].append(binding)
        return created

    def _claim(self, installation: UUID | None) -> list[str]:
        """Whose the broker is: the first installation's that declares something (M4)."""
        if installation is None or installation == self._owner:
            return []
        if self._owner is not None:
            raise ForeignBroker(installation, str(self._owner))
        self._owner = installation
        return [f"mark of installation {installation}"]

    def publish(self, message: Message) -> Receipt:
        """Route one message. Without its exchange its fate is UNKNOWN: RabbitMQ would close the channel."""
        routed = self.route(message, message.exchange, message.routing_key)
        if routed is None:
            return Receipt.UNKNOWN
        return Receipt.CONFIRMED if routed or not message.mandatory else Receipt.RETURNED

    def takes(self, address: Address) -> bool:
        """Whether a queue asks for batches there."""
        exchange = self._exchanges.get(address.exchange)
        return exchange is not None and bool(self._targets(exchange, address.routing_key))

    def route(
        self, message: Message, exchange: str, routing_key: str, died_of: str | None = None
    ) -> int | None:
        """Put a message into the queues that are to have it; how many, or None without such an exchange."""
        if exchange == DEFAULT_EXCHANGE:
            targets = [routing_key]
        elif exchange in self._exchanges:
            targets = self._targets(self._exchanges[exchange], routing_key)
        else:
            return None
        queues = [self._queues[name] for name in targets if name in self._queues]
        for queue in queues:
            queue.put(message, exchange, routing_key, died_of)
        return len(queues)

    def depth(self, name: str) -> QueueDepth:
        """See `Transport.depth`."""
        queue = self.queue(name)
        if queue is None:
            raise NoSuchQueue(f"queue {name} does not exist")
        return QueueDepth(len(queue.ready), sum(consumer.flowing for consumer in queue.consumers))

    def purge(self, name: str) -> int:
        """Forget what is ready in a queue, but not what consumers hold; returns how many messages."""
        queue = self._queues[name]
        count = len(queue.ready)
        queue.ready.clear()
        return count

    def delete_queue(self, name: str) -> None:
        """Forget a queue with all its messages and bindings. Its consumers come back when it is declared."""
        self._queues.pop(name).end()
        for bindings in self._bindings.values():
            bindings[:] = [binding for binding in bindings if binding.queue != name]
        for consumer in self.consumers(name):
            consumer.forget()

    def queue(self, name: str) -> _Queue | None:
        """The queue of that name."""
        return self._queues.get(name)

    def consumers(self, name: str) -> deque[QueueConsumer]:
        """Who consumes the queue of that name, whether it exists or not."""
        return self._consumers.setdefault(name, deque())

    def _targets(self, exchange: Exchange, routing_key: str) -> list[str]:
        taken = (
            binding.queue
            for binding in self._bindings[exchange.name]
            if binding.key == routing_key or (exchange.kind == "topic" and matches(binding.key, routing_key))
        )
        return list(dict.fromkeys(taken))


def _is_new(what: str, wanted: Exchange | Queue, existing: Exchange | Queue | None) -> bool:
    if existing is None:
        return True
    for each in fields(wanted):
        if getattr(wanted, each.name) != getattr(existing, each.name):
            raise TopologyMismatch(
                f"{what} {wanted.name} exists with another {_ARGUMENTS.get(each.name, each.name)}"
            )
    return False


class InProcessPublisher:
    """A `Publisher`. Messages arrive at once; receipts follow in the loop's next round."""

    def __init__(self, broker: InProcessBroker) -> None:
        self.closed = False
        self._broker = broker
        self._open: deque[tuple[Confirm, list[tuple[UUID, Receipt]]]] = deque()

    @property
    def room(self) -> int:
        """See `Publisher.room`: there is no bound."""
        return 0 if self.closed else sys.maxsize

    def publish(self, messages: Sequence[Message], confirm: Confirm) -> None:
        """See `Publisher.publish`."""
        receipts = [
            (message_id, receipt)
            for parcel in parcels(messages, self._broker.takes)
            for receipt in (self._publish(parcel),)
            for message_id in ids_of(parcel)
        ]
        self._open.append((confirm, receipts))
        asyncio.get_running_loop().call_soon(self._confirm_oldest)

    async def close(self) -> None:
        """See `Publisher.close`."""
        self.closed = True
        while self._open:
            confirm, receipts = self._open.popleft()
            for message_id, _ in receipts:
                confirm(message_id, Receipt.UNKNOWN)

    def _publish(self, parcel: Parcel) -> Receipt:
        return Receipt.UNKNOWN if self.closed else self._broker.publish(parcel.message)

    def _confirm_oldest(self) -> None:
        if self._open:
            confirm, receipts = self._open.popleft()
            for message_id, receipt in receipts:
                confirm(message_id, receipt)


class InProcessSubscription:
    """A `Subscription`."""

    def __init__(self, broker: InProcessBroker, queue: str, prefetch: int) -> None:
        self.closed = False
        self.flowing = True
        """False while paused."""
        self._broker = broker
        self._queue = queue
        self._prefetch = prefetch
        self._arrivals: Arrivals[Delivery] = Arrivals()
        self._unacknowledged: dict[int, Stored] = {}
        self._in_hand: InHand[int] = InHand()
        self._last_tag = 0
        broker.consumers(queue).append(self)
        self._ask_for_more()

    @property
    def has_room(self) -> bool:
        """Whether it takes one more delivery."""
        return self.flowing and self._in_hand.parts < self._prefetch

    def deliver(self, stored: Stored) -> None:
        """Take one message from the queue."""
        self._last_tag += 1
        self._unacknowledged[self._last_tag] = stored
        deliveries = stored.delivered(self._queue, (self, self._last_tag))
        self._in_hand.arrived(self._last_tag, len(deliveries))
        self._arrivals.extend(deliveries)

    async def receive(self, limit: int) -> list[Delivery]:
        """See `Subscription.receive`."""
        return await self._arrivals.take(limit)

    @property
    def arrived(self) -> int:
        """See `Subscription.arrived`."""
        return len(self._arrivals)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """See `Subscription.acknowledge`."""
        for delivery in deliveries:
            owner, tag, place = delivery.tag
            if owner is self and self._in_hand.done(tag, place):
                self._unacknowledged.pop(tag, None)
        self._ask_for_more()

    async def pause(self) -> None:
        """See `Subscription.pause`."""
        self.flowing = False

    async def resume(self) -> None:
        """See `Subscription.resume`."""
        self.flowing = not self.closed
        self._ask_for_more()

    async def close(self) -> None:
        """See `Subscription.close`."""
        if self.closed:
            return
        self.closed, self.flowing = True, False
        self._broker.consumers(self._queue).remove(self)
        unacknowledged = list(self._unacknowledged.values())
        self.forget()
        queue = self._broker.queue(self._queue)
        if queue is not None:
            queue.give_back(unacknowledged)

    def forget(self) -> None:
        """Nothing that was delivered counts any more."""
        self._unacknowledged.clear()
        self._in_hand = InHand()
        self._arrivals.clear()

    def _ask_for_more(self) -> None:
        queue = self._broker.queue(self._queue)
        if queue is not None:
            queue.hand_out()


class InProcessTransport:
    """A `Transport` to a broker in this process, which is never in trouble."""

    trouble: str | None = None
    vanished = 0

    def __init__(self, broker: InProcessBroker) -> None:
        self._broker = broker
        self._parts: list[InProcessPublisher | InProcessSubscription] = []

    async def declare(self, topology: Topology) -> Sequence[str]:
        """See `Transport.declare`. Bindings are made, but not reported."""
        return self._broker.declare(topology)

    def publisher(self) -> InProcessPublisher:
        """See `Transport.publisher`."""
        publisher = InProcessPublisher(self._broker)
        self._keep(publisher)
        return publisher

    async def subscribe(self, queue: str, prefetch: int) -> InProcessSubscription:
        """See `Transport.subscribe`."""
        subscription = InProcessSubscription(self._broker, queue, prefetch)
        self._keep(subscription)
        return subscription

    async def depth(self, queue: str) -> QueueDepth:
        """See `Transport.depth`."""
        return self._broker.depth(queue)

    async def close(self) -> None:
        """See `Transport.close`."""
        for part in self._parts:
            await part.close()

    def _keep(self, part: InProcessPublisher | InProcessSubscription) -> None:
        self._parts = [*(each for each in self._parts if not each.closed), part]
