"""A gateway and a carrier for tests: they keep books in memory and misbehave exactly when told to."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from contracts.commands import ItemQuantity
from contracts.orders import Address
from participants.payment.gateway import Charged, Declined, FoundCharge, FoundRefund, Refunded
from participants.provider_terms import ProviderTraits, ProviderUnavailable, Voided, VoidNotOffered
from participants.shipping.carrier import FoundShipment, ShipmentRejected, Shipped

Trouble = Callable[[], Awaitable[object]]
"""Happens in one call: raises, waits, or does nothing."""

T = TypeVar("T")


async def no_answer() -> None:
    """A call without an answer."""
    raise ProviderUnavailable("503 Service Unavailable")


async def no_trouble() -> None:
    """A call that goes well."""


class Books:
    """What is done once per key, and what goes wrong on the way there and back."""

    def __init__(self, traits: ProviderTraits | None = None, *, offers_void: bool = True) -> None:
        self.traits = traits or ProviderTraits()
        self.offers_void = offers_void
        self.calls: list[tuple[str, str]] = []
        """Kind and key of every call, in order."""
        self.most_at_once = 0
        self.clashes = 0
        """Calls that met another one with the same key."""
        self._before: dict[str, deque[Trouble]] = defaultdict(deque)
        self._after: dict[str, deque[Trouble]] = defaultdict(deque)
        self._at_work: Counter[str] = Counter()

    def before(self, kind: str, *troubles: Trouble) -> None:
        """Let the next calls of a kind go wrong before they take effect."""
        self._before[kind].extend(troubles)

    def after(self, kind: str, *troubles: Trouble) -> None:
        """Let the next calls of a kind go wrong after they took effect."""
        self._after[kind].extend(troubles)

    def count(self, kind: str) -> int:
        """How many calls of a kind there were."""
        return sum(called == kind for called, _ in self.calls)

    async def perform(self, kind: str, key: str, effect: Callable[[], T]) -> T:
        """One call."""
        self.calls.append((kind, key))
        self.clashes += self._at_work[key] > 0
        self._at_work[key] += 1
        self.most_at_once = max(self.most_at_once, self._at_work.total())
        try:
            await self._next(self._before[kind])()
            answer = effect()
            await self._next(self._after[kind])()
        finally:
            self._at_work[key] -= 1
        return answer

    @staticmethod
    def _next(troubles: deque[Trouble]) -> Trouble:
        return troubles.popleft() if troubles else no_trouble


class Gateway(Books):
    """A `PaymentGateway`."""

    def __init__(self, traits: ProviderTraits | None = None, *, offers_void: bool = True) -> None:
        super().__init__(traits, offers_void=offers_void)
        self.charges: dict[str, Charged | Declined | Voided] = {}
        self.taken: dict[str, FoundCharge] = {}
        """By reference."""
        self.refunds: dict[str, FoundRefund] = {}
        """By key."""
        self.orders: dict[str, str] = {}
        """Of charges and refunds, by key."""

    @property
    def balance(self) -> int:
        """What was taken and not given back."""
        given_back = sum(refund.amount for refund in self.refunds.values())
        return sum(charge.amount for charge in self.taken.values()) - given_back

    async def charge(
        self, key: str, order_id: str, amount: int, currency: str, payment_method: str
    ) -> Charged | Declined:
        def effect() -> Charged | Declined:
            if key not in self.charges:
                if payment_method == "pm_card_declined":
                    self.charges[key] = Declined("card_declined", "The card was declined.")
                else:
                    reference = f"ch_{len(self.taken) + 1}"
                    self.charges[key] = Charged(reference)
                    self.taken[reference] = FoundCharge(key, reference, amount, currency, 0)
                    self.orders[key] = order_id
            answer = self.charges[key]
            if isinstance(answer, Voided):
                raise AssertionError("charged under a closed key")
            return answer

        return await self.perform("charge", key, effect)

    async def refund(self, key: str, reference: str, amount: int) -> Refunded:
        def effect() -> Refunded:
            if key not in self.refunds:
                charge = self.taken[reference]
                self.refunds[key] = FoundRefund(key, f"re_{len(self.refunds) + 1}", reference, amount)
                self.orders[key] = self.orders[charge.key]
            return Refunded(self.refunds[key].reference)

        return await self.perform("refund", key, effect)

    async def find_charge(self, key: str) -> Charged | Declined | Voided | None:
        return await self.perform("find", key, lambda: self.charges.get(key))

    async def find_refund(self, key: str) -> Refunded | None:
        def effect() -> Refunded | None:
            found = self.refunds.get(key)
            return None if found is None else Refunded(found.reference)

        return await self.perform("find_refund", key, effect)

    async def charges_of(self, order_id: str) -> tuple[FoundCharge, ...]:
        def effect() -> tuple[FoundCharge, ...]:
            return tuple(charge for charge in self.taken.values() if self.orders[charge.key] == order_id)

        return await self.perform("charges_of", order_id, effect)

    async def refunds_of(self, order_id: str) -> tuple[FoundRefund, ...]:
        def effect() -> tuple[FoundRefund, ...]:
            return tuple(refund for key, refund in self.refunds.items() if self.orders[key] == order_id)

        return await self.perform("refunds_of", order_id, effect)

    async def void(self, key: str) -> Voided | Charged | Declined | VoidNotOffered:
        if not self.offers_void:
            return VoidNotOffered()
        return await self.perform("void", key, lambda: self.charges.setdefault(key, Voided()))


class Carrier(Books):
    """A `Carrier` that refuses postal code 00000."""

    def __init__(self, traits: ProviderTraits | None = None, *, offers_void: bool = True) -> None:
        super().__init__(traits, offers_void=offers_void)
        self.shipments: dict[str, Shipped | ShipmentRejected | Voided] = {}
        self.orders: dict[str, str] = {}

    @property
    def parcels(self) -> int:
        """How many parcels left."""
        return sum(isinstance(shipment, Shipped) for shipment in self.shipments.values())

    async def ship(
        self, key: str, order_id: str, lines: Sequence[ItemQuantity], address: Address
    ) -> Shipped | ShipmentRejected:
        def effect() -> Shipped | ShipmentRejected:
            if key not in self.shipments:
                refused = address.postal_code == "00000"
                self.orders[key] = order_id
                self.shipments[key] = (
                    ShipmentRejected("address_refused", "not there")
                    if refused
                    else Shipped(f"sh_{self.parcels + 1}")
                )
            answer = self.shipments[key]
            if isinstance(answer, Voided):
                raise AssertionError("shipped under a closed key")
            return answer

        return await self.perform("ship", key, effect)

    async def find_shipment(self, key: str) -> Shipped | ShipmentRejected | Voided | None:
        return await self.perform("find", key, lambda: self.shipments.get(key))

    async def shipments_of(self, order_id: str) -> tuple[FoundShipment, ...]:
        def effect() -> tuple[FoundShipment, ...]:
            return tuple(
                FoundShipment(key, shipment.reference)
                for key, shipment in self.shipments.items()
                if isinstance(shipment, Shipped) and self.orders[key] == order_id
            )

        return await self.perform("shipments_of", order_id, effect)

    async def void(self, key: str) -> Voided | Shipped | ShipmentRejected | VoidNotOffered:
        if not self.offers_void:
            return VoidNotOffered()
        return await self.perform("void", key, lambda: self.shipments.setdefault(key, Voided()))
