"""Stock in memory: a locked shelf on which a whole batch of commands is decided. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from contracts.commands import ItemQuantity
from contracts.limits import DEFAULT_LOCATION, MAX_STOCK
from participants.inventory.allocation import Lines, Place, Places, allocated

OUT_OF_STOCK: Final = "out_of_stock"
UNKNOWN_SKU: Final = "unknown_sku"
TOO_MUCH_STOCK: Final = "too_much_stock"
TOO_SCATTERED: Final = "too_scattered"
UNKNOWN_LOCATION: Final = "unknown_location"

MAX_TAKEN: Final = 200
"""Parts of lines by location that one reservation may have: more is no order that somebody could pack."""

MAX_PARCELS: Final = 50
"""Locations that one reservation may be taken from."""

NOWHERE: Final[Places] = {}
"""Of what is at `DEFAULT_LOCATION` alone."""


def lines_of(items: Iterable[ItemQuantity]) -> Lines:
    """The lines of a command, each SKU once."""
    lines: Counter[str] = Counter()
    for item in items:
        lines[item.sku] += item.quantity
    return lines


def places_of(items: Iterable[ItemQuantity]) -> Places:
    """The same by where each is."""
    places: Counter[Place] = Counter()
    for item in items:
        places[item.sku, item.location or DEFAULT_LOCATION] += item.quantity
    return places


def totals(places: Places) -> Lines:
    """How many of each SKU, wherever they are."""
    lines: Counter[str] = Counter()
    for (sku, _), quantity in places.items():
        lines[sku] += quantity
    return lines


@dataclass(frozen=True, slots=True)
class StockLevel:
    """How much of a product is there, and how much of that is held for orders."""

    on_hand: int
    reserved: int

    def __post_init__(self) -> None:
        if not 0 <= self.reserved <= self.on_hand <= MAX_STOCK:
            raise AssertionError(f"oversold: {self.reserved} reserved of {self.on_hand}")

    @property
    def available(self) -> int:
        """What can still be reserved."""
        return self.on_hand - self.reserved


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why an order cannot be reserved: code and the SKUs concerned."""

    code: str
    skus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reduction:
    """So much of a product left the house for a saga; ``quantity`` is positive."""

    sku: str
    quantity: int
    saga_id: UUID


@dataclass(frozen=True, slots=True)
class Restocking:
    """So much of a product came back into stock for a saga; ``quantity`` is positive."""

    sku: str
    quantity: int
    saga_id: UUID


class Shelf:
    """The locked stock of one batch. Orders take from it one after the other, each all or nothing.

    Attributes:
        levels: of each product, wherever it is.
        named: of it, what is at locations that have a name; all else is at `DEFAULT_LOCATION`.
    """

    def __init__(
        self, levels: Mapping[str, StockLevel], named: Mapping[Place, StockLevel] | None = None
    ) -> None:
        self._levels = dict(levels)
        self._named = dict(named or {})
        self._touched: set[str] = set()
        self._touched_places: set[Place] = set()
        self.reductions: list[Reduction] = []
        """What left the house in this batch."""
        self.restockings: list[Restocking] = []
        """What came back in this batch."""

    def places(self, lines: Lines) -> Places:
        """Where these lines would be taken from; empty where all of it is at `DEFAULT_LOCATION` (S31)."""
        available: dict[str, dict[str, int]] = {}
        for (sku, location), level in self._named.items():
            if sku in lines and level.available:
                available.setdefault(location, {})[sku] = level.available
        if not available:
            return NOWHERE
        available[DEFAULT_LOCATION] = {sku: self._at_default(sku) for sku in lines if sku in self._levels}
        places = allocated(lines, available, DEFAULT_LOCATION)
        return places if any(location != DEFAULT_LOCATION for _, location in places) else NOWHERE

    def _at_default(self, sku: str) -> int:
        named = sum(level.available for (each, _), level in self._named.items() if each == sku)
        return max(0, self._levels[sku].available - named)

    def hold(self, places: Places) -> None:
        """What was reserved is held at these locations."""
        self._change_places(places, reserved=1)

    def reserve(self, lines: Lines) -> Shortage | None:
        """Hold all of the lines, or none and say why; an unknown product counts before a missing one."""
        unknown = tuple(sku for sku in lines if sku not in self._levels)
        if unknown:
            return Shortage(UNKNOWN_SKU, unknown)
        short = tuple(sku for sku, quantity in lines.items() if self._levels[sku].available < quantity)
        if short:
            return Shortage(OUT_OF_STOCK, short)
        for sku, quantity in lines.items():
            self._change(sku, reserved=quantity)
        return None

    def release(self, lines: Lines, places: Places = NOWHERE) -> None:
        """Give back what was held, where it was."""
        self._change_places(places, reserved=-1)
        for sku, quantity in lines.items():
            self._change(sku, reserved=-quantity)

    def reduce(self, lines: Lines, saga_id: UUID, places: Places = NOWHERE) -> None:
        """What was held has left the house: on hand and reserved go down together, where it was."""
        self._change_places(places, reserved=-1, on_hand=-1)
        for sku, quantity in lines.items():
            self._change(sku, reserved=-quantity, on_hand=-quantity)
            self.reductions.append(Reduction(sku, quantity, saga_id))

    def unfit(self, lines: Lines, places: Places = NOWHERE) -> Shortage | None:
        """Why these lines cannot be taken in: product or location is gone, or a count would be too large."""
        unknown = tuple(sku for sku in lines if sku not in self._levels)
        if unknown:
            return Shortage(UNKNOWN_SKU, unknown)
        many = tuple(sku for sku, more in lines.items() if self._levels[sku].on_hand + more > MAX_STOCK)
        nowhere = tuple(place[0] for place in _named(places) if place not in self._named)
        if nowhere:
            return Shortage(UNKNOWN_LOCATION, nowhere)
        return Shortage(TOO_MUCH_STOCK, many) if many else None

    def restock(self, lines: Lines, saga_id: UUID, places: Places = NOWHERE) -> None:
        """What had left the house is back, at these locations."""
        self._change_places(places, on_hand=1)
        for sku, quantity in lines.items():
            self._change(sku, reserved=0, on_hand=quantity)
            self.restockings.append(Restocking(sku, quantity, saga_id))

    @property
    def changed(self) -> dict[str, StockLevel]:
        """The levels to be written, by SKU."""
        return {sku: self._levels[sku] for sku in sorted(self._touched)}

    @property
    def changed_places(self) -> dict[Place, StockLevel]:
        """The levels to be written, by SKU and location that has a name."""
        return {place: self._named[place] for place in sorted(self._touched_places)}

    def _change_places(self, places: Places, *, reserved: int = 0, on_hand: int = 0) -> None:
        """So many times as much."""
        for place, quantity in _named(places).items():
            level = self._named[place]
            self._named[place] = StockLevel(
                level.on_hand + on_hand * quantity, level.reserved + reserved * quantity
            )
            self._touched_places.add(place)

    def _change(self, sku: str, *, reserved: int, on_hand: int = 0) -> None:
        level = self._levels[sku]
        self._levels[sku] = StockLevel(level.on_hand + on_hand, level.reserved + reserved)
        self._touched.add(sku)


def _named(places: Places) -> Places:
    return {place: quantity for place, quantity in places.items() if place[1] != DEFAULT_LOCATION}
