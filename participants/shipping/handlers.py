"""Shipping's work: hand the parcel to the carrier. There is no way back (S6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from contracts.commands import Command, ItemQuantity, ShipOrder
from contracts.envelope import Direction
from contracts.events import OrderFulfilledEvent, OutcomeEvent, ShipmentRejectedEvent
from contracts.orders import Address
from contracts.sensitive import without_sensitive
from participants.commands import Work
from participants.ledger import LedgerRow
from participants.provider_plan import Declined, NoEffect, NotFound, Took
from participants.provider_terms import ProviderTraits, Voided, VoidNotOffered
from participants.replies import step_of
from participants.shipping.carrier import Carrier, ShipmentRejected, Shipped

SHIP: Final = Work(ShipOrder, OrderFulfilledEvent, ShipmentRejectedEvent)


class ShippingWork:
    """Ships through a `Carrier`; a `participants.provider_work.ProviderWork` without a compensation."""

    work = SHIP
    reversal = None

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    @property
    def traits(self) -> ProviderTraits:
        """What the carrier promises."""
        return self._carrier.traits

    def details(self, command: Command) -> Mapping[str, Any]:
        """What is in the parcel."""
        assert isinstance(command, ShipOrder)
        return {"lines": [line.model_dump() for line in command.lines]}

    def request(self, command: Command) -> Mapping[str, Any]:
        """Where it goes; sensitive."""
        assert isinstance(command, ShipOrder)
        return {"shipping_address": command.shipping_address.model_dump(exclude_none=True)}

    def success(self, row: LedgerRow, took: Took) -> OutcomeEvent:
        """The carrier has the parcel."""
        return OrderFulfilledEvent(**step_of(row, Direction.FORWARD), reference=took.reference)

    def rejection(self, row: LedgerRow, declined: Declined) -> OutcomeEvent:
        """The carrier refused."""
        message = without_sensitive(declined.message, row.request)
        return ShipmentRejectedEvent(**step_of(row, Direction.FORWARD), code=declined.code, message=message)

    async def act(self, key: str, row: LedgerRow) -> Took | Declined:
        """Ship."""
        assert row.request is not None
        lines = [ItemQuantity.model_validate(line) for line in row.details["lines"]]
        address = Address.model_validate(row.request["shipping_address"])
        return _known(await self._carrier.ship(key, str(row.order_id), lines, address))

    async def close(self, key: str, row: LedgerRow) -> Took | Declined | NoEffect | VoidNotOffered:
        """Void the shipment's key."""
        answer = await self._carrier.void(key)
        if isinstance(answer, VoidNotOffered):
            return answer
        return NoEffect() if isinstance(answer, Voided) else _known(answer)

    async def find(self, key: str, row: LedgerRow) -> Took | Declined | NoEffect | NotFound:
        """Look the shipment up by its key."""
        answer = await self._carrier.find_shipment(key)
        if answer is None:
            return NotFound()
        return NoEffect() if isinstance(answer, Voided) else _known(answer)

    async def recall(self, key: str, row: LedgerRow) -> Took | NotFound:
        """Look the shipment up among those of the order."""
        for shipment in await self._carrier.shipments_of(str(row.order_id)):
            if shipment.key == key:
                return Took(shipment.reference)
        return NotFound()


def _known(answer: Shipped | ShipmentRejected) -> Took | Declined:
    if isinstance(answer, Shipped):
        return Took(answer.reference)
    return Declined(answer.code, answer.message)
