"""S21: turning round within a stage. What else is awaited counts as unknown; it is undone side by side."""

from __future__ import annotations

import pytest

from orchestrator.core.definition import ForEach, Group, SagaDefinition
from orchestrator.core.inputs import OutcomeUnknown
from orchestrator.core.state import Forward, IncidentKind, Status, Undo
from tests.unit.core.courses import (
    GROUP,
    JOURNEY,
    RETRIABLE,
    booked,
    not_booked,
    of,
    signal,
    step,
    travellers,
    unbooked,
)
from tests.unit.core.expectations import (
    accepted,
    asked,
    closes_dead_letters,
    ends,
    no_incident,
    opens,
    publishes,
    refuses,
    stale,
    undoes_exactly,
)
from tests.unit.core.happenings import cancel, died, refused
from tests.unit.core.scenario import Scenario, started

THREE = Group((step("flight"), step("hotel"), step("car")))
TRIP = of(step("seat"), THREE, step("guide"))
BRANCHES = of(step("seat"), ForEach("rooms", travellers, step("room")))


def beside() -> Scenario:
    """Flight, hotel and car are awaited, behind a seat that is booked."""
    return started(TRIP).when(booked("seat"))


def forwards(scenario: Scenario) -> dict[str, Forward]:
    """What is known of each piece."""
    return {piece.name: piece.forward for piece in scenario.saga.steps}


# -- a rejection ------------------------------------------------------------------------------------------


def test_a_rejection_turns_the_saga_round_although_others_are_still_awaited() -> None:
    scenario = beside().when(booked("flight"), not_booked("hotel")).then(accepted)
    scenario.then(undoes_exactly("flight", "car"), asked("flight", "car"))
    assert forwards(scenario) == {
        "seat": Forward.SUCCEEDED,
        "flight": Forward.SUCCEEDED,
        "hotel": Forward.REJECTED,
        "car": Forward.UNKNOWN,
        "guide": Forward.PENDING,
    }


def test_the_rejected_piece_itself_had_no_effect_and_is_not_undone() -> None:
    scenario = beside().when(not_booked("hotel")).then(undoes_exactly("flight", "car"))
    assert scenario.saga.step("hotel").undo is Undo.NONE


def test_the_stage_before_is_undone_once_the_whole_stage_is() -> None:
    scenario = beside().when(booked("flight"), not_booked("hotel"), unbooked("car", "nothing"))
    scenario.then(undoes_exactly("flight"), asked())
    scenario.when(unbooked("flight")).then(undoes_exactly("seat"), asked("seat"))
    scenario.when(unbooked("seat")).then(ends(Status.COMPENSATED, "rejected", because="sold_out"))


def test_the_only_piece_that_held_nothing_leaves_its_stage_at_once() -> None:
    one_left = beside().when(booked("flight"), booked("car"), not_booked("hotel"))
    one_left.then(undoes_exactly("flight", "car"))
    alone = started(of(step("seat"), Group((step("a"), step("b"))))).when(booked("seat"))
    alone.when(not_booked("a")).then(undoes_exactly("b")).when(unbooked("b")).then(undoes_exactly("seat"))


def test_s8_the_first_cause_wins() -> None:
    scenario = beside().when(not_booked("hotel", "full"), not_booked("car", "none left")).then(stale)
    assert scenario.saga.failure is not None
    assert (scenario.saga.failure.code, scenario.saga.failure.message) == ("sold_out", "full")


def test_s1_the_late_rejection_of_a_sibling_is_stale_and_its_compensation_still_awaited() -> None:
    beside().when(not_booked("hotel"), not_booked("car")).then(stale, undoes_exactly("flight", "car"))


# -- an unknown outcome -----------------------------------------------------------------------------------


def test_an_unknown_outcome_turns_it_round_and_is_undone_with_its_siblings() -> None:
    scenario = beside().when(booked("flight"), OutcomeUnknown("hotel"))
    scenario.then(undoes_exactly("flight", "hotel", "car"), asked("flight", "hotel", "car"))
    assert scenario.saga.failure is not None
    assert scenario.saga.failure.code == "step_deadline"


def test_one_rejected_and_one_unknown_undo_what_may_hold_something() -> None:
    scenario = beside().when(OutcomeUnknown("hotel"), not_booked("flight")).then(stale)
    scenario.then(undoes_exactly("flight", "hotel", "car"))
    scenario = beside().when(not_booked("flight"), OutcomeUnknown("hotel")).then(stale)
    scenario.then(undoes_exactly("hotel", "car"))


# -- late successes and refusals --------------------------------------------------------------------------


def test_s5_the_late_success_of_a_sibling_is_recorded_and_still_undone() -> None:
    scenario = beside().when(not_booked("hotel"), booked("car", "c-1")).then(accepted, asked())
    scenario.then(undoes_exactly("flight", "car"), no_incident)
    assert scenario.saga.step("car").result == {"reference": "c-1"}
    scenario.when(unbooked("car"), unbooked("flight")).then(no_incident, undoes_exactly("seat"))


def test_s5_a_sibling_that_succeeded_although_nothing_was_found_to_undo_is_orphaned() -> None:
    scenario = beside().when(not_booked("hotel"), unbooked("car", "nothing"), booked("car"))
    scenario.then(opens(IncidentKind.ORPHANED_EFFECT, "car"), undoes_exactly("flight"))


def test_s5_a_rejected_sibling_that_succeeded_after_all_is_undone_before_the_stage_is_left() -> None:
    scenario = (
        beside().when(not_booked("hotel"), booked("hotel")).then(accepted, undoes_exactly("flight", "car"))
    )
    scenario.when(unbooked("flight"), unbooked("car")).then(undoes_exactly("hotel"), asked("hotel"))
    scenario.when(unbooked("hotel")).then(undoes_exactly("seat"), no_incident)


def test_p5_a_sibling_whose_command_was_overtaken_by_its_compensation_changes_nothing() -> None:
    beside().when(not_booked("hotel"), refused("car")).then(
        stale, undoes_exactly("flight", "car"), no_incident
    )


def test_d3_the_dead_letters_of_a_sibling_end_when_the_saga_turns_round() -> None:
    scenario = beside().when(died("car"), not_booked("hotel")).then(closes_dead_letters("car"), no_incident)
    scenario.then(undoes_exactly("flight", "car"))


# -- cancel -----------------------------------------------------------------------------------------------


def test_s9_a_cancel_within_a_group_undoes_all_of_it_and_then_what_came_before() -> None:
    scenario = beside().when(booked("hotel"), cancel()).then(undoes_exactly("flight", "hotel", "car"))
    for piece in ("flight", "hotel", "car", "seat"):
        scenario.when(unbooked(piece))
    scenario.then(ends(Status.COMPENSATED, "cancelled", because="cancelled"))


def test_s9_a_cancel_is_too_late_once_any_branch_of_the_pivot_is_asked_for() -> None:
    scenario = started(JOURNEY).when(booked("seat"), booked("flight"), booked("hotel"))
    scenario.when(signal(), booked("ticket[1]"), cancel()).then(refuses("too_late"))


def test_s9_of_a_group_that_cannot_fail_nothing_can_be_cancelled() -> None:
    pair = Group((step("a", RETRIABLE), step("b", RETRIABLE)))
    started(of(step("seat"), pair)).when(booked("seat"), cancel()).then(refuses("too_late"))


# -- branches ---------------------------------------------------------------------------------------------


def test_a_rejected_branch_turns_the_saga_round_and_its_siblings_are_undone_side_by_side() -> None:
    scenario = started(BRANCHES).when(booked("seat"), booked("room[1]"), not_booked("room[3]"))
    scenario.then(undoes_exactly("room[1]", "room[2]")).when(unbooked("room[2]"), unbooked("room[1]"))
    scenario.then(undoes_exactly("seat"))


@pytest.mark.parametrize("order", [("room[1]", "room[2]", "room[3]"), ("room[3]", "room[1]", "room[2]")])
def test_compensations_of_a_stage_may_be_answered_in_any_order(order: tuple[str, ...]) -> None:
    course = of(*BRANCHES.course, step("guide"))
    rooms = [booked(f"room[{number}]") for number in (1, 2, 3)]
    scenario = started(course).when(booked("seat"), *rooms, not_booked("guide"))
    scenario.then(undoes_exactly("room[1]", "room[2]", "room[3]"))
    scenario.when(*(unbooked(room) for room in order)).then(undoes_exactly("seat"))


def test_stages_that_have_nothing_to_undo_are_passed_over() -> None:
    course: SagaDefinition = of(step("seat"), GROUP, step("guide"))
    scenario = started(course).when(booked("seat"), not_booked("flight"), unbooked("hotel", "nothing"))
    scenario.then(undoes_exactly("seat"), publishes())
