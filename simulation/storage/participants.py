"""The participants' storage in memory; `participants.postgresql` and inventory's are its counterparts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg import errors

from messaging.postgresql import LostUpdate
from participants.fence import State
from participants.inventory.stock import Reduction, StockLevel
from participants.ledger import Key, LedgerRow
from participants.postgresql import WrittenMeanwhile
from simulation.storage.transaction import MemoryTransaction

LEDGER: Final = "ledger"
STOCK: Final = "stock"
MOVEMENTS: Final = "stock_movements"


@dataclass(frozen=True, slots=True)
class Movement:
    """A signed change of what is on hand; ``saga_id`` where it left the house for an order."""

    sku: str
    quantity: int
    saga_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class StockRow:
    """A row of the stock table; what it may hold is the table's CHECK."""

    on_hand: int
    reserved: int


class MemoryLedgerTransaction(MemoryTransaction):
    """A `participants.ledger.LedgerTransaction`."""

    _now: datetime | None = None
    _locked_rows: frozenset[Key] = frozenset()

    async def now(self) -> datetime:
        """The time read right after the locks, or now where there are none (S11)."""
        return self._now or await super().now()

    async def lock(self, saga_ids: Collection[UUID]) -> list[LedgerRow]:
        """See `LedgerTransaction.lock`."""
        await self.statement()
        sagas = frozenset(saga_ids)
        keys = sorted(key for key, _ in self.session.all(LEDGER) if key[0] in sagas)
        rows: dict[Key, LedgerRow] = await self.session.lock_existing(LEDGER, keys)
        if sum(key[0] in sagas for key, _ in self.session.all(LEDGER)) != len(rows):
            raise WrittenMeanwhile("a row was added while its saga was waited for")
        self._now = self.session.database.clock()
        self._locked_rows = frozenset(rows)
        return list(rows.values())

    def save(self, rows: Sequence[LedgerRow]) -> None:
        """See `LedgerTransaction.save`."""
        new = [row for row in rows if row.key not in self._locked_rows]
        changed = [row for row in rows if row.key in self._locked_rows]

        async def write() -> None:
            for row in new:
                await self._insert(_checked(row))
            for row in changed:
                self.session.put(LEDGER, row.key, _checked(row))

        self.write(write)

    async def _insert(self, row: LedgerRow) -> None:
        try:
            await self.session.insert(LEDGER, row.key, row, "pk_ledger")
        except errors.UniqueViolation as clash:
            raise WrittenMeanwhile(str(clash)) from clash


class MemoryInventoryTransaction(MemoryLedgerTransaction):
    """An `participants.inventory.storage.InventoryTransaction`."""

    async def lock_stock(self, skus: Collection[str]) -> dict[str, StockLevel]:
        """See `InventoryTransaction.lock_stock`."""
        await self.statement()
        rows: dict[str, StockRow] = await self.session.lock_existing(STOCK, sorted(set(skus)))
        return {sku: StockLevel(row.on_hand, row.reserved) for sku, row in rows.items()}

    def save_stock(self, levels: Mapping[str, StockLevel], now: datetime) -> None:
        """See `InventoryTransaction.save_stock`."""

        async def write() -> None:
            for sku, level in levels.items():
                await self.session.lock(STOCK, sku)
                if self.session.get(STOCK, sku) is None:
                    raise LostUpdate(f"stock of {sku} is not there")
                self.put_stock(sku, StockRow(level.on_hand, level.reserved))

        self.write(write)

    def record_reductions(self, reductions: Sequence[Reduction], now: datetime) -> None:
        """See `InventoryTransaction.record_reductions`."""

        async def write() -> None:
            for reduction in reductions:
                await self._move(Movement(reduction.sku, -reduction.quantity, reduction.saga_id))

        self.write(write)

    async def adjust(self, sku: str, on_hand: int) -> None:
        """Set the book stock and record the difference, as the warehouse does.

        Raises:
            CheckViolation: it would be less than what is reserved.
        """
        await self.statement()
        await self.session.lock(STOCK, sku)
        row: StockRow = self.session.get(STOCK, sku) or StockRow(0, 0)
        self.put_stock(sku, StockRow(on_hand, row.reserved))
        await self._move(Movement(sku, on_hand - row.on_hand))

    def put_stock(self, sku: str, row: StockRow) -> None:
        """Write a locked row; the table's CHECK stands behind it."""
        if not 0 <= row.reserved <= row.on_hand:
            raise errors.CheckViolation(
                'new row for relation "stock" violates check constraint "ck_stock_never_oversold"'
            )
        self.session.put(STOCK, sku, row)

    async def _move(self, movement: Movement) -> None:
        number = self.session.database.next_number(MOVEMENTS)
        await self.session.insert(MOVEMENTS, number, movement, "pk_stock_movements")


_NEEDS_FORWARD: Final = (State.DONE, State.REJECTED, State.REVERSING, State.CONSUMED)


def _checked(row: LedgerRow) -> LedgerRow:
    """The table's CHECKs."""
    kept = {
        "forward_outcome": row.forward is not None or row.state not in _NEEDS_FORWARD,
        "compensation_outcome": row.compensation is not None or row.state is not State.UNDONE,
        "request": row.request is None or row.state in (State.INTENT, State.UNDOING),
        "intent": row.intent_at is not None or row.state not in (State.INTENT, State.UNDOING),
    }
    for name, holds in kept.items():
        if not holds:
            raise errors.CheckViolation(
                f'new row for relation "ledger" violates check constraint "ck_ledger_{name}"'
            )
    return row
