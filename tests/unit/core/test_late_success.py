"""S5: a step that was given up turns out to have succeeded."""

from __future__ import annotations

from contracts.commands import RefundPayment, ReleaseInventory
from orchestrator.core.inputs import OutcomeUnknown
from orchestrator.core.state import Forward, IncidentKind, Status, Undo
from orchestrator.sagas.order_fulfillment import OrderStatus
from tests.unit.core.expectations import accepted, ends, no_incident, opens, publishes, sends, stale, undoes
from tests.unit.core.happenings import (
    cancel,
    declined,
    not_shippable,
    paid,
    refunded,
    released,
    reserved,
    shipped,
)
from tests.unit.core.scenario import Scenario, awaiting, undoing


def unanswered_charge() -> Scenario:
    """A charge nobody answered; its refund is awaited."""
    return awaiting("charge").when(OutcomeUnknown("charge")).then(sends(RefundPayment), undoes("charge"))


def test_s5_it_is_recorded_and_its_compensation_still_runs() -> None:
    scenario = unanswered_charge().when(paid(reference="ch_9"))
    scenario.then(accepted, sends(), publishes(), no_incident, undoes("charge"))
    assert scenario.saga.step("charge").forward is Forward.SUCCEEDED
    assert scenario.saga.step("charge").result == {"reference": "ch_9"}
    scenario.when(refunded()).then(sends(ReleaseInventory), no_incident)


def test_s5_it_never_resumes_the_forward_path() -> None:
    (
        unanswered_charge()
        .when(paid(), refunded(), released())
        .then(ends(Status.COMPENSATED, OrderStatus.REJECTED, because="step_deadline"))
    )


def test_s5_told_twice_it_is_stale() -> None:
    unanswered_charge().when(paid(), paid()).then(stale)


def test_s5_after_its_compensation_has_undone_it_all_is_well() -> None:
    unanswered_charge().when(refunded(), paid()).then(accepted, no_incident, undoes("reserve"))


def test_s5_where_the_compensation_found_nothing_an_effect_is_orphaned() -> None:
    (
        unanswered_charge()
        .when(refunded(effect="nothing"), paid())
        .then(opens(IncidentKind.ORPHANED_EFFECT, "charge", "charged 30.98 EUR"))
        .then(undoes("reserve"))
    )


def test_s5_whichever_of_the_two_comes_first() -> None:
    (
        unanswered_charge()
        .when(paid(), refunded(effect="nothing"))
        .then(opens(IncidentKind.ORPHANED_EFFECT, "charge"), sends(ReleaseInventory), undoes("reserve"))
    )


def test_s5_an_orphaned_effect_outlives_the_saga_which_keeps_its_status() -> None:
    (
        unanswered_charge()
        .when(refunded(effect="nothing"), paid(), released())
        .then(ends(Status.COMPENSATED, OrderStatus.REJECTED, because="step_deadline"))
        .then(opens(IncidentKind.ORPHANED_EFFECT, "charge"))
    )


def test_s5_after_the_end_it_is_orphaned_where_nothing_had_been_undone() -> None:
    scenario = unanswered_charge().when(refunded(effect="nothing"), released())
    scenario.then(no_incident).when(paid()).then(opens(IncidentKind.ORPHANED_EFFECT, "charge"))
    assert scenario.saga.status is Status.COMPENSATED


def test_s5_after_the_end_it_is_no_news_where_it_had_been_undone() -> None:
    unanswered_charge().when(refunded(), released(), paid()).then(accepted, no_incident)


def test_s5_a_rejected_step_that_succeeded_after_all_is_undone_while_that_is_possible() -> None:
    scenario = awaiting("charge").when(declined(), paid())
    scenario.then(accepted, no_incident, undoes("reserve"))
    scenario.when(released()).then(sends(RefundPayment), undoes("charge"))
    scenario.when(refunded()).then(no_incident)
    scenario.then(ends(Status.COMPENSATED, OrderStatus.REJECTED, because="payment_declined"))


def test_s5_a_rejected_step_that_succeeded_after_the_end_is_orphaned() -> None:
    awaiting("charge").when(declined(), released(), paid()).then(opens(IncidentKind.ORPHANED_EFFECT))


def test_s5_a_parcel_that_left_although_its_shipment_was_rejected_is_orphaned_at_once() -> None:
    awaiting("ship").when(not_shippable(), shipped()).then(opens(IncidentKind.ORPHANED_EFFECT, "ship"))


def test_s5_holds_for_a_step_that_was_cancelled_while_awaited() -> None:
    scenario = awaiting("charge").when(cancel(), paid()).then(accepted, undoes("charge"))
    assert scenario.saga.step("charge").undo is Undo.AWAITED


def test_s1_a_duplicate_of_a_known_success_is_stale_while_compensating() -> None:
    undoing("charge").when(paid(), reserved()).then(stale)


def test_s1_a_late_rejection_of_a_step_given_up_is_stale() -> None:
    unanswered_charge().when(declined()).then(stale, undoes("charge"))
