"""Each checker of outside effects objects to a trace that breaks its rule, and to nothing before."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core import machine
from orchestrator.core.inputs import SagaStarted
from orchestrator.core.state import Forward, Status, StepState
from orchestrator.core.values import replace as changed
from orchestrator.sagas.order_fulfillment import SPLITTING_VERSION, OrderStatus
from participants.fence import State
from simulation.cast import CAPTURING, SPLITTING, capturing_definition
from simulation.checkers import audit, effects
from simulation.facts import AskedForNothing, Authorized, Charged, Expired, GivenUp, Refunded, Shipped, Struck
from simulation.servers import BEGINNING
from simulation.storage.database import Change
from simulation.storage.participants import StockRow
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


def test_asked_for_nothing() -> None:
    trace = begun(effects.NothingForNothing)
    assert trace.see(CHARGED) == []
    asked = AskedForNothing("/captures", f"{SAGA_ID}:capture:forward")
    assert trace.see(asked) == ["the gateway is asked for an amount of 0 at /captures"]


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


APPLES = {"sku": "apple", "quantity": 2}
NORTH = {"lines": [APPLES], "taken": [{**APPLES, "location": "north"}]}


def test_more_or_less_is_reserved_at_a_location_than_is_held_there() -> None:
    trace = begun(effects.StockWithinBounds)
    level, place = trace.stock("apple", 9, 2), ("apple", "north")
    reserved = trace.row("inventory", "ReserveInventory", State.DONE, details=NORTH)
    there = Change("stock_at", place, None, StockRow(4, 2))
    assert trace.commits("inventory", reserved, level, there) == []
    less = Change("stock_at", place, None, StockRow(4, 1))
    said = "1 of 4 at north are reserved, 2 are held"
    assert trace.commits("inventory", trace.stock("apple", 9, 2), less) == [said]


def in_parcels(checker: type) -> Trace:
    """An order of two apples of which one has left, in one of two parcels; the other was refused."""
    trace = Trace(checker, SPLITTING)
    parcels = [{"location": each, "lines": [{"sku": "apple", "quantity": 1}]} for each in ("north", "west")]
    branches = (
        StepState("ship[1]", Forward.SUCCEEDED, item=parcels[0]),
        StepState("ship[2]", Forward.REJECTED, item=parcels[1]),
    )
    steps = (*STARTED.steps, *branches)
    saga = changed(STARTED, definition_version=SPLITTING_VERSION, steps=steps)
    trace.commits("orchestrator", trace.saga(saga))
    trace.see(Charged(str(ORDER_ID), "key", ORDER.total, "EUR"))
    trace.see(Shipped(str(ORDER_ID), f"{SAGA_ID}:ship[1]:forward"))
    return trace


def test_each_parcel_is_shipped_once() -> None:
    trace = in_parcels(effects.ShippedOnce)
    assert trace.see(Shipped(str(ORDER_ID), f"{SAGA_ID}:ship[2]:forward")) == []
    [twice] = trace.see(Shipped(str(ORDER_ID), f"{SAGA_ID}:ship[1]:forward"))
    assert "2. time" in twice


def test_only_the_price_of_what_was_refused_is_given_back_and_once() -> None:
    back = Refunded(str(ORDER_ID), 500, key=f"{SAGA_ID}:refund_unshipped[1]:forward")
    trace = in_parcels(effects.NothingBackAfterThePivot)
    assert trace.see(back) == []
    assert trace.see(back) == ["money goes back for an order that was shipped"]
    too_much = in_parcels(effects.NothingBackAfterThePivot)
    assert too_much.see(replace(back, amount=1000)) == ["money goes back for an order that was shipped"]


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
