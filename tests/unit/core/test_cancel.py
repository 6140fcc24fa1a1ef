"""S9: cancelling an order, and when it is too late for that."""

from __future__ import annotations

import pytest

from contracts.commands import RefundPayment, ReleaseInventory
from contracts.events import OrderCancelledEvent
from orchestrator.core.state import Status
from orchestrator.sagas.order_fulfillment import OrderStatus
from tests.unit.core.expectations import ends, may, order_is, publishes, refuses, sends, stale, undoes
from tests.unit.core.happenings import cancel, died_for_good, refunded, released
from tests.unit.core.scenario import awaiting, cancelled, completed, rejected, started, undoing


def test_s9_the_step_awaited_counts_as_unknown_and_is_undone_first() -> None:
    (
        awaiting("charge")
        .when(cancel())
        .then(sends(RefundPayment), undoes("charge"), order_is(OrderStatus.RESERVED))
        .when(refunded(effect="nothing"))
        .then(sends(ReleaseInventory), undoes("reserve"))
        .when(released())
        .then(publishes(OrderCancelledEvent))
        .then(ends(Status.COMPENSATED, OrderStatus.CANCELLED, because="cancelled"))
    )


def test_s9_the_first_step_can_be_cancelled_too() -> None:
    started().when(cancel()).then(sends(ReleaseInventory), undoes("reserve"))


def test_s9_the_time_and_the_reason_are_kept() -> None:
    saga = started().after(7).when(cancel(reason="found it cheaper")).saga
    assert saga.cancel_requested_at == saga.updated_at
    assert saga.failure is not None
    assert saga.failure.message == "found it cheaper"


@pytest.mark.parametrize("step", ["ship", "commit"])
def test_s9_once_the_shipment_has_been_asked_for_it_is_too_late(step: str) -> None:
    scenario = awaiting(step).then(may("retry")).when(cancel()).then(refuses("too_late"))
    assert scenario.saga.cancel_requested_at is None


def test_s9_repeating_a_cancel_is_fine_before_and_after_the_end() -> None:
    awaiting("charge").when(cancel(), cancel()).then(stale, undoes("charge"))
    cancelled().when(cancel()).then(stale)


def test_s8_the_first_cause_wins_so_a_rejected_order_cannot_be_cancelled_any_more() -> None:
    undoing("charge").when(cancel()).then(refuses("too_late"))
    rejected().when(cancel()).then(refuses("ended"))


def test_s9_a_completed_order_stays_completed() -> None:
    completed().when(cancel()).then(refuses("ended"))


def test_s10_work_that_failed_for_good_can_still_be_cancelled() -> None:
    awaiting("charge").when(died_for_good("charge"), cancel()).then(undoes("charge"))


def test_s9_allowed_actions_name_cancel_exactly_while_it_would_be_honoured() -> None:
    awaiting("reserve").then(may("cancel", "retry"))
    awaiting("charge").then(may("cancel", "retry")).when(cancel()).then(may("retry"))
    completed().then(may())
