"""Sample orders for the demo: small stories, each with what must come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from oms.demo.deeds import RETURNED, Decide, Deed, SendBack

End = tuple[str, str | None]
"""How an order ends: its status, and the failure's code if there is one."""

COMPLETED: Final[End] = ("completed", None)
CANCELLED: Final[End] = ("cancelled", "cancelled")
IN_PART: Final[End] = ("partially_fulfilled", None)

HELD_ABOVE: Final = 50_000
"""In euro cents: a person looks at what costs more."""

STOCK: Final[dict[str, int]] = {
    "TEA-ASSAM": 400,
    "TEAPOT-CLAY": 60,
    "MUG-BLUE": 150,
    "KETTLE-COPPER": 5,
    "LAMP-BRASS": 20,
    "VASE.SHIP-REFUSED": 10,
}
"""What is on hand before the first order, by SKU."""

LOCATIONS: Final[dict[str, str]] = {"LAMP-BRASS": "harbour", "VASE.SHIP-REFUSED": "harbour"}
"""Where products are that are not with the others. The sandbox's carrier does not take the vase."""

PRICES: Final[dict[str, int]] = {
    "TEA-ASSAM": 890,
    "TEAPOT-CLAY": 3450,
    "MUG-BLUE": 1299,
    "KETTLE-COPPER": 12900,
    "LAMP-BRASS": 6900,
    "VASE.SHIP-REFUSED": 2400,
    "TEA-FROM-MARS": 100,
}
"""In euro cents, by SKU. One of them is not sold here."""

SCARCE: Final = "KETTLE-COPPER"

_PEOPLE: Final = ("Ada Byron", "Alan M. Turing", "Grace B. Murray", "Edsger W. D.", "Barbara J. Huberman")
_NOWHERE: Final = "00000"
"""A postal code to which the sandbox's carrier does not deliver."""


@dataclass(frozen=True, slots=True)
class Story:
    """Orders of one kind.

    Attributes:
        expected: how many must end in which way.
        cancelled: the customer changes his mind right after submitting.
        deed: what somebody does about each of them.
    """

    name: str
    orders: tuple[Mapping[str, Any], ...]
    expected: Mapping[End, int]
    cancelled: bool = False
    deed: Deed | None = None


def stories() -> tuple[Story, ...]:
    """All of them; together some eighty orders."""
    order = _Orders()
    return *_of_services(order), *_of_people(order)


def _of_services(order: _Orders) -> tuple[Story, ...]:
    """What becomes of orders by themselves."""
    return (
        _story("all goes well", [order({"TEA-ASSAM": 2}) for _ in range(16)], COMPLETED),
        _story(
            "several products in one order",
            [order({"TEAPOT-CLAY": 1, "MUG-BLUE": 4, "TEA-ASSAM": 3}) for _ in range(8)],
            COMPLETED,
        ),
        _story(
            "from two locations, in two parcels",
            [order({"TEA-ASSAM": 1, "LAMP-BRASS": 1}) for _ in range(4)],
            COMPLETED,
        ),
        _story(
            "the carrier takes one of two parcels",
            [order({"TEA-ASSAM": 2, "VASE.SHIP-REFUSED": 1}) for _ in range(2)],
            IN_PART,
        ),
        _flash_sale([order({SCARCE: 1}) for _ in range(12)]),
        _story("a product nobody has", [order({"TEA-FROM-MARS": 1})], ("rejected", "unknown_sku")),
        _story(
            "the card is declined",
            [order({"MUG-BLUE": 2}, payment_method="pm_card_declined") for _ in range(6)],
            ("rejected", "payment_declined"),
        ),
        _story(
            "the carrier refuses the address",
            [order({"MUG-BLUE": 1}, postal_code=_NOWHERE) for _ in range(4)],
            ("rejected", "shipment_rejected"),
        ),
        _story(
            "the gateway fails twice, then works",
            [order({"TEA-ASSAM": 1}, payment_method="pm_gateway_flaky") for _ in range(4)],
            COMPLETED,
        ),
        _story(
            "the gateway takes the money and says nothing",
            [order({"TEAPOT-CLAY": 1}, payment_method="pm_gateway_timeout") for _ in range(3)],
            COMPLETED,
        ),
        _story(
            "address refused, and the refund fails twice",
            [
                order({"TEAPOT-CLAY": 2}, payment_method="pm_refund_flaky", postal_code=_NOWHERE)
                for _ in range(2)
            ],
            ("rejected", "shipment_rejected"),
        ),
    )


def _of_people(order: _Orders) -> tuple[Story, ...]:
    """What becomes of orders about which somebody does something."""
    return (
        _story(
            "the customer changes his mind",
            [order({"MUG-BLUE": 6}, payment_method="pm_gateway_flaky") for _ in range(3)],
            CANCELLED,
            cancelled=True,
        ),
        _story(
            "above 500 EUR: held, and approved",
            [order({"TEAPOT-CLAY": 15}) for _ in range(2)],
            COMPLETED,
            deed=Decide(approved=True, reason="known by phone"),
        ),
        _story(
            "above 500 EUR: held, and denied",
            [order({"TEA-ASSAM": 60})],
            ("rejected", "hold_denied"),
            deed=Decide(approved=False, reason="no such address"),
        ),
        _story(
            "one of three mugs is sent back",
            [order({"MUG-BLUE": 3, "TEA-ASSAM": 1}) for _ in range(3)],
            RETURNED,
            deed=SendBack({"MUG-BLUE": 1}, reason="the handle is loose"),
        ),
    )


def _story(
    name: str,
    orders: list[Mapping[str, Any]],
    end: End,
    *,
    cancelled: bool = False,
    deed: Deed | None = None,
) -> Story:
    return Story(name, tuple(orders), {end: len(orders)}, cancelled, deed)


def _flash_sale(orders: list[Mapping[str, Any]]) -> Story:
    """More customers than pieces: each piece is sold once."""
    pieces = STOCK[SCARCE]
    name = f"{len(orders)} customers for {pieces} kettles"
    return Story(name, tuple(orders), {COMPLETED: pieces, ("rejected", "out_of_stock"): len(orders) - pieces})


class _Orders:
    """Makes orders, each for another customer."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(
        self,
        quantities: Mapping[str, int],
        payment_method: str = "pm_card_visa",
        postal_code: str = "10117",
    ) -> Mapping[str, Any]:
        number = next(self._numbers)
        return {
            "customer_id": f"demo-{number}",
            "currency": "EUR",
            "lines": [
                {"sku": sku, "quantity": quantity, "unit_price": PRICES[sku]}
                for sku, quantity in quantities.items()
            ],
            "payment_method": payment_method,
            "shipping_address": {
                "name": _PEOPLE[number % len(_PEOPLE)],
                "line1": f"{number} Harbour Street",
                "city": "Berlin",
                "postal_code": postal_code,
                "country": "DE",
            },
        }
