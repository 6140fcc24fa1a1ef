"""Orders to be measured with: TPC-C's New-Order as its specification draws it, and plain ones.

Only the standard library is used, so that peers in another environment draw the very same orders.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

ITEMS: Final = 100_000
"""How many products there are (TPC-C 4.3.3)."""

CUSTOMERS: Final = 3_000
ON_HAND: Final = 1_000_000_000
"""Stock of each product at the start: enough that no order is turned away for want of it."""

_ITEM_RANGE: Final = 8191
_CUSTOMER_RANGE: Final = 1023
"""The constants A of NURand (TPC-C 2.1.6)."""

_UNKNOWN_ITEM_SHARE: Final = 0.01
_FAILING_SHARE: Final = 0.2

Order = dict[str, Any]
"""The body of ``POST /orders``."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of order.

    Attributes:
        lines: fewest and most lines of an order.
        skewed: whether products and customers are drawn by NURand rather than evenly.
        unknown_share: share of orders that name a product that does not exist.
        hot: whether every line is for the same product.
        failing_share: share of orders that are declined by the gateway or refused by the carrier, half each.
    """

    name: str
    lines: tuple[int, int] = (1, 1)
    skewed: bool = False
    unknown_share: float = 0.0
    hot: bool = False
    failing_share: float = 0.0

    def orders(self, count: int, seed: int) -> list[Order]:
        """So many orders, the same for the same seed."""
        return _Drawing(self, random.Random(seed)).orders(count)


NEW_ORDER: Final = Workload("new-order", lines=(5, 15), skewed=True, unknown_share=_UNKNOWN_ITEM_SHARE)
ONE_LINE: Final = Workload("one-line")
HOT: Final = Workload("hot", hot=True)
FAILING: Final = Workload("failing", failing_share=_FAILING_SHARE)
WORKLOADS: Final = {workload.name: workload for workload in (NEW_ORDER, ONE_LINE, HOT, FAILING)}


def sku_of(item: int) -> str:
    """The name of a product, 1 to `ITEMS`."""
    return f"ITEM-{item:06d}"


@dataclass(slots=True)
class _Drawing:
    workload: Workload
    rng: random.Random
    item_constant: int = 0
    customer_constant: int = 0

    def orders(self, count: int) -> list[Order]:
        self.item_constant = self.rng.randint(0, _ITEM_RANGE)
        self.customer_constant = self.rng.randint(0, _CUSTOMER_RANGE)
        return [self._order() for _ in range(count)]

    def _order(self) -> Order:
        chance = self.rng.random()
        declined = chance < self.workload.failing_share / 2
        refused = not declined and chance < self.workload.failing_share
        return {
            "customer_id": f"c-{self._customer()}",
            "currency": "EUR",
            "lines": self._lines(),
            "payment_method": "pm_card_declined" if declined else "pm_card_visa",
            "shipping_address": {
                "name": "Ada Lovelace",
                "line1": "12 St James's Square",
                "city": "London",
                "postal_code": "00000" if refused else "12345",
                "country": "GB",
            },
        }

    def _lines(self) -> list[dict[str, Any]]:
        wanted = self.rng.randint(*self.workload.lines)
        items: dict[int, None] = {}
        while len(items) < wanted:
            items[self._item()] = None
        skus = [sku_of(item) for item in items]
        if self.rng.random() < self.workload.unknown_share:
            skus[-1] = sku_of(ITEMS + 1)
        return [
            {"sku": sku, "quantity": self.rng.randint(1, 10), "unit_price": self.rng.randint(100, 10_000)}
            for sku in skus
        ]

    def _item(self) -> int:
        if self.workload.hot:
            return 1
        if not self.workload.skewed:
            return self.rng.randint(1, ITEMS)
        return self._nurand(_ITEM_RANGE, self.item_constant, ITEMS)

    def _customer(self) -> int:
        if not self.workload.skewed:
            return self.rng.randint(1, CUSTOMERS)
        return self._nurand(_CUSTOMER_RANGE, self.customer_constant, CUSTOMERS)

    def _nurand(self, a: int, constant: int, most: int) -> int:
        """TPC-C 2.1.6, between 1 and ``most``."""
        drawn = self.rng.randint(0, a) | self.rng.randint(1, most)
        return (drawn + constant) % most + 1
