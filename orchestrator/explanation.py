"""Why a saga stands where it stands: what it awaits, since when, and where that may be stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import func, select

from contracts.commands import SettleStep
from contracts.envelope import Direction
from contracts.routing import command_queue
from contracts.words import Word
from messaging.transport import BrokerUnavailable, QueueDepth
from orchestrator.codec import Unreadable
from orchestrator.core.definition import OnDeadline, SagaDefinition, Step, Wait
from orchestrator.core.registry import Registry
from orchestrator.core.state import ENDED, Awaited, Saga, Status
from orchestrator.queries import Queries
from orchestrator.queries.pieces import wait_views
from orchestrator.queries.sagas import incidents_of, unreadable_incident
from orchestrator.queries.views import (
    ABOUT,
    DeadLetterList,
    DeadLetterSummary,
    IncidentView,
    Labelled,
    Time,
    View,
    WaitView,
)
from orchestrator.tables import outbox

ASK_BROKER_S: Final = 2.0
"""Seconds that the broker gets to tell a queue's depth."""

Depth = Callable[[str], Awaitable[QueueDepth]]


class AwaitedView(View):
    """A command whose answer a saga waits for, or a signal from outside."""

    command: str = Field(description="The command; of a wait what its signal is called, or `time`")
    step: str
    direction: Direction
    participant: str | None = Field(description="null for a wait: what comes from outside")
    since: Time = Field(description="When its present deadline began")
    deadline_at: Time | None = Field(description="null for what is asked for without limit")
    sent: int = Field(description="Copies sent since then")
    sent_again_at: Time | None = Field(description="When the next copy is wanted")
    held: bool = Field(description="A permanent failure stopped re-sends and deadline")


class OutboxView(View):
    """The latest copy of an awaited command, which the broker has not confirmed."""

    message_id: UUID
    since: Time
    age_s: float
    attempts: int = Field(description="How often the relay has taken it up")


class QueueView(View):
    """The queue in which the command waits for its participant."""

    name: str
    ready: int | None = Field(None, description="Messages; a batch counts as one")
    consumers: int | None = None
    trouble: str | None = Field(None, description="Why the broker could not tell")


class Explanation(Labelled):
    """Why a saga stands where it stands."""

    saga_id: UUID
    order_id: UUID = ABOUT
    definition: str
    definition_version: int
    status: Word[Status]
    version: int
    now: Time
    summary: str
    awaited: AwaitedView | None
    also_awaited: tuple[AwaitedView, ...] = Field((), description="What is awaited beside it")
    waits: tuple[WaitView, ...] = Field((), description="Those for which a signal would be taken now")
    outbox: OutboxView | None = Field(description="The copy that has been there longest")
    queue: QueueView | None = Field(description="Of the first awaited command")
    more_queues: tuple[QueueView, ...] = Field((), description="Of what is awaited beside it")
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
        definition = self._registry.find(saga.definition, saga.definition_version)
        awaited = tuple(_awaited_view(definition, saga, each) for each in saga.awaited) if definition else ()
        waiting = await self._copy_in_outbox(saga, now)
        asked = dict.fromkeys(each.participant for each in awaited if each.participant is not None)
        queues = await asyncio.gather(*map(self._queue, asked))
        dead = await self._queries.dead_letters.open_of(saga_id)
        waits = self._open_waits(definition, saga)
        row = await self._queries.sagas.summary(saga_id)
        incidents = incidents_of(saga, row.incident_kinds if row is not None else ())
        sentences = [
            *_about_the_whole(saga, definition),
            *(said for each in awaited for said in _about_one(each, definition, now)),
            *_about_signals(waits),
            *_about_the_copy(waiting),
            *(said for queue in queues for said in _about_the_queue(queue)),
            *_about_trouble(incidents, dead),
        ]
        return Explanation(
            saga_id=saga.saga_id,
            order_id=saga.subject_id,
            definition=saga.definition,
            definition_version=saga.definition_version,
            status=saga.status,
            order_status=saga.label,
            version=saga.version,
            now=now,
            summary=" ".join(sentences),
            awaited=awaited[0] if awaited else None,
            also_awaited=awaited[1:],
            waits=waits,
            outbox=waiting,
            queue=queues[0] if queues else None,
            more_queues=tuple(queues[1:]),
            incidents=incidents,
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
            definition=found.definition,
            definition_version=found.definition_version,
            status=found.status,
            order_status=found.order_status,
            version=found.version,
            now=await self._now(),
            summary=f"What is stored of it cannot be read, so nothing is done about it: {reason}.",
            awaited=None,
            outbox=None,
            queue=None,
            incidents=(unreadable_incident(found, found.step, reason),),
            dead_letters=dead.items,
            more_dead_letters=dead.next_cursor is not None,
            due_at=found.due_at,
            allowed_actions=(),
        )

    def _open_waits(self, definition: SagaDefinition | None, saga: Saga) -> tuple[WaitView, ...]:
        views = wait_views(definition, saga, self._queries.sagas.masking)
        return tuple(view for view in views if view.open)

    async def _copy_in_outbox(self, saga: Saga, now: datetime) -> OutboxView | None:
        """Of the latest copies of what is awaited, the one that has not left for the longest time."""
        copies = [each.sending.message_id for each in saga.awaited if each.sending.message_id]
        if not copies:
            return None
        held = select(outbox.c.message_id, outbox.c.created_at, outbox.c.attempts)
        oldest = held.where(outbox.c.message_id.in_(copies)).order_by(outbox.c.message_id).limit(1)
        row = await self._queries.reader.row(oldest)
        if row is None:
            return None
        age_s = max(0.0, (now - row.created_at).total_seconds())
        return OutboxView(
            message_id=row.message_id, since=row.created_at, age_s=round(age_s, 3), attempts=row.attempts
        )

    async def _queue(self, participant: str) -> QueueView:
        name = command_queue(participant)
        try:
            async with asyncio.timeout(ASK_BROKER_S):
                depth = await self._depth(name)
        except (BrokerUnavailable, TimeoutError) as error:
            return QueueView(name=name, trouble=str(error) or "the broker does not answer in time")
        return QueueView(name=name, ready=depth.ready, consumers=depth.consumers)


def _awaited_view(definition: SagaDefinition, saga: Saga, awaited: Awaited) -> AwaitedView:
    wait = definition.waits.get(awaited.step)
    if wait is not None:
        return AwaitedView(
            command=wait.signal.__name__ if wait.signal else "time",
            step=wait.name,
            direction=awaited.direction,
            participant=None,
            since=awaited.since,
            deadline_at=awaited.since + timedelta(seconds=wait.deadline_s),
            sent=0,
            sent_again_at=None,
            held=False,
        )
    step = definition[awaited.step]
    timed = awaited.settling is None and awaited.direction is Direction.FORWARD
    return AwaitedView(
        command=_command_name(step, awaited),
        step=awaited.step,
        direction=awaited.direction,
        participant=step.participant,
        since=awaited.settling.since if awaited.settling else awaited.since,
        deadline_at=awaited.since + timedelta(seconds=step.policy.deadline_s) if timed else None,
        sent=awaited.sending.attempts,
        sent_again_at=awaited.sending.resend_at,
        held=awaited.held and awaited.settling is None,
    )


def _command_name(step: Step, awaited: Awaited) -> str:
    """Told without building the command: a definition's functions may fail."""
    if awaited.settling is not None:
        return SettleStep.__name__
    if awaited.direction is Direction.COMPENSATING and step.compensation is not None:
        return step.compensation.command.__name__
    return step.command.__name__


def _about_the_whole(saga: Saga, definition: SagaDefinition | None) -> Iterator[str]:
    if saga.status in ENDED:
        yield f"The saga has ended: it is {saga.label.replace('_', ' ')}."
    elif definition is None:
        yield f"This process does not know {saga.definition} version {saga.definition_version}."


def _about_one(awaited: AwaitedView, definition: SagaDefinition | None, now: datetime) -> Iterator[str]:
    wait = definition.waits.get(awaited.step) if definition is not None else None
    waited_s = max(0.0, (now - awaited.since).total_seconds())
    if wait is not None:
        yield from _about_the_wait(wait, awaited, waited_s)
        return
    branch = f" for {awaited.step}" if awaited.step.endswith("]") else ""
    yield (
        f"It waits for the answer of {awaited.participant} to {awaited.command}{branch} since "
        f"{waited_s:.0f} s; sent {awaited.sent} time{'s' if awaited.sent != 1 else ''}."
    )
    if awaited.held:
        yield "A permanent failure stopped its re-sends: it waits for a person."
    elif awaited.deadline_at is not None and now > awaited.deadline_at:
        yield "Its deadline has passed."


def _about_the_wait(wait: Wait, awaited: AwaitedView, waited_s: float) -> Iterator[str]:
    what = f"the signal {wait.name}" if wait.signal is not None else f"the time of {wait.name}"
    yield f"It waits for {what} since {waited_s:.0f} s."
    if awaited.deadline_at is not None:
        until = awaited.deadline_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        then = "it turns round" if wait.on_deadline is OnDeadline.TURN else "it goes on"
        yield f"Its time is over at {until}, and then {then}."


def _about_signals(waits: tuple[WaitView, ...]) -> Iterator[str]:
    early = [wait.name for wait in waits if wait.since is None]
    if early:
        yield f"A signal that comes early would be kept: {', '.join(early)}."


def _about_the_copy(waiting: OutboxView | None) -> Iterator[str]:
    if waiting is not None:
        yield f"Its latest copy has been in the outbox for {waiting.age_s:.0f} s without a confirm."


def _about_trouble(incidents: tuple[IncidentView, ...], dead: DeadLetterList) -> Iterator[str]:
    for incident in incidents:
        yield f"Incident {incident.kind} of {incident.step}: {incident.message.rstrip('.')}."
    if dead.items:
        more = "more than " if dead.next_cursor is not None else ""
        yield f"It has {more}{_counted(len(dead.items), 'open dead letter')}."


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
