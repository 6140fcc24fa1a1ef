"""The carrier as shipping sees it: ship, look up, void; and its HTTP dialect.

The dialect is described in docs/providers.md for those who put a carrier of their own behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from contracts.commands import ItemQuantity
from contracts.orders import Address
from participants import provider_reply as said
from participants.provider_http import Call, ProviderExchange, answer_of
from participants.provider_terms import ProviderMisuse, ProviderTraits, Voided, VoidNotOffered

SHIPMENT_REJECTED: Final = "urn:oms:shipment-rejected"
"""Problem type of a 422 that is an answer: the carrier understood, and refuses this parcel."""

_NOT_OFFERED: Final = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True)
class Shipped:
    """The carrier has the parcel, once; ``reference`` is its name for it."""

    reference: str


@dataclass(frozen=True, slots=True)
class ShipmentRejected:
    """The carrier refused for a business reason; nothing was shipped, and the key will always say so."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class FoundShipment:
    """A shipment as the carrier's books show it."""

    key: str
    reference: str


class Carrier(Protocol):
    """What shipping needs from a carrier (P6). Keys and errors are as for `PaymentGateway`."""

    @property
    def traits(self) -> ProviderTraits:
        """What this carrier promises."""

    async def ship(
        self, key: str, order_id: str, lines: Sequence[ItemQuantity], address: Address
    ) -> Shipped | ShipmentRejected:
        """Take a parcel of the order: its only one, or one of several, each under a key of its own.

        There is no way back from this (S6). Lines have a ``location`` where they are at one with a name.
        """

    async def find_shipment(self, key: str) -> Shipped | ShipmentRejected | Voided | None:
        """What the carrier remembers of a shipment with this key; None when it knows of none (P10)."""

    async def shipments_of(self, order_id: str) -> tuple[FoundShipment, ...]:
        """Everything shipped for an order, however old: for intents older than the key's life (P6)."""

    async def void(self, key: str) -> Voided | Shipped | ShipmentRejected | VoidNotOffered:
        """Close the key, so that nothing can ever be shipped under it; or its answer (P10)."""


class HttpCarrier:
    """A `Carrier` that speaks the documented dialect over an `ProviderExchange`."""

    def __init__(self, exchange: ProviderExchange, traits: ProviderTraits | None = None) -> None:
        self._exchange = exchange
        self._traits = traits or ProviderTraits()

    @property
    def traits(self) -> ProviderTraits:
        """See `Carrier.traits`."""
        return self._traits

    async def ship(
        self, key: str, order_id: str, lines: Sequence[ItemQuantity], address: Address
    ) -> Shipped | ShipmentRejected:
        """See `Carrier.ship`. A 422 of type `SHIPMENT_REJECTED` is an answer."""
        request = {
            "order_id": order_id,
            "lines": [line.model_dump() for line in lines],
            "address": address.model_dump(exclude_none=True),
        }
        call = Call("POST", "/shipments", key, request, sensitive=("address",))
        reply = await self._exchange.perform(call)
        if reply.status == 422 and reply.body is not None and reply.body.get("type") == SHIPMENT_REJECTED:
            return _rejected(reply.body)
        return Shipped(said.text(call, answer_of(call, reply), "reference"))

    async def find_shipment(self, key: str) -> Shipped | ShipmentRejected | Voided | None:
        """See `Carrier.find_shipment`."""
        call = Call("GET", "/shipments", query=(("key", key),))
        for item in await self._items(call):
            return _remembered(call, item)
        return None

    async def shipments_of(self, order_id: str) -> tuple[FoundShipment, ...]:
        """See `Carrier.shipments_of`."""
        call = Call("GET", "/shipments", query=(("order_id", order_id),))
        return tuple(
            FoundShipment(said.text(call, item, "key"), said.text(call, item, "reference"))
            for item in await self._items(call)
        )

    async def void(self, key: str) -> Voided | Shipped | ShipmentRejected | VoidNotOffered:
        """See `Carrier.void`. A carrier without that route does not offer it."""
        call = Call("POST", "/shipments/void", key)
        reply = await self._exchange.perform(call)
        if reply.status in _NOT_OFFERED:
            return VoidNotOffered()
        return _remembered(call, answer_of(call, reply))

    async def _items(self, call: Call) -> tuple[Mapping[str, Any], ...]:
        return said.items(call, answer_of(call, await self._exchange.perform(call)))


def _rejected(answer: Mapping[str, Any]) -> ShipmentRejected:
    code, message = said.refusal(answer, otherwise="rejected")
    return ShipmentRejected(code, message)


def _remembered(call: Call, item: Mapping[str, Any]) -> Shipped | ShipmentRejected | Voided:
    status = said.text(call, item, "status")
    if status == "shipped":
        return Shipped(said.text(call, item, "reference"))
    if status == "rejected":
        return _rejected(item)
    if status == "voided":
        return Voided()
    raise ProviderMisuse(f"{call}: the answer's status is none of shipped, rejected, voided")
