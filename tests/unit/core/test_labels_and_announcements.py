"""What customers are told: labels on the way and at the end (S8), and events that tell the world."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.definition import Announcement, Group, Labels, SagaDefinition
from orchestrator.core.machine import fold
from orchestrator.core.moment import DefinitionFault
from orchestrator.core.state import Status
from tests.unit.core.courses import (
    JOURNEY,
    Journey,
    JourneyBooked,
    JourneyCalledOff,
    JourneyOver,
    JourneyPlanned,
    booked,
    not_booked,
    of,
    signal,
    step,
    unbooked,
)
from tests.unit.core.expectations import ends, order_is, publishes
from tests.unit.core.happenings import DEFINITION, ORDER_ID, SAGA_ID, cancel, paid
from tests.unit.core.laws import without_timers
from tests.unit.core.scenario import Scenario, awaiting, started

TO_THE_TICKETS = (booked("seat"), booked("flight"), booked("hotel"), signal())


def over(*happened: Any) -> Scenario:
    """A journey at its end."""
    scenario = started(JOURNEY).when(*TO_THE_TICKETS, *happened)
    return scenario.until_due().looked_at().when(booked("tell"))


ALL = tuple(booked(f"ticket[{number}]") for number in (1, 2, 3))
SOME = (booked("ticket[1]"), not_booked("ticket[2]"), not_booked("ticket[3]"))


# -- labels -----------------------------------------------------------------------------------------------


def test_a_saga_bears_the_definitions_words_from_its_start() -> None:
    scenario = started(JOURNEY).then(order_is("planned")).when(booked("seat")).then(order_is("planned"))
    scenario.when(booked("flight")).then(order_is("planned"))
    scenario.when(booked("hotel")).then(order_is("in_approval")).when(signal()).then(order_is("approved"))
    scenario.when(*ALL).then(order_is("ticketed"))


def test_of_a_group_the_label_of_its_last_step_with_one_stands() -> None:
    both = Group((step("a", milestone="a_done"), step("b", milestone="b_done")))
    started(of(both, step("c"))).when(booked("b"), booked("a")).then(order_is("b_done"))


def test_how_it_completed_may_depend_on_the_results() -> None:
    over(*ALL).then(ends(Status.COMPLETED, "all_travel"))
    over(*SOME).then(ends(Status.COMPLETED, "some_travel"))


def test_s8_while_it_is_undone_it_keeps_its_last_word() -> None:
    scenario = started(JOURNEY).when(*TO_THE_TICKETS[:-1], signal(yes=False)).then(order_is("in_approval"))
    scenario.when(unbooked("flight"), unbooked("hotel"), unbooked("seat"))
    scenario.then(ends(Status.COMPENSATED, "called_off", because="not_approved"))


def test_s8_a_cancelled_saga_ends_with_the_word_for_that() -> None:
    scenario = started(JOURNEY).when(cancel(), unbooked("seat", "nothing"))
    scenario.then(ends(Status.COMPENSATED, "withdrawn", because="cancelled"))


def ending(how: Any) -> SagaDefinition:
    """A saga that completes as a function says."""
    return of(step("seat"), labels=Labels(completed=how, may_complete_as=("well", "badly")))


def test_an_end_that_is_not_listed_is_a_fault_of_the_definition() -> None:
    for how in (lambda *_: "otherwise", lambda *_: 1 / 0, lambda *_: None):
        with pytest.raises(DefinitionFault):
            started(ending(how)).when(booked("seat"))


def test_s15_how_it_completed_is_folded_as_it_was_said_then() -> None:
    scenario = started(ending(lambda *_: "well")).when(booked("seat"))
    for how in (lambda *_: "badly", lambda *_: 1 / 0):
        again = fold(ending(how), SAGA_ID, ORDER_ID, scenario.saga.input, scenario.history)
        assert without_timers(again) == without_timers(scenario.saga)


# -- announcements ----------------------------------------------------------------------------------------


def test_its_start_is_announced_with_what_was_given() -> None:
    scenario = started(JOURNEY, Journey(travellers=("ann",))).then(publishes(JourneyPlanned))
    assert (scenario.event.travellers, scenario.event.order_id) == (("ann",), ORDER_ID)


def test_a_step_is_announced_when_its_whole_stage_has_succeeded() -> None:
    scenario = started(JOURNEY).when(booked("seat"), booked("hotel")).then(publishes())
    scenario.when(booked("flight", "f-1")).then(publishes(JourneyBooked))
    assert scenario.event.references == ("f-1", "r-hotel")


def test_nothing_is_announced_of_a_stage_that_did_not_succeed() -> None:
    started(JOURNEY).when(booked("seat"), booked("hotel"), not_booked("flight")).then(publishes())


def test_its_end_is_announced_with_the_results() -> None:
    scenario = over(*SOME).then(publishes(JourneyOver))
    assert scenario.event.tickets == 3


def test_an_end_for_a_cause_is_announced_with_it() -> None:
    scenario = started(JOURNEY).when(not_booked("seat", "strike")).then(publishes(JourneyCalledOff))
    assert (scenario.event.code, scenario.event.message) == ("sold_out", "strike")
    scenario = started(JOURNEY).when(cancel("no time"), unbooked("seat")).then(publishes(JourneyCalledOff))
    assert (scenario.event.code, scenario.event.message) == ("cancelled", "no time")


def test_a_definition_that_announces_nothing_publishes_nothing() -> None:
    silent = replace(JOURNEY, announces={})
    started(silent).then(publishes()).when(not_booked("seat")).then(publishes())


def test_a_step_of_an_order_may_be_announced_too() -> None:
    reserve, charge, *rest = DEFINITION.steps
    told = replace(charge, announces=Announcement(JourneyOver, lambda order, _: {"tickets": order.total}))
    definition = replace(DEFINITION, course=(reserve, told, *rest))
    scenario = awaiting("charge", definition).when(paid()).then(publishes(JourneyOver))
    assert scenario.event.tickets == 3098


def test_some_rejections_have_words_of_their_own() -> None:
    named = Labels(rejected_as={"sold_out": "too_late"})
    assert named.undone_as == ("rejected", "too_late", "cancelled")
    started(of(step("seat"), labels=named)).when(not_booked("seat")).then(order_is("too_late"))
    others = Labels(rejected_as={"wait_deadline": "expired"})
    started(of(step("seat"), labels=others)).when(not_booked("seat")).then(order_is("rejected"))
