"""The payment gateway as payment sees it: charge, refund, authorize, capture, look up; and its HTTP dialect.

The dialect is described in docs/providers.md for those who put a gateway of their own behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from participants import provider_reply as said
from participants.provider_http import Call, ProviderExchange, Reply, answer_of
from participants.provider_plan import Declined as Declined
from participants.provider_terms import ProviderMisuse, ProviderTraits, Voided, VoidNotOffered

T = TypeVar("T")

_NOT_OFFERED: Final = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True)
class Charged:
    """The money was taken, once; ``reference`` is the gateway's name for it."""

    reference: str


@dataclass(frozen=True, slots=True)
class Refunded:
    """The money went back, once."""

    reference: str


@dataclass(frozen=True, slots=True)
class FoundCharge:
    """A charge that took money, as the gateway's books show it; amounts in minor units."""

    key: str
    reference: str
    amount: int
    currency: str
    refunded: int


@dataclass(frozen=True, slots=True)
class FoundRefund:
    """A refund as the gateway's books show it; ``charge`` is the reference of what it gives back."""

    key: str
    reference: str
    charge: str
    amount: int


@dataclass(frozen=True, slots=True)
class Authorized:
    """The amount is set aside, once; no money has moved."""

    reference: str


@dataclass(frozen=True, slots=True)
class Released:
    """Nothing is set aside any more under an authorization."""

    reference: str


@dataclass(frozen=True, slots=True)
class FoundAuthorization:
    """An authorization as the gateway's books show it, whatever became of it."""

    key: str
    reference: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class FoundRelease:
    """The giving up of ``authorization``, a reference, as the gateway's books show it."""

    key: str
    reference: str
    authorization: str


EXPIRED: Final = "authorization_expired"
"""The code of a capture that is declined since what was set aside stands no more: under no key ever again."""


@dataclass(frozen=True, slots=True)
class RenewalNotOffered:
    """This gateway sets nothing aside anew by itself."""


class PaymentGateway(Protocol):
    """What payment needs from a gateway (P6). ``key`` is `participants.provider_terms.idempotency_key`.

    Calls with the same key and the same request have one effect and one answer, for as long as
    `ProviderTraits.key_lifetime_s` says. Every method raises `ProviderUnavailable` when there was no
    answer (`CallUnderWay` while an earlier call with the key is at work) and `ProviderMisuse` when
    asking again is useless.
    """

    @property
    def traits(self) -> ProviderTraits:
        """What this gateway promises."""

    async def charge(
        self, key: str, order_id: str, amount: int, currency: str, payment_method: str
    ) -> Charged | Declined:
        """Take ``amount`` minor units."""

    async def refund(self, key: str, reference: str, amount: int) -> Refunded | Declined:
        """Give ``amount`` of the charge ``reference`` back: all of it or a part, unless the traits say no."""

    async def find_charge(self, key: str) -> Charged | Declined | Voided | None:
        """What the gateway remembers of a charge with this key; None when it knows of none (P10)."""

    async def find_refund(self, key: str) -> Refunded | None:
        """What the gateway remembers of a refund with this key."""

    async def charges_of(self, order_id: str) -> tuple[FoundCharge, ...]:
        """Everything taken for an order, however old: for intents older than the key's life (P6)."""

    async def refunds_of(self, order_id: str) -> tuple[FoundRefund, ...]:
        """Everything given back for an order, however old."""

    async def void(self, key: str) -> Voided | Charged | Declined | VoidNotOffered:
        """Close the key, so that it can never take effect; or the answer it already has (P10)."""


@runtime_checkable
class AuthorizingGateway(PaymentGateway, Protocol):
    """A gateway that also sets money aside and takes it later; what it promises of keys holds here too.

    What is captured is a charge: `find_charge`, `charges_of`, `refund` and `void` know it by its own key.
    """

    async def authorize(
        self, key: str, order_id: str, amount: int, currency: str, payment_method: str
    ) -> Authorized | Declined:
        """Set ``amount`` minor units aside."""

    async def find_authorization(self, key: str) -> Authorized | Declined | Voided | None:
        """What the gateway remembers of an authorization with this key; None when it knows of none."""

    async def authorizations_of(self, order_id: str) -> tuple[FoundAuthorization, ...]:
        """Everything that was set aside for an order, however old."""

    async def close_authorization(self, key: str) -> Voided | Authorized | Declined | VoidNotOffered:
        """Close the key, so that nothing can be set aside under it; or the answer it already has (P10)."""

    async def release(self, key: str, reference: str) -> Released:
        """Give up what is left of the authorization ``reference``; also where it has expired."""

    async def find_release(self, key: str) -> Released | None:
        """What the gateway remembers of a release with this key."""

    async def releases_of(self, order_id: str) -> tuple[FoundRelease, ...]:
        """Every authorization of an order that was given up, however old."""

    async def capture(self, key: str, reference: str, amount: int) -> Charged | Declined:
        """Take ``amount`` of the authorization ``reference``; declined where it has expired."""


@runtime_checkable
class RenewingGateway(AuthorizingGateway, Protocol):
    """A gateway that may set aside anew what has expired, by the payment method that it has stored.

    It declines a capture of what has expired with the code `EXPIRED`.
    """

    async def renew(self, key: str, reference: str, amount: int) -> Authorized | Declined | RenewalNotOffered:
        """Set aside, for the same order, ``amount`` of what the expired authorization ``reference`` was of.

        Declined where it has not expired: never do two of them stand.
        """


class HttpPaymentGateway:
    """A `RenewingGateway` that speaks the documented dialect over an `ProviderExchange`."""

    def __init__(self, exchange: ProviderExchange, traits: ProviderTraits | None = None) -> None:
        self._exchange = exchange
        self._traits = traits or ProviderTraits()

    @property
    def traits(self) -> ProviderTraits:
        """See `PaymentGateway.traits`."""
        return self._traits

    async def charge(
        self, key: str, order_id: str, amount: int, currency: str, payment_method: str
    ) -> Charged | Declined:
        """See `PaymentGateway.charge`. A 402 is an answer."""
        request = {
            "order_id": order_id,
            "amount": amount,
            "currency": currency,
            "payment_method": payment_method,
        }
        call = Call("POST", "/charges", key, request, sensitive=("payment_method",))
        return await self._unless_declined(call, Charged)

    async def refund(self, key: str, reference: str, amount: int) -> Refunded | Declined:
        """See `PaymentGateway.refund`. A 402 is an answer."""
        call = Call("POST", "/refunds", key, {"charge": reference, "amount": amount})
        return await self._unless_declined(call, Refunded)

    async def find_charge(self, key: str) -> Charged | Declined | Voided | None:
        """See `PaymentGateway.find_charge`."""
        call = Call("GET", "/charges", query=(("key", key),))
        for item in await self._items(call):
            return _remembered(call, item, "succeeded", Charged)
        return None

    async def find_refund(self, key: str) -> Refunded | None:
        """See `PaymentGateway.find_refund`."""
        call = Call("GET", "/refunds", query=(("key", key),))
        for item in await self._items(call):
            return Refunded(said.text(call, item, "reference"))
        return None

    async def charges_of(self, order_id: str) -> tuple[FoundCharge, ...]:
        """See `PaymentGateway.charges_of`."""
        call = Call("GET", "/charges", query=(("order_id", order_id),))
        return tuple(_found_charge(call, item) for item in await self._items(call))

    async def refunds_of(self, order_id: str) -> tuple[FoundRefund, ...]:
        """See `PaymentGateway.refunds_of`."""
        call = Call("GET", "/refunds", query=(("order_id", order_id),))
        return tuple(_found_refund(call, item) for item in await self._items(call))

    async def void(self, key: str) -> Voided | Charged | Declined | VoidNotOffered:
        """See `PaymentGateway.void`. A gateway without that route does not offer it."""
        call = Call("POST", "/charges/void", key)
        reply = await self._exchange.perform(call)
        if reply.status in _NOT_OFFERED:
            return VoidNotOffered()
        return _remembered(call, answer_of(call, reply), "succeeded", Charged)

    async def authorize(
        self, key: str, order_id: str, amount: int, currency: str, payment_method: str
    ) -> Authorized | Declined:
        """See `AuthorizingGateway.authorize`. A 402 is an answer."""
        request = {
            "order_id": order_id,
            "amount": amount,
            "currency": currency,
            "payment_method": payment_method,
        }
        call = Call("POST", "/authorizations", key, request, sensitive=("payment_method",))
        return await self._unless_declined(call, Authorized)

    async def find_authorization(self, key: str) -> Authorized | Declined | Voided | None:
        """See `AuthorizingGateway.find_authorization`."""
        call = Call("GET", "/authorizations", query=(("key", key),))
        for item in await self._items(call):
            return _remembered(call, item, "authorized", Authorized)
        return None

    async def authorizations_of(self, order_id: str) -> tuple[FoundAuthorization, ...]:
        """See `AuthorizingGateway.authorizations_of`."""
        call = Call("GET", "/authorizations", query=(("order_id", order_id),))
        return tuple(
            FoundAuthorization(
                said.text(call, item, "key"),
                said.text(call, item, "reference"),
                said.amount(call, item, "amount"),
                said.text(call, item, "currency"),
            )
            for item in await self._items(call)
        )

    async def close_authorization(self, key: str) -> Voided | Authorized | Declined | VoidNotOffered:
        """See `AuthorizingGateway.close_authorization`. A gateway without that route does not offer it."""
        call = Call("POST", "/authorizations/void", key)
        reply = await self._exchange.perform(call)
        if reply.status in _NOT_OFFERED:
            return VoidNotOffered()
        return _remembered(call, answer_of(call, reply), "authorized", Authorized)

    async def release(self, key: str, reference: str) -> Released:
        """See `AuthorizingGateway.release`."""
        call = Call("POST", "/releases", key, {"authorization": reference})
        answer = answer_of(call, await self._exchange.perform(call))
        return Released(said.text(call, answer, "reference"))

    async def find_release(self, key: str) -> Released | None:
        """See `AuthorizingGateway.find_release`."""
        call = Call("GET", "/releases", query=(("key", key),))
        for item in await self._items(call):
            return Released(said.text(call, item, "reference"))
        return None

    async def releases_of(self, order_id: str) -> tuple[FoundRelease, ...]:
        """See `AuthorizingGateway.releases_of`."""
        call = Call("GET", "/releases", query=(("order_id", order_id),))
        return tuple(
            FoundRelease(*(said.text(call, item, name) for name in ("key", "reference", "authorization")))
            for item in await self._items(call)
        )

    async def capture(self, key: str, reference: str, amount: int) -> Charged | Declined:
        """See `AuthorizingGateway.capture`. A 402 is an answer."""
        call = Call("POST", "/captures", key, {"authorization": reference, "amount": amount})
        return await self._unless_declined(call, Charged)

    async def renew(self, key: str, reference: str, amount: int) -> Authorized | Declined | RenewalNotOffered:
        """See `RenewingGateway.renew`. A gateway without that route does not offer it."""
        asked = {"authorization": reference, "amount": amount}
        call = Call("POST", "/authorizations/renew", key, asked)
        reply = await self._exchange.perform(call)
        if reply.status in _NOT_OFFERED:
            return RenewalNotOffered()
        return _unless_refused(call, reply, Authorized)

    async def _unless_declined(self, call: Call, took_effect: Callable[[str], T]) -> T | Declined:
        return _unless_refused(call, await self._exchange.perform(call), took_effect)

    async def _items(self, call: Call) -> tuple[Mapping[str, Any], ...]:
        return said.items(call, answer_of(call, await self._exchange.perform(call)))


def _unless_refused(call: Call, reply: Reply, took_effect: Callable[[str], T]) -> T | Declined:
    """What an answer says; 402 says no."""
    if reply.status == 402 and not reply.is_page:
        return _declined(reply.body)
    return took_effect(said.text(call, answer_of(call, reply), "reference"))


def _declined(answer: Mapping[str, Any] | None) -> Declined:
    code, message = said.refusal(answer, otherwise="declined")
    return Declined(code, message)


def _remembered(
    call: Call, item: Mapping[str, Any], effect: str, took_effect: Callable[[str], T]
) -> T | Declined | Voided:
    """What became of a key; ``effect`` is the status of one that took effect."""
    status = said.text(call, item, "status")
    if status == effect:
        return took_effect(said.text(call, item, "reference"))
    if status == "declined":
        return _declined(item)
    if status == "voided":
        return Voided()
    raise ProviderMisuse(f"{call}: the answer's status is none of {effect}, declined, voided")


def _found_charge(call: Call, item: Mapping[str, Any]) -> FoundCharge:
    return FoundCharge(
        key=said.text(call, item, "key"),
        reference=said.text(call, item, "reference"),
        amount=said.amount(call, item, "amount"),
        currency=said.text(call, item, "currency"),
        refunded=said.amount(call, item, "refunded"),
    )


def _found_refund(call: Call, item: Mapping[str, Any]) -> FoundRefund:
    return FoundRefund(
        key=said.text(call, item, "key"),
        reference=said.text(call, item, "reference"),
        charge=said.text(call, item, "charge"),
        amount=said.amount(call, item, "amount"),
    )
