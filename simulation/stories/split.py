"""Stories of orders whose goods are at several locations, and leave in a parcel from each (S31)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from contracts.returns import Disposition
from simulation.stories.acts import Act, GoodsCome, SendBack
from simulation.stories.endings import (
    CAME_BACK,
    CREATED,
    PAID,
    RELEASED,
    UNPAID,
    returned,
    sold,
    untouched,
    worth,
)
from simulation.stories.story import ON_HAND, PAYS, REFUSED, Ending, Flow, Money, Stock, Story

TEA, MUG, GLASS = {"tea": 2}, {"mug": 1}, {REFUSED: 1}
WHOLE: Final = {**TEA, **MUG}
PLACES: Final = {"tea": "east", "mug": "west", REFUSED: "west"}
CHARGED, CAPTURED = Flow.CHARGE_SPLIT, Flow.CAPTURE_SPLIT
TAKEN, TURNED_DOWN = "OrderFulfilled", "ShipmentRejected"


def _in_two(flow: Flow) -> Ending:
    """Both parcels have left."""
    captured = ("PaymentCaptured",) * flow.captures
    return replace(
        sold(WHOLE, flow),
        parcels=(TEA, MUG),
        events=(*CREATED, PAID[flow.captures], TAKEN, TAKEN, *captured, "InventoryReduced", "OrderCompleted"),
    )


def _in_part(flow: Flow) -> Ending:
    """Tea has left, and the glass has not: its price is given back, or not taken."""
    given_back = ("RefundClaimed", "PaymentPartlyRefunded")
    kept = ("PaymentCaptured", "RemainderVoided")
    return Ending(
        status="partially_fulfilled",
        failure=None,
        stock={"tea": Stock(ON_HAND, ON_HAND - 2), REFUSED: Stock(ON_HAND, ON_HAND)},
        money=Money(taken=worth(TEA)) if flow.captures else Money(worth({**TEA, **GLASS}), worth(GLASS)),
        parcels=(TEA,),
        events=(
            *CREATED,
            PAID[flow.captures],
            TAKEN,
            TURNED_DOWN,
            *(kept if flow.captures else given_back),
            "InventoryReduced",
            "OrderPartiallyFulfilled",
        ),
    )


def _not_at_all(flow: Flow) -> Ending:
    """No parcel has left, so that the order turns round."""
    ending = untouched(
        {REFUSED: 1},
        "shipment_rejected",
        "InventoryReserved",
        PAID[flow.captures],
        TURNED_DOWN,
        UNPAID[flow.captures],
        RELEASED,
    )
    paid = 0 if flow.captures else worth(GLASS)
    return replace(ending, money=Money(taken=paid, back=paid))


def _story(
    name: str,
    flow: Flow,
    ending: Ending,
    *acts: Act,
    payment_method: str = PAYS,
) -> Story:
    ordered = {product: WHOLE.get(product, 1) for product in ending.stock}
    return Story(name, ordered, ending, acts, flow, payment_method, places=PLACES)


SPLIT: Final[tuple[Story, ...]] = (
    _story("From two locations it leaves in two parcels", CHARGED, _in_two(CHARGED)),
    _story("Two parcels are captured as one", CAPTURED, _in_two(CAPTURED)),
    Story(
        "What is all at one location leaves in one parcel",
        TEA,
        sold(TEA),
        flow=CHARGED,
        places=PLACES,
    ),
    _story(
        "A parcel cannot be shipped after another has left: its price is given back",
        CHARGED,
        _in_part(CHARGED),
    ),
    _story("Of two parcels one is refused: only the other is captured", CAPTURED, _in_part(CAPTURED)),
    _story("No parcel can be shipped, and the order turns round", CHARGED, _not_at_all(CHARGED)),
    _story("No parcel can be shipped, and nothing is captured", CAPTURED, _not_at_all(CAPTURED)),
    _story(
        "The refund of what was not shipped fails twice, and is given once",
        CHARGED,
        _in_part(CHARGED),
        payment_method="pm_refund_flaky",
    ),
    _story(
        "The authorization expires, and as much as was shipped is set aside anew",
        CAPTURED,
        _in_part(CAPTURED),
        payment_method="pm_authorization_renews",
    ),
    _story(
        "The goods of two parcels come back in one return",
        CHARGED,
        returned(_in_two(CHARGED), WHOLE, WHOLE, CAME_BACK),
        SendBack(WHOLE),
        GoodsCome({"tea": Disposition.RESTOCK, "mug": Disposition.RESTOCK}),
    ),
    _story(
        "What was shipped comes back, and what was not cannot",
        CHARGED,
        returned(_in_part(CHARGED), {"tea": 1}, {"tea": 1}, CAME_BACK),
        SendBack(GLASS, at="partially_fulfilled", refused="not_shipped"),
        SendBack({"tea": 1}, at="partially_fulfilled"),
        GoodsCome({"tea": Disposition.RESTOCK}),
    ),
)
