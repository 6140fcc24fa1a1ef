"""The stock as people see and set it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ARRAY, Text, any_, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contracts.limits import DEFAULT_LOCATION, MAX_STOCK
from messaging.sqlstates import is_transient
from messaging.unit_of_work import StorageUnavailable
from participants.inventory.stock import StockLevel
from participants.inventory.tables import STOCK, STOCK_AT, STOCK_MOVEMENTS


@dataclass(frozen=True, slots=True)
class StockItem:
    """One product and its level.

    Attributes:
        named: of it, what is at locations that have a name.
    """

    sku: str
    level: StockLevel
    named: Mapping[str, StockLevel] = field(default_factory=dict)

    @property
    def default(self) -> tuple[int, int]:
        """What is on hand and reserved at `DEFAULT_LOCATION`: all that is nowhere else."""
        named = self.named.values()
        on_hand = self.level.on_hand - sum(each.on_hand for each in named)
        return on_hand, self.level.reserved - sum(each.reserved for each in named)

    def at(self, location: str) -> tuple[int, int]:
        """What is on hand and reserved there."""
        if location == DEFAULT_LOCATION:
            return self.default
        level = self.named.get(location)
        return (level.on_hand, level.reserved) if level else (0, 0)


class BelowReserved(Exception):
    """The book stock would be less than what is held for orders.

    Attributes:
        reserved: how much that is.
    """

    def __init__(self, reserved: int) -> None:
        super().__init__(f"{reserved} are reserved")
        self.reserved = reserved


class TooMuchStock(Exception):
    """More pieces or locations of one product than can be counted; the message says of which."""


class StaleStock(Exception):
    """The book stock is not what was expected.

    Attributes:
        on_hand: what it is; None when there is no such product.
    """

    def __init__(self, on_hand: int | None) -> None:
        super().__init__(f"on hand: {on_hand}")
        self.on_hand = on_hand


MAX_LOCATIONS: Final = 50
"""With a name, of one product."""

_LEVELS: Final = select(STOCK.c.sku, STOCK.c.on_hand, STOCK.c.reserved)
_PAGE: Final = _LEVELS.where(STOCK.c.sku > bindparam("after")).order_by(STOCK.c.sku).limit(bindparam("most"))
_ONE: Final = _LEVELS.where(STOCK.c.sku == bindparam("wanted"))
_LOCK: Final = _ONE.with_for_update(key_share=True)
_ENTER: Final = (
    insert(STOCK)
    .values(sku=bindparam("sku"), on_hand=0, reserved=0, updated_at=func.clock_timestamp())
    .on_conflict_do_nothing()
    .returning(STOCK.c.sku)
)
_PLACES: Final = select(STOCK_AT.c.sku, STOCK_AT.c.location, STOCK_AT.c.on_hand, STOCK_AT.c.reserved).where(
    STOCK_AT.c.sku == any_(bindparam("skus", type_=ARRAY(Text)))
)
_SET_PLACE: Final = (
    insert(STOCK_AT)
    .values(
        sku=bindparam("sku"),
        location=bindparam("location"),
        on_hand=bindparam("counted"),
        reserved=0,
        updated_at=func.clock_timestamp(),
    )
    .on_conflict_do_update(
        index_elements=["sku", "location"],
        set_={"on_hand": bindparam("counted"), "updated_at": func.clock_timestamp()},
    )
)
_SET: Final = (
    update(STOCK)
    .where(STOCK.c.sku == bindparam("wanted"))
    .values(on_hand=bindparam("counted"), updated_at=func.clock_timestamp())
)
_RECORD: Final = insert(STOCK_MOVEMENTS).values(
    sku=bindparam("sku"),
    kind="adjustment",
    quantity=bindparam("quantity"),
    recorded_at=func.clock_timestamp(),
)


class Stockroom:
    """Reads and sets stock in inventory's database. Every method raises StorageUnavailable in its trouble."""

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database

    async def page(self, after: str | None, limit: int) -> tuple[list[StockItem], bool]:
        """Products in order of SKU, those behind ``after``; and whether there are more."""
        async with self._transaction() as connection:
            rows = await connection.execute(_PAGE, {"after": after or "", "most": limit + 1})
            levels = {sku: StockLevel(on_hand, reserved) for sku, on_hand, reserved in rows}
            named = await _named(connection, levels)
        items = [StockItem(sku, level, named.get(sku, {})) for sku, level in levels.items()]
        return items[:limit], len(items) > limit

    async def find(self, sku: str) -> StockItem | None:
        """One product; None when there is no such."""
        async with self._transaction() as connection:
            row = (await connection.execute(_ONE, {"wanted": sku})).one_or_none()
            return None if row is None else await _item(connection, row)

    async def set_on_hand(
        self, sku: str, on_hand: int, expected: int | None = None, location: str = DEFAULT_LOCATION
    ) -> StockItem:
        """Set the book stock at a location, what is shipped but not yet committed included.

        The difference is recorded. A location is entered where it is new.

        Args:
            expected: the book stock that the caller has seen there; None sets it whatever it was.

        Raises:
            StaleStock: the book stock is not ``expected``.
            BelowReserved: so much is reserved that ``on_hand`` would not do.
            TooMuchStock: it would be more than can be counted.
        """
        async with self._transaction() as connection:
            known = await self._lock(connection, sku, expected, location)
            there, reserved = known.at(location)
            total = known.level.on_hand + on_hand - there
            if on_hand < reserved or total < known.level.reserved:
                raise BelowReserved(reserved)
            if total > MAX_STOCK:
                raise TooMuchStock(f"at most {MAX_STOCK} pieces of a product can be counted")
            await connection.execute(_SET, {"wanted": sku, "counted": total})
            if location != DEFAULT_LOCATION:
                if location not in known.named and len(known.named) >= MAX_LOCATIONS:
                    raise TooMuchStock(f"a product can be at {MAX_LOCATIONS} locations with a name")
                placed = {"sku": sku, "location": location, "counted": on_hand}
                await connection.execute(_SET_PLACE, placed)
            if on_hand != there:
                await connection.execute(_RECORD, {"sku": sku, "quantity": on_hand - there})
        named = known.named
        if location != DEFAULT_LOCATION:
            named = {**named, location: StockLevel(on_hand, reserved)}
        return StockItem(sku, StockLevel(total, known.level.reserved), named)

    async def _lock(
        self, connection: AsyncConnection, sku: str, expected: int | None, location: str
    ) -> StockItem:
        """The product as it stands, being entered where it is new."""
        if expected is None:
            await connection.execute(_ENTER, {"sku": sku})
        row = (await connection.execute(_LOCK, {"wanted": sku})).one_or_none()
        if row is None:
            raise StaleStock(None)
        item = await _item(connection, row)
        there, _ = item.at(location)
        if expected is not None and there != expected:
            raise StaleStock(there)
        return item

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._database.begin() as connection:
                yield connection
        except Exception as error:
            if is_transient(error):
                raise StorageUnavailable("inventory's database cannot be used") from error
            raise


async def _item(connection: AsyncConnection, row: Any) -> StockItem:
    named = await _named(connection, [row.sku])
    return StockItem(row.sku, StockLevel(row.on_hand, row.reserved), named.get(row.sku, {}))


async def _named(
    connection: AsyncConnection, skus: Collection[str]
) -> Mapping[str, Mapping[str, StockLevel]]:
    """What of these products is at locations that have a name, by SKU and location."""
    found: dict[str, dict[str, StockLevel]] = {}
    rows = await connection.execute(_PLACES, {"skus": list(skus)})
    for sku, location, on_hand, reserved in sorted(rows):
        found.setdefault(sku, {})[location] = StockLevel(on_hand, reserved)
    return found
