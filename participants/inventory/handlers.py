"""Inventory: holds stock, gives it back, reduces it. A whole batch is decided in one locked pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, Self

from contracts.commands import CommitInventory, ReleaseInventory, ReserveInventory, RestockItems
from contracts.events import (
    InventoryReducedEvent,
    InventoryRejectedEvent,
    InventoryReleasedEvent,
    InventoryReservedEvent,
    ItemsRestockedEvent,
)
from contracts.limits import DEFAULT_LOCATION
from contracts.routing import INVENTORY
from messaging.errors import PermanentFailure
from participants.inventory import stock
from participants.inventory.allocation import Lines, Place, Places
from participants.inventory.postgresql import SqlInventoryTransaction
from participants.inventory.stock import (
    MAX_PARCELS,
    MAX_TAKEN,
    OUT_OF_STOCK,
    TOO_SCATTERED,
    UNKNOWN_SKU,
    Shelf,
    Shortage,
    StockLevel,
    lines_of,
    places_of,
    totals,
)
from participants.kit.participant import HouseParticipant
from participants.kit.work import Held, Work
from participants.ledger import LedgerTransaction
from participants.retention import INVENTORY_WALKS

inventory: Final = HouseParticipant(INVENTORY, transaction=SqlInventoryTransaction, pruning=INVENTORY_WALKS)


class InventoryTransaction(LedgerTransaction, Protocol):
    """A transaction over inventory's ledger and stock."""

    async def lock_stock(
        self, skus: Collection[str]
    ) -> tuple[Mapping[str, StockLevel], Mapping[Place, StockLevel]]:
        """The levels of those of the SKUs that exist, locked in order of SKU (S18).

        Beside them, what of these is at locations that have a name (S31).
        """

    def save_stock(self, levels: Mapping[str, StockLevel], now: datetime) -> None:
        """Write changed levels."""

    def save_places(self, levels: Mapping[Place, StockLevel], now: datetime) -> None:
        """Write changed levels at locations that have a name; their products are locked."""

    def record_reductions(self, reductions: Sequence[stock.Reduction], now: datetime) -> None:
        """Note what has left the house (P11)."""

    def record_restockings(self, restockings: Sequence[stock.Restocking], now: datetime) -> None:
        """Note what has come back (S28)."""


_WHY_NOT: Final = {
    UNKNOWN_SKU: "is not known",
    OUT_OF_STOCK: "is not available in that quantity",
    TOO_SCATTERED: "would have to be taken from too many locations",
}


class LockedShelf(Shelf):
    """The stock of every product that a batch may touch, locked in order of SKU (S18)."""

    @classmethod
    async def opened(cls, transaction: InventoryTransaction, works: Sequence[Work]) -> Self:
        """Those that are asked for anew, and those that the sagas hold."""
        skus = sorted({sku for work in works for sku in _skus(work)})
        return cls(*(await transaction.lock_stock(skus) if skus else ({},)))

    async def save(self, transaction: InventoryTransaction, works: Sequence[Work]) -> None:
        """Levels, and what left the house."""
        now = works[0].now
        transaction.save_stock(self.changed, now)
        transaction.save_places(self.changed_places, now)
        transaction.record_reductions(self.reductions, now)
        transaction.record_restockings(self.restockings, now)


@inventory.step(ReserveInventory, undo=ReleaseInventory, bench=LockedShelf)
class Reservation:
    """All lines of an order are held, or none."""

    async def do(
        self, shelf: Shelf, work: Work, command: ReserveInventory
    ) -> InventoryReservedEvent | InventoryRejectedEvent:
        """P1: hold all of it, or reject (P8)."""
        lines = lines_of(command.lines)
        places = shelf.places(lines)
        shortage = shelf.reserve(lines) if _packable(places) else Shortage(TOO_SCATTERED, tuple(lines))
        if shortage is None:
            shelf.hold(places)
            taken = _placed(places)
            work.keep(lines=_items(lines), **({"taken": taken} if taken else {}))
            return work.answer(InventoryReservedEvent, lines=command.lines, taken=taken)
        message = f"{', '.join(shortage.skus)[:200]} {_WHY_NOT[shortage.code]}"
        return work.answer(InventoryRejectedEvent, code=shortage.code, message=message, skus=shortage.skus)

    async def undo(
        self, shelf: Shelf, work: Work, command: ReleaseInventory, done: InventoryReservedEvent
    ) -> InventoryReleasedEvent:
        """P3: give back what was held."""
        lines = lines_of(done.lines)
        shelf.release(lines, places_of(done.taken))
        return work.answer(InventoryReleasedEvent, lines=_items(lines))


@inventory.step(CommitInventory, bench=LockedShelf)
class Reduction:
    """The parcel has left: what its saga holds is consumed."""

    async def do(self, shelf: Shelf, work: Work, command: CommitInventory) -> InventoryReducedEvent:
        """P11: on hand and reserved go down together; what has not left is held no more (S31)."""
        reservations = work.held(ReserveInventory)
        if not reservations:
            raise PermanentFailure("not_reserved", "this saga holds no reservation that could be committed")
        held = _places(reservations)
        left = places_of(command.shipped) if command.shipped else held
        if any(quantity > held.get(place, 0) for place, quantity in left.items()):
            raise PermanentFailure("not_reserved", "more is said to have left than this saga holds there")
        kept = {place: quantity - left.get(place, 0) for place, quantity in held.items()}
        lines, back = totals(left), totals({place: count for place, count in kept.items() if count})
        shelf.reduce(lines, work.saga_id, left)
        shelf.release(back, kept)
        for each in reservations:
            work.consume(each)
        work.keep(lines=_items(lines))
        return work.answer(InventoryReducedEvent, lines=_items(lines), released=_items(back))


@inventory.step(RestockItems, bench=LockedShelf)
class Restocking:
    """Returned goods are in: what can be sold again goes back into stock, the rest is written off (S28)."""

    async def do(self, shelf: Shelf, work: Work, command: RestockItems) -> ItemsRestockedEvent:
        """P1: on hand goes up by what is restocked; what is written off left it with its parcel."""
        lines, places = lines_of(command.restock), places_of(command.restock)
        unfit = shelf.unfit(lines, places)
        if unfit is not None:
            raise PermanentFailure(unfit.code, f"{', '.join(unfit.skus)[:200]} cannot be restocked")
        shelf.restock(lines, work.saga_id, places)
        work.keep(written_off=_items(lines_of(command.write_off)))
        return work.answer(ItemsRestockedEvent, restocked=command.restock, written_off=command.write_off)


def _skus(work: Work) -> Iterator[str]:
    command = work.command
    if isinstance(command, RestockItems):
        yield from (item.sku for item in command.restock)
    elif not isinstance(command, ReserveInventory):
        yield from _lines(work.held(ReserveInventory))
    elif work.is_new:
        yield from (item.sku for item in command.lines)


def _lines(reservations: Iterable[Held]) -> Lines:
    lines: Counter[str] = Counter()
    for line in (line for each in reservations for line in each.notes["lines"]):
        lines[line["sku"]] += line["quantity"]
    return lines


def _places(reservations: Iterable[Held]) -> Places:
    """What they hold, by where it is; the rows of earlier releases say nothing of that."""
    places: Counter[Place] = Counter()
    for each in reservations:
        for line in each.notes.get("taken") or each.notes["lines"]:
            places[line["sku"], line.get("location", DEFAULT_LOCATION)] += line["quantity"]
    return places


def _packable(places: Places) -> bool:
    return len(places) <= MAX_TAKEN and len({location for _, location in places}) <= MAX_PARCELS


def _placed(places: Places) -> list[dict[str, Any]]:
    """As a message says it: what is at `DEFAULT_LOCATION` has no location."""
    return [
        {"sku": sku, "quantity": quantity, **({} if at == DEFAULT_LOCATION else {"location": at})}
        for (sku, at), quantity in places.items()
    ]


def _items(lines: Lines) -> list[dict[str, Any]]:
    return [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()]
