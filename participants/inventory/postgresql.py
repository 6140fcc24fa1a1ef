"""Inventory on PostgreSQL: one locked pass over the products of a batch, one update for all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from contracts.commands import ReserveInventory
from contracts.routing import INVENTORY
from messaging.arrays import array_literal
from participants.inventory.allocation import Place
from participants.inventory.stock import Reduction, Restocking, StockLevel
from participants.kit.postgresql import SqlKitTransaction
from participants.retention import LEAST_AGE, Mark, Page

_LOCK_STOCK: Final = """
SELECT sku, on_hand, reserved FROM inventory.stock WHERE sku = ANY(%s) ORDER BY sku FOR NO KEY UPDATE
"""

_READ_PLACES: Final = """
SELECT sku, location, on_hand, reserved FROM inventory.stock_at WHERE sku = ANY(%s)
"""

_SAVE_PLACES: Final = """
UPDATE inventory.stock_at AS s SET on_hand = n.on_hand, reserved = n.reserved, updated_at = %s
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) AS n (sku, location, on_hand, reserved)
WHERE s.sku = n.sku AND s.location = n.location
"""

_SAVE_STOCK: Final = """
UPDATE inventory.stock AS s SET on_hand = n.on_hand, reserved = n.reserved, updated_at = %s
FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS n (sku, on_hand, reserved)
WHERE s.sku = n.sku
"""

_RECORD_REDUCTIONS: Final = """
INSERT INTO inventory.stock_movements (sku, kind, quantity, saga_id, recorded_at)
SELECT sku, 'reduction', -quantity, saga_id, %s
FROM unnest(%s::text[], %s::bigint[], %s::uuid[]) AS n (sku, quantity, saga_id)
"""

_RECORD_RESTOCKINGS: Final = """
INSERT INTO inventory.stock_movements (sku, kind, quantity, saga_id, recorded_at)
SELECT sku, 'restocking', quantity, saga_id, %s
FROM unnest(%s::text[], %s::bigint[], %s::uuid[]) AS n (sku, quantity, saga_id)
"""

_FOLD: Final = """
WITH page AS (
    SELECT movement_id, kind, saga_id, recorded_at FROM inventory.stock_movements
    WHERE movement_id > %s ORDER BY movement_id LIMIT %s),
gone AS (
    DELETE FROM inventory.stock_movements AS m USING page AS p
    WHERE m.movement_id = p.movement_id AND p.kind IN ('reduction', 'restocking') AND p.saga_id < %s
    RETURNING m.sku, m.quantity),
folded AS (
    INSERT INTO inventory.stock_movements AS f (sku, kind, quantity, recorded_at, folded)
    SELECT sku, 'adjustment', sum(quantity)::bigint, clock_timestamp(), count(*)
    FROM gone GROUP BY sku ORDER BY sku
    ON CONFLICT (sku) WHERE folded IS NOT NULL DO UPDATE
    SET quantity = f.quantity + excluded.quantity, folded = f.folded + excluded.folded,
        recorded_at = excluded.recorded_at)
SELECT count(*), max(movement_id), bool_and(recorded_at > %s), (SELECT count(*) FROM gone) FROM page
"""


class SqlInventoryTransaction(SqlKitTransaction):
    """An `InventoryTransaction` in schema `inventory`."""

    schema = INVENTORY
    holding = ReserveInventory.__name__

    async def lock_stock(
        self, skus: Collection[str]
    ) -> tuple[dict[str, StockLevel], dict[Place, StockLevel]]:
        """See `InventoryTransaction.lock_stock`. Places are read once their products are locked."""
        wanted = [list(skus)]
        rows, places = await self.fetch_together((_LOCK_STOCK, wanted), (_READ_PLACES, wanted))
        levels = {sku: StockLevel(on_hand, reserved) for sku, on_hand, reserved in rows}
        return levels, {
            (sku, location): StockLevel(on_hand, reserved) for sku, location, on_hand, reserved in places
        }

    def save_stock(self, levels: Mapping[str, StockLevel], now: datetime) -> None:
        """See `InventoryTransaction.save_stock`."""
        if levels:
            columns = (
                list(levels),
                [level.on_hand for level in levels.values()],
                [level.reserved for level in levels.values()],
            )
            arrays = [array_literal(column) for column in columns]
            self.write(_SAVE_STOCK, [now, *arrays], expected_rows=len(levels))

    def save_places(self, levels: Mapping[Place, StockLevel], now: datetime) -> None:
        """See `InventoryTransaction.save_places`."""
        if levels:
            columns = (
                [sku for sku, _ in levels],
                [location for _, location in levels],
                [level.on_hand for level in levels.values()],
                [level.reserved for level in levels.values()],
            )
            arrays = [array_literal(column) for column in columns]
            self.write(_SAVE_PLACES, [now, *arrays], expected_rows=len(levels))

    def record_reductions(self, reductions: Sequence[Reduction], now: datetime) -> None:
        """See `InventoryTransaction.record_reductions`."""
        self._record(_RECORD_REDUCTIONS, reductions, now)

    def record_restockings(self, restockings: Sequence[Restocking], now: datetime) -> None:
        """See `InventoryTransaction.record_restockings`."""
        self._record(_RECORD_RESTOCKINGS, restockings, now)

    def _record(self, statement: str, moved: Sequence[Reduction | Restocking], now: datetime) -> None:
        if moved:
            columns = (
                [each.sku for each in moved],
                [each.quantity for each in moved],
                [each.saga_id for each in moved],
            )
            arrays = [array_literal(column) for column in columns]
            self.write(statement, [now, *arrays], expected_rows=len(moved))

    async def fold_movements(self, mark: Mark, after: int | None, limit: int) -> Page:
        """See `InventoryPruningTransaction.fold_movements`.

        Movements are in the order in which they were recorded, and what is behind the mark was at rest for
        days when the mark came to be: the walk ends where all is younger than that.
        """
        youngest = mark.advanced_at - LEAST_AGE
        parameters = [after or 0, limit, mark.below, youngest]
        [(looked_at, last, all_young, folded)] = await self.fetch(_FOLD, parameters)
        return Page(folded, None if looked_at < limit or all_young else last)
