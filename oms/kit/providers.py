"""Clients of a payment gateway or carrier: what they keep to, and what they answer. See docs/providers.md.

An entry point in the group ``oms.payment_gateways`` or ``oms.carriers`` names a function that is called
with `ProviderLimits` and returns a `PaymentGateway`, or a `Carrier`. Settings of its own it reads from the
environment; its name is what ``OMS_PAYMENT_GATEWAY`` or ``OMS_CARRIER`` says. A method ``close`` is awaited
at the end.
"""

from __future__ import annotations

from participants.payment.gateway import (
    Charged,
    Declined,
    FoundCharge,
    FoundRefund,
    PaymentGateway,
    Refunded,
)
from participants.provider_terms import (
    CallUnderWay,
    ProviderLimits,
    ProviderMisuse,
    ProviderTraits,
    ProviderUnavailable,
    Voided,
    VoidNotOffered,
)
from participants.shipping.carrier import Carrier, FoundShipment, ShipmentRejected, Shipped

__all__ = [
    "CallUnderWay",
    "Carrier",
    "Charged",
    "Declined",
    "FoundCharge",
    "FoundRefund",
    "FoundShipment",
    "PaymentGateway",
    "ProviderLimits",
    "ProviderMisuse",
    "ProviderTraits",
    "ProviderUnavailable",
    "Refunded",
    "ShipmentRejected",
    "Shipped",
    "VoidNotOffered",
    "Voided",
]
