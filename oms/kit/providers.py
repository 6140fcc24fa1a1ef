"""Clients of a payment gateway or carrier: what they keep to, and what they answer. See docs/providers.md.

An entry point in the group ``oms.payment_gateways`` or ``oms.carriers`` names a function that is called
with `ProviderLimits` and returns a `PaymentGateway` (an `AuthorizingGateway` where money may be captured
later, a `RenewingGateway` where what has expired can be set aside anew), or a `Carrier`. Settings of its own
it reads from the environment; its name is what ``OMS_PAYMENT_GATEWAY`` or ``OMS_CARRIER`` says. A method
``close`` is awaited at the end.

A provider step of one's own participant (`oms.kit.Participant.provider_step`) may have any client. What it
answers is an object with a ``reference`` (`Took`), one with ``code`` and ``message`` (`Declined`), or None
for nothing found; where there is no answer it raises `ProviderUnavailable` (silence, a time-out, an error
of the server), `CallUnderWay`, or `ProviderMisuse` where the request itself is refused. `HttpExchange` is a
way to one over HTTP which knows these already.
"""

from __future__ import annotations

from participants.payment.gateway import (
    EXPIRED,
    Authorized,
    AuthorizingGateway,
    Charged,
    Declined,
    FoundAuthorization,
    FoundCharge,
    FoundRefund,
    FoundRelease,
    PaymentGateway,
    Refunded,
    Released,
    RenewalNotOffered,
    RenewingGateway,
)
from participants.provider_http import Call, HttpExchange, InvalidProviderUrl, Reply, answer_of
from participants.provider_plan import Took
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
    "EXPIRED",
    "Authorized",
    "AuthorizingGateway",
    "Call",
    "CallUnderWay",
    "Carrier",
    "Charged",
    "Declined",
    "FoundAuthorization",
    "FoundCharge",
    "FoundRefund",
    "FoundRelease",
    "FoundShipment",
    "HttpExchange",
    "InvalidProviderUrl",
    "PaymentGateway",
    "ProviderLimits",
    "ProviderMisuse",
    "ProviderTraits",
    "ProviderUnavailable",
    "Refunded",
    "Released",
    "RenewalNotOffered",
    "RenewingGateway",
    "Reply",
    "ShipmentRejected",
    "Shipped",
    "Took",
    "VoidNotOffered",
    "Voided",
    "answer_of",
]
