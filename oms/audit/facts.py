"""What the audit knows about one order and one product, as plain values without any judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

Quantities = Mapping[str, int]
"""How many, by SKU."""

Places = Mapping[tuple[str, str], int]
"""How many, by SKU and location that has a name (S31)."""


@dataclass(frozen=True, slots=True)
class PieceFact:
    """What a saga says of one piece of its course, in the words of its state."""

    forward: str
    undo: str

    @property
    def stands(self) -> bool:
        """It was done and not undone."""
        return self.forward == "succeeded" and self.undo == "none"

    @property
    def settled(self) -> bool:
        """A person put it right outside (S19): what stands at its participant tells nothing."""
        return "settled" in (self.forward, self.undo)


@dataclass(frozen=True, slots=True)
class SagaFact:
    """An order and where its saga stands, from the orchestrator. ``total`` is in minor units.

    Attributes:
        pieces: the steps of its course and their branches, by name; None where its state cannot be read.
        readable: its document says what was ordered; else nothing can be compared with it.
        parcels: how many were shipped, where it ended well.
        unshipped: what the carrier refused of an order of which something was shipped (S31).
        unshipped_worth: the price of that.
    """

    saga_id: UUID
    order_id: UUID
    definition: str
    status: str
    total: int
    currency: str
    ordered: Quantities
    pieces: Mapping[str, PieceFact] | None = field(default_factory=dict)
    readable: bool = True
    parcels: int = 1
    unshipped: Quantities = field(default_factory=dict)
    unshipped_worth: int = 0

    @property
    def completed(self) -> bool:
        """The order ended well."""
        return self.status == "completed"

    @property
    def shipped(self) -> Quantities:
        """What of it has left, where it ended well."""
        left = {sku: count - self.unshipped.get(sku, 0) for sku, count in self.ordered.items()}
        return {sku: count for sku, count in left.items() if count}

    @property
    def kept(self) -> int:
        """What is paid for it in the end, its returns aside."""
        return self.total - self.unshipped_worth

    @property
    def ended(self) -> bool:
        """Nothing more will happen to the order."""
        return self.status in ("completed", "compensated")


@dataclass(frozen=True, slots=True)
class LedgerFact:
    """One row of a participant's step ledger.

    Attributes:
        quantities: what the stored outcome says was reserved, reduced or taken in.
        restocked: what of it is in stock again.
        amount: what the stored outcome says was charged, in minor units; None where it says nothing.
        verdict: a person's verdict on this work (S19).
    """

    participant: str
    step: str
    command: str
    state: str
    quantities: Quantities = field(default_factory=dict)
    amount: int | None = None
    currency: str | None = None
    verdict: Mapping[str, Any] | None = None
    readable: bool = True
    """Its stored outcome says what came of the work."""
    restocked: Quantities = field(default_factory=dict)
    taken: Places = field(default_factory=dict)
    """Where what was reserved was taken from."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """By how many pieces stock movements of one saga moved one product, and in how many rows."""

    sku: str
    rows: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Returns:
    """The returns of one order.

    Attributes:
        completed: those that had ended well by the beginning of the audit.
        standing: those that are not undone, as they are after everything else was read.
    """

    completed: tuple[SagaFact, ...] = ()
    standing: tuple[SagaFact, ...] = ()

    @property
    def readable(self) -> bool:
        """Whether all of them say what they are of."""
        return all(each.readable for each in (*self.completed, *self.standing))


@dataclass(frozen=True, slots=True)
class Charge:
    """Money that the payment provider took; ``refunded`` is what it counts as given back of it."""

    key: str
    amount: int
    currency: str
    refunded: int


@dataclass(frozen=True, slots=True)
class Authorization:
    """Money that the payment provider set aside; ``given_up`` once it was released or has expired."""

    key: str
    amount: int
    currency: str
    captured: int
    given_up: bool

    @property
    def left(self) -> int:
        """What is set aside still."""
        return 0 if self.given_up else self.amount - self.captured


@dataclass(frozen=True, slots=True)
class Money:
    """What the payment provider's books hold for one order; what was captured is among the charges."""

    charges: tuple[Charge, ...] = ()
    refunds: tuple[int, ...] = ()
    authorizations: tuple[Authorization, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """All that is known about one order.

    Attributes:
        restockings: what stock movements of this saga added.
        returns: what came back of it; of a return itself there is nothing.
        money: from the payment provider; None where its books cannot be read.
        parcels: keys of the carrier's shipments; None where its books cannot be read.
    """

    saga: SagaFact
    ledger: tuple[LedgerFact, ...] = ()
    reductions: tuple[Reduction, ...] = ()
    money: Money | None = None
    parcels: tuple[str, ...] | None = None
    restockings: tuple[Reduction, ...] = ()
    returns: Returns = Returns()

    def rows(self, command: str) -> tuple[LedgerFact, ...]:
        """The ledger rows of one kind of work."""
        return tuple(row for row in self.ledger if row.command == command)


@dataclass(frozen=True, slots=True)
class StockFact:
    """One product in inventory's tables.

    Attributes:
        moved: sum of all its stock movements, the first delivery included; None without any.
        held: what the reservations in inventory's ledger hold.
        on_hand: None where the product has no stock row.
        places: of it, at each location that has a name: on hand, reserved, held.
    """

    sku: str
    on_hand: int | None
    reserved: int
    moved: int | None
    held: int
    places: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
