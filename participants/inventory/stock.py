"""Stock in memory: a locked shelf on which a whole batch of commands is decided. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from contracts.commands import ItemQuantity
from contracts.limits import MAX_STOCK

OUT_OF_STOCK: Final = "out_of_stock"
UNKNOWN_SKU: Final = "unknown_sku"
TOO_MUCH_STOCK: Final = "too_much_stock"

Lines = Mapping[str, int]
"""How many of each SKU."""


def lines_of(items: Iterable[ItemQuantity]) -> Lines:
    """The lines of a command, each SKU once."""
    lines: Counter[str] = Counter()
    for item in items:
        lines[item.sku] += item.quantity
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
    """The locked stock of one batch. Orders take from it one after the other, each all or nothing."""

    def __init__(self, levels: Mapping[str, StockLevel]) -> None:
        self._levels = dict(levels)
        self._touched: set[str] = set()
        self.reductions: list[Reduction] = []
        """What left the house in this batch."""
        self.restockings: list[Restocking] = []
        """What came back in this batch."""

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

    def release(self, lines: Lines) -> None:
        """Give back what was held."""
        for sku, quantity in lines.items():
            self._change(sku, reserved=-quantity)

    def reduce(self, lines: Lines, saga_id: UUID) -> None:
        """What was held has left the house: on hand and reserved go down together."""
        for sku, quantity in lines.items():
            self._change(sku, reserved=-quantity, on_hand=-quantity)
            self.reductions.append(Reduction(sku, quantity, saga_id))

    def unfit(self, lines: Lines) -> Shortage | None:
        """Why these lines cannot be taken in: their product is gone, or its count would be too large."""
        unknown = tuple(sku for sku in lines if sku not in self._levels)
        if unknown:
            return Shortage(UNKNOWN_SKU, unknown)
        many = tuple(sku for sku, more in lines.items() if self._levels[sku].on_hand + more > MAX_STOCK)
        return Shortage(TOO_MUCH_STOCK, many) if many else None

    def restock(self, lines: Lines, saga_id: UUID) -> None:
        """What had left the house is back."""
        for sku, quantity in lines.items():
            self._change(sku, reserved=0, on_hand=quantity)
            self.restockings.append(Restocking(sku, quantity, saga_id))

    @property
    def changed(self) -> dict[str, StockLevel]:
        """The levels to be written, by SKU."""
        return {sku: self._levels[sku] for sku in sorted(self._touched)}

    def _change(self, sku: str, *, reserved: int, on_hand: int = 0) -> None:
        level = self._levels[sku]
        self._levels[sku] = StockLevel(level.on_hand + on_hand, level.reserved + reserved)
        self._touched.add(sku)
