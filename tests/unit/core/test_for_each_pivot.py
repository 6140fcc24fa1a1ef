"""S22: a for-each whose branches cannot be undone: none succeeded, some, all; and what its history keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.commands import Verdict
from orchestrator.core.definition import MAX_BRANCHES, ForEach, Labels, Results, SagaDefinition
from orchestrator.core.machine import fold
from orchestrator.core.moment import DefinitionFault
from orchestrator.core.state import Forward, IncidentKind, Status, Undo
from tests.unit.core.courses import (
    JOURNEY,
    PIVOT,
    RETRIABLE,
    TICKETS,
    Journey,
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
    awaits,
    closes_dead_letters,
    ends,
    may,
    no_incident,
    opens,
    order_is,
    refuses,
    sends,
    stale,
    undoes_exactly,
)
from tests.unit.core.happenings import (
    COMPENSATING,
    FORWARD,
    ORDER_ID,
    SAGA_ID,
    died,
    died_for_good,
    judge,
    retry,
    settled,
)
from tests.unit.core.laws import without_timers
from tests.unit.core.scenario import Scenario, started

PARTLY: SagaDefinition = of(step("seat"), TICKETS, step("give_back", RETRIABLE))


def ticketing(*people: str) -> Scenario:
    """A seat is booked, and a ticket asked for each of these."""
    return started(PARTLY, Journey(travellers=people or ("ann", "bob", "cy"))).when(booked("seat"))


# -- how it may go ----------------------------------------------------------------------------------------


def test_there_is_a_branch_for_each_item_with_a_name_of_its_own() -> None:
    scenario = ticketing("ann", "bob").then(asked("ticket[1]", "ticket[2]"))
    assert [(piece.name, piece.item) for piece in scenario.saga.steps] == [
        ("seat", None),
        ("ticket[1]", "ann"),
        ("ticket[2]", "bob"),
        ("give_back", None),
    ]


def test_when_none_succeeded_the_saga_turns_round_for_the_first_reason() -> None:
    scenario = ticketing().when(not_booked("ticket[2]"), not_booked("ticket[3]"))
    scenario.then(awaits("ticket[1]")).when(not_booked("ticket[1]", "strike"))
    scenario.then(undoes_exactly("seat")).when(unbooked("seat"))
    scenario.then(ends(Status.COMPENSATED, "rejected", because="sold_out"))
    assert scenario.saga.failure is not None
    assert scenario.saga.failure.message == "strike", "that of the first branch"


def test_when_some_succeeded_it_only_goes_forward_and_a_later_step_puts_the_rest_right() -> None:
    scenario = ticketing().when(not_booked("ticket[1]"), booked("ticket[2]"), not_booked("ticket[3]"))
    scenario.then(asked("give_back"), awaits("give_back"), order_is("ticketed"))
    first, second, third = scenario.command.seen["tickets"]
    assert first == {"item": "ann", "outcome": "rejected", "code": "sold_out", "message": "sold out"}
    assert second == {"item": "bob", "outcome": "succeeded", "reference": "r-ticket[2]"}
    assert third["outcome"] == "rejected"


def test_when_all_succeeded_it_goes_on_alike() -> None:
    scenario = ticketing("ann").when(booked("ticket[1]")).then(awaits("give_back"))
    scenario.when(booked("give_back")).then(ends(Status.COMPLETED, "completed"))


def test_the_last_branch_to_answer_may_be_the_rejected_one() -> None:
    ticketing("ann", "bob").when(booked("ticket[1]"), not_booked("ticket[2]")).then(awaits("give_back"))


def test_without_any_item_the_stage_is_skipped() -> None:
    nobody = Journey(travellers=())
    scenario = started(PARTLY, nobody).when(booked("seat")).then(asked("give_back"), awaits("give_back"))
    assert scenario.command.seen["tickets"] == ()
    assert [piece.name for piece in scenario.saga.steps] == ["seat", "give_back"]


def test_a_for_each_alone_without_any_item_completes_at_once() -> None:
    started(of(TICKETS), Journey(travellers=())).then(ends(Status.COMPLETED, "completed"))


def test_a_rejected_branch_takes_the_steps_own_word_for_it() -> None:
    tickets = ForEach("tickets", travellers, step("ticket", PIVOT, failure_code="no_ticket"))
    scenario = started(of(tickets), Journey(travellers=("ann",))).when(not_booked("ticket[1]"))
    scenario.then(ends(Status.COMPENSATED, "rejected", because="no_ticket"))


def test_s19_a_branch_found_to_have_had_no_effect_is_a_result_like_the_others() -> None:
    scenario = ticketing("ann", "bob").when(booked("ticket[2]"), died("ticket[1]"))
    scenario.when(judge("ticket[1]", Verdict.NO_EFFECT), settled("ticket[1]", FORWARD, Verdict.NO_EFFECT))
    scenario.then(awaits("give_back"), no_incident)
    assert scenario.command.seen["tickets"][0]["code"] == "operator_verdict"


# -- a rejected branch that succeeded after all -----------------------------------------------------------


def went_forward() -> Scenario:
    """One of two tickets was rejected, and what comes after is asked for."""
    return ticketing("ann", "bob").when(not_booked("ticket[1]"), booked("ticket[2]"))


def test_s5_it_is_an_orphaned_effect_and_what_was_asked_for_stays_the_same() -> None:
    scenario = went_forward()
    before = scenario.command
    scenario.when(booked("ticket[1]")).then(accepted, opens(IncidentKind.ORPHANED_EFFECT, "ticket[1]"))
    scenario.then(awaits("give_back"), sends())
    assert scenario.saga.step("ticket[1]").forward is Forward.REJECTED
    assert scenario.when(retry()).command == before
    scenario.when(booked("ticket[1]")).then(stale)


def test_s5_also_while_its_siblings_are_still_awaited() -> None:
    scenario = ticketing("ann", "bob").when(not_booked("ticket[1]"), booked("ticket[1]"))
    scenario.then(opens(IncidentKind.ORPHANED_EFFECT, "ticket[1]"), awaits("ticket[2]"))
    scenario.when(not_booked("ticket[2]")).then(undoes_exactly("seat"))
    scenario.then(opens(IncidentKind.ORPHANED_EFFECT, "ticket[1]"))


def test_s5_also_after_the_saga_has_completed() -> None:
    scenario = went_forward().when(booked("give_back"), booked("ticket[1]"))
    scenario.then(opens(IncidentKind.ORPHANED_EFFECT, "ticket[1]"), may("resolve"))
    assert scenario.saga.status is Status.COMPLETED


def test_s19_a_person_settles_it_once_the_saga_has_completed() -> None:
    scenario = went_forward().when(booked("ticket[1]"))
    verdict = judge("ticket[1]", Verdict.SETTLED_OUTSIDE)
    scenario.when(verdict).then(refuses("not_ended")).when(booked("give_back"), verdict).then(accepted)
    scenario.when(died_for_good("ticket[1]", COMPENSATING)).then(may("retry", "resolve"))
    scenario.when(retry()).then(asked("ticket[1]"))
    scenario.when(settled("ticket[1]", COMPENSATING, Verdict.SETTLED_OUTSIDE))
    scenario.then(no_incident, closes_dead_letters("ticket[1]", COMPENSATING), may())
    assert scenario.saga.step("ticket[1]").undo is Undo.SETTLED
    assert (scenario.saga.status, scenario.saga.due_at) == (Status.COMPLETED, None)
    scenario.when(booked("ticket[1]")).then(stale, no_incident)


def test_s1_the_late_success_of_a_branch_that_succeeded_is_stale_after_the_end() -> None:
    went_forward().when(booked("give_back"), booked("ticket[2]")).then(stale, no_incident)


# -- what the history keeps -------------------------------------------------------------------------------


def folded_by(definition: SagaDefinition, scenario: Scenario) -> object:
    """The saga that the scenario's history leads to under another definition."""
    given = scenario.saga.input
    return without_timers(fold(definition, SAGA_ID, ORDER_ID, given, scenario.history))


def changed(**changes: Any) -> SagaDefinition:
    """The journey, its for-each changed since."""
    course = [replace(each, **changes) if each is TICKETS else each for each in JOURNEY.course]
    return replace(JOURNEY, course=tuple(course))


def nobody(journey: Any, results: Results) -> list[Any]:
    """Says something else than it said then."""
    return []


def fails(journey: Any, results: Results) -> list[Any]:
    """Says nothing at all any more."""
    raise LookupError("gone")


@pytest.mark.parametrize("over", [nobody, fails, lambda *_: ["dan"] * 7])
def test_s15_branches_are_folded_as_they_were_worked_out_whatever_the_function_says_now(over: Any) -> None:
    scenario = started(JOURNEY).when(booked("seat"), booked("flight"), booked("hotel"), signal())
    scenario.when(booked("ticket[1]"), not_booked("ticket[2]"), booked("ticket[3]"))
    assert folded_by(changed(over=over), scenario) == without_timers(scenario.saga)


def test_s15_what_was_worked_out_stands_with_the_input_that_led_there() -> None:
    scenario = ticketing("ann", "bob")
    [_, (_, accepted_input)] = scenario.history
    assert getattr(accepted_input, "worked_out", None) == {"tickets": ["ann", "bob"]}
    first = started(of(TICKETS), Journey(travellers=("ann",)))
    assert getattr(first.history[0][1], "worked_out", None) == {"tickets": ["ann"]}


def test_s15_an_end_that_was_worked_out_is_not_taken_for_a_stage_of_that_name() -> None:
    def ending(journey: Any, results: Results) -> str:
        return "well"

    completed = ForEach("completed", nobody, step("ticket", PIVOT))
    course = of(step("seat"), completed, labels=Labels(completed=ending, may_complete_as=("well",)))
    started(course).when(booked("seat")).then(ends(Status.COMPLETED, "well"))


# -- bounds -----------------------------------------------------------------------------------------------


def people(count: int) -> Journey:
    """So many travellers."""
    return Journey(travellers=tuple(f"t-{number}" for number in range(count)))


def test_a_hundred_branches_are_not_too_many() -> None:
    scenario = started(PARTLY, people(MAX_BRANCHES)).when(booked("seat"))
    assert len(scenario.commands) == MAX_BRANCHES
    scenario.when(*(booked(f"ticket[{number}]") for number in range(1, MAX_BRANCHES + 1)))
    scenario.then(awaits("give_back"))


def test_one_more_is_a_fault_of_the_definition() -> None:
    with pytest.raises(DefinitionFault, match="101 branches"):
        started(PARTLY, people(MAX_BRANCHES + 1)).when(booked("seat"))


def test_items_are_plain_values() -> None:
    course = of(step("seat"), ForEach("tickets", lambda *_: [{1, 2}], step("ticket", PIVOT)))
    with pytest.raises(DefinitionFault, match="tickets cannot be worked out: TypeError"):
        started(course).when(booked("seat"))
