"""S28: a checker of returns that was never seen objecting proves nothing."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from contracts.returns import AcceptedReturn, AcceptedReturnLine
from orchestrator.core import machine
from orchestrator.core.state import Saga, Signal, Status
from orchestrator.core.values import replace as changed
from orchestrator.sagas.order_return import order_return
from simulation.cast import POLICY
from simulation.checkers import returns
from simulation.checkers.inspection import Checker
from simulation.facts import Charged, Refunded, Shipped
from simulation.servers import BEGINNING
from tests.simulation.bad_traces import ORDER, ORDER_ID, SAGA_ID, Trace

FIRST, SECOND = UUID(int=11), UUID(int=12)


def a_return(saga_id: UUID, quantity: int = 1, word: str | None = "restock") -> Saga:
    """The return of so many apples, of which the warehouse has said something."""
    given = AcceptedReturn(
        order_id=ORDER_ID,
        lines=(AcceptedReturnLine(sku="apple", quantity=quantity, unit_price=500),),
        reason="too small",
        currency="EUR",
        charge="ch_1",
        charged=ORDER.total,
    )
    saga = machine.start(order_return(POLICY), saga_id, saga_id, given, BEGINNING).saga
    if word is None:
        return saga
    body = {"lines": [{"sku": "apple", "disposition": word}]}
    return changed(saga, signals={"goods_received": Signal(body, "warehouse", BEGINNING)})


def arrived(checker: type[Checker]) -> Trace:
    """An order of two apples has been paid and shipped."""
    trace = Trace(checker)
    trace.begins()
    trace.see(Charged(str(ORDER_ID), f"{SAGA_ID}:charge:forward", ORDER.total, "EUR"))
    trace.see(Shipped(str(ORDER_ID), f"{SAGA_ID}:ship:forward"))
    return trace


def begins(trace: Trace, saga: Saga) -> list[str]:
    return trace.commits("orchestrator", replace(trace.saga(saga), before=None))


def ends(trace: Trace, saga: Saga, status: Status = Status.COMPLETED) -> list[str]:
    return trace.commits("orchestrator", trace.saga(changed(saga, status=status)))


def back(saga_id: UUID, amount: int = 500) -> Refunded:
    return Refunded(str(ORDER_ID), amount, key=f"{saga_id}:refund:forward")


def test_more_comes_back_than_was_ordered() -> None:
    trace = arrived(returns.NothingReturnedTwice)
    assert begins(trace, a_return(FIRST, 2)) == []
    assert begins(trace, a_return(SECOND)) == ["1 more of apple come back than were ordered"]


def test_what_was_undone_may_come_back_again() -> None:
    trace = arrived(returns.NothingReturnedTwice)
    first = a_return(FIRST, 2)
    begins(trace, first)
    ends(trace, first, Status.COMPENSATED)
    assert begins(trace, a_return(SECOND, 2)) == []


def test_what_was_not_shipped_comes_back() -> None:
    trace = Trace(returns.NothingReturnedTwice)
    trace.begins()
    assert begins(trace, a_return(FIRST)) == ["it is a return of what was not shipped"]


def test_another_amount_is_given_back_or_the_same_twice() -> None:
    trace = arrived(returns.RefundedAsReturned)
    begins(trace, a_return(FIRST))
    begins(trace, a_return(SECOND))
    assert trace.see(back(FIRST)) == []
    assert trace.see(back(FIRST)) == ["1000 are given back, it is worth 500"]
    assert trace.see(back(SECOND, 1)) == [
        "1 are given back, it is worth 500",
        "more is given back than was taken",
    ]


def test_money_for_goods_that_nobody_has_seen() -> None:
    trace = arrived(returns.RefundedAsReturned)
    begins(trace, a_return(FIRST, word=None))
    assert trace.see(back(FIRST)) == ["money is given back for goods that nobody has seen"]


def test_a_return_ends_well_without_its_money() -> None:
    trace = arrived(returns.RefundedAsReturned)
    first, second = a_return(FIRST), a_return(SECOND)
    for each in (first, second):
        begins(trace, each)
    trace.see(back(SECOND))
    ends(trace, first)
    ends(trace, second, Status.COMPENSATED)
    assert trace.at_the_end() == [
        f"{first.label}, but 0 were given back",
        f"{second.label}, but 500 were given back",
    ]


def test_something_is_restocked_twice_or_although_it_is_lost() -> None:
    trace = arrived(returns.TakenInOnce)
    begins(trace, a_return(FIRST))
    begins(trace, a_return(SECOND, word="write_off"))
    assert trace.commits("inventory", trace.moved("apple", 1, FIRST)) == []
    assert trace.commits("inventory", trace.moved("apple", 1, FIRST)) == ["2 of apple are restocked"]
    assert trace.commits("inventory", trace.moved("apple", 1, SECOND)) == ["1 of apple are restocked"]
    assert trace.commits("inventory", trace.moved("apple", 1, SAGA_ID)) == [
        "something is restocked that nobody returned"
    ]


def test_a_return_ends_well_without_its_goods() -> None:
    trace = arrived(returns.TakenInOnce)
    first = a_return(FIRST)
    begins(trace, first)
    ends(trace, first)
    assert trace.at_the_end() == [f"{first.label}, but {{}} are restocked"]
