"""Each check of the audit lets good facts pass and objects to its own bad case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from oms.audit.checklist import MEANING, OF_COMPLETED, OF_NOT_RETURNED, OF_RETURNED, OF_UNDONE, Check
from oms.audit.checks import objections, return_objections, stock_objections
from oms.audit.facts import (
    Authorization,
    Charge,
    LedgerFact,
    Money,
    OrderFacts,
    Reduction,
    Returns,
    SagaFact,
    StockFact,
)
from oms.audit.report import LISTED_AT_MOST, Finding, Report

SAGA = SagaFact(UUID(int=1), UUID(int=2), "order_fulfillment", "completed", 2598, "EUR", {"A": 2, "B": 1})

RESERVE = LedgerFact("inventory", "reserve", "ReserveInventory", "consumed", {"A": 2, "B": 1})
CHARGE = LedgerFact("payment", "charge", "ChargePayment", "done", amount=2598, currency="EUR")
SHIP = LedgerFact("shipping", "ship", "ShipOrder", "done")
COMMIT = LedgerFact("inventory", "commit", "CommitInventory", "done", {"A": 2, "B": 1})
TAKEN = Charge("k", 2598, "EUR", 0)

COMPLETED = OrderFacts(
    SAGA,
    (RESERVE, CHARGE, SHIP, COMMIT),
    (Reduction("A", 1, 2), Reduction("B", 1, 1)),
    Money((TAKEN,)),
    ("parcel",),
)
UNDONE = OrderFacts(
    replace(SAGA, status="compensated"),
    (replace(RESERVE, state="undone"), replace(CHARGE, state="undone"), replace(SHIP, state="rejected")),
    (),
    Money((replace(TAKEN, refunded=2598),), (2598,)),
    (),
)


AUTHORIZE = LedgerFact("payment", "authorize", "AuthorizePayment", "done", amount=2598, currency="EUR")
CAPTURE = LedgerFact("payment", "capture", "CapturePayment", "done", amount=2598, currency="EUR")
SET_ASIDE = Authorization("a", 2598, "EUR", captured=2598, given_up=False)
CAPTURED = replace(
    COMPLETED, ledger=(RESERVE, AUTHORIZE, SHIP, CAPTURE, COMMIT), money=Money((TAKEN,), (), (SET_ASIDE,))
)
VOIDED = replace(
    UNDONE,
    ledger=(replace(RESERVE, state="undone"), replace(AUTHORIZE, state="undone")),
    money=Money((), (), (replace(SET_ASIDE, captured=0, given_up=True),)),
)
SPLIT = replace(SAGA, parcels=1, unshipped={"B": 1}, unshipped_worth=598)
"""Of which a parcel was refused."""

UNSHIPPED = (
    replace(SHIP, step="ship[2]", state="rejected"),
    LedgerFact("payment", "claim_unshipped[1]", "ClaimUnshipped", "done", amount=598, currency="EUR"),
    LedgerFact("payment", "refund_unshipped[1]", "RefundUnshipped", "done", amount=598, currency="EUR"),
)
PART = replace(
    COMPLETED,
    saga=SPLIT,
    ledger=(*COMPLETED.ledger, *UNSHIPPED),
    reductions=(Reduction("A", 1, 2),),
    money=Money((replace(TAKEN, refunded=598),), (598,)),
)
PART_CAPTURED = replace(
    CAPTURED,
    saga=SPLIT,
    ledger=(RESERVE, AUTHORIZE, SHIP, replace(CAPTURE, amount=2000), COMMIT),
    reductions=PART.reductions,
    money=Money((replace(TAKEN, amount=2000),), (), (replace(SET_ASIDE, captured=2000, given_up=True),)),
)
RETURN = SagaFact(UUID(int=3), UUID(int=3), "order_return", "completed", 1299, "EUR", {"A": 2})
CLAIM = LedgerFact("payment", "claim", "ClaimRefund", "done", amount=1299, currency="EUR")
REFUND = LedgerFact("payment", "refund", "RefundPart", "done", amount=1299, currency="EUR")
RESTOCK = LedgerFact("inventory", "restock", "RestockItems", "done", {"A": 2}, restocked={"A": 1})
RETURNED = OrderFacts(RETURN, (CLAIM, REFUND, RESTOCK), restockings=(Reduction("A", 1, 1),))
NOT_RETURNED = OrderFacts(replace(RETURN, status="compensated"), (replace(CLAIM, state="undone"),))


def of_return(facts: OrderFacts) -> set[Check]:
    """The checks that object to a return."""
    return {objection.check for objection in return_objections(facts)}


def with_returns(facts: OrderFacts, *standing: SagaFact, back: int = 0) -> OrderFacts:
    """The facts with returns, of which the provider says that so much was given back."""
    completed = tuple(each for each in standing if each.completed)
    money = Money((replace(TAKEN, refunded=back),), (back,))
    return replace(facts, returns=Returns(completed, standing), money=money)


def found(facts: OrderFacts) -> set[Check]:
    """The checks that object."""
    return {objection.check for objection in objections(facts)}


def with_row(facts: OrderFacts, row: LedgerFact, **changes: Any) -> OrderFacts:
    """The facts with one ledger row changed."""
    step = row.step
    return replace(facts, ledger=tuple(replace(r, **changes) if r.step == step else r for r in facts.ledger))


def without_row(facts: OrderFacts, row: LedgerFact) -> OrderFacts:
    """The facts without one ledger row."""
    return replace(facts, ledger=tuple(r for r in facts.ledger if r.step != row.step))


def with_another(facts: OrderFacts, row: LedgerFact) -> OrderFacts:
    """The facts with the same work done a second time."""
    return replace(facts, ledger=(*facts.ledger, replace(row, step=f"{row.step}-again")))


Bend = Callable[[OrderFacts], OrderFacts]

BAD_PART: list[tuple[Check, Bend]] = [
    (Check.UNSHIPPED_GIVEN_BACK, lambda f: without_row(f, UNSHIPPED[1])),
    (Check.UNSHIPPED_GIVEN_BACK, lambda f: without_row(f, UNSHIPPED[2])),
    (Check.UNSHIPPED_GIVEN_BACK, lambda f: with_another(f, UNSHIPPED[2])),
    (Check.UNSHIPPED_GIVEN_BACK, lambda f: with_row(f, UNSHIPPED[2], amount=2598)),
    (Check.UNSHIPPED_GIVEN_BACK, lambda f: with_row(f, UNSHIPPED[2], state="intent")),
    (Check.CHARGED_ONCE, lambda f: replace(f, money=Money((TAKEN,)))),
    (Check.CHARGED_ONCE, lambda f: replace(f, money=Money((replace(TAKEN, refunded=1196),), (1196,)))),
    (Check.SHIPPED_ONCE, lambda f: replace(f, parcels=("one", "two"))),
    (Check.SHIPPED_ONCE, lambda f: with_row(f, UNSHIPPED[0], state="done")),
    (Check.REDUCED_ONCE, lambda f: replace(f, reductions=COMPLETED.reductions)),
]

BAD_COMPLETED: list[tuple[Check, Bend]] = [
    (Check.RESERVED_ONCE, lambda f: without_row(f, RESERVE)),
    (Check.RESERVED_ONCE, lambda f: with_another(f, RESERVE)),
    (Check.RESERVED_ONCE, lambda f: with_row(f, RESERVE, state="done")),
    (Check.RESERVED_ONCE, lambda f: with_row(f, RESERVE, state="undone")),
    (Check.RESERVED_ONCE, lambda f: with_row(f, RESERVE, quantities={"A": 1, "B": 1})),
    (Check.CHARGED_ONCE, lambda f: without_row(f, CHARGE)),
    (Check.CHARGED_ONCE, lambda f: with_another(f, CHARGE)),
    (Check.CHARGED_ONCE, lambda f: with_row(f, CHARGE, state="intent")),
    (Check.CHARGED_ONCE, lambda f: with_row(f, CHARGE, amount=2597)),
    (Check.CHARGED_ONCE, lambda f: with_row(f, CHARGE, currency="USD")),
    (Check.CHARGED_ONCE, lambda f: replace(f, money=Money())),
    (Check.CHARGED_ONCE, lambda f: replace(f, money=Money((TAKEN, replace(TAKEN, key="l"))))),
    (Check.CHARGED_ONCE, lambda f: replace(f, money=Money((replace(TAKEN, amount=1),)))),
    (Check.CHARGED_ONCE, lambda f: replace(f, money=Money((replace(TAKEN, currency="USD"),)))),
    (Check.CHARGED_ONCE, lambda f: replace(f, money=Money((TAKEN,), (2598,)))),
    (Check.CHARGED_ONCE, lambda f: replace(f, money=Money((replace(TAKEN, refunded=1),)))),
    (Check.CHARGED_ONCE, lambda f: with_returns(f, RETURN, back=0)),
    (Check.CHARGED_ONCE, lambda f: with_returns(f, RETURN, back=1300)),
    (Check.CHARGED_ONCE, lambda f: with_returns(f, replace(RETURN, status="running"), back=1300)),
    (Check.RETURNED_ONCE, lambda f: with_returns(f, RETURN, replace(RETURN, status="running"), back=1299)),
    (Check.RETURNED_ONCE, lambda f: with_returns(f, replace(RETURN, ordered={"C": 1}), back=1299)),
    (Check.SHIPPED_ONCE, lambda f: without_row(f, SHIP)),
    (Check.SHIPPED_ONCE, lambda f: with_another(f, SHIP)),
    (Check.SHIPPED_ONCE, lambda f: with_row(f, SHIP, state="intent")),
    (Check.SHIPPED_ONCE, lambda f: replace(f, parcels=())),
    (Check.SHIPPED_ONCE, lambda f: replace(f, parcels=("one", "two"))),
    (Check.REDUCED_ONCE, lambda f: without_row(f, COMMIT)),
    (Check.REDUCED_ONCE, lambda f: with_another(f, COMMIT)),
    (Check.REDUCED_ONCE, lambda f: replace(f, reductions=())),
    (Check.REDUCED_ONCE, lambda f: replace(f, reductions=(*f.reductions, Reduction("C", 1, 1)))),
    (Check.REDUCED_ONCE, lambda f: replace(f, reductions=(Reduction("A", 2, 2), Reduction("B", 1, 1)))),
    (Check.REDUCED_ONCE, lambda f: replace(f, reductions=(Reduction("A", 1, 4), Reduction("B", 1, 1)))),
]

BAD_UNDONE: list[tuple[Check, Bend]] = [
    (Check.NOTHING_RESERVED, lambda f: with_row(f, RESERVE, state="done")),
    (Check.NOTHING_RESERVED, lambda f: with_row(f, RESERVE, state="consumed")),
    (Check.MONEY_BACK, lambda f: with_row(f, CHARGE, state="done")),
    (Check.MONEY_BACK, lambda f: with_row(f, CHARGE, state="intent")),
    (Check.MONEY_BACK, lambda f: with_row(f, CHARGE, state="undoing")),
    (Check.MONEY_BACK, lambda f: with_row(f, CHARGE, state="reversing")),
    (Check.MONEY_BACK, lambda f: replace(f, money=Money((TAKEN,)))),
    (Check.MONEY_BACK, lambda f: replace(f, money=Money((replace(TAKEN, refunded=2598),)))),
    (Check.MONEY_BACK, lambda f: replace(f, money=Money((TAKEN,), (2598,)))),
    (Check.MONEY_BACK, lambda f: replace(f, money=Money((), (2598,)))),
    (
        Check.MONEY_BACK,
        lambda f: replace(f, money=Money((replace(TAKEN, refunded=2598),), (2598, 2598))),
    ),
    (Check.NOTHING_SHIPPED, lambda f: with_row(f, SHIP, state="done")),
    (Check.NOTHING_SHIPPED, lambda f: with_row(f, SHIP, state="intent")),
    (Check.NOTHING_SHIPPED, lambda f: replace(f, parcels=("parcel",))),
    (Check.STOCK_UNTOUCHED, lambda f: replace(f, reductions=(Reduction("A", 1, 2),))),
    (Check.STOCK_UNTOUCHED, lambda f: replace(f, ledger=(*f.ledger, COMMIT))),
]


BAD_CAPTURED: list[tuple[Check, Bend]] = [
    (Check.CHARGED_ONCE, lambda f: without_row(f, CAPTURE)),
    (Check.CHARGED_ONCE, lambda f: with_another(f, CAPTURE)),
    (Check.CHARGED_ONCE, lambda f: with_row(f, CAPTURE, amount=2597)),
    (Check.CHARGED_ONCE, lambda f: replace(f, ledger=(*f.ledger, CHARGE))),
    (Check.CHARGED_ONCE, lambda f: replace(f, money=Money((), (), (SET_ASIDE,)))),
    (Check.CHARGED_ONCE, lambda f: replace(f, money=Money((TAKEN,), (2598,), (SET_ASIDE,)))),
    (Check.CAPTURED_AS_AUTHORIZED, lambda f: without_row(f, CAPTURE)),
    (Check.CAPTURED_AS_AUTHORIZED, lambda f: without_row(f, AUTHORIZE)),
    (Check.CAPTURED_AS_AUTHORIZED, lambda f: with_another(f, AUTHORIZE)),
    (
        Check.CAPTURED_AS_AUTHORIZED,
        lambda f: replace(f, money=Money((TAKEN,), (), (replace(SET_ASIDE, captured=2597),))),
    ),
    (
        Check.CAPTURED_AS_AUTHORIZED,
        lambda f: replace(f, money=Money((TAKEN,), (), (SET_ASIDE, replace(SET_ASIDE, key="b", captured=0)))),
    ),
]

BAD_VOIDED: list[tuple[Check, Bend]] = [
    *(
        (Check.NOTHING_AUTHORIZED, partial(with_row, row=AUTHORIZE, state=state))
        for state in ("done", "intent", "undoing", "reversing")
    ),
    (
        Check.NOTHING_AUTHORIZED,
        lambda f: replace(f, money=Money((), (), (replace(SET_ASIDE, captured=0),))),
    ),
    (Check.MONEY_BACK, lambda f: replace(f, ledger=(*f.ledger, CAPTURE))),
    (Check.MONEY_BACK, lambda f: replace(f, money=replace(f.money or Money(), charges=(TAKEN,)))),
]


def test_an_order_whose_money_was_captured_or_given_up_has_no_objection() -> None:
    assert found(CAPTURED) == set()
    assert found(VOIDED) == set()


def test_what_has_expired_is_no_longer_authorized() -> None:
    expired = replace(SET_ASIDE, captured=0, given_up=True)
    assert found(replace(VOIDED, money=Money((), (), (expired, expired)))) == set()


@pytest.mark.parametrize(("check", "bend"), BAD_CAPTURED)
def test_a_completed_order_that_was_not_captured_as_authorized_is_objected_to(
    check: Check, bend: Bend
) -> None:
    assert check in found(bend(CAPTURED))


@pytest.mark.parametrize(("check", "bend"), BAD_VOIDED)
def test_an_undone_order_that_left_money_set_aside_is_objected_to(check: Check, bend: Bend) -> None:
    assert found(bend(VOIDED)) == {check}


BAD_RETURNED: list[tuple[Check, Bend]] = [
    (Check.REFUNDED_IN_PART, lambda f: without_row(f, REFUND)),
    (Check.REFUNDED_IN_PART, lambda f: with_another(f, REFUND)),
    (Check.REFUNDED_IN_PART, lambda f: with_row(f, REFUND, state="intent")),
    (Check.REFUNDED_IN_PART, lambda f: with_row(f, REFUND, amount=1300)),
    (Check.REFUNDED_IN_PART, lambda f: with_row(f, REFUND, currency="USD")),
    (Check.TAKEN_IN_ONCE, lambda f: without_row(f, RESTOCK)),
    (Check.TAKEN_IN_ONCE, lambda f: with_another(f, RESTOCK)),
    (Check.TAKEN_IN_ONCE, lambda f: with_row(f, RESTOCK, quantities={"A": 1})),
    (Check.TAKEN_IN_ONCE, lambda f: replace(f, restockings=())),
    (Check.TAKEN_IN_ONCE, lambda f: replace(f, restockings=(Reduction("A", 2, 1),))),
    (Check.TAKEN_IN_ONCE, lambda f: replace(f, restockings=(Reduction("A", 1, 2),))),
]

BAD_NOT_RETURNED: list[tuple[Check, Bend]] = [
    (Check.NOTHING_RETURNED, lambda f: with_row(f, CLAIM, state="done")),
    (Check.NOTHING_RETURNED, lambda f: replace(f, ledger=(REFUND,))),
    (Check.NOTHING_RETURNED, lambda f: replace(f, ledger=(replace(REFUND, state="intent"),))),
    (Check.NOTHING_RETURNED, lambda f: replace(f, ledger=(RESTOCK,))),
    (Check.NOTHING_RETURNED, lambda f: replace(f, restockings=(Reduction("A", 1, 1),))),
]


def test_a_return_that_is_as_it_must_be_has_no_objection() -> None:
    assert of_return(RETURNED) == of_return(NOT_RETURNED) == set()
    assert found(with_returns(COMPLETED, RETURN, back=1299)) == set()


@pytest.mark.parametrize("back", [0, 1299])
def test_a_return_that_is_under_way_may_have_been_refunded_or_not(back: int) -> None:
    assert found(with_returns(COMPLETED, replace(RETURN, status="running"), back=back)) == set()


@pytest.mark.parametrize(("check", "bend"), BAD_RETURNED)
def test_a_return_that_was_not_done_once_is_objected_to(check: Check, bend: Bend) -> None:
    assert of_return(bend(RETURNED)) == {check}


@pytest.mark.parametrize(("check", "bend"), BAD_NOT_RETURNED)
def test_a_return_that_was_undone_and_left_something_is_objected_to(check: Check, bend: Bend) -> None:
    assert of_return(bend(NOT_RETURNED)) == {check}


def test_a_return_that_cannot_be_read_is_all_that_is_said_of_it() -> None:
    assert of_return(replace(RETURNED, saga=replace(RETURN, readable=False))) == {Check.READABLE}
    unreadable = replace(RETURN, readable=False, total=0, ordered={})
    assert found(with_returns(COMPLETED, unreadable, back=1299)) == set()


def test_a_completed_order_that_is_as_it_must_be_has_no_objection() -> None:
    assert found(COMPLETED) == set()


def test_an_undone_order_that_is_as_it_must_be_has_no_objection() -> None:
    assert found(UNDONE) == set()


@pytest.mark.parametrize("state", ["rejected", "undone", "tombstone"])
def test_every_way_of_having_no_effect_is_fine_for_an_undone_order(state: str) -> None:
    ledger = tuple(replace(row, state=state) for row in (RESERVE, CHARGE, SHIP))
    assert found(OrderFacts(UNDONE.saga, ledger, (), Money(), ())) == set()


def test_an_order_undone_before_anybody_did_anything_is_fine() -> None:
    assert found(OrderFacts(UNDONE.saga, (), (), Money(), ())) == set()


@pytest.mark.parametrize(("check", "bend"), BAD_COMPLETED)
def test_a_completed_order_that_was_not_done_once_is_objected_to(check: Check, bend: Bend) -> None:
    assert check in found(bend(COMPLETED))


@pytest.mark.parametrize(("check", "bend"), BAD_UNDONE)
def test_an_undone_order_that_left_something_behind_is_objected_to(check: Check, bend: Bend) -> None:
    assert found(bend(UNDONE)) == {check}


def test_what_was_shipped_in_part_is_as_it_must_be() -> None:
    assert found(PART) == found(PART_CAPTURED) == set()
    left = replace(SET_ASIDE, captured=2000)
    money = Money((replace(TAKEN, amount=2000),), (), (left,))
    assert found(replace(PART_CAPTURED, money=money)) == {Check.CAPTURED_AS_AUTHORIZED}
    lost = replace(RETURN, ordered={"B": 1}, total=0)
    assert found(replace(PART, returns=Returns((lost,), (lost,)))) == {Check.RETURNED_ONCE}


@pytest.mark.parametrize(("check", "bend"), BAD_PART)
def test_what_was_not_given_back_of_an_order_in_part_is_objected_to(check: Check, bend: Bend) -> None:
    assert found(bend(PART)) == {check}


@pytest.mark.parametrize(("there", "fine"), [((3, 2, 2), True), ((3, 1, 2), False), ((1, 2, 2), False)])
def test_what_is_held_at_a_location_is_reserved_there_and_is_there(
    there: tuple[int, int, int], fine: bool
) -> None:
    said = list(stock_objections(StockFact("A", 9, 2, 9, 2, {"north": there})))
    assert [each.check for each in said] == ([] if fine else [Check.RESERVED_AGREES])


def test_every_check_of_an_order_has_a_bad_case_here() -> None:
    assert {check for check, _ in BAD_COMPLETED + BAD_CAPTURED + BAD_PART} == set(OF_COMPLETED)
    assert {check for check, _ in BAD_UNDONE + BAD_VOIDED} == set(OF_UNDONE)
    assert {check for check, _ in BAD_RETURNED} == set(OF_RETURNED)
    assert {check for check, _ in BAD_NOT_RETURNED} == set(OF_NOT_RETURNED)


def test_without_the_providers_books_the_ledgers_decide_alone() -> None:
    assert found(replace(COMPLETED, money=None, parcels=None)) == set()
    assert found(replace(UNDONE, money=None, parcels=None)) == set()
    unpaid = without_row(replace(COMPLETED, money=None, parcels=None), CHARGE)
    assert found(unpaid) == {Check.CHARGED_ONCE}


def test_an_order_that_costs_nothing_may_leave_no_charge_at_the_provider() -> None:
    free = with_row(replace(COMPLETED, saga=replace(SAGA, total=0), money=Money()), CHARGE, amount=0)
    assert found(free) == set()


@pytest.mark.parametrize(
    ("check", "stock"),
    [
        (Check.STOCK_ADDS_UP, StockFact("A", 8, 2, 10, 2)),
        (Check.STOCK_ADDS_UP, StockFact("A", 8, 2, None, 2)),
        (Check.STOCK_ADDS_UP, StockFact("A", None, 0, None, 2)),
        (Check.RESERVED_AGREES, StockFact("A", 8, 2, 8, 3)),
        (Check.RESERVED_AGREES, StockFact("A", 8, 9, 8, 9)),
        (Check.RESERVED_AGREES, StockFact("A", 8, -1, 8, -1)),
    ],
)
def test_stock_that_does_not_add_up_is_objected_to(check: Check, stock: StockFact) -> None:
    assert [objection.check for objection in stock_objections(stock)] == [check]


def test_stock_that_adds_up_has_no_objection() -> None:
    assert list(stock_objections(StockFact("A", 8, 2, 8, 2))) == []
    assert list(stock_objections(StockFact("empty", 0, 0, None, 0))) == []


def test_the_report_names_the_order_an_objection_is_about() -> None:
    report = Report()
    report.judge(replace(COMPLETED, parcels=()))
    assert not report.ok
    assert [(f.check, f.saga_id, f.order_id) for f in report.findings] == [
        (Check.SHIPPED_ONCE, SAGA.saga_id, str(SAGA.order_id))
    ]


def test_what_a_verdict_explains_is_listed_with_the_verdict_and_is_no_finding() -> None:
    said = {"direction": "compensating", "verdict": "settled_outside", "reference": "bank-7"}
    facts = with_row(
        replace(UNDONE, money=Money((TAKEN,))), CHARGE, state="settled", verdict={"said": said, "at": "x"}
    )
    report = Report()
    report.judge(facts)
    assert report.ok
    (verdict,) = report.verdicts
    assert (verdict.participant, verdict.step, verdict.said) == ("payment", "charge", said)
    assert len(verdict.explains) == 2


def test_a_verdict_explains_nothing_of_another_participant() -> None:
    facts = with_row(replace(UNDONE, parcels=("parcel",)), CHARGE, verdict={"said": {}})
    report = Report()
    report.judge(facts)
    assert [finding.check for finding in report.findings] == [Check.NOTHING_SHIPPED]


def test_findings_beyond_the_limit_are_counted_but_not_kept() -> None:
    report = Report()
    for number in range(LISTED_AT_MOST + 5):
        report.add(Finding(Check.HAS_SAGA, "there is no such saga", UUID(int=number)))
    assert len(report.findings) == LISTED_AT_MOST
    assert report.as_json()["findings_in_all"] == LISTED_AT_MOST + 5


def test_every_check_says_what_it_means() -> None:
    assert set(MEANING) == set(Check)
