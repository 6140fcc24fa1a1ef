"""What participants and providers hold for orders that the orchestrator does not know, as after a restore."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, Final
from uuid import UUID

from contracts.commands import (
    AuthorizePayment,
    CapturePayment,
    ChargePayment,
    ClaimRefund,
    ClaimUnshipped,
    Command,
    CommitInventory,
    RefundPart,
    RefundUnshipped,
    ReserveInventory,
    RestockItems,
    ShipOrder,
    VoidRemainder,
)
from contracts.currencies import MINOR_UNIT_EXPONENTS, format_amount
from contracts.routing import INVENTORY, PAYMENT, SHIPPING
from oms.audit import reading
from oms.audit.sources import NEEDED, SANDBOX, Snapshots, Sources, snapshots

STANDING: Final = frozenset({"done", "intent", "undoing", "reversing"})
"""The states in which a call to a provider, or work of a participant that another distribution brings, has an
effect that stands, or may have one."""

HOLDING: Final[Mapping[str, frozenset[str]]] = {
    ReserveInventory.__name__: frozenset({"done"}),
    CommitInventory.__name__: frozenset({"done"}),
    ChargePayment.__name__: STANDING,
    AuthorizePayment.__name__: STANDING,
    CapturePayment.__name__: STANDING,
    ShipOrder.__name__: STANDING,
    ClaimRefund.__name__: frozenset({"done"}),
    RefundPart.__name__: frozenset({"done", "intent"}),
    RestockItems.__name__: frozenset({"done"}),
    ClaimUnshipped.__name__: frozenset({"done"}),
    RefundUnshipped.__name__: frozenset({"done", "intent"}),
    VoidRemainder.__name__: frozenset({"done", "intent"}),
}
"""The states in which work has, or may have, an effect that stands."""

FINAL: Final = frozenset(
    each.__name__
    for each in (
        *(ShipOrder, CapturePayment, CommitInventory, RefundPart, RestockItems),
        *(ClaimUnshipped, RefundUnshipped, VoidRemainder),
    )
)
"""What has left the house: no program undoes it."""

Undoing = Mapping[str, Mapping[str, type[Command] | None]]
"""Of each installed participant, by the command of each kind of its work, what undoes it, or None."""

NOBODY: Final[Undoing] = {}

_TAKING: Final = frozenset({ChargePayment.__name__, CapturePayment.__name__})


_AT_PROVIDER: Final = {
    AuthorizePayment.__name__: "authorized",
    CapturePayment.__name__: "captured",
    ChargePayment.__name__: "charged",
    RefundPart.__name__: "refunded",
    RefundUnshipped.__name__: "refunded",
    VoidRemainder.__name__: "gave up",
}
"""What a payment provider did with an amount, in a person's words."""


class Remedy(StrEnum):
    """What is to be done about an orphan."""

    TAKE_BACK = "take_back"
    """Nothing of it has left the house: stock is released and money given back by the participants."""
    BY_HAND = "by_hand"
    """Its parcel or, of a return, its money has left, or may have: a person decides."""


@dataclass(frozen=True, slots=True)
class Held:
    """One piece of work of a participant that stands for an order that is gone.

    Attributes:
        quantities: what was reserved, reduced or taken in, by SKU.
        amount: what was charged, claimed or refunded, in minor units; None while it is not known.
        reference: the provider's own name for it, where it has answered.
        readable: whether what was answered can be read; what it was of is not known otherwise (S25).
        final: no command undoes it.
    """

    participant: str
    step: str
    command: str
    state: str
    quantities: Mapping[str, int] = field(default_factory=dict)
    amount: int | None = None
    currency: str | None = None
    reference: str | None = None
    readable: bool = True
    final: bool = False

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "participant": self.participant,
            "step": self.step,
            "command": self.command,
            "state": self.state,
            "lines": [{"sku": sku, "quantity": count} for sku, count in sorted(self.quantities.items())],
            "amount": self.amount,
            "currency": self.currency,
            "reference": self.reference,
            "readable": self.readable,
        }

    def __str__(self) -> str:
        """In a person's words."""
        if not self.readable:
            return f"{self.command} at {self.participant} (its stored answer cannot be read)"
        verb = _AT_PROVIDER.get(self.command)
        if verb is not None:
            return self._at_provider(f"{verb} {_sum(self.amount, self.currency)}", verb)
        listed = ", ".join(f"{count} x {sku}" for sku, count in sorted(self.quantities.items()))
        match self.command:
            case ReserveInventory.__name__:
                return f"reserved {listed}"
            case CommitInventory.__name__:
                return f"stock reduced by {listed}"
            case ClaimRefund.__name__:
                return f"claimed {_sum(self.amount, self.currency)} for a return"
            case ClaimUnshipped.__name__:
                return f"claimed {_sum(self.amount, self.currency)} for what could not be shipped"
            case RestockItems.__name__:
                return f"took in {listed}"
            case ShipOrder.__name__:
                return self._at_provider("shipped", "shipped")
            case _:
                return self._at_provider(f"{self.command} at {self.participant}", f"{self.command} done")

    def _at_provider(self, known: str, verb: str) -> str:
        if not self.is_certain:
            return f"perhaps {verb} (its ledger says {self.state})"
        return known if self.reference is None else f"{known} ({self.reference})"

    @property
    def is_certain(self) -> bool:
        """The provider has answered that it did it, and nobody has asked to undo it."""
        return self.state == "done"


@dataclass(slots=True)
class Orphan:
    """Everything that participants hold for one order that is gone."""

    saga_id: UUID
    order_id: UUID
    held: list[Held] = field(default_factory=list)

    @property
    def remedy(self) -> Remedy:
        """What has left the house, or may have, is not undone by a program."""
        return Remedy.BY_HAND if any(held.final for held in self.held) else Remedy.TAKE_BACK

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "saga_id": str(self.saga_id),
            "order_id": str(self.order_id),
            "remedy": self.remedy.value,
            "held": [held.as_json() for held in self.held],
        }


@dataclass(frozen=True, slots=True)
class ProviderOnly:
    """What the sandbox's books hold for an order of which neither orchestrator nor participants know."""

    order_id: str
    charges: tuple[str, ...]
    """Each as key and amount."""
    parcels: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"order_id": self.order_id, "charges": list(self.charges), "parcels": list(self.parcels)}


@dataclass(slots=True)
class Orphans:
    """What was found.

    Attributes:
        books_read: whether a provider's books could be read; else the participants' ledgers are all there is.
    """

    found: list[Orphan]
    provider_only: list[ProviderOnly]
    books_read: bool

    @property
    def none(self) -> bool:
        """Nothing is held for nobody."""
        return not self.found and not self.provider_only

    def sums(self) -> dict[str, Any]:
        """How much is held: pieces by SKU, money by currency in minor units, parcels; and calls in doubt."""
        reserved: Counter[str] = Counter()
        reduced: Counter[str] = Counter()
        charged: Counter[str] = Counter()
        authorized: Counter[str] = Counter()
        parcels = in_doubt = 0
        for held in (each for orphan in self.found for each in orphan.held):
            if not held.is_certain:
                in_doubt += 1
            elif held.command == ReserveInventory.__name__:
                reserved.update(held.quantities)
            elif held.command == CommitInventory.__name__:
                reduced.update(held.quantities)
            elif held.command == AuthorizePayment.__name__ and held.amount is not None:
                authorized[str(held.currency)] += held.amount
            elif held.command in _TAKING and held.amount is not None:
                charged[str(held.currency)] += held.amount
            elif held.command == ShipOrder.__name__:
                parcels += 1
        return {
            "reserved": dict(reserved),
            "reduced": dict(reduced),
            "charged": dict(charged),
            "authorized": dict(authorized),
            "parcels": parcels,
            "in_doubt": in_doubt,
        }

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "ok": self.none,
            "orphans": [orphan.as_json() for orphan in self.found],
            "provider_only": [each.as_json() for each in self.provider_only],
            "provider_books_read": self.books_read,
            "sums": self.sums(),
        }


async def find_orphans(sources: Sources, undoing: Undoing = NOBODY) -> Orphans:
    """Look through the participants' ledgers and, where they can be read, the provider's books.

    Above the low-water mark only: what is behind it may have been pruned in the orchestrator, as it should.

    Raises:
        AuditImpossible: a schema is missing or may not be read.
    """
    async with snapshots(sources) as opened:
        installed = [name for name in undoing if name in opened]
        mark = max([await reading.low_water_mark(opened[name], name) for name in (*NEEDED, *installed)])
        found: dict[UUID, Orphan] = {}
        for participant in (INVENTORY, PAYMENT, SHIPPING):
            await _of_participant(opened, participant, HOLDING, FINAL, mark, found)
        for participant in installed:
            final = {command for command, undo in undoing[participant].items() if undo is None}
            holding = dict.fromkeys(undoing[participant], STANDING)
            await _of_participant(opened, participant, holding, final, mark, found)
        provider_only = await _of_provider(opened, mark) if SANDBOX in opened else []
        listed = [found[saga_id] for saga_id in sorted(found)]
        return Orphans(listed, provider_only, SANDBOX in opened)


async def _of_participant(
    opened: Snapshots,
    participant: str,
    holding: Mapping[str, frozenset[str]],
    final: Collection[str],
    mark: UUID,
    found: dict[UUID, Orphan],
) -> None:
    async for rows in reading.standing_work(opened[participant], participant, holding, mark):
        async with opened.later() as now:
            missing = await reading.missing_sagas(now, {row.saga_id for row in rows})
        for row in rows:
            if row.saga_id in missing:
                orphan = found.setdefault(row.saga_id, Orphan(row.saga_id, row.order_id))
                orphan.held.append(_held(participant, row, row.command in final))


_LINES: Final = ("lines", "restocked", "written_off")
"""Fields of answers that say what was moved."""


def _held(participant: str, row: Any, final: bool) -> Held:  # noqa: FBT001
    held = partial(Held, participant, row.step, row.command, row.state, final=final)
    try:
        said = json.loads(row.forward_body.decode()) if row.forward_body is not None else {}
        amount = said.get("amount")
        lines = [line for name in _LINES for line in said.get(name, ())]
        return held(
            quantities=_quantities(lines),
            amount=None if amount is None else int(amount),
            currency=said.get("currency"),
            reference=said.get("reference"),
        )
    except reading.UNREADABLE:
        return held(readable=False)


def _quantities(lines: Iterable[Mapping[str, Any]]) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for line in lines:
        found[str(line["sku"])] += int(line["quantity"])
    return found


async def _of_provider(opened: Snapshots, mark: UUID) -> list[ProviderOnly]:
    """Orders of the sandbox's books without an order and without a row in a participant's ledger."""
    books = opened[SANDBOX]
    found: list[ProviderOnly] = []
    async for batch in reading.orders_served(books):
        ids = {order_id for text in batch if (order_id := _uuid(text)) is not None and order_id >= mark}
        async with opened.later() as now:
            missing = await reading.missing_orders(now, ids)
        missing -= await _known_to_participants(opened, missing)
        money = await reading.money_of(books, sorted(missing))
        parcels = await reading.parcels_of(books, sorted(missing))
        for order in map(str, sorted(missing)):
            charges = tuple(
                f"{charge.key}: {_sum(charge.amount - charge.refunded, charge.currency)}"
                for charge in (money[order].charges if order in money else ())
                if charge.amount > charge.refunded
            ) + tuple(
                f"{each.key}: {_sum(each.left, each.currency)} authorized"
                for each in (money[order].authorizations if order in money else ())
                if each.left
            )
            if charges or order in parcels:
                found.append(ProviderOnly(order, charges, parcels.get(order, ())))
    return found


async def _known_to_participants(opened: Snapshots, order_ids: Collection[UUID]) -> set[UUID]:
    known: set[UUID] = set()
    for participant in (PAYMENT, SHIPPING):
        known |= await reading.orders_in_ledger(opened[participant], participant, order_ids)
    return known


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _sum(amount: int | None, currency: str | None) -> str:
    if amount is None or currency not in MINOR_UNIT_EXPONENTS:
        return "an unknown amount" if amount is None else str(amount)
    return format_amount(amount, currency)
