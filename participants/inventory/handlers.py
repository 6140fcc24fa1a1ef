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
from contracts.envelope import Direction
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
from participants.fence import Move, State
from participants.gate import check_not_expired, check_same_order, move_for, opened
from participants.inventory.stock import UNKNOWN_SKU, Lines, Shelf, lines_of
from participants.inventory.storage import InventoryTransaction
from participants.ledger import Ledger, LedgerRow, StoredOutcome
from participants.replies import Sender, identity, nothing_to_undo, refused, stored, undone
from participants.retention import advance
from participants.verdicts import (
    LEADS_TO,
    RULINGS,
    Ruling,
    Rulings,
    accept,
    accepted_before,
    denial,
    refuse,
    ruling_on,
)

RESERVE: Final = Work(
    ReserveInventory,
    InventoryReservedEvent,
    InventoryRejectedEvent,
    ReleaseInventory,
    InventoryReleasedEvent,
)
COMMIT: Final = Work(CommitInventory, InventoryReducedEvent)
WORKS: Final = Works((RESERVE, COMMIT))

_NOT_HERE: Final = (State.DONE, State.TOMBSTONE)
INVENTORY_RULINGS: Final[Rulings] = {
    (direction, verdict): {
        state: ruling
        for state, ruling in cells.items()
        if not (direction is Direction.COMPENSATING and state in _NOT_HERE and ruling is not Ruling.AGREE)
    }
    for (direction, verdict), cells in RULINGS.items()
}
"""What is held here can be released here, and what was never held cannot be: no verdict replaces that."""


class InventoryHandler:
    """Reserves, releases and reduces stock: effects in its own database, so nothing is ever unknown."""

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id
        self._sender = Sender(INVENTORY, new_id)

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
        row = ledger.get(received.saga_id, received.step)
        check_not_expired(row, received, ledger.low_water_mark)
        command = received.command
        if isinstance(command, SettleStep):
            return self._judge(received, command, row, ledger, now)
        move = move_for(row, received)
        if move is Move.REPEAT and row is not None:
            outcome = row.outcome(received.direction)
            assert outcome is not None
            return outcome
        if move is Move.REFUSE:
            return refused(received)
        if isinstance(command, ReserveInventory):
            return self._reserve(received, command, ledger, shelf, now)
        if isinstance(command, CommitInventory):
            return self._reduce(received, command, ledger, shelf, now)
        if move is Move.UNDO and row is not None:
            return self._release(row, ledger, shelf, now)
        return self._bury(received, row, ledger, now)

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
        outcome = stored(event, self._new_id())
        held = shortage is None
        row = opened(received, RESERVE, State.DONE if held else State.REJECTED, now)
        ledger.put(replace(row, forward=outcome, details=_details(lines) if held else {}))
        return outcome

    def _release(self, row: LedgerRow, ledger: Ledger, shelf: Shelf, now: datetime) -> StoredOutcome:
        """P3: give back what this saga's own row says is held."""
        lines = _held(row)
        shelf.release(lines)
        outcome = undone(RESERVE, row, self._new_id(), effect=Effect.UNDONE, lines=_items(lines))
        ledger.put(replace(row, state=State.UNDONE, compensation=outcome, updated_at=now))
        return outcome

    def _bury(
        self, received: Received, row: LedgerRow | None, ledger: Ledger, now: datetime
    ) -> StoredOutcome:
        """P4: nothing was held; leave a tombstone, so that nothing ever will be."""
        row = row or opened(received, RESERVE, State.TOMBSTONE, now)
        outcome = nothing_to_undo(RESERVE, row, self._new_id())
        ledger.put(replace(row, state=State.TOMBSTONE, compensation=outcome, updated_at=now))
        return outcome

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
        outcome = stored(event, self._new_id())
        row = opened(received, COMMIT, State.DONE, now)
        ledger.put(replace(row, forward=outcome, details=_details(lines)))
        return outcome

    def _judge(
        self,
        received: Received,
        command: SettleStep,
        row: LedgerRow | None,
        ledger: Ledger,
        now: datetime,
    ) -> StoredOutcome:
        """S19: here the ledger knows everything, so a verdict is accepted only where the ledger agrees."""
        check_same_order(row, received)
        before = accepted_before(row, command)
        if before is not None:
            return before
        ruling = ruling_on(INVENTORY_RULINGS, row, command)
        if ruling not in LEADS_TO:
            return refuse(received, command, denial(row), self._new_id())
        judged, answer = accept(row, received, command, LEADS_TO[ruling], now, self._new_id())
        ledger.put(judged)
        return answer


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
