"""A saga that is no order: a student enrols. With a group, a wait, a for-each and participants of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.commands import Command
from contracts.events import CompensationOutcome, Event, OutcomeEvent, Rejection
from contracts.routing import command_queue
from messaging.compose import event_message
from messaging.identifiers import NewId
from messaging.transport import Delivery, Subscription, Transport
from orchestrator.core.definition import (
    Announcement,
    Compensation,
    ForEach,
    Group,
    Labels,
    SagaDefinition,
    Step,
    StepKind,
    StepPolicy,
    Wait,
)

NAME: Final = "enrolment"
CAMPUS, BURSAR = "campus", "bursar"
SECRET: Final = {"sensitive": True}
THREE_DAYS_S: Final = 3 * 24 * 3600.0


class Home(BaseModel):
    street: str
    phone: Annotated[str, Field(json_schema_extra=SECRET)]


class Enrolment(BaseModel):
    """What a student sends."""

    model_config = ConfigDict(extra="forbid")

    student: Annotated[str, Field(min_length=1, max_length=100)]
    courses: tuple[str, ...] = ()
    fee: Annotated[int, Field(strict=True, ge=0)] = 100
    home: Home | None = None


class Approval(BaseModel):
    """What the dean says."""

    approved: bool
    level: Literal["basic", "full"] = "basic"
    places: int | None = None
    reason: str | None = None
    remarks: dict[str, str] = {}


class ReserveSeat(Command):
    participant = CAMPUS
    student: str


class ReleaseSeat(Command):
    participant = CAMPUS


class PayFee(Command):
    participant = BURSAR
    amount: int
    phone: Annotated[str, Field(json_schema_extra=SECRET)] = "none"


class ReturnFee(Command):
    participant = BURSAR


class IssueCard(Command):
    participant = CAMPUS
    student: str


class RevokeCard(Command):
    participant = CAMPUS


class JoinCourse(Command):
    participant = CAMPUS
    course: str


class LeaveCourse(Command):
    participant = CAMPUS


class ConfirmEnrolment(Command):
    participant = CAMPUS
    places: int


class SeatReserved(OutcomeEvent):
    key = "campus.seat_reserved"
    seat: str


class SeatRefused(Rejection):
    key = "campus.seat_refused"


class SeatReleased(CompensationOutcome):
    key = "campus.seat_released"


class FeePaid(OutcomeEvent):
    key = "bursar.fee_paid"


class FeeRefused(Rejection):
    key = "bursar.fee_refused"


class FeeReturned(CompensationOutcome):
    key = "bursar.fee_returned"


class CardIssued(OutcomeEvent):
    key = "campus.card_issued"


class CardRevoked(CompensationOutcome):
    key = "campus.card_revoked"


class CourseJoined(OutcomeEvent):
    key = "campus.course_joined"


class CourseRefused(Rejection):
    key = "campus.course_refused"


class CourseLeft(CompensationOutcome):
    key = "campus.course_left"


class EnrolmentConfirmed(OutcomeEvent):
    key = "campus.enrolment_confirmed"


class StudentEnrolled(Event):
    key = "enrolment.enrolled"
    student: str


def enrolment(policy: StepPolicy, **changes: Any) -> SagaDefinition:
    """The definition, some of it changed."""
    fields: dict[str, Any] = {
        "name": NAME,
        "version": 1,
        "input": Enrolment,
        "examples": (Enrolment(student="Ada", courses=("logic",), home=Home(street="1 Street", phone="12")),),
        "labels": Labels("applied", "enrolled", "turned_down", "withdrawn"),
        "announces": {"completed": Announcement(StudentEnrolled, lambda it, _: {"student": it.student})},
        "course": _course(policy),
    }
    return SagaDefinition(**fields | changes)


def _course(policy: StepPolicy) -> tuple[Any, ...]:
    return (
        Step(
            "reserve_seat",
            CAMPUS,
            StepKind.COMPENSATABLE,
            ReserveSeat,
            SeatReserved,
            policy,
            arguments=lambda it, _: {"student": it.student},
            rejection=SeatRefused,
            compensation=Compensation(ReleaseSeat, SeatReleased),
            milestone="seated",
            keeps=("seat",),
        ),
        Group(
            (
                Step(
                    "pay_fee",
                    BURSAR,
                    StepKind.COMPENSATABLE,
                    PayFee,
                    FeePaid,
                    policy,
                    arguments=lambda it, _: {"amount": it.fee, "phone": it.home.phone if it.home else "none"},
                    rejection=FeeRefused,
                    compensation=Compensation(ReturnFee, FeeReturned),
                ),
                Step(
                    "issue_card",
                    CAMPUS,
                    StepKind.COMPENSATABLE,
                    IssueCard,
                    CardIssued,
                    policy,
                    arguments=lambda it, _: {"student": it.student},
                    compensation=Compensation(RevokeCard, CardRevoked),
                ),
            )
        ),
        Wait(
            "approval",
            THREE_DAYS_S,
            signal=Approval,
            refuses=lambda body: None if body["approved"] else "not_approved",
            waiting="before_the_dean",
            milestone="approved",
        ),
        ForEach(
            "places",
            lambda it, _: list(it.courses),
            Step(
                "join",
                CAMPUS,
                StepKind.COMPENSATABLE,
                JoinCourse,
                CourseJoined,
                policy,
                arguments=lambda it, _, course: {"course": course},
                rejection=CourseRefused,
                compensation=Compensation(LeaveCourse, CourseLeft),
            ),
        ),
        Step(
            "confirm",
            CAMPUS,
            StepKind.PIVOT,
            ConfirmEnrolment,
            EnrolmentConfirmed,
            policy,
            arguments=lambda it, results: {"places": len(results.get("places", ()))},
        ),
    )


Answer = tuple[type[OutcomeEvent], Mapping[str, Any]]

ANSWERS: Final[Mapping[type[Command], Answer]] = {
    ReserveSeat: (SeatReserved, {"seat": "A-17"}),
    ReleaseSeat: (SeatReleased, {"effect": "undone"}),
    PayFee: (FeePaid, {}),
    ReturnFee: (FeeReturned, {"effect": "undone"}),
    IssueCard: (CardIssued, {}),
    RevokeCard: (CardRevoked, {"effect": "undone"}),
    JoinCourse: (CourseJoined, {}),
    LeaveCourse: (CourseLeft, {"effect": "undone"}),
    ConfirmEnrolment: (EnrolmentConfirmed, {}),
}
_COMMANDS: Final = {command.__name__: command for command in ANSWERS}


class StandIn:
    """Campus and bursar: answers as told, and keeps what it is told to hold back."""

    def __init__(self, transport: Transport, new_id: NewId) -> None:
        self._transport = transport
        self._new_id = new_id
        self._publisher = transport.publisher()
        self._tasks: list[asyncio.Task[None]] = []
        self._held: list[Command] = []
        self.holds: set[type[Command]] = set()
        self.answers: dict[type[Command], Answer] = dict(ANSWERS)

    async def start(self) -> None:
        """Begin to answer."""
        for participant in (CAMPUS, BURSAR):
            inbox = await self._transport.subscribe(command_queue(participant), 50)
            self._tasks.append(asyncio.create_task(self._work(inbox)))

    async def stop(self) -> None:
        """Answer no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def let_go(self) -> None:
        """Answer what was held back, and hold nothing any more."""
        self.holds.clear()
        held, self._held = self._held, []
        for command in held:
            self._answer(command)

    async def _work(self, inbox: Subscription) -> None:
        while True:
            deliveries = await inbox.receive(50)
            for delivery in deliveries:
                self._take(delivery)
            inbox.acknowledge(deliveries)

    def _take(self, delivery: Delivery) -> None:
        command = _COMMANDS[delivery.type or ""].model_validate_json(delivery.body)
        if type(command) in self.holds:
            self._held.append(command)
        else:
            self._answer(command)

    def _answer(self, command: Command) -> None:
        event, fields = self.answers[type(command)]
        body = event(
            saga_id=command.saga_id,
            order_id=command.order_id,
            step=command.step,
            direction=command.direction,
            **fields,
        )
        message_id = self._new_id()
        message = event_message(body, message_id, message_id, datetime.now(UTC), "stand-in")
        self._publisher.publish([message], lambda _id, _receipt: None)
