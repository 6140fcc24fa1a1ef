"""The saga, walked through by hand."""

from __future__ import annotations

import pytest
from enrolment.messages import CardActivated, CardIssued, CardRevoked, NoSeat, SeatsFreed, SeatsTaken
from enrolment.saga import Approval, Enrolment, enrolment

from oms.kit import Effect, StepPolicy
from oms.kit.testing import NotAwaited, Walk

COURSES = ("algebra", "botany")


@pytest.fixture
def saga() -> Walk:
    return Walk(enrolment(StepPolicy()), Enrolment(student="s-1", courses=COURSES))


def test_seats_and_card_are_asked_for_side_by_side(saga: Walk) -> None:
    assert list(saga.asked) == ["seats", "card"]
    assert saga.label == "received"


def test_a_student_who_is_approved_is_enrolled(saga: Walk) -> None:
    saga.answer(CardIssued, card="card-1")
    saga.answer(SeatsTaken, courses=COURSES)
    assert (saga.waits, saga.label) == (("approval",), "awaiting_approval")
    saga.signal("approval", Approval(approved=True))
    assert saga.asked["activate"].model_dump()["card"] == "card-1"
    saga.answer(CardActivated)
    assert saga.has_ended
    assert saga.label == "enrolled"


def test_who_is_not_approved_keeps_neither_seat_nor_card(saga: Walk) -> None:
    saga.answer(SeatsTaken, courses=COURSES)
    saga.answer(CardIssued, card="card-1")
    saga.signal("approval", Approval(approved=False))
    saga.answer(SeatsFreed, effect=Effect.UNDONE)
    saga.answer(CardRevoked, effect=Effect.UNDONE)
    assert (saga.has_ended, saga.label) == (True, "rejected")


def test_without_a_seat_the_card_is_revoked(saga: Walk) -> None:
    saga.answer(NoSeat, code="full")
    saga.answer(CardRevoked, effect=Effect.NOTHING)
    assert (saga.has_ended, saga.label) == (True, "rejected")


def test_three_days_without_an_answer_are_a_no(saga: Walk) -> None:
    saga.answer(SeatsTaken, courses=COURSES)
    saga.answer(CardIssued, card="card-1")
    saga.let_time_run_out("approval")
    assert set(saga.asked) == {"seats", "card"}


def test_no_card_is_activated_before_it_is_approved(saga: Walk) -> None:
    with pytest.raises(NotAwaited):
        saga.answer(CardActivated)
