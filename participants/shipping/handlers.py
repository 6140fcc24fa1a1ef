"""Shipping: hand the parcel to the carrier. There is no way back (S6)."""

from __future__ import annotations

from typing import Final

from contracts.commands import ShipOrder
from contracts.events import OrderFulfilledEvent, ShipmentRejectedEvent
from contracts.routing import SHIPPING
from participants.kit.errands import Errand
from participants.kit.participant import HouseParticipant
from participants.provider_plan import Took
from participants.provider_terms import Voided, VoidNotOffered
from participants.shipping.carrier import Carrier, FoundShipment, ShipmentRejected, Shipped

shipping: Final = HouseParticipant(SHIPPING)


@shipping.provider_step(ShipOrder)
class Ship:
    """Ships; the address is sensitive, so what is kept is what is in the parcel."""

    rejection = ShipmentRejectedEvent

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    async def call(self, errand: Errand, command: ShipOrder) -> Shipped | ShipmentRejected:
        """Ship."""
        parcel = (command.lines, command.shipping_address)
        return await self._carrier.ship(errand.key, str(errand.subject_id), *parcel)

    async def close(self, errand: Errand) -> Voided | Shipped | ShipmentRejected | VoidNotOffered:
        """Void the shipment's key."""
        return await self._carrier.void(errand.key)

    async def find(self, errand: Errand) -> Shipped | ShipmentRejected | Voided | None:
        """Look the shipment up by its key."""
        return await self._carrier.find_shipment(errand.key)

    async def recall(self, errand: Errand) -> tuple[FoundShipment, ...]:
        """Look the shipment up among those of the order."""
        return await self._carrier.shipments_of(str(errand.subject_id))

    def success(self, errand: Errand, took: Took) -> OrderFulfilledEvent:
        """The carrier has the parcel."""
        return errand.answer(OrderFulfilledEvent, reference=took.reference)
