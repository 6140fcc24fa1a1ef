"""How the rules of messages and of their failures are taken away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from contracts.envelope import ATTEMPT, EVENT_ID
from contracts.routing import retry_queue
from messaging.consumer import Consumer
from messaging.errors import PermanentFailure, Poison
from messaging.parts import InHand
from messaging.transport import Delivery, Message
from messaging.unit_of_work import PatientUnitOfWork
from participants.inventory.stock import Shelf


def published_before_the_commit(original: Any) -> Any:
    """S2, M1: messages leave before their cause is durable."""

    async def run(self: PatientUnitOfWork[Any], work: Any) -> Any:
        confirmed = self._outbox.take_confirmed()
        async with self._begin() as transaction:
            result = await work(transaction)
            self._outbox.publish(transaction.outgoing)
            await transaction.commit(confirmed)
        return result

    return run


def acknowledged_before_the_commit(original: Any) -> Any:
    """S2: a crash before the commit loses the message."""

    async def serve(self: Consumer[Any], deliveries: Any) -> None:
        self._subscription.acknowledge(deliveries)
        await original(self, deliveries)

    return serve


def nothing_in_the_outbox(original: Any) -> Any:
    """S4: every copy is taken to have left."""

    async def outbox_holds(self: Any, message_ids: Any) -> set[Any]:
        return set()

    return outbox_holds


def rows_left_out(original: Any) -> Any:
    """M1: what leaves is published, and not written down."""

    async def commit(self: Any, confirmed: Any) -> None:
        outgoing, self.outgoing = self.outgoing, []
        try:
            await original(self, confirmed)
        finally:
            self.outgoing = outgoing

    return commit


def poison_goes_round(original: Any) -> Any:
    """S16: what cannot be understood is tried again for ever."""

    def after_failure(delivery: Any, error: Any, policy: Any, *others: Any) -> Message:
        hop: Message = original(delivery, error, policy, *others)
        again = retry_queue(delivery.queue, policy.delays_s[-1])
        return replace(hop, routing_key=again) if isinstance(error, Poison) else hop

    return after_failure


def rejection_as_failure(original: Any) -> Any:
    """P8: that there is not enough in stock is a failure of the message."""

    def reserve(self: Shelf, lines: Any) -> Any:
        shortage = original(self, lines)
        if shortage is not None:
            raise PermanentFailure(shortage.code, "not available")
        return None

    return reserve


def attempts_burnt(original: Any) -> Any:
    """P9: a command that was not worked on has used up an attempt."""

    def postpone(*arguments: Any) -> Message:
        message: Message = original(*arguments)
        return replace(message, headers={**message.headers, ATTEMPT: message.headers[ATTEMPT] + 1})

    return postpone


def named_anew_each_time(original: Any) -> Any:
    """M3: an event that is sent again looks like another one."""

    def stored_event_message(*arguments: Any, **named: Any) -> Message:
        message: Message = original(*arguments, **named)
        return replace(message, headers={**message.headers, EVENT_ID: str(message.message_id)})

    return stored_event_message


def without_its_story(original: Any) -> Any:
    """D1: a dead letter does not say why it died."""

    def failure_headers(*_: Any) -> Any:
        return {}

    return failure_headers


def done_with_its_first_part(original: Any) -> Any:
    """M5: the broker hears of a batch when one of its parts is done."""

    def done(self: InHand[Any], key: Any, place: int) -> bool:
        left = self._open.pop(key, set())
        self.parts -= len(left)
        return bool(left)

    return done


def lost_with_its_neighbour(original: Any) -> Any:
    """M5: of a batch with a part that cannot be read, nothing else is handed on."""

    def unpacked(whole: Delivery) -> list[Delivery]:
        parts: list[Delivery] = original(whole)
        return [part for part in parts if part.flaw] or parts

    return unpacked


def sent_as_it_was(original: Any) -> Any:
    """D4: the replay of a command is its stored bytes, whatever the saga awaits."""

    def plan(self: Any, work: Any, dead: Any, actor: Any) -> Any:
        return original(self, work, replace(dead, kind="message"), actor)

    return plan
