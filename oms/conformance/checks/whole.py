"""All that came during the play, seen together: one answer for one piece of work, and an id for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from contracts.envelope import Direction
from contracts.events import StepRefused
from oms.conformance.case import difference
from oms.conformance.envelope import described
from oms.conformance.play import Play
from oms.conformance.repertoire import Example
from oms.conformance.stand_in import Event
from oms.conformance.verdict import Broken, Finding

SHOWN: Final = 5
"""Findings of one kind that are told."""

Work = tuple[str, str, str]
"""Saga, step and direction, as the answers say."""


async def consistent(play: Play, example: Example) -> None:
    """P2, P3, M1: no work has two answers, no two answers have one id."""
    await play.stand_in.until(lambda: False, play.stand_in.patience.grace_s)
    events = {id(event): event for sent in play.stand_in.events.values() for event in sent}
    found = [*_two_answers(list(events.values()))][:SHOWN]
    found += [*_shared_event_ids(list(events.values()))][:SHOWN]
    if found:
        raise Broken(*found)


def _two_answers(events: list[Event]) -> Iterator[Finding]:
    """A refusal beside an answer is no second one: it says that there is no effect now."""
    first: dict[Work, Event] = {}
    for event in events:
        work = _work(event)
        if event.type == StepRefused.__name__ or work is None:
            continue
        earlier = first.setdefault(work, event)
        if difference(earlier, event) is not None:
            rule = "P2" if work[2] == Direction.FORWARD else "P3"
            sent = f"saga {work[0]}, step {work[1]}, {work[2]}, during the whole play"
            yield Finding(rule, sent, f"one answer: {described(earlier)}", f"also {described(event)}")


def _shared_event_ids(events: list[Event]) -> Iterator[Finding]:
    works: dict[str, Work] = {}
    for event in events:
        work = _work(event)
        if event.event_id is None or work is None:
            continue
        earlier = works.setdefault(event.event_id, work)
        if earlier != work:
            came = f"event-id {event.event_id} for both sagas {earlier[0]} and {work[0]}"
            yield Finding("M1", "commands of different work", "an event-id for each", came)


def _work(event: Event) -> Work | None:
    named = tuple(event.body.get(name) for name in ("saga_id", "step", "direction"))
    return named if all(isinstance(each, str) for each in named) else None  # type: ignore[return-value]
