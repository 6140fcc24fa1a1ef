"""What a story is: an order, what people do, and what must be found at its end. Plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from simulation.stories.acts import Act

REFUSED: Final = "SHIP-REFUSED"
"""A product whose parcel the carrier refuses."""

PRICES: Final[Mapping[str, int]] = {
    "tea": 900,
    "mug": 1300,
    "kettle": 100_001,
    "machine": 100_000,
    REFUSED: 700,
}
"""Of one piece, in euro cents. A kettle alone is above `HELD_ABOVE`, a machine is at it."""

HELD_ABOVE: Final = 100_000
"""Orders of more than so many euro cents are held, in the flows that have holds."""

ON_HAND: Final = 10
"""Pieces of each ordered product before a story begins, unless it says otherwise."""


PAYS: Final = "pm_card_visa"
DELIVERS: Final = "12345"
"""The payment method and the postal code of which nothing special comes."""


class Flow(StrEnum):
    """The course that the order takes: one of the versions of `order_fulfillment` (ADR 0033)."""

    CHARGE = "charge"
    CHARGE_HOLDS = "charge, holds"
    CAPTURE = "capture"
    CAPTURE_HOLDS = "capture, holds"
    CHARGE_SPLIT = "charge, split"
    CAPTURE_SPLIT = "capture, split"

    @property
    def captures(self) -> bool:
        """Whether money is set aside before the parcel leaves, and taken after it."""
        return self in (Flow.CAPTURE, Flow.CAPTURE_HOLDS, Flow.CAPTURE_SPLIT)

    @property
    def holds(self) -> bool:
        """Whether a person may look before anything is paid."""
        return self in (Flow.CHARGE_HOLDS, Flow.CAPTURE_HOLDS)

    @property
    def splits(self) -> bool:
        """Whether the order leaves in a parcel from each location of its stock."""
        return self in (Flow.CHARGE_SPLIT, Flow.CAPTURE_SPLIT)


@dataclass(frozen=True, slots=True)
class Stock:
    """Pieces of a product on hand before and after; none is reserved at an end."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Money:
    """What the gateway's books say of the order, in minor units; what a person saw to is not in them.

    Attributes:
        taken: by charges, or by captures of what was set aside.
        back: given back of it.
        aside: set aside still, and neither captured, given up nor expired.
    """

    taken: int = 0
    back: int = 0
    aside: int = 0


@dataclass(frozen=True, slots=True)
class Returned:
    """A return of the order: its label at the end, and its public events."""

    label: str
    events: tuple[str, ...]


Parcel = Mapping[str, int]
"""Pieces by product in one parcel that the carrier took."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What is found once the order and its returns have ended. Expected and found are compared as they are.

    Attributes:
        status: of the order, as its customer sees it.
        failure: the code of why it turned round.
        stock: on hand before and after, by product.
        events: public events about the order in their order, without the word ``Event``.
        orders: how many orders the customer has: one, however often it was sent.
    """

    status: str
    failure: str | None
    stock: Mapping[str, Stock]
    money: Money
    parcels: tuple[Parcel, ...]
    events: tuple[str, ...]
    returns: tuple[Returned, ...] = ()
    orders: int = 1


@dataclass(frozen=True, slots=True)
class Story:
    """One order's life.

    Attributes:
        name: a sentence, unlike any other story's.
        ordered: pieces by product.
        acts: what people do, one after the other.
        payment_method, postal_code: how the gateway and the carrier behave.
        more: further fields of the submission.
        places: where all of a product is, by product; the others are where nobody cares.
    """

    name: str
    ordered: Mapping[str, int]
    ending: Ending
    acts: tuple[Act, ...] = ()
    flow: Flow = Flow.CHARGE
    payment_method: str = PAYS
    postal_code: str = DELIVERS
    more: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """Its name as an id: of its customer, and before the names of its products, which are its alone."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower())[:50].strip("-")

    def sku(self, product: str) -> str:
        """The story's own product of that name."""
        return f"{self.slug}.{product}"

    def product(self, sku: str) -> str:
        """The name in a SKU of the story."""
        return sku.rpartition(".")[2]

    @property
    def submission(self) -> dict[str, Any]:
        """The order as the customer sends it."""
        lines = [
            {"sku": self.sku(product), "quantity": quantity, "unit_price": PRICES[product]}
            for product, quantity in self.ordered.items()
        ]
        return {
            "customer_id": self.slug,
            "currency": "EUR",
            "lines": lines,
            "payment_method": self.payment_method,
            "shipping_address": {
                "name": self.slug,
                "line1": "1 Street",
                "city": "Town",
                "postal_code": self.postal_code,
                "country": "DE",
            },
            **self.more,
        }
