"""Sagas of every kind of stage, for tests that are about no order: a journey, booked side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

from contracts.commands import Command
from contracts.envelope import Direction
from contracts.events import CompensationOutcome, Event, OutcomeEvent, Rejection
from orchestrator.core.definition import (
    Announcement,
    Compensation,
    ForEach,
    Group,
    Labels,
    OnDeadline,
    Results,
    SagaDefinition,
    SignalBody,
    Stage,
    Step,
    StepKind,
    Wait,
)
from orchestrator.core.inputs import Actor, OutcomeReceived, SignalReceived
from tests.unit.core.happenings import COMPENSATING, FORWARD, POLICY, answer

COMPENSATABLE, PIVOT, RETRIABLE = StepKind


class Journey(BaseModel):
    """What starts the saga."""

    model_config = ConfigDict(frozen=True)

    travellers: tuple[str, ...] = ("ann", "bob", "cy")
    needs_approval: bool = True


class Book(Command):
    """Ask for one thing; ``seen`` is what the saga remembered when it asked."""

    participant: ClassVar[str | None] = "agency"
    seen: Mapping[str, Any] = {}
    item: Any = None


class Unbook(Command):
    """Give it back."""

    participant: ClassVar[str | None] = "agency"


class Booked(OutcomeEvent):
    """It is booked."""

    key = "agency.booked"
    reference: str = "r"


class NotBooked(Rejection):
    """It is not to be had."""

    key = "agency.not_booked"


class Unbooked(CompensationOutcome):
    """It is given back."""

    key = "agency.unbooked"


class Approval(SignalBody):
    """What somebody says about a journey."""

    yes: bool = True
    reason: str = ""


class JourneyPlanned(Event):
    """It has begun."""

    key = "journey.planned"
    travellers: tuple[str, ...]


class JourneyBooked(Event):
    """All that is booked side by side is booked."""

    key = "journey.booked"
    references: tuple[str, ...]


class JourneyOver(Event):
    """It has ended well."""

    key = "journey.over"
    tickets: int


class JourneyCalledOff(Event):
    """It has ended otherwise."""

    key = "journey.called_off"
    code: str
    message: str


def with_results(journey: Any, results: Results, item: Any = None) -> Mapping[str, Any]:
    """A command that says everything that its arguments were given."""
    return {"seen": results, "item": item}


def step(name: str, kind: StepKind = COMPENSATABLE, **changes: Any) -> Step:
    """A step of the agency's."""
    given: dict[str, Any] = {
        "participant": "agency",
        "command": Book,
        "success": Booked,
        "policy": POLICY,
        "arguments": with_results,
        "keeps": ("reference",),
        "rejection": None if kind is RETRIABLE else NotBooked,
        "compensation": Compensation(Unbook, Unbooked) if kind is COMPENSATABLE else None,
    }
    return Step(name=name, kind=kind, **{**given, **changes})


def of(*course: Stage, **changes: Any) -> SagaDefinition:
    """A saga of these stages."""
    given: dict[str, Any] = {
        "name": "journey",
        "version": 1,
        "input": Journey,
        "examples": (Journey(), Journey(needs_approval=False)),
    }
    return SagaDefinition(course=course, **{**given, **changes})


def travellers(journey: Any, results: Results) -> Sequence[Any]:
    """One branch for each."""
    return list(journey.travellers)


def refuses(body: Mapping[str, Any]) -> str | None:
    """No is a reason to turn round."""
    return None if body.get("yes") else "not_approved"


def needs_approval(journey: Any, results: Results) -> bool:
    """Some journeys need none."""
    return bool(journey.needs_approval)


def approval(**changes: Any) -> Wait:
    """A wait for a person."""
    given: dict[str, Any] = {
        "name": "approval",
        "deadline_s": 3600,
        "signal": Approval,
        "refuses": refuses,
        "when": needs_approval,
    }
    return Wait(**{**given, **changes})


def how_it_ended(journey: Any, results: Results) -> str:
    """By how many got a ticket."""
    had = [each["outcome"] == "succeeded" for each in results["tickets"]]
    return "all_travel" if all(had) else "some_travel"


def references(journey: Any, results: Results) -> Mapping[str, Any]:
    """Of what was booked side by side."""
    return {"references": [results[name]["reference"] for name in ("flight", "hotel")]}


GROUP: Final = Group(
    (
        step("flight", milestone="flight_booked"),
        step("hotel", announces=Announcement(JourneyBooked, references)),
    )
)
TICKETS: Final = ForEach("tickets", travellers, step("ticket", PIVOT, milestone="ticketed"))
APPROVAL: Final = approval(waiting="in_approval", milestone="approved")
REST: Final = Wait("rest", 60, on_deadline=OnDeadline.GO_ON)

JOURNEY: Final = of(
    step("seat"),
    GROUP,
    APPROVAL,
    TICKETS,
    REST,
    step("tell", RETRIABLE),
    labels=Labels(
        started="planned",
        completed=how_it_ended,
        may_complete_as=("all_travel", "some_travel"),
        rejected="called_off",
        cancelled="withdrawn",
    ),
    announces={
        "started": Announcement(JourneyPlanned, lambda journey, _: {"travellers": journey.travellers}),
        "completed": Announcement(JourneyOver, lambda _, results: {"tickets": len(results["tickets"])}),
        "rejected": Announcement(JourneyCalledOff),
        "cancelled": Announcement(JourneyCalledOff),
    },
)
"""Every kind of stage: a step, a group, a wait for a signal, a for-each pivot, a wait for time, a step."""


# -- what is said -----------------------------------------------------------------------------------------


def booked(piece: str, reference: str | None = None) -> OutcomeReceived:
    """It is booked, under a reference of its own."""
    return answer(Booked, piece, FORWARD, reference=reference or f"r-{piece}")


def not_booked(piece: str, message: str = "sold out") -> OutcomeReceived:
    """It is not to be had."""
    return answer(NotBooked, piece, FORWARD, code="sold_out", message=message)


def unbooked(piece: str, effect: str = "undone") -> OutcomeReceived:
    """It is given back; ``effect`` nothing: there was nothing to give back."""
    return answer(Unbooked, piece, COMPENSATING, effect=effect)


def signal(wait: str = "approval", by: str = "boss", **body: Any) -> SignalReceived:
    """Somebody says what a wait waits for; the edge has checked its body."""
    return SignalReceived(Actor(by, "because"), wait, Approval(**body).model_dump(mode="json"))


def both(direction: Direction, *pieces: str) -> list[tuple[str, Direction]]:
    """Pieces of work, one way."""
    return [(piece, direction) for piece in pieces]
