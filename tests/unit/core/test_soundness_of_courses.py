"""What is wrong with courses, waits, labels, announcements and examples is told before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field, field_validator

from contracts.events import Event, OutcomeEvent
from contracts.findable import Findable
from orchestrator.core.definition import (
    MAX_PIECES,
    Announcement,
    Compensation,
    ForEach,
    Group,
    Labels,
    OnDeadline,
    Results,
    SagaDefinition,
    SignalledBy,
    Wait,
)
from orchestrator.core.following import Follows
from orchestrator.core.soundness import InvalidDefinition, validate
from tests.unit.core.courses import (
    APPROVAL,
    GROUP,
    JOURNEY,
    PIVOT,
    REST,
    RETRIABLE,
    TICKETS,
    Approval,
    Book,
    Journey,
    JourneyBooked,
    JourneyCalledOff,
    JourneyOver,
    JourneyPlanned,
    Unbook,
    Unbooked,
    approval,
    of,
    step,
    travellers,
)

A, B = step("a"), step("b")


def following(**changes: Any) -> SagaDefinition:
    """It follows the sagas of orders."""
    given = {"definition": "order", "asked": Approval, "key": "order_id", "subject": id, "make": id}
    return of(A, follows=Follows(**{**given, **changes}))


class OnlyMayAndJune(BaseModel):
    """Its rules changed: what was accepted cannot be read back any more."""

    month: str = "april"

    @field_validator("month")
    @classmethod
    def in_season(cls, month: str) -> str:
        """Closed otherwise."""
        if month not in ("may", "june"):
            raise ValueError("closed")
        return month


class NoParticipant(Book):
    """Nobody's."""

    participant: ClassVar[str | None] = None


class OddParticipant(Book):
    """Of no queue."""

    participant: ClassVar[str | None] = "The Agency!"


class Unrouted(OutcomeEvent):
    """An event without a routing key."""


class Particular(BaseModel):
    """Nothing that could be made up would do."""

    word: str

    @field_validator("word")
    @classmethod
    def known(cls, word: str) -> str:
        """One word in the world."""
        if word != "abracadabra":
            raise ValueError("not that word")
        return word


class ParticularlyBooked(OutcomeEvent):
    """Nor for this."""

    key = "agency.particularly"
    word: Particular


class Line(BaseModel):
    """Written by its field's name, and read by its alias alone."""

    unit_price: int = Field(alias="unitPrice", default=1)


class BookLines(Book):
    """Of a participant that would find no prices."""

    lines: tuple[Line, ...] = ()


class Graded(OutcomeEvent):
    """A grade that may be None would be missed."""

    key = "agency.graded"
    grade: str | None


class Tagged(Book):
    """Another command in each process."""

    tags: frozenset[str] = frozenset()


class TaggedJourney(Journey):
    """Another document in each process."""

    tags: tuple[frozenset[str], ...] = ()


class TaggedApproval(Approval):
    """Another word in each process."""

    tags: frozenset[str] = frozenset()


class TaggedNews(Event):
    """Other news in each process."""

    key = "journey.tagged"
    tags: frozenset[str] = frozenset()


class UnbookAll(Unbook):
    """Its engine would have no number to give."""

    pieces: int


class CalledOff(JourneyCalledOff):
    """Says by what it was paid."""

    reference: str


def ticket_references(journey: Any, results: Results) -> Mapping[str, Any]:
    """As if every branch had succeeded."""
    return {"seen": {"references": [each["reference"] for each in results["tickets"]]}}


def counted_references(journey: Any, results: Results) -> Mapping[str, Any]:
    """The same, counted."""
    return {"tickets": len([each["reference"] for each in results["tickets"]])}


def approvals(journey: Any, results: Results) -> Mapping[str, Any]:
    """As if somebody had answered."""
    return {"seen": {"yes": results["approval"]["yes"]}}


def fails(*given: Any) -> Any:
    """As functions may."""
    raise LookupError("no such thing")


async def waits(*given: Any) -> Any:
    """As functions must not."""


def anything(value: Any) -> Any:
    """What no type checker would let pass."""
    return value


def announcing(moment: str, each: Any) -> SagaDefinition:
    """A saga that tells the world of something."""
    return of(A, announces={moment: each})


COMPLAINTS: dict[str, SagaDefinition] = {
    # stages
    "its course must be a tuple of stages": replace(JOURNEY, course=anything([A])),
    "stage 2 is str, not a step, group, for-each or wait": of(A, anything("b")),
    "it has no steps": of(REST),
    "stage 1: a group is a tuple of two steps or more": of(Group((A,))),
    "stage 2: a group is a tuple of two steps": of(A, Group(anything([B, step("c")]))),
    "stage 1 holds something that is no step": of(Group((A, anything(REST)))),
    "stage 2 holds something that is no step": of(A, ForEach("each", travellers, anything(None))),
    "a pivot stands alone in its stage, or is the step of a for-each": of(Group((A, step("p", PIVOT)))),
    "the group of a, c mixes kinds of steps": of(Group((A, step("c", RETRIABLE)))),
    "compensatable step 'a' comes after 'ticket', which cannot be undone": of(TICKETS, A),
    "compensatable step 'flight' comes after 'p', which cannot be undone": of(step("p", PIVOT), GROUP),
    "compensatable step 'b' comes after 'c', which cannot be undone": of(
        Group((step("c", RETRIABLE), step("d", RETRIABLE))), ForEach("each", travellers, B)
    ),
    "it has more than one pivot": of(TICKETS, step("p", PIVOT)),
    f"it has more than {MAX_PIECES} pieces": of(*(step(f"s{at}") for at in range(MAX_PIECES + 1))),
    # names
    "the name 'a' is there more than once": of(Group((A, A))),
    "the name 'b' is there more than once": of(A, ForEach("b", travellers, B)),
    "the name 'approval' is there more than once": of(step("approval"), APPROVAL),
    "'Each one': a name is a small letter": of(ForEach("Each one", travellers, A)),
    "'a[1]': a name is a small letter": of(step("a[1]"), ForEach("each", travellers, A)),
    "'no wait': a name is a small letter": of(A, approval(name="no wait")),
    # for-each
    "step 'a': its rejection 7 is no Rejection": of(
        ForEach("each", travellers, step("a", rejection=anything(7)))
    ),
    "for-each 'each': its items cannot be worked out: LookupError": of(ForEach("each", fails, A)),
    "for-each 'each': its items cannot be worked out: TypeError: it is async": of(
        ForEach("each", anything(waits), A)
    ),
    "for-each 'each': its items are no list of plain values": of(ForEach("each", lambda *_: [object()], A)),
    "for-each 'two': its items are no list of plain values": of(ForEach("two", anything(lambda *_: 2), A)),
    "for-each 'each': more than 100 items": of(ForEach("each", lambda *_: range(101), A)),
    "step 'a': its arguments cannot be taken from an example: TypeError": of(
        ForEach("each", travellers, step("a", arguments=lambda journey, results: {}))
    ),
    # waits
    "wait 'approval': deadline_s must be above 0": of(A, approval(deadline_s=0)),
    "wait 'approval': deadline_s must be above 0 and": of(A, approval(deadline_s=float("inf"))),
    "wait 'approval': its on_deadline 'turn' is no OnDeadline": of(A, approval(on_deadline="turn")),
    "wait 'approval': its signal dict is no pydantic model": of(A, approval(signal=dict)),
    "wait 'approval': its signalled_by 'me' is no SignalledBy": of(A, approval(signalled_by="me")),
    "wait 'approval': it waits for no signal that operators could give": of(
        A, approval(signal=None, refuses=None, signalled_by=SignalledBy.OPERATORS)
    ),
    "wait 'approval': it waits for no signal that could be refused": of(A, approval(signal=None)),
    "wait 'approval' may turn the saga round, but comes after 'ticket'": of(TICKETS, APPROVAL),
    "wait 'rest' may turn the saga round, but comes after 'p'": of(step("p", PIVOT), Wait("rest", 60)),
    "wait 'approval': when says int, not True or False": of(A, approval(when=lambda *_: 1)),
    "wait 'approval': when cannot be told of an example: LookupError": of(A, approval(when=fails)),
    "wait 'approval': refuses cannot be asked: LookupError": of(A, approval(refuses=fails)),
    "wait 'approval': refuses says 'No!', neither None nor a code": of(A, approval(refuses=lambda _: "No!")),
    "wait 'approval': Particular needs an example of its own": of(A, approval(signal=Particular)),
    # labels
    "its labels are no Labels": of(A, labels=None),
    "its label completed is a function, so may_complete_as must": of(
        A, labels=Labels(completed=anything(str))
    ),
    "may_complete_as must be a tuple of labels": of(A, labels=Labels(may_complete_as=anything(["x"]))),
    "its label completed says 'well', which may_complete_as does not list": of(
        A, labels=Labels(completed=lambda *_: "well", may_complete_as=("badly",))
    ),
    "its label completed cannot be told of an example: LookupError": of(
        A, labels=Labels(completed=fails, may_complete_as=("badly",))
    ),
    "label 'All done': a name is a small letter": of(A, labels=Labels(completed="All done")),
    "label 'None': a name is a small letter": of(A, labels=Labels(rejected=anything(None))),
    "label '[]': a name is a small letter": of(A, labels=Labels(cancelled=anything([]))),
    "its label started completed is an end, not a way station": of(A, labels=Labels(started="completed")),
    "step 'a': its milestone rejected is an end, not a way station": of(step("a", milestone="rejected")),
    "wait 'approval': its waiting cancelled is an end": of(A, approval(waiting="cancelled")),
    "wait 'approval': its milestone completed is an end": of(A, approval(milestone="completed")),
    "rejected_as must be a mapping": of(A, labels=Labels(rejected_as=anything([]))),
    "label 'Sold out': a name is a small letter": of(A, labels=Labels(rejected_as={"full": "Sold out"})),
    "wait 'approval': fits cannot be asked: LookupError": of(A, approval(fits=fails)),
    "wait 'approval': fits says int, neither None nor a text": of(A, approval(fits=lambda *_: 7)),
    # following
    "its follows is str, not a Follows": of(A, follows=anything("order")),
    "what is asked of the saga that it follows is no pydantic model": following(asked=anything(dict)),
    "what is asked of the saga that it follows may have no reference": following(asked=Findable),
    "its input is no Findable": following(),
    # announcements
    "it announces something when it is 'begun', which is none of started": announcing(
        "begun", Announcement(JourneyPlanned)
    ),
    "what it announces when it is started is no Announcement": announcing("started", JourneyPlanned),
    "what it announces when it is started is no Announcement of an Event": announcing(
        "started", Announcement(anything(Event))
    ),
    "JourneyPlanned: travellers: Field required": announcing("started", Announcement(JourneyPlanned)),
    "JourneyPlanned cannot be made from an example: LookupError": announcing(
        "completed", Announcement(JourneyPlanned, fails)
    ),
    "the fields of JourneyPlanned are list, not a mapping": announcing(
        "completed", Announcement(JourneyPlanned, anything(lambda *_: []))
    ),
    "step 'a': what it announces is no Announcement": of(step("a", announces=JourneyBooked)),
    "JourneyBooked: references: Field required": of(step("a", announces=Announcement(JourneyBooked))),
    # examples and models
    "its examples must be a tuple of inputs, one at least": of(A, examples=()),
    "example 2 is no Journey": of(A, examples=(Journey(), Approval())),
    "its input is no pydantic model": of(A, input=dict),
    "its accepted is no pydantic model": of(A, accepted="Journey"),
    "an example that was accepted cannot be read back": of(
        A, accepted=OnlyMayAndJune, input=OnlyMayAndJune, examples=(OnlyMayAndJune(),)
    ),
    # whose work it is
    "step 'a': its command NoParticipant does not say whose it is": of(step("a", command=NoParticipant)),
    "step 'a': the participant of OddParticipant is 'The Agency!'": of(
        step("a", command=OddParticipant, participant="The Agency!")
    ),
    "step 'a': Book is work of agency, not of 'payment'": of(step("a", participant="payment")),
    "step 'a': its success Unrouted has no routing key": of(step("a", success=Unrouted, keeps=())),
    "step 'a': ParticularlyBooked needs an example of its own": of(
        step("a", success=ParticularlyBooked, keeps=("word",))
    ),
    # what is read as it was written
    "Line.unit_price is written as 'unit_price' and read as 'unitPrice' alone": of(
        step("a", command=BookLines)
    ),
    "Graded.grade may be None, which is left out of a message and then missed": of(
        step("a", success=Graded, keeps=())
    ),
    "Tagged.tags is a set": of(step("a", command=Tagged)),
    "TaggedJourney.tags is a set": of(A, input=TaggedJourney, examples=(TaggedJourney(),)),
    "TaggedApproval.tags is a set": of(A, approval(signal=TaggedApproval)),
    "TaggedNews.tags is a set": announcing("completed", Announcement(TaggedNews)),
    "step 'a': its arguments make no Book: it has a set": of(
        step("a", arguments=lambda *_: {"item": [{"any": {"thing"}}]})
    ),
    "step 'a': UnbookAll is given no arguments: pieces: Field required": of(
        step("a", compensation=Compensation(UnbookAll, Unbooked))
    ),
    # however it goes
    "where a branch of 'tickets' is rejected: step 'tell': its arguments cannot be taken": of(
        TICKETS, step("tell", RETRIABLE, arguments=ticket_references)
    ),
    "where a branch of 'tickets' is rejected: JourneyOver cannot be made": of(
        TICKETS, announces={"completed": Announcement(JourneyOver, counted_references)}
    ),
    "where 'approval' is over without a signal: step 'tell': its arguments cannot be taken": of(
        A,
        approval(on_deadline=OnDeadline.GO_ON, when=None),
        step("tell", RETRIABLE, arguments=approvals),
    ),
    "step 'tell': its arguments cannot be taken from an example: KeyError: 'approval'": of(
        A, APPROVAL, step("tell", RETRIABLE, arguments=approvals)
    ),
    "where it is rejected before anything is done: CalledOff cannot be made": announcing(
        "rejected", Announcement(CalledOff, lambda _, results: {"reference": results["a"]["reference"]})
    ),
    "JourneyCalledOff: code: Field required": announcing("completed", Announcement(JourneyCalledOff)),
}


@pytest.mark.parametrize(("complaint", "definition"), COMPLAINTS.items(), ids=COMPLAINTS)
def test_what_is_wrong_is_told(complaint: str, definition: SagaDefinition) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        validate(definition)
    assert complaint in str(refused.value)


def test_a_course_of_every_kind_of_stage_is_sound() -> None:
    validate(JOURNEY)


def test_the_functions_are_tried_on_every_example() -> None:
    sound = of(ForEach("each", lambda journey, _: [7 // len(journey.travellers)], A))
    validate(sound)
    with pytest.raises(InvalidDefinition, match="its items cannot be worked out: ZeroDivisionError"):
        validate(replace(sound, examples=(Journey(), Journey(travellers=()))))


def test_a_for_each_that_finds_nothing_is_there_for_those_who_ask_for_its_results() -> None:
    validate(replace(JOURNEY, examples=(Journey(travellers=()),)))


def test_a_wait_that_is_left_out_is_no_result_and_one_for_time_alone_is_an_empty_one() -> None:
    needed = (Journey(needs_approval=True),)
    validate(of(A, APPROVAL, step("tell", RETRIABLE, arguments=approvals), examples=needed))
    rested = step("tell", RETRIABLE, arguments=lambda _, results: {"seen": results["rest"]})
    validate(of(A, REST, rested))


def test_of_one_branch_that_is_rejected_the_others_are_still_there() -> None:
    def outcomes(journey: Any, results: Results) -> Mapping[str, Any]:
        said = [each.get("reference") or each["code"] for each in results["tickets"]]
        assert len(said) == len(journey.travellers)
        return {"seen": {"said": said}}

    validate(of(TICKETS, step("tell", RETRIABLE, arguments=outcomes)))


def test_past_the_pivot_a_wait_may_go_on_and_nothing_else() -> None:
    validate(of(TICKETS, approval(on_deadline=OnDeadline.GO_ON, refuses=None), step("tell", RETRIABLE)))
    with pytest.raises(InvalidDefinition, match="may turn the saga round"):
        validate(of(TICKETS, approval(on_deadline=OnDeadline.GO_ON), step("tell", RETRIABLE)))


def test_pieces_are_found_by_the_name_of_their_step() -> None:
    assert "ticket[2]" in JOURNEY
    assert JOURNEY["ticket[2]"].name == "ticket"
    assert "ticket[0]" not in JOURNEY
    assert "seat[1]" not in JOURNEY, "only a for-each has branches"
    assert JOURNEY.stage_of("ticket[100]") is TICKETS
    assert JOURNEY.first_pieces == ("seat", "flight", "hotel", "approval", "rest", "tell")
    assert JOURNEY.point_of_no_return == 3
    with pytest.raises(KeyError):
        JOURNEY["seat[1]"]
