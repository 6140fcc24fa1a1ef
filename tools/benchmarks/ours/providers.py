"""A gateway and a carrier that answer at once, so that what is measured is what stands around them.

The peers' steps are one SQL write each and call nobody. These two keep no books: they know what they would
answer from the key alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.commands import ItemQuantity
from contracts.orders import Address
from participants.payment.gateway import Charged, Declined, FoundCharge, FoundRefund, Refunded
from participants.provider_terms import ProviderTraits, Voided, VoidNotOffered
from participants.shipping.carrier import FoundShipment, ShipmentRejected, Shipped


class InstantGateway:
    """A `participants.payment.gateway.PaymentGateway`."""

    traits = ProviderTraits()

    async def charge(
        self, key: str, order_id: str, amount: int, currency: str, payment_method: str
    ) -> Charged | Declined:
        """See the port."""
        if payment_method == "pm_card_declined":
            return Declined("card_declined", "the card was declined")
        return Charged(key)

    async def refund(self, key: str, reference: str, amount: int) -> Refunded:
        """See the port."""
        return Refunded(key)

    async def find_charge(self, key: str) -> Charged | Declined | Voided | None:
        """See the port."""
        return Charged(key)

    async def find_refund(self, key: str) -> Refunded | None:
        """See the port."""
        return Refunded(key)

    async def charges_of(self, order_id: str) -> tuple[FoundCharge, ...]:
        """See the port."""
        return ()

    async def refunds_of(self, order_id: str) -> tuple[FoundRefund, ...]:
        """See the port."""
        return ()

    async def void(self, key: str) -> Voided | Charged | Declined | VoidNotOffered:
        """See the port."""
        return VoidNotOffered()


class InstantCarrier:
    """A `participants.shipping.carrier.Carrier`."""

    traits = ProviderTraits()

    async def ship(
        self, key: str, order_id: str, lines: Sequence[ItemQuantity], address: Address
    ) -> Shipped | ShipmentRejected:
        """See the port."""
        if address.postal_code == "00000":
            return ShipmentRejected("no_such_place", "there is nothing at this address")
        return Shipped(key)

    async def find_shipment(self, key: str) -> Shipped | ShipmentRejected | Voided | None:
        """See the port."""
        return Shipped(key)

    async def shipments_of(self, order_id: str) -> tuple[FoundShipment, ...]:
        """See the port."""
        return ()

    async def void(self, key: str) -> Voided | Shipped | ShipmentRejected | VoidNotOffered:
        """See the port."""
        return VoidNotOffered()
