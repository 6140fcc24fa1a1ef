"""S4 and S7 as the reconciler sees them: re-sends, the last copy, the grace, and when to look again (S11)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.core.inputs import CompensationStuck, OutcomeUnknown, StepOverdue
from orchestrator.core.state import IncidentKind, Status
from orchestrator.core.timers import Observed, Resend, StayAsItIs
from orchestrator.sagas.order_fulfillment import OrderStatus
from tests.unit.core.expectations import asks_for, ends, finds, no_incident, opens, undoes
from tests.unit.core.happenings import (
    COMPENSATING,
    POLICY,
    died,
    died_for_good,
    paid,
    refunded,
    released,
    reserved,
    retry,
)
from tests.unit.core.scenario import Scenario, awaiting, completed, rejected, undoing

AGAIN, LAST = Resend(final=False), Resend(final=True)
FINAL_SENT_AND_GONE = StayAsItIs(grace_begins=True)


def past_deadline(step: str = "charge") -> Scenario:
    """A step unanswered for as long as its deadline allows."""
    return awaiting(step).after(POLICY.deadline_s)


def in_grace() -> Scenario:
    """A charge whose last copy has been sent and seen to have left."""
    return past_deadline().looked_at().then(finds(LAST)).looked_at().then(finds(FINAL_SENT_AND_GONE))


# -- before the deadline ----------------------------------------------------------------------------------


def test_s4_nothing_is_sent_again_before_its_time() -> None:
    awaiting("charge").after(4.9).looked_at().then(finds(StayAsItIs()))


def test_s4_an_unanswered_command_is_sent_again() -> None:
    scenario = awaiting("charge").after(5).looked_at().then(finds(AGAIN), asks_for("charge"))
    assert scenario.waiting.sending.attempts == scenario.saga.attempts["charge"] == 2


def test_s4_each_copy_has_its_own_message_id() -> None:
    scenario = awaiting("charge")
    first = scenario.waiting.sending.message_id
    assert scenario.after(5).looked_at().waiting.sending.message_id != first


def test_s4_not_while_the_previous_copy_is_still_in_the_outbox() -> None:
    scenario = awaiting("charge").after(100).looked_at(copy_in_outbox=True).then(finds(StayAsItIs()))
    assert scenario.waiting.sending.attempts == 1
    scenario.looked_at().then(finds(AGAIN))


def test_s4_an_exhausted_dead_letter_does_not_stop_re_sends() -> None:
    awaiting("charge").when(died("charge")).after(5).looked_at().then(finds(AGAIN))


def test_s15_re_sends_leave_version_and_history_alone() -> None:
    scenario = awaiting("charge")
    version = scenario.saga.version
    assert scenario.after(5).looked_at().looked_at().saga.version == version


# -- past the deadline of a compensatable step ------------------------------------------------------------


def test_s4_past_the_deadline_one_more_copy_is_sent() -> None:
    scenario = past_deadline().looked_at().then(finds(LAST), asks_for("charge"))
    scenario.looked_at(copy_in_outbox=True).then(finds(StayAsItIs())).looked_at().then(
        finds(FINAL_SENT_AND_GONE)
    )
    scenario.looked_at().then(finds(StayAsItIs()))


def test_s4_unknown_after_the_grace_with_the_outcome_queue_seen_empty() -> None:
    (
        in_grace()
        .after(POLICY.grace_s)
        .looked_at()
        .then(finds(OutcomeUnknown("charge")), undoes("charge"))
        .when(refunded(effect="nothing"), released())
        .then(ends(Status.COMPENSATED, OrderStatus.REJECTED, because="step_deadline"))
    )


def test_s4_not_before_the_grace_has_passed() -> None:
    in_grace().after(POLICY.grace_s - 0.1).looked_at().then(finds(StayAsItIs()), asks_for("charge"))


def test_s4_a_backlog_of_our_own_cancels_no_order() -> None:
    scenario = in_grace().after(POLICY.grace_s)
    scenario.looked_at(queue_seen_empty=False).then(finds(StayAsItIs()))
    scenario.after(3600).looked_at(queue_seen_empty=False).then(finds(StayAsItIs()), asks_for("charge"))
    scenario.looked_at().then(finds(OutcomeUnknown("charge")))


def test_s4_an_outage_of_the_broker_cancels_no_order() -> None:
    scenario = past_deadline().looked_at(copy_in_outbox=True).then(finds(StayAsItIs()))
    scenario.after(3600).looked_at(copy_in_outbox=True).then(finds(StayAsItIs()))
    scenario.looked_at().then(finds(LAST))
    scenario.after(3600).looked_at(copy_in_outbox=True).then(finds(StayAsItIs()), asks_for("charge"))


def test_s4_the_grace_runs_from_when_the_last_copy_was_seen_to_have_left() -> None:
    scenario = past_deadline().looked_at().then(finds(LAST))
    scenario.after(3600).looked_at(copy_in_outbox=True)
    scenario.looked_at().then(finds(FINAL_SENT_AND_GONE))
    scenario.after(POLICY.grace_s - 0.1).looked_at().then(finds(StayAsItIs()))
    scenario.after(0.1).looked_at().then(finds(OutcomeUnknown("charge")))


def test_s4_an_emptiness_seen_before_the_grace_was_over_proves_nothing() -> None:
    scenario = in_grace()
    seen_empty_at = scenario.now
    scenario.after(POLICY.grace_s)
    scenario.seen(Observed(frozenset(), outcomes_empty_at=seen_empty_at)).then(finds(StayAsItIs()))


def test_s4_an_answer_in_the_grace_is_as_good_as_any() -> None:
    in_grace().when(paid()).then(asks_for("ship"), no_incident)


def test_s4_work_that_was_answered_is_not_given_up() -> None:
    scenario = in_grace().when(paid())
    scenario.when(OutcomeUnknown("charge")).then(asks_for("ship"))


def test_s10_a_retry_starts_the_deadline_and_the_last_copy_anew() -> None:
    scenario = in_grace().when(retry()).after(POLICY.grace_s).looked_at()
    scenario.then(finds(AGAIN), asks_for("charge"))
    scenario.after(POLICY.deadline_s).looked_at().then(finds(LAST))


def test_s10_work_that_failed_for_good_has_no_deadline() -> None:
    awaiting("charge").when(died_for_good("charge")).after(10_000).looked_at().then(finds(StayAsItIs()))


# -- steps that are never given up ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "participant", "command"),
    [("ship", "shipping", "ShipOrder"), ("commit", "inventory", "CommitInventory")],
)
def test_s4_a_pivot_or_retriable_step_is_never_given_up(step: str, participant: str, command: str) -> None:
    scenario = past_deadline(step).looked_at().then(finds(StepOverdue(step)), asks_for(step))
    scenario.then(opens(IncidentKind.OVERDUE, participant, command, "300 s"))
    for _ in range(10):
        scenario.after(100).looked_at().then(finds(AGAIN), asks_for(step))
    assert len(scenario.saga.incidents) == 1


def test_s4_nor_when_somebody_says_that_its_outcome_is_unknown() -> None:
    awaiting("ship").when(OutcomeUnknown("ship")).then(asks_for("ship"), no_incident)


def test_s4_a_compensatable_step_is_never_merely_overdue() -> None:
    awaiting("charge").when(StepOverdue("charge")).then(no_incident)


def test_s4_only_what_is_awaited_can_be_overdue() -> None:
    awaiting("ship").when(StepOverdue("commit"), OutcomeUnknown("reserve")).then(no_incident)
    undoing("charge").when(StepOverdue("ship"), OutcomeUnknown("charge")).then(undoes("charge"))


# -- compensations ----------------------------------------------------------------------------------------


def test_s7_a_compensation_is_sent_again_without_limit() -> None:
    scenario = undoing("charge")
    for _ in range(50):
        scenario.after(100).looked_at()
    scenario.then(undoes("charge"))
    assert scenario.saga.attempts["charge:compensating"] == 50, "fifty looks, one of them for the incident"


def test_s7_after_a_few_tries_an_incident_opens() -> None:
    scenario = undoing("charge")
    for _ in range(POLICY.stuck_after_attempts - 1):
        scenario.until_due().looked_at().then(finds(AGAIN), no_incident)
    scenario.until_due().looked_at().then(finds(CompensationStuck("charge")))
    scenario.then(opens(IncidentKind.COMPENSATION_STUCK))
    scenario.until_due().looked_at().then(finds(AGAIN))


def test_s10_a_dead_letter_goes_before_a_stuck_compensation() -> None:
    scenario = undoing("charge").when(died_for_good("charge", COMPENSATING))
    scenario.after(10_000).looked_at().then(finds(StayAsItIs()))
    scenario.when(CompensationStuck("charge"))
    assert [incident.kind for incident in scenario.saga.incidents] == [IncidentKind.DEAD_LETTER]


# -- when to look again -----------------------------------------------------------------------------------


def seconds_until_due(scenario: Scenario) -> float:
    """How long until the saga wants to be looked at."""
    assert scenario.saga.due_at is not None
    return (scenario.saga.due_at - scenario.now).total_seconds()


def test_s11_a_saga_is_due_when_its_next_copy_is() -> None:
    scenario = awaiting("charge")
    assert seconds_until_due(scenario) == 5
    assert seconds_until_due(scenario.until_due().looked_at()) == 10


def test_s11_or_when_its_deadline_is_if_that_is_earlier() -> None:
    scenario = awaiting("charge").after(299).looked_at(copy_in_outbox=False)
    assert seconds_until_due(scenario) == 1


def test_s11_a_known_overdue_step_is_due_for_its_next_copy_alone() -> None:
    scenario = past_deadline("ship").looked_at().until_due().looked_at().then(finds(AGAIN))
    assert seconds_until_due(scenario) == 10


def test_s11_in_the_grace_it_is_due_when_the_grace_ends() -> None:
    scenario = past_deadline().looked_at().then(finds(LAST))
    assert seconds_until_due(scenario) == 1, "to see whether the copy has left"
    assert seconds_until_due(scenario.looked_at()) == POLICY.grace_s


def test_s11_left_alone_a_saga_always_comes_to_its_end() -> None:
    scenario = awaiting("charge")
    for _ in range(20):
        scenario.until_due().looked_at()
    scenario.then(undoes("charge"))


def test_s11_what_cannot_move_is_looked_at_ever_more_seldom() -> None:
    scenario = awaiting("charge")
    waits = []
    for _ in range(40):
        scenario.until_due().looked_at(copy_in_outbox=True)
        waits.append(seconds_until_due(scenario))
    assert waits[0] == 1
    assert waits == sorted(waits)
    assert waits[-1] == POLICY.resend_cap_s


@pytest.mark.parametrize("ended", [completed, rejected])
def test_s11_an_ended_saga_is_never_due(ended: Callable[[], Scenario]) -> None:
    assert ended().saga.due_at is None


def test_s11_an_early_look_does_nothing_but_move_it() -> None:
    scenario = awaiting("charge").after(1)
    before = scenario.saga
    assert scenario.looked_at().then(finds(StayAsItIs())).saga == before


def test_s10_held_work_waits_for_a_person_alone() -> None:
    scenario = awaiting("charge").when(died_for_good("charge"))
    assert scenario.saga.due_at is None
    assert scenario.when(retry()).saga.due_at is not None


def test_a_saga_that_has_moved_on_starts_its_timers_anew() -> None:
    scenario = awaiting("reserve").after(5).looked_at().after(5).when(reserved())
    assert scenario.waiting.sending.attempts == 1
    assert scenario.saga.attempts == {"reserve": 2, "charge": 1}
    assert seconds_until_due(scenario) == 5
