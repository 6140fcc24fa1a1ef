"""The stand-in for the orchestrator: sends commands to one participant and keeps what comes of them."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from contracts.envelope import EVENT_ID
from contracts.failures import ORIGINAL_MESSAGE_ID
from contracts.routing import (
    EVENTS_EXCHANGE,
    OUTCOMES_QUEUE,
    command_queue,
    dead_letter_queue,
)
from messaging.identifiers import NewId
from messaging.retries import parse_id
from messaging.topology import DELIVERY_LIMIT, participant_topology
from messaging.transport import (
    Binding,
    BrokerUnavailable,
    Delivery,
    Message,
    NoSuchQueue,
    Queue,
    QueueDepth,
    Receipt,
    Subscription,
    Topology,
    Transport,
)
from oms.failures import Failure

PREFETCH: Final = 1000
AT_ONCE: Final = 500
LOOK_AGAIN_S: Final = 0.2
SENT_WITHIN_S: Final = 60.0
"""Seconds that the broker gets to take what is sent."""

ANSWERS_WITHIN_S: Final = 30.0
"""Seconds that it gets to say what waits in a queue."""


def answers_queue(participant: str) -> str:
    """Where conformance collects every event while it runs."""
    return f"conformance.{participant}"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things are waited for, in seconds.

    Attributes:
        answer_s: for an answer, or for the next one while many are owed.
        grace_s: for what ought to come, once something else has; and for silence in the end.
    """

    answer_s: float = 10.0
    grace_s: float = 1.0


@dataclass(slots=True, eq=False)
class Event:
    """An event as it came; nothing in it is checked but that its body may be a JSON object."""

    delivery: Delivery
    body: Mapping[str, Any]

    @property
    def type(self) -> str:
        """Its type; empty where it has none."""
        return self.delivery.type or ""

    @property
    def event_id(self) -> str | None:
        """Its `event-id`, where it has one as text."""
        value = self.delivery.headers.get(EVENT_ID)
        return value if isinstance(value, str) else None


@dataclass(slots=True)
class Taken:
    """How much the broker has taken of what was sent."""

    owed: int
    confirmed: int = 0
    refused: list[Receipt] = field(default_factory=list)


class StandIn:
    """Plays the orchestrator towards one participant."""

    def __init__(
        self,
        transport: Transport,
        participant: str,
        new_id: NewId,
        retry_delays_s: Sequence[float],
        patience: Patience,
    ) -> None:
        """
        Args:
            retry_delays_s: of the retry queues that are declared, for a participant that declares nothing.
        """
        self.participant = participant
        self.new_id = new_id
        self.patience = patience
        self.events: dict[UUID, list[Event]] = defaultdict(list)
        """By saga, in the order in which they came."""
        self.arrivals: list[UUID] = []
        """The sagas of all events, in the order in which they came."""
        self.dead: list[Delivery] = []
        """Every dead letter of the participant."""
        self._transport = transport
        self._delays_s = retry_delays_s
        self._publisher = transport.publisher()
        self._subscriptions: list[Subscription] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()
        self._dead_by_id: dict[str, Delivery] = {}
        self._anonymous: list[Delivery] = []
        """Dead letters that do not tell which message they were."""

    @property
    def queue(self) -> str:
        """The participant's command queue."""
        return command_queue(self.participant)

    async def start(self, *, over_leftovers: bool = False) -> None:
        """Declare what the participant needs, make sure that nobody is disturbed, and listen.

        Args:
            over_leftovers: go on although messages lie in its queues; its dead letters are taken.

        Raises:
            Failure: an orchestrator is at work here, messages lie there, or nobody consumes the commands.
            TopologyMismatch: something of that name exists with other properties.
        """
        await self._transport.declare(Topology())  # which waits for the broker
        await self._require_no_orchestrator()
        ours = Queue(answers_queue(self.participant), DELIVERY_LIMIT)
        everything = Binding(ours.name, EVENTS_EXCHANGE, "#")
        await self._transport.declare(
            participant_topology(self.participant, self._delays_s).unasked
            + Topology((), (ours,), (everything,))
        )
        if not over_leftovers:
            await self._require_empty(self.queue, dead_letter_queue(self.queue))
        await self.require_consumer(self.patience.answer_s)
        for name, keep in ((ours.name, self._keep_event), (dead_letter_queue(self.queue), self._keep_dead)):
            subscription = await self._transport.subscribe(name, PREFETCH)
            self._subscriptions.append(subscription)
            self._tasks.append(asyncio.create_task(self._listen(subscription, keep)))

    async def stop(self) -> None:
        """Leave. The transport is its owner's."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for subscription in self._subscriptions:
            await subscription.close()
        await self._publisher.close()

    def begin_sending(self, messages: Sequence[Message]) -> Taken:
        """Put messages on the broker in one write; what it has taken of them is counted."""
        taken = Taken(len(messages))

        def confirm(_: UUID, receipt: Receipt) -> None:
            if receipt is Receipt.CONFIRMED:
                taken.confirmed += 1
            else:
                taken.refused.append(receipt)
            self._news.set()

        self._publisher.publish(messages, confirm)
        return taken

    async def taken(self, taken: Taken) -> None:
        """Wait until the broker has all. Raises Failure when it does not take them."""
        await self.until(lambda: taken.confirmed + len(taken.refused) >= taken.owed, SENT_WITHIN_S)
        if taken.confirmed < taken.owed:
            why = taken.refused[0] if taken.refused else "no confirmation"
            raise Failure(f"the broker did not take a command for {self.participant}: {why}")

    async def send(self, *messages: Message) -> None:
        """Put messages on the broker and wait until it has them."""
        await self.taken(self.begin_sending(messages))

    async def until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Wait until something is so; says whether it is."""
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return condition()
        return True

    async def while_it_grows(self, count: Callable[[], int], wanted: int) -> int:
        """Wait for a number to be reached, as long as it grows within the patience; returns what it is."""
        while (reached := count()) < wanted:
            if not await self.until(lambda so_far=reached: count() > so_far, self.patience.answer_s):  # type: ignore[misc]
                break
        return count()

    def dead_letter_of(self, message: Message) -> Delivery | None:
        """The dead letter that a message became: known by its id, where it tells that, else by its bytes."""
        found = self._dead_by_id.get(str(message.message_id))
        return found or next((each for each in self._anonymous if each.body == message.body), None)

    async def depth(self) -> QueueDepth:
        """What waits in the command queue. Raises Failure when it cannot be known."""
        return await self._depth(self.queue)

    async def require_consumer(self, within_s: float) -> None:
        """Wait until somebody consumes the commands. Raises Failure when nobody does in time."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + within_s
        while not (await self.depth()).consumers:
            if clock() >= deadline:
                raise Failure(
                    f"nobody consumes {self.queue}: start the participant, with this broker and virtual host"
                )
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _listen(self, subscription: Subscription, keep: Callable[[Delivery], None]) -> None:
        while True:
            deliveries = await subscription.receive(AT_ONCE)
            for delivery in deliveries:
                keep(delivery)
            subscription.acknowledge(deliveries)
            self._news.set()

    def _keep_event(self, delivery: Delivery) -> None:
        event = Event(delivery, _json_object(delivery.body))
        named = (parse_id(delivery.correlation_id), _id(event.body.get("saga_id")))
        for saga_id in {each for each in named if each is not None}:
            self.events[saga_id].append(event)
            self.arrivals.append(saga_id)

    def _keep_dead(self, delivery: Delivery) -> None:
        self.dead.append(delivery)
        original = delivery.headers.get(ORIGINAL_MESSAGE_ID)
        if isinstance(original, str) and original:
            self._dead_by_id.setdefault(original, delivery)
        elif delivery.died_of is not None and delivery.message_id is not None:
            self._dead_by_id.setdefault(delivery.message_id, delivery)
        else:
            self._anonymous.append(delivery)

    async def _require_no_orchestrator(self) -> None:
        depth = await self._depth_if_there(OUTCOMES_QUEUE)
        if depth is not None and depth.consumers:
            raise Failure(
                f"an orchestrator is at work on this virtual host ({OUTCOMES_QUEUE} has {depth.consumers} "
                "consumer): conformance sends commands of its own and takes dead letters, so give it and the "
                "participant a virtual host of their own"
            )

    async def _require_empty(self, *queues: str) -> None:
        for name in queues:
            depth = await self._depth_if_there(name)
            if depth is not None and depth.ready:
                raise Failure(
                    f"{depth.ready} messages lie in {name}: is this a virtual host of its own? "
                    "--yes goes on, and takes what lies in the dead letters"
                )

    async def _depth_if_there(self, queue: str) -> QueueDepth | None:
        try:
            return await self._depth(queue)
        except NoSuchQueue:
            return None

    async def _depth(self, queue: str) -> QueueDepth:
        """Asked again where a busy broker does not answer at once."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + ANSWERS_WITHIN_S
        while True:
            try:
                return await self._transport.depth(queue)
            except NoSuchQueue:
                raise
            except BrokerUnavailable as error:
                if clock() >= deadline:
                    raise Failure(str(error)) from None
            await asyncio.sleep(LOOK_AGAIN_S)


def utc_now() -> datetime:
    """What stands in the timestamp of what is sent."""
    return datetime.now(UTC)


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _id(value: object) -> UUID | None:
    return parse_id(value) if isinstance(value, str) else None
