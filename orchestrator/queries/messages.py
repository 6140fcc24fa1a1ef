"""What a saga has said and heard: its history, folded once more, tells every message with its body (S15).

Copies that were sent again are not in the history: they have another id and the same body.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from contracts.envelope import Direction
from orchestrator.codec import Unreadable, load_input
from orchestrator.core import machine
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.effects import Effect, PublishEvent, SendCommand, Transition
from orchestrator.core.inputs import Input, OutcomeReceived, SagaStarted, SignalReceived
from orchestrator.core.registry import Registry
from orchestrator.core.state import Saga
from orchestrator.queries.sagas import HistoryRow, SagaQueries, every_entry
from orchestrator.queries.views import SagaMessageList, SagaMessageView


@dataclass(frozen=True, slots=True)
class SagaMessage:
    """One message of a saga.

    Attributes:
        seq: of the history's entry that caused it, or that it caused.
        message_id: None for an answer or a signal, which the history keeps by its content.
        body: as JSON; nothing is masked.
    """

    seq: int
    at: datetime
    kind: Literal["command", "event", "answer", "signal"]
    type: str
    message_id: UUID | None
    body: Any

    @property
    def encoded(self) -> bytes:
        """The body as it was sent."""
        return json.dumps(self.body, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of work from when it was awaited until it was not any more.

    Attributes:
        ended_by: the number of the history's entry that ended it; None while it is awaited.
    """

    step: str
    direction: Direction | str
    begins: datetime
    ends: datetime | None = None
    ended_by: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a saga's history tells, folded once more: messages, masked, and what was awaited when."""

    messages: tuple[SagaMessageView, ...]
    stretches: tuple[Stretch, ...]


class MessageQueries:
    """Messages of sagas, from their histories."""

    def __init__(self, sagas: SagaQueries, registry: Registry) -> None:
        self._sagas = sagas
        self._registry = registry

    async def shown(self, saga_id: UUID) -> SagaMessageList | None:
        """All messages of a saga, masked; None where there is no such saga.

        Raises:
            Unreadable: the saga, or an entry of its history, cannot be read.
            StorageUnavailable: the database cannot be used.
        """
        told = await self.told(saga_id)
        return SagaMessageList(items=told.messages) if told is not None else None

    async def told(self, saga_id: UUID) -> Told | None:
        """All that a history tells; None where there is no such saga. Raises as `shown` does."""
        if (saga := await self._sagas.saga(saga_id)) is None:
            return None
        entries = await self._folded(saga)
        views = tuple(self._view(each) for entry in entries for each in messages_at(*entry))
        return Told(views, tuple(_stretches(entries)))

    async def of_saga(self, saga_id: UUID) -> list[SagaMessage]:
        """The same with nothing masked, for `orchestrator.disclosure` alone."""
        saga = await self._sagas.saga(saga_id)
        entries = await self._folded(saga) if saga is not None else []
        return [each for entry in entries for each in messages_at(*entry)]

    def _view(self, message: SagaMessage) -> SagaMessageView:
        return SagaMessageView(
            seq=message.seq,
            at=message.at,
            kind=message.kind,
            type=message.type,
            message_id=message.message_id,
            body=self._sagas.masking(message.body),
        )

    async def _folded(self, saga: Saga) -> list[Folded]:
        definition = self._registry.find(saga.definition, saga.definition_version)
        entries = await every_entry(self._sagas, saga.saga_id)
        if definition is None:
            return []
        try:
            return list(folded_entries(definition, saga, entries))
        except Exception as error:  # a definition's functions are somebody's code (S25)
            raise Unreadable(f"its history cannot be read ({type(error).__name__})") from None


Folded = tuple[HistoryRow, Input, Transition | None]
"""An entry, what it accepted, and what that led to; None where that cannot be told."""


def folded_entries(definition: SagaDefinition, saga: Saga, entries: Sequence[HistoryRow]) -> Iterator[Folded]:
    """Each entry with what it led to once more (S15), up to the first of which that cannot be told."""
    state: Saga | None = None
    for entry in entries:
        happened = load_input(entry.kind, entry.accepted)
        folded: object = None
        if state is not None:
            folded = machine.decide(definition, state, happened, entry.at)
        elif entry.version == 1 and isinstance(happened, SagaStarted):
            identities = (saga.saga_id, saga.subject_id)
            folded = machine.start(definition, *identities, saga.input, entry.at, happened)
        if not isinstance(folded, Transition):
            yield entry, happened, None
            return
        state = folded.saga
        yield entry, happened, folded


def messages_at(entry: HistoryRow, happened: Input, folded: Transition | None) -> Iterator[SagaMessage]:
    """What an entry heard and said."""
    if isinstance(happened, OutcomeReceived):
        yield SagaMessage(entry.version, entry.at, "answer", happened.event, None, dict(happened.data))
    elif isinstance(happened, SignalReceived):
        yield SagaMessage(entry.version, entry.at, "signal", happened.wait, None, dict(happened.body))
    if folded is not None:
        yield from _sent(entry, folded.effects)


def _stretches(entries: Sequence[Folded]) -> Iterator[Stretch]:
    """What was awaited from when to when, in the order in which it began."""
    begun: list[Stretch] = []
    open_ones: dict[tuple[str, Direction], int] = {}
    for entry, _, folded in entries:
        if folded is None:
            break
        awaited = {(each.step, each.direction) for each in folded.saga.awaited}
        for work in [work for work in open_ones if work not in awaited]:
            at = open_ones.pop(work)
            begun[at] = replace(begun[at], ends=entry.at, ended_by=entry.version)
        for each in folded.saga.awaited:
            if (each.step, each.direction) not in open_ones:
                open_ones[each.step, each.direction] = len(begun)
                begun.append(Stretch(each.step, each.direction, entry.at))
    yield from begun


def _sent(entry: HistoryRow, effects: Sequence[Effect]) -> Iterator[SagaMessage]:
    spoken = [each for effect in effects if (each := _spoken(effect)) is not None]
    for (kind, message), sent in zip(spoken, entry.led_to.get("sent", ()), strict=False):
        if type(message).__name__ == sent["type"]:
            body = message.model_dump(mode="json", exclude_none=True)
            yield SagaMessage(entry.version, entry.at, kind, sent["type"], UUID(sent["message_id"]), body)


def _spoken(effect: Effect) -> tuple[Literal["command", "event"], BaseModel] | None:
    match effect:
        case SendCommand(_, command):
            return "command", command
        case PublishEvent(event):
            return "event", event
        case _:
            return None
