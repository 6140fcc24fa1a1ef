"""Facts made by hand, to be shown to one checker: a trace as short as the rule that it breaks."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from contracts.commands import ChargePayment, Command, ItemQuantity, ReserveInventory, ShipOrder
from contracts.envelope import Direction
from contracts.orders import Order, OrderLine, ShippingAddress
from messaging.compose import command_message
from messaging.transport import Delivery, Message
from orchestrator.core import machine
from orchestrator.core.inputs import Input, SagaStarted
from orchestrator.core.state import Saga
from orchestrator.storage import DeadLetter, DeadLetterStatus, HistoryEntry
from participants.fence import State
from participants.ledger import LedgerRow, StoredOutcome
from simulation.cast import ORDERS, Cast, old_definition
from simulation.checkers.inspection import Checker, Inspection
from simulation.facts import Committed, Fact
from simulation.servers import BEGINNING
from simulation.storage.database import Change
from simulation.storage.orchestrator import DeadLetterRow
from simulation.storage.participants import Movement, StockRow
from simulation.storage.transaction import OutboxRow

SAGA_ID, ORDER_ID = UUID(int=1), UUID(int=2)
ORDER = Order(
    customer_id="c-1",
    currency="EUR",
    lines=(OrderLine(sku="apple", quantity=2, unit_price=500),),
    payment_method="pm_card_visa",
    shipping_address=ShippingAddress(
        name="A. Person", line1="1 Street", city="Town", postal_code="12345", country="DE"
    ),
)
STARTED: Saga = machine.start(old_definition(), SAGA_ID, ORDER_ID, ORDER, BEGINNING).saga


class Trace:
    """One checker and what it has been shown; every method returns what it objects to."""

    def __init__(self, checker: type[Checker], cast: Cast = ORDERS) -> None:
        self._inspection = Inspection([checker], cast)
        self._saga: Saga | None = None
        self._rows: dict[tuple[str, str], LedgerRow] = {}
        self._stock: dict[str, StockRow] = {}
        self._dead: dict[UUID, DeadLetterRow] = {}
        self._movements = 0
        self.at_s = 0.0

    def see(self, fact: Fact) -> list[str]:
        self.at_s += 1.0
        return [objection.message for objection in self._inspection.look_at(self.at_s, fact)]

    def at_the_end(self) -> list[str]:
        return [objection.message for objection in self._inspection.at_the_end()]

    def commits(self, service: str, *changes: Change) -> list[str]:
        return self.see(Committed(service, changes))

    # -- changes, each of which remembers what stood there before ------------------------------------------

    def saga(self, saga: Saga) -> Change:
        before, self._saga = self._saga, saga
        return Change("sagas", saga.saga_id, before, saga)

    def row(self, participant: str, command: str, state: State, **changes: Any) -> Change:
        row = ledger_row(command, state, **changes)
        before = self._rows.get((participant, command))
        self._rows[participant, command] = row
        return Change("ledger", row.key, before, row)

    def stock(self, sku: str, on_hand: int, reserved: int) -> Change:
        before, self._stock[sku] = self._stock.get(sku), StockRow(on_hand, reserved)
        return Change("stock", sku, before, self._stock[sku])

    def moved(self, sku: str, quantity: int, saga_id: UUID | None = None) -> Change:
        self._movements += 1
        return Change("stock_movements", self._movements, None, Movement(sku, quantity, saga_id))

    def dead(self, dead: DeadLetter) -> Change:
        before, after = self._dead.get(dead.dead_letter_id), DeadLetterRow(dead, (dead.death_id,))
        self._dead[dead.dead_letter_id] = after
        return Change("dead_letters", dead.dead_letter_id, before, after)

    # -- what most traces begin with -----------------------------------------------------------------------

    def begins(self) -> None:
        """The order is there and its saga awaits the reservation."""
        assert self.commits("orchestrator", self.saga(STARTED), entry(SagaStarted(), 1)) == []

    def reserves(self) -> None:
        """The order's stock is held."""
        row = self.row("inventory", "ReserveInventory", State.DONE)
        assert self.commits("inventory", row, self.stock("apple", 9, 2)) == []


def ledger_row(command: str, state: State, **changes: Any) -> LedgerRow:
    row = LedgerRow(
        saga_id=SAGA_ID,
        step=command,
        order_id=ORDER_ID,
        command=command,
        state=state,
        updated_at=BEGINNING,
        forward=StoredOutcome("Event", UUID(int=9), b"{}"),
        details={"lines": [{"sku": "apple", "quantity": 2}]} if command == "ReserveInventory" else {},
    )
    return replace(row, **changes)


def entry(accepted: Input, version: int, *sent: Message, at: datetime = BEGINNING) -> Change:
    said = [{"type": message.type, "message_id": str(message.message_id)} for message in sent]
    led_to = {"sent": said, "status": "running", "order_status": "pending"}
    written = HistoryEntry(SAGA_ID, version, at, accepted, led_to)
    return Change("history", (SAGA_ID, version), None, written)


def outgoing(message: Message) -> Change:
    return Change("outbox", message.message_id, None, OutboxRow(message, BEGINNING))


def gone(message: Message) -> Change:
    return Change("outbox", message.message_id, OutboxRow(message, BEGINNING), None)


_numbers = iter(range(100, 10_000))


def command(kind: str, at_s: float = 0.0) -> Message:
    """A command of the saga, written so many seconds after the beginning."""
    identity: dict[str, Any] = {"saga_id": SAGA_ID, "order_id": ORDER_ID, "direction": Direction.FORWARD}
    lines = (ItemQuantity(sku="apple", quantity=2),)
    made: Command
    if kind == "ReserveInventory":
        participant, made = "inventory", ReserveInventory(**identity, step="reserve", lines=lines)
    elif kind == "ShipOrder":
        address = ORDER.shipping_address
        participant, made = (
            "shipping",
            ShipOrder(**identity, step="ship", lines=lines, shipping_address=address),
        )
    else:
        paid: dict[str, Any] = {"customer_id": "c", "amount": 1000, "currency": "EUR", "payment_method": "pm"}
        participant, made = "payment", ChargePayment(**identity, step="charge", **paid)
    moment = BEGINNING + timedelta(seconds=at_s)
    return command_message(made, participant, UUID(int=next(_numbers)), moment, "orchestrator")


def delivery_of(message: Message, queue: str) -> Delivery:
    return Delivery(
        queue=queue,
        body=message.body,
        message_id=str(message.message_id),
        type=message.type,
        correlation_id=str(message.correlation_id),
        headers=dict(message.headers),
        exchange=message.exchange,
        routing_key=message.routing_key,
        redelivered=False,
    )


def dead_letter(step: str = "reserve", number: int = 5, **changes: Any) -> DeadLetter:
    dead = DeadLetter(
        dead_letter_id=UUID(int=number),
        kind="command",
        work_key=f"{step}",
        death_id=f"m-{number}",
        queue="inventory.commands",
        type="ReserveInventory",
        error_type="provider_misuse",
        error_message="",
        error_stack="",
        permanent=True,
        attempts=1,
        first_failed_at=BEGINNING,
        last_failed_at=BEGINNING,
        exchange="oms.commands",
        routing_key="inventory",
        message_id=f"m-{number}",
        headers={},
        body=b"",
        body_truncated=False,
        created_at=BEGINNING,
        saga_id=SAGA_ID,
        step=step,
        direction="forward",
        status=DeadLetterStatus.OPEN,
    )
    return replace(dead, **changes)
