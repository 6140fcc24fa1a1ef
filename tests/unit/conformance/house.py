"""A gateway and a carrier in memory with a fault that can be chosen: right without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from contracts.commands import ItemQuantity
from contracts.orders import Address
from participants.payment.gateway import Charged, Declined, FoundCharge, FoundRefund, Refunded
from participants.provider_terms import (
    CallUnderWay,
    ProviderMisuse,
    ProviderTraits,
    ProviderUnavailable,
    Voided,
    VoidNotOffered,
)
from participants.shipping.carrier import FoundShipment, ShipmentRejected, Shipped

CALL_S: Final = 0.01
SLOW_S: Final = 5.0


class Fault(Enum):
    """What is done wrong."""

    DOES_NOTHING = "answers nothing"
    TWO_EFFECTS = "does the same call again"
    OTHER_REFERENCE = "tells another reference the second time"
    LOOKS_THEN_ACTS = "looks whether it knows the key and then acts"
    OTHER_REQUEST_ANSWERED = "answers another request under the key with the stored answer"
    OTHER_REQUEST_DONE = "does another request under the key"
    ONE_FOR_AN_ORDER = "takes the order for the key"
    REFUSAL_IS_A_FAILURE = "answers a refusal with a server error"
    REFUSAL_IS_MISUSE = "answers a refusal with a status that is no answer"
    REFUSES_ONCE = "does what it has refused when asked again"
    FORGETS_REFUSALS = "finds no refusals by their key"
    FINDS_NO_KEY = "finds nothing by key"
    FINDS_EVERY_KEY = "finds an answer for keys that were never used"
    FINDS_NO_ORDER = "finds nothing by order"
    VOIDS_NOTHING = "says that a key is closed, and acts under it afterwards"
    VOIDS_EVERYTHING = "says that a key is closed that had its effect"
    FORGETS_VOIDS = "does not find a closed key"
    FAILURE_IS_A_REFUSAL = "refuses what it cannot do at the moment"
    ANSWERS_TOO_EARLY = "refuses a call while an earlier one is at work"
    TWO_SLOW_EFFECTS = "does a call again whose answer was lost"
    REFUNDS_TWICE = "gives money back twice under one key"
    REFUNDS_TOO_MUCH = "gives back more than was taken"
    OTHER_REFUND_DONE = "gives back another amount under the same key"
    REFUNDS_NOT_ON_THE_CHARGE = "does not count on the charge what was given back"
    FINDS_NO_REFUND = "finds no refund by its key"
    WRONG_AMOUNT = "shows another amount in its books"


@dataclass(slots=True)
class Entry:
    """What was done under a key."""

    key: str
    order_id: str
    request: Any
    answer: Any
    refunded: int = 0


@dataclass(slots=True)
class House:
    """Keys and what was done under them, whatever it is."""

    fault: Fault | None
    success: Callable[[str], Any]
    refusal: Callable[[], Any]
    offers_void: bool = True
    traits: ProviderTraits = field(default_factory=ProviderTraits)
    entries: dict[str, Entry] = field(default_factory=dict)
    effects: list[Entry] = field(default_factory=list)
    at_work: set[str] = field(default_factory=set)

    async def do(self, key: str, order_id: str, request: Any, kind: str) -> Any:
        """One call: ``kind`` is good, refused, slow or failing."""
        if self.fault is Fault.DOES_NOTHING or (
            kind == "failing" and self.fault is not Fault.FAILURE_IS_A_REFUSAL
        ):
            raise ProviderUnavailable("503")
        if self.fault is Fault.ONE_FOR_AN_ORDER:
            key = order_id
        if kind == "failing":
            return self.refusal()
        if key in self.at_work and self.fault is not Fault.LOOKS_THEN_ACTS:
            if self.fault is Fault.ANSWERS_TOO_EARLY:
                return self.refusal()
            raise CallUnderWay("409")
        self.at_work.add(key)
        try:
            return await self._done(key, order_id, request, kind)
        finally:
            self.at_work.discard(key)

    async def find(self, key: str) -> Any:
        """By key."""
        entry = self.entries.get(key)
        if self.fault is Fault.FINDS_NO_KEY:
            return None
        if entry is None:
            return self.success("re") if self.fault is Fault.FINDS_EVERY_KEY else None
        if self.fault is Fault.FORGETS_REFUSALS and entry.answer == self.refusal():
            return None
        return None if self.fault is Fault.FORGETS_VOIDS and entry.answer == Voided() else entry.answer

    def of_order(self, order_id: str) -> list[Entry]:
        """What took effect."""
        if self.fault is Fault.FINDS_NO_ORDER:
            return []
        return [entry for entry in self.effects if entry.order_id == order_id]

    async def void(self, key: str) -> Any:
        """Close a key."""
        if not self.offers_void:
            return VoidNotOffered()
        if key in self.at_work:
            raise CallUnderWay("409")
        entry = self.entries.get(key)
        if self.fault is Fault.VOIDS_NOTHING and entry is None:
            return Voided()
        if self.fault is Fault.VOIDS_EVERYTHING:
            return Voided()
        if entry is None:
            entry = self.entries[key] = Entry(key, "", None, Voided())
        return entry.answer

    async def _done(self, key: str, order_id: str, request: Any, kind: str) -> Any:
        entry = self.entries.get(key)
        if self.fault is Fault.LOOKS_THEN_ACTS:
            await asyncio.sleep(CALL_S)
        known = self._known(entry, request)
        if known is not None:
            return known
        if kind == "refused" and self.fault is not None:
            if self.fault is Fault.REFUSAL_IS_A_FAILURE:
                raise ProviderUnavailable("500")
            if self.fault is Fault.REFUSAL_IS_MISUSE:
                raise ProviderMisuse("400")
        if kind == "refused" and not (self.fault is Fault.REFUSES_ONCE and entry is not None):
            self.entries[key] = Entry(key, order_id, request, self.refusal())
            return self.refusal()
        entry = Entry(key, order_id, request, self.success(f"ref{len(self.effects)}"))
        if not (kind == "slow" and self.fault is Fault.TWO_SLOW_EFFECTS and key not in self.entries):
            self.entries[key] = entry
        else:
            self.entries[key] = Entry(key, order_id, "lost", None)
        self.effects.append(entry)
        if kind == "slow":
            await asyncio.sleep(SLOW_S)
            raise ProviderUnavailable("time-out")
        return entry.answer

    def _known(self, entry: Entry | None, request: Any) -> Any:
        """The stored answer; None where it is to be done."""
        if entry is None or entry.answer is None:
            return None
        if entry.answer == Voided():
            raise ProviderMisuse("410")
        if entry.request != request:
            if self.fault is Fault.OTHER_REQUEST_DONE:
                return None
            if self.fault not in (Fault.OTHER_REQUEST_ANSWERED, Fault.ONE_FOR_AN_ORDER):
                raise ProviderMisuse("422")
        if self.fault is Fault.REFUSES_ONCE and entry.answer == self.refusal():
            return None
        if self.fault is Fault.OTHER_REFERENCE and entry.answer != self.refusal():
            return self.success(f"{entry.key}-again")
        return None if self.fault is Fault.TWO_EFFECTS else entry.answer


KINDS: Final = {"pm_bad": "refused", "pm_slow": "slow", "pm_away": "failing"}


class HouseGateway:
    """A `PaymentGateway`."""

    def __init__(self, fault: Fault | None = None, *, offers_void: bool = True) -> None:
        self.house = House(fault, Charged, lambda: Declined("no_cover", ""), offers_void)
        self.traits = self.house.traits
        self._refunds: list[FoundRefund] = []

    async def charge(
        self, key: str, order_id: str, amount: int, currency: str, payment_method: str
    ) -> Charged | Declined:
        request = (amount, currency, payment_method)
        return await self.house.do(key, order_id, request, KINDS.get(payment_method, "good"))  # type: ignore[no-any-return]

    async def refund(self, key: str, reference: str, amount: int) -> Refunded:
        fault = self.house.fault
        known = next((each for each in self._refunds if each.key == key), None)
        if known is not None and fault not in (Fault.REFUNDS_TWICE, Fault.OTHER_REFUND_DONE):
            if known.amount != amount:
                raise ProviderMisuse("422")
            return Refunded(known.reference)
        if known is not None and fault is Fault.OTHER_REFUND_DONE and known.amount == amount:
            return Refunded(known.reference)
        charge = next((each for each in self.house.effects if each.answer.reference == reference), None)
        if charge is None:
            raise ProviderMisuse("422")
        if charge.refunded + amount > charge.request[0] and fault not in (
            Fault.REFUNDS_TOO_MUCH,
            Fault.REFUNDS_TWICE,
        ):
            raise ProviderMisuse("422")
        if fault is not Fault.REFUNDS_NOT_ON_THE_CHARGE:
            charge.refunded += amount
        refund = FoundRefund(key, f"re{len(self._refunds)}", reference, amount)
        self._refunds.append(refund)
        return Refunded(refund.reference)

    async def find_charge(self, key: str) -> Charged | Declined | Voided | None:
        return await self.house.find(key)  # type: ignore[no-any-return]

    async def find_refund(self, key: str) -> Refunded | None:
        if self.house.fault is Fault.FINDS_NO_REFUND:
            return None
        return next((Refunded(each.reference) for each in self._refunds if each.key == key), None)

    async def charges_of(self, order_id: str) -> tuple[FoundCharge, ...]:
        more = 1 if self.house.fault is Fault.WRONG_AMOUNT else 0
        return tuple(
            FoundCharge(
                each.key, each.answer.reference, each.request[0] + more, each.request[1], each.refunded
            )
            for each in self.house.of_order(order_id)
        )

    async def refunds_of(self, order_id: str) -> tuple[FoundRefund, ...]:
        references = {each.answer.reference for each in self.house.of_order(order_id)}
        return tuple(each for each in self._refunds if each.charge in references)

    async def void(self, key: str) -> Voided | Charged | Declined | VoidNotOffered:
        return await self.house.void(key)  # type: ignore[no-any-return]


class HouseCarrier:
    """A `Carrier` for which the postal code says what becomes of a parcel."""

    def __init__(self, fault: Fault | None = None, *, offers_void: bool = True) -> None:
        self.house = House(fault, Shipped, lambda: ShipmentRejected("not_there", ""), offers_void)
        self.traits = self.house.traits

    async def ship(
        self, key: str, order_id: str, lines: Sequence[ItemQuantity], address: Address
    ) -> Shipped | ShipmentRejected:
        request = (tuple(lines), address)
        return await self.house.do(key, order_id, request, KINDS.get(address.postal_code, "good"))  # type: ignore[no-any-return]

    async def find_shipment(self, key: str) -> Shipped | ShipmentRejected | Voided | None:
        return await self.house.find(key)  # type: ignore[no-any-return]

    async def shipments_of(self, order_id: str) -> tuple[FoundShipment, ...]:
        return tuple(FoundShipment(each.key, each.answer.reference) for each in self.house.of_order(order_id))

    async def void(self, key: str) -> Voided | Shipped | ShipmentRejected | VoidNotOffered:
        return await self.house.void(key)  # type: ignore[no-any-return]
