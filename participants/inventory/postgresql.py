"""Inventory on PostgreSQL: one locked pass over the products of a batch, one update for all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from contracts.routing import INVENTORY
from messaging.arrays import array_literal
from participants.inventory.stock import Reduction, StockLevel
from participants.postgresql import SqlLedgerTransaction

_LOCK_STOCK: Final = """
SELECT sku, on_hand, reserved FROM inventory.stock WHERE sku = ANY(%s) ORDER BY sku FOR NO KEY UPDATE
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


class SqlInventoryTransaction(SqlLedgerTransaction):
    """An `InventoryTransaction` in schema `inventory`."""

    schema = INVENTORY

    async def lock_stock(self, skus: Collection[str]) -> dict[str, StockLevel]:
        """See `InventoryTransaction.lock_stock`."""
        rows = await self.fetch(_LOCK_STOCK, [list(skus)])
        return {sku: StockLevel(on_hand, reserved) for sku, on_hand, reserved in rows}

    def save_stock(self, levels: Mapping[str, StockLevel], now: datetime) -> None:
        """See `InventoryTransaction.save_stock`."""
        if levels:
            columns = (
                levels,
                [level.on_hand for level in levels.values()],
                [level.reserved for level in levels.values()],
            )
            arrays = [array_literal(column) for column in columns]
            self.write(_SAVE_STOCK, [now, *arrays], expected_rows=len(levels))

    def record_reductions(self, reductions: Sequence[Reduction], now: datetime) -> None:
        """See `InventoryTransaction.record_reductions`."""
        if reductions:
            columns = (
                [reduction.sku for reduction in reductions],
                [reduction.quantity for reduction in reductions],
                [reduction.saga_id for reduction in reductions],
            )
            arrays = [array_literal(column) for column in columns]
            self.write(_RECORD_REDUCTIONS, [now, *arrays], expected_rows=len(reductions))
