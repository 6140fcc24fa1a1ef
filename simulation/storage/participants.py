"""The participants' storage in memory; `participants.postgresql` and inventory's are its counterparts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from uuid import UUID

from psycopg import errors

from contracts.commands import ReserveInventory
from messaging.postgresql import LostUpdate
from messaging.sqlstates import WrittenMeanwhile
from participants.fence import State
from participants.inventory.allocation import Place
from participants.inventory.stock import Reduction, Restocking, StockLevel
from participants.ledger import Key, LedgerRow
from participants.payment.claims import Claims
from participants.retention import FINAL, LEAST_AGE, Mark, Page
from simulation.storage.transaction import MemoryTransaction

LEDGER: Final = "ledger"
STOCK: Final = "stock"
STOCK_AT: Final = "stock_at"
MOVEMENTS: Final = "stock_movements"
CLAIMS: Final = "refund_claims"
RETENTION: Final = "retention"
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_ONLY: Final = 1
"""The key of the only row of the table of retention."""

_FOLDED: Final = "ix_stock_movements_folded"
"""The unique index that allows one adjustment a product for what was pruned."""


@dataclass(frozen=True, slots=True)
class Movement:
    """A signed change of what is on hand; ``saga_id`` where it left the house for an order, or came back.

    ``folded`` is for how many movements of pruned sagas it stands.
    """

    sku: str
    quantity: int
    saga_id: UUID | None = None
    folded: int | None = None
    recorded_at: datetime = _LONG_AGO


@dataclass(frozen=True, slots=True)
class StockRow:
    """A row of the stock table; what it may hold is the table's CHECK."""

    on_hand: int
    reserved: int


class MemoryLedgerTransaction(MemoryTransaction):
    """A `participants.ledger.LedgerTransaction`."""

    holding: str = ""
    """See `SqlLedgerTransaction.holding`."""

    low_water_mark: UUID | None = None
    """See `LedgerTransaction.low_water_mark`."""

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
        mark: Mark | None = self.session.get(RETENTION, _ONLY)
        self.low_water_mark = None if mark is None else mark.below
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

    def advance_mark(self, mark: UUID, now: datetime) -> None:
        """See `LedgerTransaction.advance_mark`."""

        async def write() -> None:
            await self.session.lock(RETENTION, _ONLY)
            standing: Mark | None = self.session.get(RETENTION, _ONLY)
            if standing is None or mark > standing.below:
                self.session.put(RETENTION, _ONLY, Mark(mark, now))

        self.write(write)

    async def read_mark(self) -> Mark | None:
        """See `PruningTransaction.read_mark`."""
        await self.statement()
        mark: Mark | None = self.session.get(RETENTION, _ONLY)
        return mark

    async def prune_ledger(self, mark: Mark, after: Key | None, limit: int) -> Page:
        """See `PruningTransaction.prune_ledger`."""
        await self.statement()
        found = sorted(
            key
            for key, row in self.session.all(LEDGER)
            if (after is None or key > after) and self._is_behind(row, mark)
        )
        gone = list(islice((key for key in found if self.session.lock_if_free(LEDGER, key)), limit))
        for key in gone:
            self.session.put(LEDGER, key, None)
        return Page(len(gone), None if len(gone) < limit else gone[-1])

    def _is_behind(self, row: LedgerRow, mark: Mark) -> bool:
        held = row.state is State.DONE and row.command == self.holding
        ended = row.state in FINAL and not held
        return ended and row.saga_id < mark.below and row.updated_at < mark.advanced_at

    async def _insert(self, row: LedgerRow) -> None:
        try:
            await self.session.insert(LEDGER, row.key, row, "pk_ledger")
        except errors.UniqueViolation as clash:
            raise WrittenMeanwhile(str(clash)) from clash


class MemoryInventoryTransaction(MemoryLedgerTransaction):
    """An `participants.inventory.handlers.InventoryTransaction`."""

    holding = ReserveInventory.__name__

    async def lock_stock(
        self, skus: Collection[str]
    ) -> tuple[dict[str, StockLevel], dict[Place, StockLevel]]:
        """See `InventoryTransaction.lock_stock`."""
        await self.statement()
        rows: dict[str, StockRow] = await self.session.lock_existing(STOCK, sorted(set(skus)))
        levels = {sku: StockLevel(row.on_hand, row.reserved) for sku, row in rows.items()}
        places = {place: row for place, row in self.session.all(STOCK_AT) if place[0] in levels}
        return levels, {place: StockLevel(row.on_hand, row.reserved) for place, row in places.items()}

    def save_stock(self, levels: Mapping[str, StockLevel], now: datetime) -> None:
        """See `InventoryTransaction.save_stock`."""

        async def write() -> None:
            for sku, level in levels.items():
                await self.session.lock(STOCK, sku)
                if self.session.get(STOCK, sku) is None:
                    raise LostUpdate(f"stock of {sku} is not there")
                self.put_stock(sku, StockRow(level.on_hand, level.reserved))

        self.write(write)

    def save_places(self, levels: Mapping[Place, StockLevel], now: datetime) -> None:
        """See `InventoryTransaction.save_places`."""

        async def write() -> None:
            for place, level in levels.items():
                await self.session.lock(STOCK_AT, place)
                if self.session.get(STOCK_AT, place) is None:
                    raise LostUpdate(f"stock of {place} is not there")
                self.put_place(place, StockRow(level.on_hand, level.reserved))

        self.write(write)

    def put_place(self, place: Place, row: StockRow) -> None:
        """Write a row whose product is locked; the table's CHECK stands behind it."""
        if not 0 <= row.reserved <= row.on_hand:
            raise errors.CheckViolation(
                'new row for relation "stock_at" violates check constraint "ck_stock_at_never_oversold"'
            )
        self.session.put(STOCK_AT, place, row)

    def record_reductions(self, reductions: Sequence[Reduction], now: datetime) -> None:
        """See `InventoryTransaction.record_reductions`."""

        async def write() -> None:
            for reduction in reductions:
                await self._move(Movement(reduction.sku, -reduction.quantity, reduction.saga_id, None, now))

        self.write(write)

    def record_restockings(self, restockings: Sequence[Restocking], now: datetime) -> None:
        """See `InventoryTransaction.record_restockings`."""

        async def write() -> None:
            for each in restockings:
                await self._move(Movement(each.sku, each.quantity, each.saga_id, None, now))

        self.write(write)

    async def fold_movements(self, mark: Mark, after: int | None, limit: int) -> Page:
        """See `InventoryPruningTransaction.fold_movements`."""
        await self.statement()
        numbers = sorted(number for number, _ in self.session.all(MOVEMENTS) if number > (after or 0))[:limit]
        page: dict[int, Movement] = {number: self.session.get(MOVEMENTS, number) for number in numbers}
        old = [number for number, each in page.items() if each.saga_id and each.saga_id < mark.below]
        gone: dict[int, Movement] = await self.session.lock_existing(MOVEMENTS, old)
        for number in gone:
            self.session.put(MOVEMENTS, number, None)
        for sku in sorted({each.sku for each in gone.values()}):
            await self._fold(sku, [each.quantity for each in gone.values() if each.sku == sku])
        youngest = mark.advanced_at - LEAST_AGE
        ended = len(page) < limit or all(each.recorded_at > youngest for each in page.values())
        return Page(len(gone), None if ended else numbers[-1])

    async def _fold(self, sku: str, quantities: Sequence[int]) -> None:
        """Add to the one adjustment of a product that stands for what was pruned."""
        await self.session.lock(_FOLDED, sku)
        now = self.session.database.clock()
        for number, each in list(self.session.all(MOVEMENTS)):
            if each.sku == sku and each.folded is not None:
                await self.session.lock(MOVEMENTS, number)
                both = (each.quantity + sum(quantities), each.folded + len(quantities))
                self.session.put(MOVEMENTS, number, Movement(sku, both[0], None, both[1], now))
                return
        await self._move(Movement(sku, sum(quantities), None, len(quantities), now))

    async def adjust(self, sku: str, on_hand: int) -> None:
        """Set the book stock and record the difference, as the warehouse does.

        Raises:
            CheckViolation: it would be less than what is reserved.
        """
        await self.statement()
        await self.session.lock(STOCK, sku)
        row: StockRow = self.session.get(STOCK, sku) or StockRow(0, 0)
        self.put_stock(sku, StockRow(on_hand, row.reserved))
        await self._move(Movement(sku, on_hand - row.on_hand, None, None, self.session.database.clock()))

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


class MemoryPaymentTransaction(MemoryLedgerTransaction):
    """A `participants.payment.handlers.PaymentTransaction`."""

    async def lock_claims(self, charged: Mapping[str, int]) -> dict[str, Claims]:
        """See `PaymentTransaction.lock_claims`."""
        await self.statement()
        for charge in sorted(charged):
            await self.session.lock(CLAIMS, charge)
            if self.session.get(CLAIMS, charge) is None:
                self.session.put(CLAIMS, charge, Claims(charged[charge]))
        return {charge: self.session.get(CLAIMS, charge) for charge in sorted(charged)}

    def save_claims(self, claims: Mapping[str, Claims], now: datetime) -> None:
        """See `PaymentTransaction.save_claims`."""

        async def write() -> None:
            for charge, claim in claims.items():
                await self.session.lock(CLAIMS, charge)
                self.put_claims(charge, claim)

        self.write(write)

    def put_claims(self, charge: str, claims: Claims) -> None:
        """Write a locked row; the table's CHECK stands behind it."""
        if not 0 <= claims.claimed <= claims.charged:
            raise errors.CheckViolation(
                'new row for relation "refund_claims" violates check constraint '
                '"ck_refund_claims_never_more_than_charged"'
            )
        self.session.put(CLAIMS, charge, claims)


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
