"""A carrier: shipments under keys."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, Self
from uuid import uuid4

from pydantic import model_validator

from contracts.commands import ItemQuantity
from contracts.examples import ORDER
from contracts.orders import Address
from oms.conformance.providers.keys import Kind, Work
from oms.conformance.repertoire import Part
from oms.conformance.verdict import NotTried
from participants.provider_terms import Voided, VoidNotOffered
from participants.shipping.carrier import Carrier, FoundShipment, ShipmentRejected, Shipped


class ShipmentExamples(Part):
    """Where parcels go, and what becomes of them: fields of an address that are other than in ``address``.

    Attributes:
        address: one that is shipped to.
        refused: what is other in one that is refused; None where there is none.
        slow: in one that is shipped to without an answer to the first call in time.
        failing: in one to which there is no answer.
    """

    sku: str = "SKU-1"
    quantity: int = 2
    address: Address = ORDER.shipping_address
    refused: dict[str, Any] | None = None
    slow: dict[str, Any] | None = None
    failing: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        for changes in filter(None, (self.refused, self.slow, self.failing)):
            self.changed(changes)
        return self

    def changed(self, changes: Mapping[str, Any]) -> Address:
        """The address with something other in it."""
        return Address.model_validate({**self.address.model_dump(), **changes})


OF_THE_SANDBOX: Final = ShipmentExamples(
    refused={"postal_code": "00000"}, slow={"postal_code": "00003"}, failing={"postal_code": "00002"}
)


class Shipments:
    """Shipments as `Keyed`."""

    name = "shipment"
    success = Shipped
    refusal = ShipmentRejected

    def __init__(self, carrier: Carrier, examples: ShipmentExamples) -> None:
        self._carrier = carrier
        self._examples = examples

    def new(self) -> Work:
        """See `Keyed.new`."""
        return Work(str(uuid4()), f"{uuid4()}:ship:forward")

    def offers(self, kind: Kind) -> bool:
        """See `Keyed.offers`."""
        return self._changes(kind) is not None

    def do(self, work: Work, kind: Kind = Kind.GOOD) -> Awaitable[Shipped | ShipmentRejected]:
        """See `Keyed.do`."""
        changes = self._changes(kind)
        if changes is None:
            raise NotTried(f"no example is given of {kind}")
        quantity = self._examples.quantity + (1 if kind is Kind.OTHER else 0)
        lines = (ItemQuantity(sku=self._examples.sku, quantity=quantity),)
        return self._carrier.ship(work.key, work.order_id, lines, self._examples.changed(changes))

    def find(self, key: str) -> Awaitable[Shipped | ShipmentRejected | Voided | None]:
        """See `Keyed.find`."""
        return self._carrier.find_shipment(key)

    def of_order(self, order_id: str) -> Awaitable[Sequence[FoundShipment]]:
        """See `Keyed.of_order`."""
        return self._carrier.shipments_of(order_id)

    def void(self, key: str) -> Awaitable[Voided | Shipped | ShipmentRejected | VoidNotOffered]:
        """See `Keyed.void`."""
        return self._carrier.void(key)

    def _changes(self, kind: Kind) -> dict[str, Any] | None:
        examples = self._examples
        other = {Kind.REFUSED: examples.refused, Kind.SLOW: examples.slow, Kind.FAILING: examples.failing}
        return other.get(kind, {})
