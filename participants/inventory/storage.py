"""What inventory's handler needs of its storage."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from participants.inventory.stock import Reduction, StockLevel
from participants.ledger import LedgerTransaction


class InventoryTransaction(LedgerTransaction, Protocol):
    """A transaction over inventory's ledger and stock."""

    async def lock_stock(self, skus: Collection[str]) -> Mapping[str, StockLevel]:
        """The levels of those of the SKUs that exist, locked in order of SKU (S18)."""

    def save_stock(self, levels: Mapping[str, StockLevel], now: datetime) -> None:
        """Write changed levels."""

    def record_reductions(self, reductions: Sequence[Reduction], now: datetime) -> None:
        """Note what has left the house (P11)."""
