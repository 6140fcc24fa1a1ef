"""Inventory's commands: a whole batch is decided in one locked pass over its products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from contracts.commands import (
    CommitInventory,
    ItemQuantity,
    ReleaseInventory,
    ReserveInventory,
    SettleStep,
)
from contracts.events import (
    Effect,
    InventoryReducedEvent,
    InventoryRejectedEvent,
    InventoryReleasedEvent,
    InventoryReservedEvent,
)
from contracts.routing import INVENTORY
from messaging.consumer import Failed
from messaging.errors import PermanentFailure
from messaging.identifiers import NewId
from messaging.transport import Delivery, Message
from participants.commands import Received, Work, Works
from participants.fence import State
from participants.inventory.stock import UNKNOWN_SKU, Lines, Shelf, lines_of
from participants.inventory.storage import InventoryTransaction
from participants.ledger import Ledger, LedgerRow, StoredOutcome
from participants.own_effects import OwnEffects
from participants.replies import identity, undone
from participants.retention import advance

RESERVE: Final = Work(
    ReserveInventory,
    InventoryReservedEvent,
    InventoryRejectedEvent,
    ReleaseInventory,
    InventoryReleasedEvent,
)
COMMIT: Final = Work(CommitInventory, InventoryReducedEvent)
WORKS: Final = Works((RESERVE, COMMIT))


class InventoryHandler(OwnEffects):
    """Reserves, releases and reduces stock: effects in its own database, so nothing is ever unknown."""

    def __init__(self, new_id: NewId) -> None:
        super().__init__(INVENTORY, WORKS, new_id)

    async def __call__(
        self, transaction: InventoryTransaction, deliveries: Sequence[Delivery]
    ) -> Sequence[Failed]:
        """Serve a batch in order; several commands of one saga see each other's effects (P1–P5, P7, P11)."""
        decoded = WORKS.decode_all(deliveries)
        failures = [*decoded.failures, *await advance(transaction, decoded.advances)]
        received = decoded.received
        if not received:
            return failures
        rows = await transaction.lock({one.saga_id for one in received})
        ledger = Ledger(rows, transaction.low_water_mark)
        skus = sorted(set(_skus(ledger, received)))
        shelf = Shelf(await transaction.lock_stock(skus) if skus else {})
        now = await transaction.now()
        answers: list[Message] = []
        for one in received:
            try:
                outcome = self._serve(one, ledger, shelf, now)
            except PermanentFailure as failure:
                failures.append(Failed(one.delivery, failure))
            else:
                answers.append(self._sender.message(outcome, one, now))
        transaction.save(ledger.changed)
        transaction.save_stock(shelf.changed, now)
        transaction.record_reductions(shelf.reductions, now)
        transaction.send(answers)
        return failures

    def _serve(self, received: Received, ledger: Ledger, shelf: Shelf, now: datetime) -> StoredOutcome:
        """One command: changes ledger and shelf, or raises and changes nothing."""
        told = self._told_by_the_ledger(received, ledger, now)
        if told is not None:
            return told
        command = received.command
        if isinstance(command, ReserveInventory):
            return self._reserve(received, command, ledger, shelf, now)
        if isinstance(command, CommitInventory):
            return self._reduce(received, command, ledger, shelf, now)
        row = ledger.get(received.saga_id, received.step)
        assert row is not None
        return self._release(row, ledger, shelf, now)

    def _reserve(
        self, received: Received, command: ReserveInventory, ledger: Ledger, shelf: Shelf, now: datetime
    ) -> StoredOutcome:
        """P1: hold all of it, or reject (P8)."""
        lines = lines_of(command.lines)
        shortage = shelf.reserve(lines)
        if shortage is None:
            event: InventoryReservedEvent | InventoryRejectedEvent = InventoryReservedEvent(
                **identity(received), lines=command.lines
            )
        else:
            known = "is not known" if shortage.code == UNKNOWN_SKU else "is not available in that quantity"
            message = f"{', '.join(shortage.skus)[:200]} {known}"
            event = InventoryRejectedEvent(
                **identity(received), code=shortage.code, message=message, skus=shortage.skus
            )
        details = _details(lines) if shortage is None else {}
        return self._did(received, RESERVE, event, ledger, now, details)

    def _release(self, row: LedgerRow, ledger: Ledger, shelf: Shelf, now: datetime) -> StoredOutcome:
        """P3: give back what this saga's own row says is held."""
        lines = _held(row)
        shelf.release(lines)
        outcome = undone(RESERVE, row, self._new_id(), effect=Effect.UNDONE, lines=_items(lines))
        return self._undid(row, outcome, ledger, now)

    def _reduce(
        self, received: Received, command: CommitInventory, ledger: Ledger, shelf: Shelf, now: datetime
    ) -> StoredOutcome:
        """P11: the reservation is consumed, on hand and reserved go down together."""
        reservations = [row for row in ledger.of_saga(command.saga_id) if _is_held(row)]
        if not reservations:
            raise PermanentFailure("not_reserved", "this saga holds no reservation that could be committed")
        lines = lines_of(item for row in reservations for item in _items(_held(row)))
        shelf.reduce(lines, command.saga_id)
        for row in reservations:
            ledger.put(replace(row, state=State.CONSUMED, updated_at=now))
        event = InventoryReducedEvent(**identity(received), lines=_items(lines))
        return self._did(received, COMMIT, event, ledger, now, _details(lines))


def _skus(ledger: Ledger, received: Sequence[Received]) -> Iterator[str]:
    """Every product that the batch may touch: those asked for anew, and those that its sagas hold."""
    for one in received:
        command = one.command
        if isinstance(command, ReserveInventory):
            if ledger.get(one.saga_id, one.step) is None:
                yield from (item.sku for item in command.lines)
        elif not isinstance(command, SettleStep):
            for row in ledger.of_saga(one.saga_id):
                if _is_held(row):
                    yield from _held(row)


def _is_held(row: LedgerRow) -> bool:
    return row.command == RESERVE.name and row.state is State.DONE


def _held(row: LedgerRow) -> Lines:
    return {line["sku"]: line["quantity"] for line in row.details["lines"]}


def _details(lines: Lines) -> dict[str, Any]:
    return {"lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()]}


def _items(lines: Lines) -> tuple[ItemQuantity, ...]:
    return tuple(ItemQuantity(sku=sku, quantity=quantity) for sku, quantity in lines.items())
