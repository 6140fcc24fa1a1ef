"""The way back: S3, S7 and S8."""

from __future__ import annotations

from contracts.commands import RefundPayment, ReleaseInventory
from contracts.events import OrderRejectedEvent
from orchestrator.core.inputs import CompensationStuck
from orchestrator.core.state import IncidentKind, Status
from orchestrator.sagas.order_fulfillment import OrderStatus
from tests.unit.core.expectations import (
    accepted,
    ends,
    no_incident,
    opens,
    order_is,
    publishes,
    sends,
    stale,
    undoes,
)
from tests.unit.core.happenings import COMPENSATING, declined, not_shippable, out_of_stock, refunded, released
from tests.unit.core.scenario import awaiting, started, undoing


def test_s3_a_rejection_of_the_first_step_ends_at_once_for_nothing_is_held() -> None:
    (
        started()
        .when(out_of_stock())
        .then(sends(), publishes(OrderRejectedEvent), no_incident)
        .then(ends(Status.COMPENSATED, OrderStatus.REJECTED, because="out_of_stock"))
    )


def test_s3_a_rejection_undoes_the_earlier_steps_in_reverse_order_one_at_a_time() -> None:
    (
        awaiting("ship")
        .when(not_shippable())
        .then(sends(RefundPayment), undoes("charge"))
        .when(refunded())
        .then(sends(ReleaseInventory), undoes("reserve"))
        .when(released())
        .then(sends(), publishes(OrderRejectedEvent))
        .then(ends(Status.COMPENSATED, OrderStatus.REJECTED, because="shipment_rejected"))
    )


def test_s3_a_rejected_step_had_no_effect_and_is_not_undone() -> None:
    awaiting("charge").when(declined()).then(sends(ReleaseInventory), undoes("reserve"))


def test_s3_a_compensation_awaited_later_is_not_confirmed_early() -> None:
    undoing("charge").when(released()).then(stale, undoes("charge"))


def test_compensations_take_nothing_from_the_message_but_the_identity_of_the_work() -> None:
    command = undoing("charge").command
    assert (command.step, command.direction) == ("charge", COMPENSATING)
    assert set(type(command).model_fields) == {"saga_id", "order_id", "step", "direction"}


def test_s8_the_customer_learns_the_cause_in_the_words_of_the_definition() -> None:
    event = awaiting("charge").when(declined(), released()).event
    assert (event.code, event.message) == ("payment_declined", "the bank said no")


def test_s8_where_the_definition_has_no_word_the_participants_own_code_stands() -> None:
    assert started().when(out_of_stock()).event.code == "out_of_stock"


def test_s8_while_compensating_the_order_keeps_its_last_forward_status() -> None:
    undoing("charge").then(order_is(OrderStatus.PAID)).when(refunded()).then(order_is(OrderStatus.PAID))


def test_s7_a_compensation_unanswered_for_long_says_what_is_still_held() -> None:
    (
        undoing("charge")
        .when(CompensationStuck("charge"))
        .then(opens(IncidentKind.COMPENSATION_STUCK, "payment", "charged 30.98 EUR", "2 x SKU-1", "SKU-2"))
        .then(sends(), undoes("charge"))
    )


def test_s7_what_is_undone_already_is_no_longer_said_to_be_held() -> None:
    scenario = undoing("reserve").when(CompensationStuck("reserve"))
    assert "SKU-1" in scenario.incident.message
    assert "charged" not in scenario.incident.message


def test_s7_one_incident_a_stuck_compensation_is_enough() -> None:
    undoing("charge").when(CompensationStuck("charge"), CompensationStuck("charge")).then(stale)


def test_s7_only_the_awaited_compensation_can_be_stuck() -> None:
    undoing("charge").when(CompensationStuck("reserve")).then(stale, no_incident)
    awaiting("charge").when(CompensationStuck("charge")).then(stale, no_incident)


def test_s7_the_answer_closes_the_incident() -> None:
    undoing("charge").when(CompensationStuck("charge"), refunded()).then(no_incident, undoes("reserve"))


def test_s7_a_compensation_that_found_nothing_to_undo_confirms_as_well() -> None:
    scenario = awaiting("charge").when(declined(), released(effect="nothing"))
    scenario.then(accepted, ends(Status.COMPENSATED, OrderStatus.REJECTED, because="payment_declined"))
