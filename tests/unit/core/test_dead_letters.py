"""S10, D3 and D4: commands that gave up, and their retry."""

from __future__ import annotations

from contracts.commands import ChargePayment, RefundPayment, ShipOrder
from orchestrator.core.inputs import OutcomeUnknown, StepOverdue
from orchestrator.core.state import IncidentKind
from tests.unit.core.expectations import (
    accepted,
    asks_for,
    closes_dead_letters,
    closes_no_dead_letters,
    no_incident,
    opens,
    refuses,
    sends,
    stale,
    undoes,
)
from tests.unit.core.happenings import (
    COMPENSATING,
    cancel,
    declined,
    died,
    died_for_good,
    paid,
    released,
    retry,
    shipped,
)
from tests.unit.core.scenario import awaiting, completed, undoing


def test_s10_exhausted_attempts_open_an_incident_and_stop_nothing() -> None:
    scenario = awaiting("charge").when(died("charge"))
    scenario.then(accepted, opens(IncidentKind.DEAD_LETTER, "gave up", "gateway timeout"), sends())
    assert not scenario.waiting.held
    assert scenario.saga.due_at is not None


def test_s10_a_permanent_failure_stops_re_sends_and_deadline() -> None:
    scenario = awaiting("charge").when(died_for_good("charge"))
    scenario.then(opens(IncidentKind.DEAD_LETTER, "permanent failure", "other payload"))
    assert scenario.saga.due_at is None
    scenario.when(OutcomeUnknown("charge")).then(stale, asks_for("charge"))


def test_s10_goes_before_the_deadline_of_a_pivot() -> None:
    awaiting("ship").when(died_for_good("ship"), StepOverdue("ship")).then(stale)


def test_s10_a_permanent_failure_after_an_exhausted_one_stops_it_then() -> None:
    scenario = awaiting("charge").when(died("charge"))
    opened = scenario.incident.since
    scenario.after(60).when(died_for_good("charge"))
    scenario.then(accepted, opens(IncidentKind.DEAD_LETTER, "permanent failure"))
    assert scenario.incident.since == opened, "the incident has been open since the first death"
    assert scenario.saga.due_at is None


def test_s10_deaths_that_are_known_are_stale() -> None:
    awaiting("charge").when(died("charge"), died("charge")).then(stale)
    awaiting("charge").when(died_for_good("charge"), died("charge")).then(stale)
    awaiting("charge").when(died_for_good("charge"), died_for_good("charge")).then(stale)


def test_s10_a_command_no_longer_awaited_may_die_in_peace() -> None:
    awaiting("charge").when(died("reserve"), died("charge", COMPENSATING), died("nowhere")).then(stale)
    completed().when(died("commit")).then(stale, no_incident)


def test_s10_success_closes_the_incident_and_goes_on() -> None:
    awaiting("charge").when(died_for_good("charge"), paid()).then(no_incident, asks_for("ship"))


def test_s10_retry_closes_the_incident_sends_again_and_starts_a_full_deadline() -> None:
    scenario = awaiting("charge").when(died_for_good("charge")).after(1000).when(retry())
    scenario.then(sends(ChargePayment), no_incident, asks_for("charge"))
    assert scenario.waiting.since == scenario.now
    assert not scenario.waiting.held
    assert scenario.waiting.sending.attempts == 1
    assert scenario.saga.attempts["charge"] == 2


def test_s10_after_a_retry_it_may_die_again() -> None:
    (
        awaiting("charge")
        .when(died_for_good("charge"), retry(), died_for_good("charge"))
        .then(accepted, opens(IncidentKind.DEAD_LETTER))
    )


def test_s8_retry_closes_only_its_own_kind_of_incident() -> None:
    scenario = awaiting("ship").when(StepOverdue("ship"), died("ship"), retry())
    scenario.then(opens(IncidentKind.OVERDUE), sends(ShipOrder))
    assert len(scenario.saga.incidents) == 1


def test_s7_a_dead_compensation_says_what_is_still_held() -> None:
    (
        undoing("charge")
        .when(died_for_good("charge", COMPENSATING))
        .then(opens(IncidentKind.DEAD_LETTER, "charged 30.98 EUR", "2 x SKU-1"))
        .when(retry())
        .then(sends(RefundPayment), no_incident, undoes("charge"))
    )


def test_d4_the_command_is_built_anew_from_the_saga() -> None:
    first = awaiting("ship").command
    again = awaiting("ship").when(died("ship"), retry()).command
    assert again == first


def test_d4_an_ended_saga_has_nothing_to_retry() -> None:
    completed().when(retry()).then(refuses("not_allowed"))


def test_d3_when_the_work_is_no_longer_awaited_its_dead_letters_are_resolved_with_the_cause() -> None:
    (
        awaiting("charge")
        .when(died("charge"), paid())
        .then(closes_dead_letters("charge", cause="step succeeded"))
        .when(shipped())
        .then(closes_no_dead_letters)
    )
    awaiting("charge").when(died("charge"), declined()).then(closes_dead_letters("charge"))
    awaiting("charge").when(died("charge"), cancel()).then(closes_dead_letters("charge", cause="cancel"))


def test_d3_also_at_the_end_of_the_saga() -> None:
    undoing("reserve").when(died("reserve", COMPENSATING), released()).then(
        closes_dead_letters("reserve", COMPENSATING)
    )


def test_d3_nothing_is_resolved_merely_because_something_was_sent() -> None:
    awaiting("charge").when(died("charge"), retry()).then(closes_no_dead_letters)
    awaiting("charge").when(died("charge"), retry(), paid()).then(closes_dead_letters("charge"))


def test_d3_work_that_never_died_has_nothing_to_resolve() -> None:
    awaiting("charge").when(paid()).then(closes_no_dead_letters)
