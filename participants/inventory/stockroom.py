"""The stock as people see and set it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from messaging.sqlstates import is_transient
from messaging.unit_of_work import StorageUnavailable
from participants.inventory.stock import StockLevel
from participants.inventory.tables import STOCK, STOCK_MOVEMENTS


@dataclass(frozen=True, slots=True)
class StockItem:
    """One product and its level."""

    sku: str
    level: StockLevel


class BelowReserved(Exception):
    """The book stock would be less than what is held for orders.

    Attributes:
        reserved: how much that is.
    """

    def __init__(self, reserved: int) -> None:
        super().__init__(f"{reserved} are reserved")
        self.reserved = reserved


class StaleStock(Exception):
    """The book stock is not what was expected.

    Attributes:
        on_hand: what it is; None when there is no such product.
    """

    def __init__(self, on_hand: int | None) -> None:
        super().__init__(f"on hand: {on_hand}")
        self.on_hand = on_hand


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
            items = [StockItem(sku, StockLevel(on_hand, reserved)) for sku, on_hand, reserved in rows]
        return items[:limit], len(items) > limit

    async def find(self, sku: str) -> StockItem | None:
        """One product; None when there is no such."""
        async with self._transaction() as connection:
            row = (await connection.execute(_ONE, {"wanted": sku})).one_or_none()
        return None if row is None else StockItem(row.sku, StockLevel(row.on_hand, row.reserved))

    async def set_on_hand(self, sku: str, on_hand: int, expected: int | None = None) -> StockItem:
        """Set the book stock, what is shipped but not yet committed included, and record the difference.

        Args:
            expected: the book stock that the caller has seen; None sets it whatever it was.

        Raises:
            StaleStock: the book stock is not ``expected``.
            BelowReserved: so much is reserved that ``on_hand`` would not do.
        """
        async with self._transaction() as connection:
            known = await self._lock(connection, sku, expected)
            if on_hand < known.reserved:
                raise BelowReserved(known.reserved)
            await connection.execute(_SET, {"wanted": sku, "counted": on_hand})
            if on_hand != known.on_hand:
                difference = on_hand - known.on_hand
                await connection.execute(_RECORD, {"sku": sku, "quantity": difference})
        return StockItem(sku, StockLevel(on_hand, known.reserved))

    async def _lock(self, connection: AsyncConnection, sku: str, expected: int | None) -> StockLevel:
        """The product's level, the product being entered where it is new."""
        if expected is None:
            await connection.execute(_ENTER, {"sku": sku})
        row = (await connection.execute(_LOCK, {"wanted": sku})).one_or_none()
        if row is None:
            raise StaleStock(None)
        if expected is not None and row.on_hand != expected:
            raise StaleStock(row.on_hand)
        return StockLevel(row.on_hand, row.reserved)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._database.begin() as connection:
                yield connection
        except Exception as error:
            if is_transient(error):
                raise StorageUnavailable("inventory's database cannot be used") from error
            raise
