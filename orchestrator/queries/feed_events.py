"""The public events of a history's entries: what a participant answered, and what the saga announced (S29).

An answer stands in its entry. Of an announcement the entry has the id; its body is told by the history,
folded once more (S15), as for `orchestrator.queries.messages`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from pydantic import Field, ValidationError

from contracts.events import EVENTS, Event
from messaging.retries import parse_id
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.registry import Registry
from orchestrator.queries.feed_position import Position
from orchestrator.queries.views import ABOUT, Time, View

OUTCOME: Final = "outcome_received"
FIRST_ANNOUNCED: Final = 2
"""The part of an entry's first message; the answer that it accepted is part 1."""


class PublicEvent(View):
    """One event, as it was published."""

    cursor: str = Field(description="Give it as `after` for what follows this event")
    event_id: UUID = Field(description="The same however often it is read or was published")
    type: str
    key: str | None = Field(description="Its routing key; null where its definition is not installed here")
    at: Time = Field(description="When the saga accepted or announced it")
    saga_id: UUID
    order_id: UUID = ABOUT
    definition: str
    seq: int = Field(description="Of the entry in the saga's history")
    body: dict[str, Any] | None = Field(description="As on the wire, what is sensitive masked")
    unreadable: str | None = Field(None, description="Why there is no body")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of some saga's history, with what is needed of the saga."""

    transaction: int
    saga_id: UUID
    version: int
    at: datetime
    kind: str
    accepted: Mapping[str, Any]
    led_to: Mapping[str, Any]
    order_id: UUID
    definition: str
    definition_version: int

    def behind(self, part: int) -> Position:
        """Behind one of its events."""
        return Position(self.transaction, self.saga_id, self.version, part)


@dataclass(frozen=True, slots=True)
class Told:
    """One event of an entry, without its body where it was announced.

    Attributes:
        part: its place among the entry's events, which never changes.
        body: None where the history has to be folded for it.
    """

    entry: Entry
    part: int
    event_id: UUID
    type: str
    key: str | None
    body: Mapping[str, Any] | None


class Telling:
    """Tells events by the definitions that are installed here."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def events(self, entry: Entry) -> Iterator[Told]:
        """All events of an entry, in the order in which they were published."""
        if entry.kind == OUTCOME and (answer := self._answer(entry)) is not None:
            yield answer
        types = self._announced(entry)
        for index, sent in enumerate(_sent(entry)):
            name, message_id = str(sent.get("type")), parse_id(str(sent.get("message_id")))
            if name in types and message_id is not None:
                key = types[name].key
                yield Told(entry, FIRST_ANNOUNCED + index, message_id, name, key, None)

    def _answer(self, entry: Entry) -> Told | None:
        name = entry.accepted.get("event")
        if not isinstance(name, str):
            return None
        model = self._registry.events.get(name)
        event_id = parse_id(str(entry.accepted.get("event_id", ""))) or _derived(entry)
        identities = {"saga_id": str(entry.saga_id), "order_id": str(entry.order_id)}
        work = {each: entry.accepted.get(each) for each in ("step", "direction")}
        data = entry.accepted.get("data")
        body = {**identities, **work, **(data if isinstance(data, Mapping) else {})}
        key = model.key if model is not None else None
        return Told(entry, 1, event_id, name, key, _as_sent(model, body))

    @property
    def types(self) -> frozenset[str]:
        """Of every event that some saga here may bring about."""
        own = [_announced_by(definition) for definition in self._registry]
        return frozenset(EVENTS).union(self._registry.events, *own)

    def _announced(self, entry: Entry) -> Mapping[str, type[Event]]:
        definition = self._registry.find(entry.definition, entry.definition_version)
        return EVENTS if definition is None else {**EVENTS, **_announced_by(definition)}


def _announced_by(definition: SagaDefinition) -> Mapping[str, type[Event]]:
    own = [each.event for each in definition.announces.values()]
    own += [step.announces.event for step in definition.steps if step.announces is not None]
    return {event.__name__: event for event in own}


def needing_bodies(told: Iterable[Told]) -> dict[UUID, int]:
    """The sagas whose histories must be folded for some event, each up to which version."""
    needed: dict[UUID, int] = {}
    for each in told:
        if each.body is None:
            entry = each.entry
            needed[entry.saga_id] = max(entry.version, needed.get(entry.saga_id, 0))
    return needed


def _derived(entry: Entry) -> UUID:
    """The id of an answer that was accepted before answers' ids were kept, or that came without one."""
    return uuid5(entry.saga_id, str(entry.version))


def _sent(entry: Entry) -> Sequence[Mapping[str, Any]]:
    sent = entry.led_to.get("sent", ())
    return [each for each in sent if isinstance(each, Mapping)] if isinstance(sent, list) else []


def _as_sent(model: type[Event] | None, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body with the fields that the history leaves out because they are as usual."""
    try:
        return model.model_validate(body).model_dump(mode="json", exclude_none=True) if model else body
    except ValidationError:
        return body
