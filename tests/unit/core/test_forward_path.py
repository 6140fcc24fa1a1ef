"""The way to a fulfilled order: S1, S6, S8, S14, and what the saga remembers of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contracts.commands import ChargePayment, CommitInventory, ReserveInventory, ShipOrder
from contracts.events import InventoryReservedEvent, OrderCompletedEvent, OrderCreatedEvent
from orchestrator.core.inputs import Input, OutcomeReceived, SagaStarted
from orchestrator.core.state import Status
from orchestrator.sagas.order_fulfillment import OrderStatus
from tests.unit.core.expectations import asks_for, ends, no_incident, order_is, publishes, sends, stale
from tests.unit.core.happenings import (
    COMPENSATING,
    FORWARD,
    ORDER,
    answer,
    declined,
    out_of_stock,
    paid,
    reduced,
    refunded,
    released,
    reserved,
    shipped,
)
from tests.unit.core.scenario import Scenario, awaiting, cancelled, completed, rejected, started


def test_an_order_goes_from_reservation_to_reduced_stock() -> None:
    (
        started()
        .then(sends(ReserveInventory), publishes(OrderCreatedEvent), asks_for("reserve"))
        .then(order_is(OrderStatus.PENDING))
        .when(reserved())
        .then(sends(ChargePayment), asks_for("charge"), order_is(OrderStatus.RESERVED))
        .when(paid())
        .then(sends(ShipOrder), asks_for("ship"), order_is(OrderStatus.PAID))
        .when(shipped())
        .then(sends(CommitInventory), asks_for("commit"), order_is(OrderStatus.SHIPPED))
        .when(reduced())
        .then(sends(), publishes(OrderCompletedEvent), no_incident)
        .then(ends(Status.COMPLETED, OrderStatus.COMPLETED))
    )


def test_s14_a_saga_starts_with_its_first_command_and_the_order_it_is_for() -> None:
    saga = started()
    assert saga.saga.version == 1
    assert saga.command.lines[0].sku == "SKU-1"
    assert (saga.event.customer_id, saga.event.total, saga.event.currency) == ("c-42", 3098, "EUR")


def test_every_command_carries_the_identity_of_its_work() -> None:
    command = awaiting("charge").command
    assert (command.step, command.direction) == ("charge", FORWARD)
    assert (command.amount, command.currency) == (ORDER.total, "EUR")
    assert command.payment_method == ORDER.payment_method


def test_the_saga_remembers_what_a_step_is_asked_to_keep() -> None:
    saga = awaiting("charge").when(paid(reference="ch_77")).saga
    assert saga.step("charge").result == {"reference": "ch_77"}
    assert saga.step("reserve").result == {}


@pytest.mark.parametrize(
    "late",
    [
        reserved(),
        out_of_stock(),
        released(),
        refunded(),
        shipped(),
        reduced(),
        OutcomeReceived("InventoryReservedEvent", "charge", FORWARD),
        OutcomeReceived("PaymentSuccessfulEvent", "charge", COMPENSATING),
        OutcomeReceived("PaymentSuccessfulEvent", "no such step", FORWARD),
        OutcomeReceived("NoSuchEvent", "charge", FORWARD),
        SagaStarted(),
    ],
    ids=lambda late: getattr(late, "event", "started"),
)
def test_s1_what_the_saga_does_not_await_is_stale(late: Input) -> None:
    awaiting("charge").when(late).then(stale, asks_for("charge"))


def test_s1_a_duplicate_is_stale_and_sends_nothing() -> None:
    started().when(reserved(), reserved()).then(stale, sends(), asks_for("charge"))


def test_s1_an_answer_of_the_right_type_from_another_step_is_stale() -> None:
    stray = answer(InventoryReservedEvent, "ship", FORWARD, lines=[{"sku": "SKU-1", "quantity": 1}])
    awaiting("ship").when(stray).then(stale)


def test_s6_after_the_pivot_nothing_turns_the_saga_round() -> None:
    awaiting("commit").when(declined(), out_of_stock()).then(stale, asks_for("commit"))


@pytest.mark.parametrize("ended", [completed, rejected, cancelled])
def test_s8_an_ended_saga_ignores_every_answer(ended: Callable[[], Scenario]) -> None:
    scenario = ended()
    before = scenario.saga
    for late in (reserved(), out_of_stock(), declined(), reduced(), released(), refunded()):
        scenario.when(late).then(stale)
    assert scenario.saga is before
