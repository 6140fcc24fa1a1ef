"""Why a saga stands where it stands: what it awaits, since when, and where that may be stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import func, select

from contracts.envelope import Direction
from contracts.routing import command_queue
from messaging.transport import BrokerUnavailable, QueueDepth
from orchestrator.codec import Unreadable
from orchestrator.core.definition import Registry
from orchestrator.core.rules import awaited_command
from orchestrator.core.state import ENDED, OrderStatus, Saga, Status
from orchestrator.queries import Queries
from orchestrator.queries.sagas import unreadable_incident
from orchestrator.queries.views import DeadLetterList, DeadLetterSummary, IncidentView, Time, View
from orchestrator.tables import outbox

ASK_BROKER_S: Final = 2.0
"""Seconds that the broker gets to tell a queue's depth."""

Depth = Callable[[str], Awaitable[QueueDepth]]


class AwaitedView(View):
    """The command whose answer a saga waits for."""

    command: str
    step: str
    direction: Direction
    participant: str
    since: Time = Field(description="When its present deadline began")
    deadline_at: Time | None = Field(description="null for what is asked for without limit")
    sent: int = Field(description="Copies sent since then")
    sent_again_at: Time | None = Field(description="When the next copy is wanted")
    held: bool = Field(description="A permanent failure stopped re-sends and deadline")


class OutboxView(View):
    """The latest copy of the awaited command, which the broker has not confirmed."""

    message_id: UUID
    since: Time
    age_s: float
    attempts: int = Field(description="How often the relay has taken it up")


class QueueView(View):
    """The queue in which the command waits for its participant."""

    name: str
    ready: int | None = None
    consumers: int | None = None
    trouble: str | None = Field(None, description="Why the broker could not tell")


class Explanation(View):
    """Why a saga stands where it stands."""

    saga_id: UUID
    order_id: UUID
    status: Status
    order_status: OrderStatus
    version: int
    now: Time
    summary: str
    awaited: AwaitedView | None
    outbox: OutboxView | None
    queue: QueueView | None
    incidents: tuple[IncidentView, ...]
    dead_letters: tuple[DeadLetterSummary, ...] = Field(description="The open ones, newest first")
    more_dead_letters: bool = Field(
        default=False, description="There are further open ones; the list of dead letters has them"
    )
    due_at: Time | None
    allowed_actions: tuple[str, ...]


class Explainer:
    """Puts together what database and broker know of one saga."""

    def __init__(
        self,
        queries: Queries,
        registry: Registry,
        depth: Depth,
        allowed: Callable[[Saga], tuple[str, ...]],
    ) -> None:
        """
        Args:
            depth: of a queue by its name; raises BrokerUnavailable.
            allowed: what may be done to a saga now.
        """
        self._queries = queries
        self._registry = registry
        self._depth = depth
        self._allowed = allowed

    async def explain(self, saga_id: UUID) -> Explanation | None:
        """The explanation; None when there is no such saga. Raises StorageUnavailable."""
        try:
            saga = await self._queries.sagas.saga(saga_id)
        except Unreadable as error:
            return await self._of_unreadable(saga_id, str(error))
        if saga is None:
            return None
        now = await self._now()
        awaited = self._awaited(saga)
        waiting = await self._copy_in_outbox(saga, now)
        queue = await self._queue(awaited.participant) if awaited else None
        dead = await self._queries.dead_letters.open_of(saga_id)
        sentences = _sentences(saga, awaited, waiting, queue, dead, now)
        return Explanation(
            saga_id=saga.saga_id,
            order_id=saga.order_id,
            status=saga.status,
            order_status=saga.order_status,
            version=saga.version,
            now=now,
            summary=" ".join(sentences),
            awaited=awaited,
            outbox=waiting,
            queue=queue,
            incidents=tuple(IncidentView.model_validate(incident) for incident in saga.incidents),
            dead_letters=dead.items,
            more_dead_letters=dead.next_cursor is not None,
            due_at=saga.due_at,
            allowed_actions=self._allowed(saga),
        )

    async def _now(self) -> datetime:
        [(now,)] = await self._queries.reader.rows(select(func.clock_timestamp()))
        moment: datetime = now
        return moment

    async def _of_unreadable(self, saga_id: UUID, reason: str) -> Explanation | None:
        """Why a saga stands still of which only the columns can be read (S25)."""
        found = await self._queries.sagas.summary(saga_id)
        if found is None:
            return None
        dead = await self._queries.dead_letters.open_of(saga_id)
        return Explanation(
            saga_id=found.saga_id,
            order_id=found.order_id,
            status=found.status,
            order_status=found.order_status,
            version=found.version,
            now=await self._now(),
            summary=f"What is stored of it cannot be read, so nothing is done about it: {reason}.",
            awaited=None,
            outbox=None,
            queue=None,
            incidents=(unreadable_incident(found, reason),),
            dead_letters=dead.items,
            more_dead_letters=dead.next_cursor is not None,
            due_at=found.due_at,
            allowed_actions=(),
        )

    def _awaited(self, saga: Saga) -> AwaitedView | None:
        definition = self._registry.find(saga.definition, saga.definition_version)
        work = saga.work
        if definition is None or work is None:
            return None
        send = awaited_command(definition, saga)
        timed = saga.settling is None and work.direction is Direction.FORWARD
        deadline = work.since + timedelta(seconds=definition[work.step].policy.deadline_s)
        return AwaitedView(
            command=type(send.command).__name__,
            step=work.step,
            direction=work.direction,
            participant=send.participant,
            since=saga.settling.since if saga.settling else work.since,
            deadline_at=deadline if timed else None,
            sent=saga.sending.attempts,
            sent_again_at=saga.sending.resend_at,
            held=saga.awaiting is not None and saga.awaiting.held and saga.settling is None,
        )

    async def _copy_in_outbox(self, saga: Saga, now: datetime) -> OutboxView | None:
        message_id = saga.sending.message_id
        if message_id is None:
            return None
        statement = select(outbox.c.created_at, outbox.c.attempts).where(outbox.c.message_id == message_id)
        row = await self._queries.reader.row(statement)
        if row is None:
            return None
        age_s = max(0.0, (now - row.created_at).total_seconds())
        return OutboxView(
            message_id=message_id, since=row.created_at, age_s=round(age_s, 3), attempts=row.attempts
        )

    async def _queue(self, participant: str) -> QueueView:
        name = command_queue(participant)
        try:
            async with asyncio.timeout(ASK_BROKER_S):
                depth = await self._depth(name)
        except (BrokerUnavailable, TimeoutError) as error:
            return QueueView(name=name, trouble=str(error) or "the broker does not answer in time")
        return QueueView(name=name, ready=depth.ready, consumers=depth.consumers)


def _sentences(
    saga: Saga,
    awaited: AwaitedView | None,
    waiting: OutboxView | None,
    queue: QueueView | None,
    dead: DeadLetterList,
    now: datetime,
) -> Iterator[str]:
    if saga.status in ENDED:
        yield f"The saga has ended: its order is {saga.order_status}."
    if awaited is not None:
        yield from _about_the_wait(awaited, now)
    elif saga.status not in ENDED:
        yield f"This process does not know {saga.definition} version {saga.definition_version}."
    if waiting is not None:
        yield f"Its latest copy has been in the outbox for {waiting.age_s:.0f} s without a confirm."
    if queue is not None:
        yield from _about_the_queue(queue)
    for incident in saga.incidents:
        yield f"Incident {incident.kind} of {incident.step}: {incident.message.rstrip('.')}."
    if dead.items:
        more = "more than " if dead.next_cursor is not None else ""
        yield f"It has {more}{_counted(len(dead.items), 'open dead letter')}."


def _about_the_wait(awaited: AwaitedView, now: datetime) -> Iterator[str]:
    waited_s = max(0.0, (now - awaited.since).total_seconds())
    yield (
        f"It waits for the answer of {awaited.participant} to {awaited.command} since {waited_s:.0f} s; "
        f"sent {awaited.sent} time{'s' if awaited.sent != 1 else ''}."
    )
    if awaited.held:
        yield "A permanent failure stopped its re-sends: it waits for a person."
    elif awaited.deadline_at is not None and now > awaited.deadline_at:
        yield "Its deadline has passed."


def _about_the_queue(queue: QueueView) -> Iterator[str]:
    if queue.trouble is not None:
        yield f"The broker cannot tell about {queue.name}: {queue.trouble}."
    elif queue.consumers == 0:
        yield f"Nobody consumes {queue.name}, which holds {_counted(queue.ready, 'message')}."
    else:
        waiting, consumers = _counted(queue.ready, "message"), _counted(queue.consumers, "consumer")
        yield f"{queue.name} holds {waiting} for {consumers}."


def _counted(number: int | None, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
