"""What customers order in a run, and what becomes of it: the default flow, or an order's whole life."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from oms.demo.sample_orders import HELD_ABOVE, LOCATIONS, SCARCE

UNKNOWN: Final = "TEA-FROM-MARS"
ELSEWHERE: Final = "LAMP-BRASS"
REFUSED: Final = "VASE.SHIP-REFUSED"
"""What the sandbox's carrier does not take."""

DONE: Final = frozenset({"completed"})
IN_PART: Final = frozenset({"partially_fulfilled"})
UNDONE: Final = frozenset({"rejected"})

LATE: Final = frozenset({"rejected"})
"""How any order may end when a fault has outlasted the deadline of a step."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a customer orders, how often of a hundred, and which ends are right when nothing is too late.

    Attributes:
        cancels: the customer changes his mind right after submitting.
        approved: what an operator says once the order is on hold; None where it is not held.
        sends_back: the pieces that come back once the order has been completed, and can be sold again.
    """

    name: str
    share: int
    quantities: Mapping[str, int]
    ends: frozenset[str]
    payment_method: str = "pm_card_visa"
    postal_code: str = "10117"
    cancels: bool = False
    approved: bool | None = None
    sends_back: Mapping[str, int] = field(default_factory=dict)

    def taken(self, status: str | None) -> Counter[str]:
        """The pieces that have left the shelves for good, by SKU, where an order has ended so."""
        if status not in DONE | IN_PART:
            return Counter()
        return Counter({sku: n for sku, n in self.quantities.items() if status in DONE or sku != REFUSED})


@dataclass(frozen=True, slots=True)
class Life:
    """What a run's orders are: their kinds, the stock and where it lies, and what the services are told."""

    kinds: tuple[Kind, ...]
    stock: Mapping[str, int]
    locations: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


PLAIN: Final = Kind("plain", 52, {"TEA-ASSAM": 2}, DONE)

DEFAULT: Final = Life(
    (
        PLAIN,
        Kind("several products", 12, {"TEAPOT-CLAY": 1, "MUG-BLUE": 4, "TEA-ASSAM": 3}, DONE),
        Kind("scarce", 3, {SCARCE: 1}, DONE | UNDONE),
        Kind("unknown product", 2, {UNKNOWN: 1}, UNDONE),
        Kind("declined", 6, {"MUG-BLUE": 2}, UNDONE, "pm_card_declined"),
        Kind("address refused", 5, {"MUG-BLUE": 1}, UNDONE, postal_code="00000"),
        Kind("gateway flaky", 4, {"TEA-ASSAM": 1}, DONE, "pm_gateway_flaky"),
        Kind("gateway silent", 3, {"TEAPOT-CLAY": 1}, DONE, "pm_gateway_timeout"),
        Kind("carrier flaky", 3, {"TEA-ASSAM": 1}, DONE, postal_code="00001"),
        Kind("carrier silent", 2, {"TEA-ASSAM": 1}, DONE, postal_code="00003"),
        Kind("refund flaky", 3, {"TEAPOT-CLAY": 2}, UNDONE, "pm_refund_flaky", "00000"),
        Kind("cancelled", 5, {"MUG-BLUE": 6}, DONE | {"cancelled"}, "pm_gateway_flaky", cancels=True),
    ),
    {"TEA-ASSAM": 1_000_000, "TEAPOT-CLAY": 1_000_000, "MUG-BLUE": 1_000_000, SCARCE: 40},
)
"""Reserve, charge, ship, commit; one parcel, nobody asked, nothing sent back."""

WHOLE: Final = Life(
    (
        *DEFAULT.kinds,
        Kind("two parcels", 14, {"TEA-ASSAM": 1, ELSEWHERE: 1}, DONE),
        Kind("one of two parcels refused", 6, {"TEA-ASSAM": 2, REFUSED: 1}, IN_PART),
        Kind("every parcel refused", 2, {"MUG-BLUE": 1, ELSEWHERE: 1}, UNDONE, postal_code="00000"),
        Kind("capture flaky", 5, {"MUG-BLUE": 1, ELSEWHERE: 1}, DONE, "pm_capture_flaky"),
        Kind("authorized anew", 4, {"TEA-ASSAM": 1}, DONE, "pm_authorization_renews"),
        Kind("held and approved", 6, {"TEAPOT-CLAY": 15, ELSEWHERE: 1}, DONE, approved=True),
        Kind("held and denied", 3, {"TEA-ASSAM": 60}, UNDONE, approved=False),
        Kind("held and cancelled", 3, {"TEA-ASSAM": 60}, frozenset({"cancelled"}), cancels=True),
        Kind(
            "sent back in part",
            8,
            {"MUG-BLUE": 3, ELSEWHERE: 2},
            DONE,
            sends_back={"MUG-BLUE": 1, ELSEWHERE: 1},
        ),
        Kind("sent back whole", 4, {"TEA-ASSAM": 2}, DONE, sends_back={"TEA-ASSAM": 2}),
    ),
    {**DEFAULT.stock, ELSEWHERE: 1_000_000, REFUSED: 1_000_000},
    LOCATIONS,
    {
        "OMS_PAYMENT_FLOW": "capture",
        "OMS_SHIPMENTS": "split",
        "OMS_HOLD_ABOVE": f"EUR={HELD_ABOVE}",
    },
)
"""The same and more, by authorize and capture: split shipments, holds, returns."""

LIVES: Final[Mapping[str, Life]] = {"default": DEFAULT, "whole": WHOLE}
