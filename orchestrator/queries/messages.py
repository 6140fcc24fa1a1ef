"""What a saga has said and heard: its history, folded once more, tells every message with its body (S15).

Copies that were sent again are not in the history: they have another id and the same body.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

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
        if (saga := await self._sagas.saga(saga_id)) is None:
            return None
        views = [
            SagaMessageView(
                seq=each.seq,
                at=each.at,
                kind=each.kind,
                type=each.type,
                message_id=each.message_id,
                body=self._sagas.masking(each.body),
            )
            for each in await self._messages(saga)
        ]
        return SagaMessageList(items=tuple(views))

    async def of_saga(self, saga_id: UUID) -> list[SagaMessage]:
        """The same with nothing masked, for `orchestrator.disclosure` alone."""
        saga = await self._sagas.saga(saga_id)
        return await self._messages(saga) if saga is not None else []

    async def _messages(self, saga: Saga) -> list[SagaMessage]:
        definition = self._registry.find(saga.definition, saga.definition_version)
        entries = await every_entry(self._sagas, saga.saga_id)
        if definition is None:
            return []
        try:
            return list(messages_of(definition, saga, entries))
        except Exception as error:  # a definition's functions are somebody's code (S25)
            raise Unreadable(f"its history cannot be read ({type(error).__name__})") from None


def messages_of(
    definition: SagaDefinition, saga: Saga, entries: Sequence[HistoryRow]
) -> Iterator[SagaMessage]:
    """Every message of a saga, in the order of its history.

    Args:
        entries: the whole history, or nothing but what was heard comes of it.
    """
    for entry, happened, folded in folded_entries(definition, saga, entries):
        if isinstance(happened, OutcomeReceived):
            yield SagaMessage(entry.version, entry.at, "answer", happened.event, None, dict(happened.data))
        elif isinstance(happened, SignalReceived):
            yield SagaMessage(entry.version, entry.at, "signal", happened.wait, None, dict(happened.body))
        if folded is not None:
            yield from _sent(entry, folded.effects)


def folded_entries(
    definition: SagaDefinition, saga: Saga, entries: Sequence[HistoryRow]
) -> Iterator[tuple[HistoryRow, Input, Transition | None]]:
    """Each entry with what it led to once more (S15); None, and no more, where that cannot be told."""
    state: Saga | None = None
    for entry in entries:
        happened = load_input(entry.kind, entry.accepted)
        folded: object = None
        if state is not None:
            folded = machine.decide(definition, state, happened, entry.at)
        elif entry.version == 1 and isinstance(happened, SagaStarted):
            identity = (saga.saga_id, saga.subject_id)
            folded = machine.start(definition, *identity, saga.input, entry.at, happened)
        if not isinstance(folded, Transition):
            yield entry, happened, None
            return
        state = folded.saga
        yield entry, happened, folded


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
