"""Each checker of outside effects objects to a trace that breaks its rule, and to nothing before."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core import machine
from orchestrator.core.inputs import SagaStarted
from orchestrator.core.state import Status
from orchestrator.sagas.order_fulfillment import OrderStatus
from participants.fence import State
from simulation.cast import CAPTURING, capturing_definition
from simulation.checkers import audit, effects
from simulation.facts import Authorized, Charged, Expired, GivenUp, Refunded, Shipped, Struck
from simulation.servers import BEGINNING
from simulation.weather import Fault
from tests.simulation.bad_traces import ORDER, ORDER_ID, SAGA_ID, STARTED, Trace, entry

CHARGED = Charged(str(ORDER_ID), "key", ORDER.total, "EUR")
SHIPPED = Shipped(str(ORDER_ID), "key")
REFUNDED = Refunded(str(ORDER_ID), ORDER.total)


def begun(checker: type) -> Trace:
    trace = Trace(checker)
    trace.begins()
    trace.reserves()
    return trace


def test_charged_twice() -> None:
    trace = begun(effects.ChargedOnce)
    assert trace.see(CHARGED) == []
    assert trace.see(CHARGED) == ["it is charged for the 2. time"]


def test_charged_another_amount_or_for_nobody() -> None:
    trace = begun(effects.ChargedOnce)
    assert trace.see(Charged(str(ORDER_ID), "key", 1, "EUR")) == [f"charged 1 for a total of {ORDER.total}"]
    assert trace.see(Charged("somebody else", "key", 1, "EUR")) == ["an order is charged that nobody has"]


def test_shipped_twice() -> None:
    trace = begun(effects.ShippedOnce)
    assert trace.see(SHIPPED) == []
    assert trace.see(SHIPPED) == ["it is shipped for the 2. time"]


def test_charged_without_a_reservation() -> None:
    trace = Trace(effects.NothingWithoutReservation)
    trace.begins()
    assert trace.see(CHARGED) == ["it is charged while its reservation is never asked for"]
    trace.commits("inventory", trace.row("inventory", "ReserveInventory", State.UNDONE))
    assert trace.see(CHARGED) == ["it is charged while its reservation is undone"]


def test_shipped_without_being_paid() -> None:
    trace = begun(effects.NothingWithoutReservation)
    assert trace.see(SHIPPED) == [f"it is shipped while 0 of {ORDER.total} are paid"]
    assert trace.see(CHARGED) == trace.see(SHIPPED) == []


def test_a_provider_that_broke_its_word_is_not_our_fault() -> None:
    trace = Trace(effects.NothingWithoutReservation)
    trace.begins()
    trace.see(Struck(Fault.VOID_LIES, "gateway", str(SAGA_ID)))
    assert trace.see(CHARGED) == []


def test_charged_after_a_tombstone() -> None:
    trace = begun(effects.NoEffectAfterTheGrave)
    assert trace.see(CHARGED) == []
    trace.commits("payment", trace.row("payment", "ChargePayment", State.TOMBSTONE))
    assert trace.see(CHARGED) == ["it is charged although the ledger says tombstone"]


def test_shipped_after_it_was_settled() -> None:
    trace = begun(effects.NoEffectAfterTheGrave)
    trace.commits("shipping", trace.row("shipping", "ShipOrder", State.SETTLED))
    assert trace.see(SHIPPED) == ["it is shipped although the ledger says settled"]


def test_reserved_after_a_tombstone() -> None:
    trace = Trace(effects.NoEffectAfterTheGrave)
    trace.begins()
    assert (
        trace.commits("inventory", trace.row("inventory", "ReserveInventory", State.TOMBSTONE, details={}))
        == []
    )
    risen = trace.row("inventory", "ReserveInventory", State.DONE)
    assert trace.commits("inventory", risen) == ["tombstone becomes done"]


def test_stock_released_before_the_money_is_back() -> None:
    trace = begun(effects.ReverseOrder)
    trace.see(CHARGED)
    released = trace.row("inventory", "ReserveInventory", State.UNDONE)
    assert trace.commits("inventory", released) == [f"stock is released while {ORDER.total} are kept"]


def test_money_back_after_the_stock_is_released() -> None:
    trace = begun(effects.ReverseOrder)
    trace.see(CHARGED)
    assert trace.see(REFUNDED) == []
    trace.commits("inventory", trace.row("inventory", "ReserveInventory", State.UNDONE))
    assert trace.see(REFUNDED) == ["money goes back while the reservation is undone"]
    assert trace.see(Refunded(str(ORDER_ID), 1, by_hand=True)) == []


AUTHORIZED = Authorized(str(ORDER_ID), "key", ORDER.total, "EUR")
CAPTURED = replace(CHARGED, captured=True)


def capturing(checker: type) -> Trace:
    trace = Trace(checker, CAPTURING)
    definition = capturing_definition()
    started = machine.start(definition, SAGA_ID, ORDER_ID, ORDER, BEGINNING).saga
    assert trace.commits("orchestrator", trace.saga(started), entry(SagaStarted(), 1)) == []
    trace.reserves()
    return trace


def test_captured_before_the_parcel_left_or_more_than_authorized() -> None:
    trace = capturing(effects.CapturedAfterTheParcel)
    assert trace.see(AUTHORIZED) == []
    assert trace.see(CAPTURED) == ["it is captured while its parcel is here"]
    trace.see(SHIPPED)
    assert trace.see(CAPTURED) == ["more is captured than was authorized"]


def test_left_authorized_at_the_end() -> None:
    trace = capturing(effects.CapturedAfterTheParcel)
    trace.see(AUTHORIZED)
    assert trace.at_the_end() == [f"{ORDER.total} are authorized still"]
    trace.see(GivenUp(str(ORDER_ID), ORDER.total))
    assert trace.at_the_end() == []


def test_authorized_anew_while_the_parcel_is_here_or_something_is_set_aside_still() -> None:
    trace = capturing(effects.CapturedAfterTheParcel)
    renewed = replace(AUTHORIZED, renewed=True)
    trace.see(AUTHORIZED)
    trace.see(Expired(str(ORDER_ID), ORDER.total))
    assert trace.see(renewed) == ["it is authorized anew while its parcel is here"]
    trace.see(SHIPPED)
    assert trace.see(renewed) == [f"{2 * ORDER.total} are set aside"]
    trace.see(GivenUp(str(ORDER_ID), ORDER.total, renewed=True))
    assert trace.see(CAPTURED) == trace.at_the_end() == []


def test_authorized_anew_after_a_person_has_settled_it() -> None:
    trace = capturing(effects.NoEffectAfterTheGrave)
    trace.commits("payment", trace.row("payment", "CapturePayment", State.SETTLED))
    renewed = replace(AUTHORIZED, renewed=True)
    assert trace.see(renewed) == ["it is authorized although the ledger says settled"]


def test_settled_outside_and_captured_all_the_same() -> None:
    trace = capturing(effects.CapturedAfterTheParcel)
    for fact in (AUTHORIZED, SHIPPED):
        trace.see(fact)
    trace.commits("payment", trace.row("payment", "CapturePayment", State.SETTLED))
    assert trace.at_the_end() == []
    trace.see(CAPTURED)
    assert trace.at_the_end() == [f"settled outside, but {ORDER.total} are captured"]


def test_shipped_without_being_authorized() -> None:
    trace = capturing(effects.NothingWithoutReservation)
    assert trace.see(SHIPPED) == [f"it is shipped while 0 of {ORDER.total} are authorized"]
    assert trace.see(AUTHORIZED) == trace.see(SHIPPED) == trace.see(CAPTURED) == []


def test_authorized_after_a_tombstone_or_given_up_after_the_parcel_left() -> None:
    trace = capturing(effects.NoEffectAfterTheGrave)
    trace.commits("payment", trace.row("payment", "AuthorizePayment", State.TOMBSTONE))
    assert trace.see(AUTHORIZED) == ["it is authorized although the ledger says tombstone"]
    trace = capturing(effects.NothingBackAfterThePivot)
    trace.see(SHIPPED)
    given_up = GivenUp(str(ORDER_ID), ORDER.total)
    assert trace.see(given_up) == ["money goes back for an order that was shipped"]


def test_stock_released_while_money_is_set_aside() -> None:
    trace = capturing(effects.ReverseOrder)
    trace.see(AUTHORIZED)
    released = trace.row("inventory", "ReserveInventory", State.UNDONE)
    assert trace.commits("inventory", released) == [f"stock is released while {ORDER.total} are kept"]


def test_undone_after_the_parcel_left() -> None:
    trace = begun(effects.NothingBackAfterThePivot)
    assert trace.see(REFUNDED) == []
    trace.see(SHIPPED)
    assert trace.see(REFUNDED) == ["money goes back for an order that was shipped"]
    released = trace.row("inventory", "ReserveInventory", State.UNDONE)
    assert trace.commits("inventory", released) == ["stock is released of an order that was shipped"]


def test_oversold() -> None:
    trace = begun(effects.StockWithinBounds)
    oversold = trace.stock("apple", 1, 2)
    assert trace.commits("inventory", oversold) == ["2 reserved of 1"]


def test_reserved_without_anybody_holding_it() -> None:
    trace = begun(effects.StockWithinBounds)
    assert trace.commits("inventory", trace.stock("apple", 9, 3)) == ["3 reserved, but the ledger holds 2"]


def test_held_without_being_reserved() -> None:
    trace = Trace(effects.StockWithinBounds)
    trace.begins()
    held = trace.row("inventory", "ReserveInventory", State.DONE)
    assert trace.commits("inventory", held) == ["0 reserved, but the ledger holds 2"]


def test_reduced_before_the_parcel_left() -> None:
    trace = begun(effects.ReducedAsReserved)
    consumed = trace.row("inventory", "ReserveInventory", State.CONSUMED)
    reduced = trace.moved("apple", -2, SAGA_ID)
    assert trace.commits("inventory", consumed, reduced) == [
        "stock is reduced for an order that was not shipped"
    ]


def test_reduced_twice_or_otherwise_than_reserved() -> None:
    trace = begun(effects.ReducedAsReserved)
    trace.see(SHIPPED)
    consumed = trace.row("inventory", "ReserveInventory", State.CONSUMED)
    assert trace.commits("inventory", consumed, trace.moved("apple", -2, SAGA_ID)) == []
    assert trace.commits("inventory", trace.moved("apple", -2, SAGA_ID)) == ["stock is reduced again"]
    assert "stock is reduced by {'pear': 1}, reserved were {'apple': 2}" in trace.commits(
        "inventory", trace.moved("pear", -1, SAGA_ID)
    )


def test_the_audit_of_an_order_that_did_not_complete() -> None:
    trace = begun(audit.OutsideAudit)
    trace.commits("inventory", trace.moved("apple", 9))
    trace.see(CHARGED)
    trace.see(SHIPPED)
    assert trace.at_the_end() == [
        f"pending, but {ORDER.total} are kept",
        "pending, but shipped",
        "pending, but ReserveInventory is done",
    ]


def test_the_audit_of_an_order_that_says_it_completed() -> None:
    trace = begun(audit.OutsideAudit)
    ended = replace(STARTED, status=Status.COMPLETED, label=OrderStatus.COMPLETED)
    trace.commits("orchestrator", trace.saga(ended))
    trace.commits("inventory", trace.moved("apple", 9))
    assert trace.at_the_end() == [
        f"completed, but 0 of {ORDER.total} are kept",
        "completed, but shipped 0 times",
        "completed, but its reservation is not consumed as ordered",
        "completed, but stock was reduced by {}",
    ]


def test_the_audit_of_stock_and_strangers() -> None:
    trace = Trace(audit.OutsideAudit)
    trace.commits("inventory", trace.stock("apple", 9, 1), trace.moved("apple", 8))
    trace.commits("payment", trace.row("payment", "ChargePayment", State.DONE))
    assert trace.at_the_end() == [
        "payment has a row for ChargePayment of a saga that never was",
        "9 on hand, its movements add up to 8",
        "1 reserved, the ledger holds 0",
    ]
