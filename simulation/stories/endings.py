"""How most orders end, so that a story says only what is its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from simulation.stories.story import ON_HAND, PRICES, Ending, Flow, Money, Returned, Stock

CREATED: Final = ("OrderCreated", "InventoryReserved")
GONE: Final = ("InventoryReduced", "OrderCompleted")
PAID: Final = {False: "PaymentSuccessful", True: "PaymentAuthorized"}
"""By whether the flow captures."""
UNPAID: Final = {False: "PaymentRefunded", True: "PaymentVoided"}
RELEASED: Final = "InventoryReleased"
SETTLED: Final = "StepSettled"


def worth(pieces: Mapping[str, int]) -> int:
    """What so many pieces cost, in euro cents."""
    return sum(PRICES[product] * count for product, count in pieces.items())


def sold(ordered: Mapping[str, int], flow: Flow = Flow.CHARGE) -> Ending:
    """All of it has left in one parcel and is paid for."""
    captured = ("PaymentCaptured",) if flow.captures else ()
    return Ending(
        status="completed",
        failure=None,
        stock={product: Stock(ON_HAND, ON_HAND - count) for product, count in ordered.items()},
        money=Money(taken=worth(ordered)),
        parcels=(ordered,),
        events=(*CREATED, PAID[flow.captures], "OrderFulfilled", *captured, *GONE),
    )


def untouched(ordered: Mapping[str, int], failure: str, *events: str, status: str = "rejected") -> Ending:
    """Nothing has left, nothing was taken, and everything is in stock as before."""
    return Ending(
        status=status,
        failure=failure,
        stock={product: Stock(ON_HAND, ON_HAND) for product in ordered},
        money=Money(),
        parcels=(),
        events=("OrderCreated", *events, f"Order{status.capitalize()}"),
    )


def cancelled(ordered: Mapping[str, int], *events: str) -> Ending:
    """The same, by the customer's will; the events after the reservation."""
    return untouched(ordered, "cancelled", "InventoryReserved", *events, status="cancelled")


ASKED: Final = ("ReturnRequested", "RefundClaimed")
REFUNDED: Final = ("PaymentPartlyRefunded", "ItemsRestocked", "ReturnCompleted")
GIVEN_UP: Final = "RefundClaimReleased"

CAME_BACK: Final = Returned("returned", (*ASKED, *REFUNDED))
NEVER_CAME: Final = Returned("expired", (*ASKED, GIVEN_UP, "ReturnRejected"))
NOT_REFUNDED: Final = Returned("rejected", (*ASKED, "PartialRefundRejected", GIVEN_UP, "ReturnRejected"))
KEPT: Final = Returned("cancelled", (*ASKED, GIVEN_UP, "ReturnCancelled"))


def returned(
    ending: Ending, refunded: Mapping[str, int], restocked: Mapping[str, int], *returns: Returned
) -> Ending:
    """An order of which pieces were paid back, and some of these can be sold again."""
    stock = {
        product: replace(level, after=level.after + restocked.get(product, 0))
        for product, level in ending.stock.items()
    }
    money = replace(ending.money, back=ending.money.back + worth(refunded))
    return replace(ending, stock=stock, money=money, returns=returns)
