"""S19: what a person says of stuck work, and what the participant says to that (P5, P10)."""

from __future__ import annotations

import pytest

from contracts.commands import CommitInventory, RefundPayment, ReleaseInventory, SettleStep, Verdict
from orchestrator.core.inputs import CompensationStuck, OutcomeUnknown, StepOverdue
from orchestrator.core.state import IncidentKind, Status, Undo
from orchestrator.core.timers import Resend, StayAsItIs
from orchestrator.sagas.order_fulfillment import OrderStatus
from tests.unit.core.expectations import (
    accepted,
    asks_for,
    closes_dead_letters,
    ends,
    finds,
    may,
    no_incident,
    opens,
    order_is,
    publishes,
    refuses,
    sends,
    stale,
    undoes,
)
from tests.unit.core.happenings import (
    COMPENSATING,
    FORWARD,
    died,
    died_for_good,
    judge,
    not_settled,
    paid,
    refunded,
    refused,
    released,
    retry,
    settled,
    shipped,
)
from tests.unit.core.scenario import Scenario, awaiting, completed, undoing

TOOK_EFFECT, NO_EFFECT, SETTLED_OUTSIDE = Verdict


def stuck_shipment() -> Scenario:
    """A shipment nobody answers for."""
    return awaiting("ship").when(StepOverdue("ship")).then(may("retry", "resolve"))


def stuck_refund() -> Scenario:
    """A refund nobody confirms."""
    return undoing("charge").when(CompensationStuck("charge")).then(may("retry", "resolve"))


def orphaned_charge() -> Scenario:
    """An ended saga whose charge turned out to have been made, against its participant's word."""
    scenario = awaiting("charge").when(OutcomeUnknown("charge"), refunded(effect="nothing"), released())
    return scenario.when(paid()).then(opens(IncidentKind.ORPHANED_EFFECT), may("resolve"))


# -- asking -----------------------------------------------------------------------------------------------


def test_s19_a_verdict_becomes_a_command_and_the_saga_does_not_move_yet() -> None:
    scenario = stuck_shipment().when(judge("ship", TOOK_EFFECT, "track_7"))
    scenario.then(sends(SettleStep), asks_for("ship"))
    command = scenario.command
    assert (command.step, command.direction) == ("ship", FORWARD)
    assert (command.verdict, command.reference) == (TOOK_EFFECT, "track_7")


def test_s19_work_that_is_not_stuck_cannot_be_judged() -> None:
    awaiting("ship").when(judge("ship", TOOK_EFFECT)).then(refuses("not_stuck"))
    stuck_shipment().when(judge("charge", TOOK_EFFECT)).then(refuses("not_stuck"))
    completed().when(judge("ship", TOOK_EFFECT)).then(refuses("not_allowed"))
    awaiting("ship").when(judge("nowhere", TOOK_EFFECT)).then(refuses("unknown_step"))


def test_s19_a_forward_step_that_can_be_undone_or_repeated_needs_no_verdict() -> None:
    awaiting("charge").when(died_for_good("charge"), judge("charge", NO_EFFECT)).then(refuses("not_stuck"))
    overdue = awaiting("commit").when(StepOverdue("commit"))
    overdue.when(judge("commit", TOOK_EFFECT)).then(refuses("not_stuck"))


@pytest.mark.parametrize("verdict", [TOOK_EFFECT, SETTLED_OUTSIDE])
def test_s19_a_step_after_the_pivot_that_is_refused_for_good_can_be_judged(verdict: Verdict) -> None:
    refused_for_good = awaiting("commit").when(died_for_good("commit")).then(may("retry", "resolve"))
    refused_for_good.when(judge("commit", verdict)).then(sends(SettleStep))
    refused_for_good.when(settled("commit", FORWARD, verdict)).then(
        ends(Status.COMPLETED, OrderStatus.COMPLETED), no_incident
    )


def test_s6_no_verdict_takes_a_saga_back_over_the_pivot() -> None:
    refused_for_good = awaiting("commit").when(died_for_good("commit"))
    refused_for_good.when(judge("commit", NO_EFFECT)).then(refuses("not_allowed"))


@pytest.mark.parametrize(
    "trouble", [died("ship"), died_for_good("ship"), refused("ship"), StepOverdue("ship")]
)
def test_s19_a_pivot_in_any_trouble_can_be_judged(trouble: object) -> None:
    awaiting("ship").when(trouble).then(may("retry", "resolve"))  # type: ignore[arg-type]


def test_p5_a_refusal_of_the_awaited_step_is_an_incident_and_moves_nothing() -> None:
    scenario = awaiting("ship").when(refused("ship"))
    scenario.then(opens(IncidentKind.STEP_REFUSED, "ship", "compensated"), asks_for("ship"), sends())
    scenario.when(refused("ship")).then(stale)
    scenario.when(refused("charge")).then(stale)
    undoing("charge").when(refused("charge")).then(stale, no_incident)


# -- the participant agrees -------------------------------------------------------------------------------


def test_s19_a_pivot_that_took_effect_goes_on() -> None:
    scenario = stuck_shipment().when(judge("ship", TOOK_EFFECT, "track_7"))
    scenario.when(settled("ship", FORWARD, TOOK_EFFECT, reference="track_7"))
    scenario.then(sends(CommitInventory), asks_for("commit"), no_incident)
    assert scenario.saga.step("ship").result == {"reference": "track_7"}


def test_s19_so_does_one_that_was_settled_outside() -> None:
    scenario = stuck_shipment().when(judge("ship", SETTLED_OUTSIDE))
    scenario.when(settled("ship", FORWARD, SETTLED_OUTSIDE)).then(asks_for("commit"), no_incident)


def test_s19_a_pivot_without_effect_compensates() -> None:
    scenario = stuck_shipment().when(judge("ship", NO_EFFECT), settled("ship", FORWARD, NO_EFFECT))
    scenario.then(sends(RefundPayment), undoes("charge"), no_incident)
    scenario.when(refunded(), released()).then(
        ends(Status.COMPENSATED, OrderStatus.REJECTED, because="operator_verdict")
    )


@pytest.mark.parametrize(
    ("verdict", "undo"),
    [(TOOK_EFFECT, Undo.UNDONE), (SETTLED_OUTSIDE, Undo.SETTLED), (NO_EFFECT, Undo.NOTHING)],
)
def test_s19_a_stuck_compensation_goes_on_to_the_next(verdict: Verdict, undo: Undo) -> None:
    scenario = stuck_refund().when(judge("charge", verdict), settled("charge", COMPENSATING, verdict))
    scenario.then(sends(ReleaseInventory), undoes("reserve"), no_incident)
    assert scenario.saga.step("charge").undo is undo


def test_s19_an_orphaned_effect_is_closed_and_the_saga_keeps_its_end() -> None:
    scenario = orphaned_charge().when(judge("charge", SETTLED_OUTSIDE, "ch_1")).then(sends(SettleStep))
    assert scenario.saga.due_at is not None, "the verdict is sent again until it is answered"
    scenario.when(settled("charge", COMPENSATING, SETTLED_OUTSIDE)).then(no_incident, sends(), may())
    assert (scenario.saga.status, scenario.saga.label) == (Status.COMPENSATED, OrderStatus.REJECTED)
    assert scenario.saga.due_at is None


def test_s19_an_orphaned_effect_waits_until_the_saga_has_ended() -> None:
    scenario = awaiting("charge").when(OutcomeUnknown("charge"), refunded(effect="nothing"), paid())
    scenario.then(undoes("reserve"), may("retry"))
    scenario.when(judge("charge", SETTLED_OUTSIDE)).then(refuses("not_ended"))
    scenario.when(released()).then(may("resolve"))


def test_d3_a_verdict_ends_the_dead_letters_of_the_work_it_settles() -> None:
    scenario = awaiting("ship").when(died_for_good("ship"), judge("ship", TOOK_EFFECT))
    scenario.when(settled("ship", FORWARD, TOOK_EFFECT)).then(
        closes_dead_letters("ship", cause="verdict answered")
    )


# -- the participant does not -----------------------------------------------------------------------------


def test_p10_a_verdict_without_proof_is_refused_with_the_reason() -> None:
    scenario = stuck_shipment().when(judge("ship", NO_EFFECT))
    scenario.when(not_settled("ship", FORWARD, NO_EFFECT, "a call may be under way"))
    scenario.then(opens(IncidentKind.VERDICT_REFUSED, "a call may be under way"), asks_for("ship"), sends())
    assert scenario.waiting.settling is None
    assert scenario.saga.due_at is not None, "the shipment is asked for again"


def test_s19_a_refused_verdict_may_be_followed_by_another() -> None:
    scenario = stuck_shipment().when(judge("ship", NO_EFFECT))
    scenario.when(not_settled("ship", FORWARD, NO_EFFECT, "no proof"), judge("ship", TOOK_EFFECT))
    scenario.then(opens(IncidentKind.OVERDUE), sends(SettleStep))
    assert len(scenario.saga.incidents) == 1
    scenario.when(settled("ship", FORWARD, TOOK_EFFECT)).then(asks_for("commit"), no_incident)


def test_s19_a_refused_verdict_on_an_orphan_leaves_it_open() -> None:
    scenario = orphaned_charge().when(judge("charge", NO_EFFECT))
    scenario.when(not_settled("charge", COMPENSATING, NO_EFFECT, "the money is here"))
    kinds = {incident.kind for incident in scenario.saga.incidents}
    assert kinds == {IncidentKind.ORPHANED_EFFECT, IncidentKind.VERDICT_REFUSED}
    scenario.then(may("resolve"))


def test_s10_work_that_was_held_stays_held_when_the_verdict_is_refused() -> None:
    scenario = awaiting("ship").when(died_for_good("ship"), judge("ship", NO_EFFECT))
    scenario.when(not_settled("ship", FORWARD, NO_EFFECT, "no proof"))
    assert scenario.saga.due_at is None
    scenario.after(1000).looked_at().then(finds(StayAsItIs()))


# -- the answer to a verdict is awaited like any other ------------------------------------------------------


def test_s19_a_verdict_is_sent_again_until_it_is_answered() -> None:
    scenario = awaiting("ship").when(died_for_good("ship"), judge("ship", TOOK_EFFECT))
    for _ in range(5):
        scenario.until_due().looked_at().then(finds(Resend(final=False)), asks_for("ship"))
    assert scenario.saga.attempts["ship:settle"] == 6
    assert scenario.saga.attempts["ship"] == 1


def test_s1_the_answer_to_another_verdict_is_stale() -> None:
    scenario = stuck_shipment().when(judge("ship", TOOK_EFFECT))
    scenario.when(settled("ship", FORWARD, NO_EFFECT)).then(stale)
    scenario.when(settled("charge", FORWARD, TOOK_EFFECT)).then(stale)
    scenario.when(settled("ship", COMPENSATING, TOOK_EFFECT)).then(stale)


def test_s1_an_answer_to_no_verdict_is_stale() -> None:
    stuck_shipment().when(settled("ship", FORWARD, TOOK_EFFECT)).then(stale)
    completed().when(settled("ship", FORWARD, TOOK_EFFECT)).then(stale)


def test_s19_the_participants_own_answer_may_come_first() -> None:
    scenario = stuck_shipment().when(judge("ship", NO_EFFECT), shipped())
    scenario.then(asks_for("commit"), no_incident)
    assert scenario.waiting.settling is None
    scenario.when(settled("ship", FORWARD, NO_EFFECT)).then(stale)


def test_s19_a_new_verdict_replaces_the_one_on_its_way() -> None:
    scenario = stuck_shipment().when(judge("ship", NO_EFFECT), judge("ship", TOOK_EFFECT))
    scenario.then(sends(SettleStep)).when(settled("ship", FORWARD, NO_EFFECT)).then(stale)
    scenario.when(settled("ship", FORWARD, TOOK_EFFECT)).then(asks_for("commit"))


def test_s10_retry_sends_a_verdict_again_that_is_on_its_way() -> None:
    scenario = awaiting("ship").when(died_for_good("ship"), judge("ship", TOOK_EFFECT), retry())
    scenario.then(sends(SettleStep), opens(IncidentKind.DEAD_LETTER))
    assert scenario.waiting.held


def test_s10_a_dead_verdict_of_an_ended_saga_is_seen_and_closed_by_its_answer() -> None:
    scenario = orphaned_charge().when(judge("charge", SETTLED_OUTSIDE), died("charge", COMPENSATING))
    scenario.then(accepted, may("retry", "resolve"))
    assert IncidentKind.DEAD_LETTER in {incident.kind for incident in scenario.saga.incidents}
    scenario.when(died("charge", COMPENSATING)).then(stale)
    scenario.when(retry()).then(sends(SettleStep))
    scenario.when(settled("charge", COMPENSATING, SETTLED_OUTSIDE))
    scenario.then(no_incident, closes_dead_letters("charge", COMPENSATING))


def test_s10_without_a_verdict_an_ended_saga_has_nothing_to_retry_or_to_die() -> None:
    orphaned_charge().when(retry()).then(refuses("not_allowed"))
    orphaned_charge().when(died("charge", COMPENSATING)).then(stale)


def test_s8_an_ended_order_stays_rejected_through_all_of_this() -> None:
    scenario = orphaned_charge().when(judge("charge", SETTLED_OUTSIDE))
    scenario.when(settled("charge", COMPENSATING, SETTLED_OUTSIDE))
    scenario.then(publishes(), order_is(OrderStatus.REJECTED))
