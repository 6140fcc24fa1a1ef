"""What all checkers know: the facts so far, put together."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from contracts.commands import (
    AuthorizePayment,
    CapturePayment,
    ChargePayment,
    CommitInventory,
    ReserveInventory,
    SettleStep,
    ShipOrder,
)
from contracts.envelope import Direction
from contracts.events import PaymentSuccessfulEvent
from contracts.routing import COMMANDS_EXCHANGE, INVENTORY, ORCHESTRATOR, PAYMENT, SHIPPING
from messaging.transport import Message
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.state import Forward, Saga, Status
from orchestrator.sagas.order_return import NAME as ORDER_RETURN
from orchestrator.storage import HistoryEntry
from participants.fence import State
from participants.inventory.allocation import Place
from participants.ledger import LedgerRow
from simulation.cast import ORDERS, Cast
from simulation.facts import (
    Aged,
    Authorized,
    Charged,
    Committed,
    Expired,
    Fact,
    GivenUp,
    Refunded,
    Shipped,
    Struck,
)
from simulation.storage.database import Change
from simulation.storage.orchestrator import DEAD_LETTERS, HISTORY, SAGAS, DeadLetterRow
from simulation.storage.participants import LEDGER, MOVEMENTS, STOCK, STOCK_AT, Movement, StockRow
from simulation.storage.transaction import OUTBOX, OutboxRow
from simulation.weather import Fault

RESERVE: Final = (INVENTORY, ReserveInventory.__name__)
COMMIT: Final = (INVENTORY, CommitInventory.__name__)
CHARGE: Final = (PAYMENT, ChargePayment.__name__)
AUTHORIZE: Final = (PAYMENT, AuthorizePayment.__name__)
CAPTURE: Final = (PAYMENT, CapturePayment.__name__)
SHIP: Final = (SHIPPING, ShipOrder.__name__)
"""Works: whose they are, and their forward command."""


class Knowledge:
    """The world as the facts tell it, up to now."""

    def __init__(self, cast: Cast = ORDERS) -> None:
        self.cast = cast
        self.at_s = 0.0
        self.sagas: dict[UUID, Saga] = {}
        self.saga_of: dict[str, UUID] = {}
        """By order id."""
        self.history: dict[UUID, list[HistoryEntry]] = defaultdict(list)
        self.ledger: dict[tuple[str, str, UUID], LedgerRow] = {}
        """By participant, forward command and saga."""
        self.rows: dict[tuple[UUID, str], LedgerRow] = {}
        """By saga and piece of work, whoever's it is; what was pruned is here as it stood."""
        self.asked: dict[UUID, dict[tuple[str, Direction], Message]] = defaultdict(dict)
        """By saga and piece of work, the first command that asked for it."""
        self.let_pass = timedelta()
        """Time that has passed for the databases alone, beside the world's (see `Aged`)."""
        self.pruned: set[tuple[str, str, UUID]] = set()
        """Rows of ledgers that were removed, by participant, forward command and saga."""
        self.stock: dict[str, StockRow] = {}
        self.places: dict[Place, StockRow] = {}
        """What is at locations that have a name, by SKU and location."""
        self.held: Counter[str] = Counter()
        """By SKU, what inventory's ledger holds."""
        self.held_at: Counter[Place] = Counter()
        """By SKU and location that has a name, what it says to hold there."""
        self.movements: dict[Any, Movement] = {}
        self.outbox: dict[str, dict[UUID, OutboxRow]] = defaultdict(dict)
        self.said: set[tuple[UUID | None, str]] = set()
        """By saga, the types of all messages that were ever committed about it."""
        self.dead_letters: dict[UUID, DeadLetterRow] = {}
        self.charges: dict[str, list[Charged]] = defaultdict(list)
        self.refunded: Counter[str] = Counter()
        self.given_back: Counter[UUID] = Counter()
        """By the saga of a return, what has gone back for it."""
        self.set_aside: Counter[str] = Counter()
        """By order id, what is authorized and neither captured, given up nor expired."""
        self.shipped: Counter[str] = Counter()
        """By order id, how many parcels have left."""
        self.parcels: Counter[str] = Counter()
        """The same by the key of the request."""
        self.lied_to: set[str] = set()
        """Sagas to which a provider broke its word: what it does for them outside of it proves nothing."""
        self._learn: Mapping[type, Callable[[Any], None]] = {
            Committed: self._committed,
            Authorized: self._authorized,
            Expired: self._given_up,
            GivenUp: self._given_up,
            Charged: self._charged,
            Refunded: self._refunded,
            Shipped: self._shipped,
            Struck: self._struck,
            Aged: self._aged,
        }
        self._of_table = self._learners()

    def _learners(self) -> Mapping[str, Callable[[str, Change], None]]:
        return {
            SAGAS: self._saga,
            HISTORY: self._entry,
            LEDGER: self._row,
            STOCK: self._stock,
            STOCK_AT: self._place,
            MOVEMENTS: self._movement,
            OUTBOX: self._message,
            DEAD_LETTERS: self._dead_letter,
        }

    def learn(self, at_s: float, fact: Fact) -> None:
        """Take a fact in."""
        self.at_s = at_s
        learn = self._learn.get(type(fact))
        if learn is not None:
            learn(fact)

    def row(self, work: tuple[str, str], saga_id: UUID | None) -> LedgerRow | None:
        """What a participant's ledger says of a saga's work."""
        return None if saga_id is None else self.ledger.get((*work, saga_id))

    def state(self, work: tuple[str, str], saga_id: UUID | None) -> State | None:
        """The state of that row; None without one."""
        row = self.row(work, saga_id)
        return None if row is None else row.state

    def money_kept(self, order_id: str) -> int:
        """What the gateway took for an order and did not give back."""
        return sum(charge.amount for charge in self.charges[order_id]) - self.refunded[order_id]

    def captures(self, saga: Saga) -> bool:
        """Whether its money is taken after the parcel has left (S27)."""
        return any(step.command is CapturePayment for step in self.definition_of(saga).steps)

    def return_of(self, fact: Refunded) -> Saga | None:
        """The return for which money was given back; None where an order was undone."""
        saga_id, _, _ = fact.key.partition(":")
        saga = self.sagas.get(UUID(saga_id)) if saga_id else None
        return saga if saga is not None and is_return(saga) else None

    def returned_so_far(self, order_id: UUID) -> int:
        """What has gone back by now for the returns of an order."""
        return sum(
            amount
            for saga_id, amount in self.given_back.items()
            if is_return(self.sagas[saga_id]) and self.sagas[saga_id].input.order_id == order_id
        )

    def returned(self, order_id: UUID) -> int:
        """What the returns of an order are worth that ended well."""
        made = [each for each in self.sagas.values() if is_return(each) and each.status is Status.COMPLETED]
        return sum(each.input.amount for each in made if each.input.order_id == order_id)

    def was_lied_to(self, order_id: str) -> bool:
        """Whether a provider broke its word about an order."""
        return str(self.saga_of.get(order_id)) in self.lied_to

    def definition_of(self, saga: Saga) -> SagaDefinition:
        """What a saga runs."""
        definition = self.cast.registry.find(saga.definition, saga.definition_version)
        assert definition is not None
        return definition

    def work_of(self, message: Message) -> tuple[UUID, str, Direction] | None:
        """The piece of work that a command asks for, or that an outcome answers; None for anything else."""
        registry = self.cast.registry
        known = message.type in registry.commands or message.type in registry.events
        if not known or message.correlation_id is None:
            return None
        try:
            said = json.loads(message.body)
            return message.correlation_id, said["step"], Direction(said["direction"])
        except (ValueError, TypeError, KeyError):
            return None

    def is_command(self, message: Message) -> bool:
        """Whether some saga may ask for it, and it is on its way to a participant."""
        return message.type in self.cast.registry.commands and message.exchange == COMMANDS_EXCHANGE

    def could_not_know(self, saga: Saga) -> bool:
        """Whether the gateway took money against its word, and nobody was ever told of it.

        No program can put that right: it is what the audit is there to find.
        """
        told = (saga.saga_id, PaymentSuccessfulEvent.__name__) in self.said
        return str(saga.saga_id) in self.lied_to and not told

    def name_of(self, order_id: str) -> str:
        """The saga of an order, for a person."""
        return str(self.saga_of.get(order_id, f"unknown saga of order {order_id}"))

    def _committed(self, fact: Committed) -> None:
        for change in fact.changes:
            learn = self._of_table.get(change.table)
            if learn is not None:
                learn(fact.service, change)

    def _saga(self, service: str, change: Change) -> None:
        saga: Saga = change.after
        self.sagas[saga.saga_id] = saga
        self.saga_of[str(saga.subject_id)] = saga.saga_id

    def _entry(self, service: str, change: Change) -> None:
        self.history[change.after.saga_id].append(change.after)

    def _row(self, service: str, change: Change) -> None:
        before, after = change.before, change.after
        if after is None:
            # What was pruned is remembered here as it stood: nothing about it may change any more (P7).
            self.pruned.add((service, before.command, before.saga_id))
            return
        work = (service, after.command, after.saga_id)
        known = self.ledger.get(work)
        if known is None or known.step == after.step or known.state is not State.DONE:
            self.ledger[work] = after  # of several parcels one that has left, where one has
        self.rows[after.key] = after
        for row, sign in ((before, -1), (after, 1)):
            if row is not None and service == INVENTORY and holds(row):
                for sku, quantity in lines_of(row).items():
                    self.held[sku] += sign * quantity
                for place, quantity in places_of(row).items():
                    self.held_at[place] += sign * quantity

    def _stock(self, service: str, change: Change) -> None:
        self.stock[change.key] = change.after

    def _place(self, service: str, change: Change) -> None:
        self.places[change.key] = change.after

    def _movement(self, service: str, change: Change) -> None:
        if change.after is None:
            del self.movements[change.key]
        else:
            self.movements[change.key] = change.after

    def _message(self, service: str, change: Change) -> None:
        if change.after is None:
            self.outbox[service].pop(change.key, None)
        else:
            self.outbox[service][change.key] = change.after
            message: Message = change.after.message
            self.said.add((message.correlation_id, message.type))
            if change.before is None and service == ORCHESTRATOR:
                self._asked_for(message)

    def _asked_for(self, message: Message) -> None:
        work = self.work_of(message) if self.is_command(message) else None
        if work is not None and message.type != SettleStep.__name__:
            saga_id, piece, direction = work
            self.asked[saga_id].setdefault((piece, direction), message)

    def _dead_letter(self, service: str, change: Change) -> None:
        self.dead_letters[change.key] = change.after

    def _authorized(self, fact: Authorized) -> None:
        self.set_aside[fact.order_id] += fact.amount

    def _given_up(self, fact: GivenUp | Expired) -> None:
        self.set_aside[fact.order_id] -= fact.amount

    def _charged(self, fact: Charged) -> None:
        self.charges[fact.order_id].append(fact)
        if fact.captured:
            self.set_aside[fact.order_id] -= fact.amount

    def _refunded(self, fact: Refunded) -> None:
        self.refunded[fact.order_id] += fact.amount
        made = self.return_of(fact)
        if made is not None:
            self.given_back[made.saga_id] += fact.amount

    def _shipped(self, fact: Shipped) -> None:
        self.shipped[fact.order_id] += 1
        self.parcels[fact.key] += 1

    def _aged(self, fact: Aged) -> None:
        self.let_pass += fact.by

    def _struck(self, fact: Struck) -> None:
        if fact.fault is Fault.VOID_LIES:
            self.lied_to.add(str(fact.saga_id))


def is_return(saga: Saga) -> bool:
    """Whether it is a return, and no order."""
    return saga.definition == ORDER_RETURN


def holds(row: LedgerRow) -> bool:
    """Whether a ledger row is a reservation that holds stock."""
    return row.command == ReserveInventory.__name__ and row.state is State.DONE


def lines_of(row: LedgerRow) -> dict[str, int]:
    """The quantities that a row of inventory's ledger is about."""
    return {line["sku"]: line["quantity"] for line in row.details.get("lines", ())}


def places_of(row: LedgerRow) -> dict[Place, int]:
    """Where a reservation says to have taken what is not at ``default``."""
    taken = [line for line in row.details.get("taken", ()) if "location" in line]
    return {(line["sku"], line["location"]): line["quantity"] for line in taken}


def parcel_of(key: str) -> tuple[UUID, str] | None:
    """The saga and the branch that a request to the carrier is of; None where no parcels are split."""
    saga_id, _, rest = key.partition(":")
    piece = rest.partition(":")[0]
    return (UUID(saga_id), piece) if piece.startswith("ship[") else None


def refused_of(saga: Saga) -> Counter[str]:
    """What the carrier did not take of an order of which it took something, by SKU (S31)."""
    parcels = [each for each in saga.steps if each.name.startswith("ship[")]
    refused = Counter[str]()
    if any(each.forward is Forward.SUCCEEDED for each in parcels):
        for parcel in parcels:
            if parcel.forward is Forward.REJECTED:
                refused.update({line["sku"]: line["quantity"] for line in parcel.item["lines"]})
    return refused


def shipped_of(saga: Saga) -> dict[str, int]:
    """What of an order that was not undone has left, by SKU."""
    refused = refused_of(saga)
    left = {line.sku: line.quantity - refused[line.sku] for line in saga.input.lines}
    return {sku: count for sku, count in left.items() if count}


def refused_worth(saga: Saga) -> int:
    """What that costs which the carrier did not take."""
    refused = refused_of(saga)
    return sum(refused[line.sku] * line.unit_price for line in saga.input.lines)


def added_messages(fact: Committed) -> list[Message]:
    """The messages that a commit put into its outbox."""
    return [change.after.message for change in fact.of(OUTBOX) if change.before is None]
