"""The saga: what is asked for, side by side and one after the other, and how it is undone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from enrolment import messages as say
from oms.kit import (
    BaseModel,
    Compensation,
    Field,
    Group,
    Labels,
    Name,
    Results,
    SagaDefinition,
    SignalBody,
    Step,
    StepKind,
    StepPolicy,
    Wait,
)

THREE_DAYS_S = 3 * 24 * 3600


class Enrolment(BaseModel):
    """What starts the saga."""

    student: Name
    courses: Annotated[tuple[Name, ...], Field(min_length=1, max_length=10)]


class Approval(SignalBody):
    """The dean's word."""

    approved: bool


def _courses(given: Enrolment, results: Results) -> Mapping[str, Any]:
    return {"courses": given.courses}


def _student(given: Enrolment, results: Results) -> Mapping[str, Any]:
    return {"student": given.student}


def _card(given: Enrolment, results: Results) -> Mapping[str, Any]:
    return {"card": results["card"]["card"]}


def _refused(body: Mapping[str, Any]) -> str | None:
    return None if body["approved"] else "not_approved"


def enrolment(policy: StepPolicy) -> SagaDefinition:
    """The definition at its present version."""
    seats = Step(
        name="seats",
        participant=say.REGISTRAR,
        kind=StepKind.COMPENSATABLE,
        command=say.TakeSeats,
        arguments=_courses,
        success=say.SeatsTaken,
        rejection=say.NoSeat,
        compensation=Compensation(say.FreeSeats, say.SeatsFreed),
        policy=policy,
    )
    card = Step(
        name="card",
        participant=say.LIBRARY,
        kind=StepKind.COMPENSATABLE,
        command=say.IssueCard,
        arguments=_student,
        success=say.CardIssued,
        compensation=Compensation(say.RevokeCard, say.CardRevoked),
        keeps=("card",),
        policy=policy,
    )
    approval = Wait("approval", THREE_DAYS_S, Approval, refuses=_refused, waiting="awaiting_approval")
    activate = Step(
        name="activate",
        participant=say.LIBRARY,
        kind=StepKind.RETRIABLE,
        command=say.ActivateCard,
        arguments=_card,
        success=say.CardActivated,
        policy=policy,
    )
    return SagaDefinition(
        name="enrolment",
        version=1,
        input=Enrolment,
        examples=(Enrolment(student="s-1", courses=("algebra", "botany")),),
        labels=Labels(started="received", completed="enrolled"),
        course=(Group((seats, card)), approval, activate),
    )
