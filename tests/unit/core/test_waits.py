"""S23: waits for a signal from outside, and for time alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.core import machine
from orchestrator.core.definition import OnDeadline, SagaDefinition
from orchestrator.core.inputs import WaitElapsed
from orchestrator.core.machine import fold
from orchestrator.core.state import Forward, Status
from orchestrator.core.timers import StayAsItIs, due_at
from tests.unit.core.courses import (
    REST,
    RETRIABLE,
    TICKETS,
    Journey,
    approval,
    booked,
    not_booked,
    of,
    signal,
    step,
    unbooked,
)
from tests.unit.core.expectations import (
    accepted,
    asked,
    awaits,
    ends,
    finds,
    may,
    no_incident,
    order_is,
    publishes,
    refuses,
    sends,
    stale,
    undoes_exactly,
)
from tests.unit.core.happenings import ORDER_ID, SAGA_ID, cancel, retry
from tests.unit.core.laws import without_timers
from tests.unit.core.scenario import Scenario, started

HOUR_S = 3600


def course(**changes: Any) -> SagaDefinition:
    """A seat, a person's word, and a guide."""
    labels = {"waiting": "in_approval", "milestone": "approved"}
    return of(step("seat"), approval(**{**labels, **changes}), step("guide"))


def waiting(**changes: Any) -> Scenario:
    """The seat is booked, and somebody is to say yes."""
    return started(course(**changes)).when(booked("seat"))


ELAPSED = WaitElapsed(wait="approval")


# -- waiting ----------------------------------------------------------------------------------------------


def test_a_wait_burns_nothing() -> None:
    scenario = waiting().then(awaits("approval"), sends(), publishes(), order_is("in_approval"))
    assert scenario.saga.attempts == {"seat": 1}
    assert scenario.saga.due_at == scenario.now + timedelta(seconds=HOUR_S)
    scenario.after(HOUR_S - 1).looked_at().then(finds(StayAsItIs()), no_incident, awaits("approval"))
    assert scenario.saga.attempts == {"seat": 1}


def test_its_signal_ends_it_and_is_the_result_that_later_steps_are_given() -> None:
    scenario = waiting().when(signal(yes=True, reason="fine")).then(accepted, asked("guide"))
    scenario.then(order_is("approved"))
    assert scenario.command.seen["approval"] == {"yes": True, "reason": "fine"}
    kept = scenario.saga.signals["approval"]
    assert (kept.sender, kept.at, kept.body) == ("boss", scenario.now, {"yes": True, "reason": "fine"})


def test_a_retry_has_nothing_to_send() -> None:
    waiting().when(retry()).then(refuses("not_allowed"), may("cancel", "signal"))


def test_a_wait_may_be_the_first_stage_and_the_last() -> None:
    started(of(approval(), step("seat"))).then(awaits("approval")).when(signal()).then(awaits("seat"))
    scenario = started(of(step("seat"), approval())).when(booked("seat"), signal())
    scenario.then(ends(Status.COMPLETED, "completed"))


# -- signals ----------------------------------------------------------------------------------------------


def test_a_signal_that_comes_early_is_kept_for_its_wait() -> None:
    scenario = started(course()).when(signal(by="ann")).then(accepted, sends(), awaits("seat"))
    assert scenario.saga.signals["approval"].sender == "ann"
    scenario.after(5).when(booked("seat")).then(asked("guide"), order_is("approved"))
    assert scenario.command.seen["approval"] == {"yes": True, "reason": ""}


def about_august(journey: Any, body: Any) -> str | None:
    return None if "August" in body["reason"] else "it is not about August"


def test_a_signal_that_does_not_fit_is_refused_and_the_saga_goes_on_waiting() -> None:
    scenario = waiting(fits=about_august).when(signal(reason="fine")).then(refuses("unfit_signal"))
    scenario.then(awaits("approval")).when(signal(reason="in August")).then(accepted, asked("guide"))


def test_s15_a_fold_does_not_ask_again_whether_a_signal_fitted() -> None:
    asked_for: list[Any] = []
    fitting = course(fits=lambda journey, body: asked_for.append(body))
    scenario = started(fitting).when(booked("seat"), signal())
    assert len(asked_for) == 1
    again = fold(fitting, SAGA_ID, ORDER_ID, scenario.saga.input, scenario.history)
    assert (again.signals, len(asked_for)) == (scenario.saga.signals, 1)


def test_the_same_signal_again_is_fine_and_changes_nothing() -> None:
    scenario = waiting().when(signal(), signal(by="another")).then(stale)
    assert scenario.saga.signals["approval"].sender == "boss"
    scenario.when(booked("guide"), signal()).then(stale)
    started(course()).when(signal(), signal()).then(stale)


def test_another_word_than_the_first_is_refused() -> None:
    started(course()).when(signal(yes=True), signal(yes=False)).then(refuses("signalled"))
    waiting().when(signal(yes=True), signal(yes=False)).then(refuses("signalled"), awaits("guide"))


def test_a_signal_that_nothing_waits_for_is_refused() -> None:
    waiting().when(signal("nowhere")).then(refuses("unknown_signal"))
    waiting().when(signal("seat")).then(refuses("unknown_signal"))
    waiting(signal=None, refuses=None).when(signal()).then(refuses("unknown_signal"))
    waiting().when(cancel(), signal("nowhere")).then(refuses("unknown_signal"))


def test_a_signal_that_comes_late_is_refused_with_the_reason() -> None:
    late = waiting(on_deadline=OnDeadline.GO_ON).when(ELAPSED, signal()).then(refuses("too_late"))
    assert not late.saga.signals
    waiting().when(ELAPSED, signal()).then(refuses("too_late"))
    waiting().when(cancel(), signal()).then(refuses("too_late"))
    waiting(when=lambda *_: False).when(signal()).then(refuses("too_late"))
    waiting().when(ELAPSED, unbooked("seat"), signal()).then(refuses("too_late"))


def test_a_signal_that_was_taken_before_the_saga_turned_is_still_answered_the_same() -> None:
    turned = waiting().when(signal(), not_booked("guide"))
    turned.when(signal()).then(stale).when(signal(yes=False)).then(refuses("too_late"))
    turned.when(unbooked("seat")).when(signal()).then(stale)


# -- a no -------------------------------------------------------------------------------------------------


def test_a_no_turns_the_saga_round_with_its_reason() -> None:
    scenario = waiting().when(signal(yes=False, reason="too dear")).then(undoes_exactly("seat"))
    assert scenario.saga.failure is not None
    assert (scenario.saga.failure.code, scenario.saga.failure.message) == ("not_approved", "too dear")
    assert scenario.saga.step("approval").forward is Forward.SUCCEEDED
    scenario.when(unbooked("seat")).then(ends(Status.COMPENSATED, "rejected", because="not_approved"))


def test_a_no_that_came_early_turns_it_round_when_its_wait_begins() -> None:
    scenario = started(course()).when(signal(yes=False)).then(accepted, awaits("seat"))
    scenario.when(booked("seat")).then(undoes_exactly("seat"))


def test_a_no_before_anything_was_done_ends_the_saga() -> None:
    scenario = started(of(approval(), step("seat"))).when(signal(yes=False))
    scenario.then(ends(Status.COMPENSATED, "rejected", because="not_approved"))


# -- time -------------------------------------------------------------------------------------------------


def test_past_its_deadline_it_turns_round() -> None:
    scenario = waiting().until_due().looked_at().then(finds(ELAPSED), undoes_exactly("seat"))
    assert scenario.saga.failure is not None
    assert scenario.saga.failure.code == "wait_deadline"
    assert scenario.saga.step("approval").forward is Forward.LEFT_OUT


def test_or_goes_on_without_a_signal() -> None:
    scenario = waiting(on_deadline=OnDeadline.GO_ON).until_due().looked_at().then(finds(ELAPSED))
    scenario.then(asked("guide"), order_is("approved"))
    assert scenario.command.seen["approval"] == {}


def test_a_wait_for_time_alone_goes_on_when_it_has_passed() -> None:
    scenario = started(of(TICKETS, REST, step("tell", RETRIABLE)), Journey(travellers=("ann",)))
    scenario.when(booked("ticket[1]")).then(awaits("rest"), may())
    assert scenario.saga.due_at == scenario.now + timedelta(seconds=60)
    scenario.after(59.9).looked_at().then(finds(StayAsItIs())).after(0.1).looked_at().then(asked("tell"))


def test_s11_of_deadline_and_signal_the_first_wins_and_the_other_is_stale_or_refused() -> None:
    waiting().when(signal(), ELAPSED).then(stale, awaits("guide"))
    waiting().when(ELAPSED, signal()).then(refuses("too_late"), undoes_exactly("seat"))


def test_what_has_elapsed_and_is_not_waited_for_is_stale() -> None:
    started(course()).when(ELAPSED).then(stale, awaits("seat"))
    waiting().when(WaitElapsed(wait="nowhere")).then(stale)


def test_a_wait_that_is_over_and_could_not_be_ended_is_looked_at_seldom() -> None:
    def broken(journey: Any, results: Any) -> Any:
        raise LookupError("no such guide")

    scenario = started(of(step("seat"), REST, step("guide", arguments=broken))).when(booked("seat"))
    scenario.after(10_000)
    due = due_at(scenario.definition, scenario.saga, scenario.now)
    assert due is not None
    assert due - scenario.now == timedelta(seconds=60)
    with pytest.raises(LookupError):
        machine.decide(scenario.definition, scenario.saga, WaitElapsed(wait="rest"), scenario.now)


# -- when -------------------------------------------------------------------------------------------------


def test_where_there_is_nothing_to_wait_for_the_wait_is_left_out() -> None:
    scenario = started(course(), Journey(needs_approval=False)).when(booked("seat"))
    scenario.then(asked("guide"), order_is("pending"))
    assert scenario.saga.step("approval").forward is Forward.LEFT_OUT
    assert "approval" not in scenario.command.seen


def test_even_where_its_signal_came_early() -> None:
    scenario = started(course(), Journey(needs_approval=False)).when(signal(yes=False), booked("seat"))
    scenario.then(asked("guide"))


def test_s15_whether_it_was_needed_and_refused_is_folded_as_it_was_said_then() -> None:
    def said_otherwise(*given: Any) -> Any:
        raise AssertionError("it was asked again")

    changed = course(when=said_otherwise, refuses=said_otherwise)
    for scenario in (
        started(course(), Journey(needs_approval=False)).when(booked("seat")),
        waiting().when(signal(yes=False)),
        started(course()).when(signal(yes=False), booked("seat")),
    ):
        again = fold(changed, SAGA_ID, ORDER_ID, scenario.saga.input, scenario.history)
        assert without_timers(again) == without_timers(scenario.saga)


# -- cancel -----------------------------------------------------------------------------------------------


def test_s9_a_saga_that_waits_can_be_cancelled() -> None:
    scenario = (
        waiting().then(may("cancel", "signal")).when(cancel()).then(undoes_exactly("seat"), may("retry"))
    )
    assert scenario.saga.step("approval").forward is Forward.LEFT_OUT
    scenario.when(unbooked("seat")).then(ends(Status.COMPENSATED, "cancelled", because="cancelled"))


def test_s9_with_nothing_done_it_ends_at_once() -> None:
    scenario = started(of(approval(), step("seat"))).when(cancel())
    scenario.then(ends(Status.COMPENSATED, "cancelled", because="cancelled"))


def test_s9_past_the_pivot_a_wait_cannot_be_cancelled() -> None:
    scenario = started(of(TICKETS, REST, step("tell", RETRIABLE)), Journey(travellers=("ann",)))
    scenario.when(booked("ticket[1]"), cancel()).then(refuses("too_late"), awaits("rest"))


def test_two_waits_in_a_row_are_waited_for_one_after_the_other() -> None:
    twice = of(step("seat"), approval(), approval(name="second"), step("guide"))
    scenario = started(twice).when(booked("seat"), signal("second")).then(awaits("approval"))
    scenario.when(signal()).then(asked("guide"))
