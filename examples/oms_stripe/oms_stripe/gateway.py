"""Payments through Stripe: a PaymentIntent a charge, its idempotency key the key of the work.

A key closes by being used: another request under it, an intent that nobody confirms, makes every later charge
under it an `idempotency_error`. Charges are found by their key through ``transfer_group``, by which Stripe
lists without delay; by their order through the search, whose delay is behind ``settling_time_s``.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from oms.kit import read_variable
from oms.kit.providers import (
    CallUnderWay,
    Charged,
    Declined,
    FoundCharge,
    FoundRefund,
    HttpExchange,
    ProviderLimits,
    ProviderMisuse,
    ProviderTraits,
    ProviderUnavailable,
    Refunded,
    Voided,
)
from oms_stripe.api import VERSION, Api, CardRefused, KeyUsedOtherwise, RequestRefused
from oms_stripe.money import NoSuchUnit, from_stripe, to_stripe
from oms_stripe.refusals import AMOUNT, is_the_customers, told

KEY: Final = "OMS_STRIPE_KEY"
URL: Final = "OMS_STRIPE_URL"
TRAITS: Final = ProviderTraits(key_lifetime_s=86_400, settling_time_s=7_200)
"""Stripe keeps keys for a day at least; its search index may lag by an hour."""

RECENT_S: Final = 7_200
"""Seconds for which lists of everything are looked through, beside what the search finds."""

REMEMBERED_S: Final = TRAITS.key_lifetime_s + RECENT_S
"""Seconds for which refunds are looked through, which no search finds: a key is asked after for as long as it
lives, and clocks differ."""

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SECRET: Final = re.compile(r"(sk|rk)_(test|live)_[A-Za-z0-9_]{1,200}")
_CLOSING: Final = {"amount": 100, "currency": "usd"}
"""What the intent asks for that only closes a key; it is never confirmed."""


class InvalidStripeSettings(Exception):
    """A variable cannot be used; the message names it."""


def gateway(limits: ProviderLimits) -> StripeGateway:
    """The gateway of OMS_STRIPE_KEY, or OMS_STRIPE_KEY_FILE, and OMS_STRIPE_URL.

    Raises:
        InvalidStripeSettings, InvalidProviderUrl: one of them cannot be used.
    """
    secret = read_variable(KEY) or ""
    if not _SECRET.fullmatch(secret):
        raise InvalidStripeSettings(
            f"{KEY} or {KEY}_FILE must be a secret or restricted key: sk_... or rk_..."
        )
    url = read_variable(URL) or "https://api.stripe.com"
    headers = {"Authorization": f"Bearer {secret}", "Stripe-Version": VERSION}
    exchange = HttpExchange(url, timeout_s=limits.timeout_s, connections=limits.concurrency, headers=headers)
    return StripeGateway(Api(exchange))


class StripeGateway:
    """A `PaymentGateway`, and what money in two steps needs: authorize, capture, cancel."""

    traits = TRAITS

    def __init__(self, api: Api) -> None:
        self._api = api

    async def charge(
        self, key: str, order_id: str, amount: int, currency: str, payment_method: str
    ) -> Charged | Declined:
        """See `PaymentGateway.charge`."""
        return await self._pay(key, order_id, amount, currency, payment_method, "automatic")

    async def authorize(
        self, key: str, order_id: str, amount: int, currency: str, payment_method: str
    ) -> Charged | Declined:
        """Reserve the money without taking it; `capture` takes it, `cancel` lets it go."""
        return await self._pay(key, order_id, amount, currency, payment_method, "manual")

    async def capture(self, key: str, reference: str, amount: int, currency: str) -> Charged:
        """Take what was authorized, or a part of it; Stripe lets the rest go."""
        units = to_stripe(amount, currency)
        path = f"/v1/payment_intents/{reference}/capture"
        return Charged(_id(await self._api.post(path, key, amount_to_capture=units)))

    async def cancel(self, key: str, reference: str) -> Voided:
        """Let go what was authorized and not captured."""
        await self._api.post(f"/v1/payment_intents/{reference}/cancel", key)
        return Voided()

    async def refund(self, key: str, reference: str, amount: int) -> Refunded:
        """See `PaymentGateway.refund`; of a part as well."""
        intent = await self._api.get(f"/v1/payment_intents/{reference}")
        units = to_stripe(amount, _currency(intent))
        asked = {"payment_intent": reference, "amount": units, "metadata": {"oms_key": key}}
        refund = await self._api.post("/v1/refunds", key, **asked)
        if refund.get("status") in ("failed", "canceled"):
            raise ProviderMisuse(f"the refund {_id(refund)} is {refund['status']}")
        return Refunded(_id(refund))

    async def void(self, key: str) -> Voided | Charged | Declined:
        """See `PaymentGateway.void`: use the key up for an intent that nobody confirms, and cancel that."""
        closing = {**_CLOSING, "metadata": {"oms_key": key, "oms_closed": "yes"}}
        try:
            intent = await self._api.post("/v1/payment_intents", key, **closing)
        except KeyUsedOtherwise:
            answer = await self.find_charge(key)
            if answer is None:
                raise ProviderUnavailable("the key was used, and what came of it is not to be seen") from None
            return answer
        await self._api.post(f"/v1/payment_intents/{_id(intent)}/cancel", f"{key}:close")
        return Voided()

    async def find_charge(self, key: str) -> Charged | Declined | Voided | None:
        """See `PaymentGateway.find_charge`."""
        refused: Declined | None = None
        async for charge in self._api.every("/v1/charges", transfer_group=key):
            if charge.get("status") == "succeeded":
                return Charged(_text(charge, "payment_intent"))
            if charge.get("status") == "pending":
                raise CallUnderWay(f"the charge {_id(charge)} is pending")
            refused = _declined(str(charge.get("failure_code")), str(charge.get("failure_message") or ""))
        return refused or await self._without_charge(key)

    async def find_refund(self, key: str) -> Refunded | None:
        """See `PaymentGateway.find_refund`: of an undone charge among its refunds, else among all."""
        work, _, direction = key.rpartition(":")
        its: list[dict[str, Any]] = []
        if direction == "compensating":
            undone = self._api.every("/v1/charges", transfer_group=f"{work}:forward")
            its = [{"charge": _id(charge)} async for charge in undone]
        for among in its or [{"created": {"gte": _since(REMEMBERED_S)}}]:
            async for refund in self._refunds(**among):
                if _key(refund) == key:
                    return Refunded(_id(refund))
        return None

    async def charges_of(self, order_id: str) -> tuple[FoundCharge, ...]:
        """See `PaymentGateway.charges_of`."""
        return tuple([_found(charge) for charge in await self._charges(order_id)])

    async def refunds_of(self, order_id: str) -> tuple[FoundRefund, ...]:
        """See `PaymentGateway.refunds_of`."""
        found: list[FoundRefund] = []
        for charge in await self._charges(order_id):
            async for refund in self._refunds(charge=_id(charge)):
                back = from_stripe(refund["amount"], _currency(charge))
                found.append(FoundRefund(_key(refund), _id(refund), _text(charge, "payment_intent"), back))
        return tuple(found)

    async def close(self) -> None:
        """Give the connections back."""
        await self._api.close()

    async def _pay(
        self, key: str, order_id: str, amount: int, currency: str, payment_method: str, capture: str
    ) -> Charged | Declined:
        try:
            units = to_stripe(amount, currency)
        except NoSuchUnit:
            return _declined("amount_without_a_unit", AMOUNT)
        asked = {
            "amount": units,
            "currency": currency.lower(),
            "payment_method": payment_method,
            "payment_method_types[]": "card",
            "capture_method": capture,
            "confirm": True,
            "error_on_requires_action": True,
            "transfer_group": key,
            "metadata": {"oms_key": key, "order_id": order_id},
        }
        try:
            intent = await self._api.post("/v1/payment_intents", key, **asked)
        except CardRefused as refused:
            return _declined(refused.code, refused.message)
        except RequestRefused as refused:
            if not is_the_customers(refused):
                raise
            return _declined(*told(refused))
        except CallUnderWay:
            raise
        except ProviderUnavailable:
            return await self._found_after_silence(key)
        if intent.get("status") == "processing":  # under its key Stripe will say so for ever
            intent = await self._api.get(f"/v1/payment_intents/{_id(intent)}")
        return await self._paid(key, intent)

    async def _paid(self, key: str, intent: Mapping[str, Any]) -> Charged | Declined:
        match intent.get("status"):
            case "succeeded" | "requires_capture":
                return Charged(_id(intent))
            case "processing":
                raise CallUnderWay(f"the payment {_id(intent)} is processing")
            case "requires_action" | "requires_payment_method" | "requires_confirmation" as status:
                await self._api.post(f"/v1/payment_intents/{_id(intent)}/cancel", f"{key}:close")
                return _declined(str(status), "The payment needs the customer, who is not there.")
        raise ProviderMisuse(f"the payment {_id(intent)} is {intent.get('status')}")

    async def _found_after_silence(self, key: str) -> Charged | Declined:
        """Stripe repeats even an error of its own under a key: what the books show counts."""
        found = await self.find_charge(key)
        if isinstance(found, Charged | Declined):
            return found
        raise ProviderUnavailable("no answer, and nothing in the books yet")

    async def _without_charge(self, key: str) -> Declined | Voided | None:
        """What became of a key under which no charge was even tried: closed, or refused before."""
        async for intent in self._searched_and_recent("payment_intents", "oms_key", key):
            if intent.get("metadata", {}).get("oms_closed"):
                return Voided()
            error = intent.get("last_payment_error")
            if error:
                return _declined(str(error.get("decline_code") or error.get("code")), str(error["message"]))
        return None

    async def _charges(self, order_id: str) -> list[Mapping[str, Any]]:
        """Everything taken for an order: as the search knows it, and what may be too recent for that."""
        both = self._searched_and_recent("charges", "order_id", order_id)
        found = {_id(charge): charge async for charge in both}
        return [each for each in found.values() if each.get("status") == "succeeded" and each.get("captured")]

    async def _searched_and_recent(
        self, kind: str, name: str, value: str
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Those with this in their metadata; what is too recent for the search is found by a list."""
        async for each in self._api.every(f"/v1/{kind}/search", query=f"metadata['{name}']:'{value}'"):
            yield each
        async for each in self._api.every(f"/v1/{kind}", created={"gte": _since(RECENT_S)}):
            if each.get("metadata", {}).get(name) == value:
                yield each

    async def _refunds(self, **query: Any) -> AsyncIterator[Mapping[str, Any]]:
        async for refund in self._api.every("/v1/refunds", **query):
            if refund.get("status") not in ("failed", "canceled"):
                yield refund


def _declined(code: str, message: str) -> Declined:
    return Declined(code if _CODE.fullmatch(code) else "declined", message[:1000])


def _found(charge: Mapping[str, Any]) -> FoundCharge:
    currency = _currency(charge)
    taken, back = from_stripe(charge["amount_captured"], currency), charge.get("amount_refunded", 0)
    reference = _text(charge, "payment_intent")
    return FoundCharge(_key(charge), reference, taken, currency, from_stripe(back, currency))


def _since(seconds: float) -> int:
    return int(time.time() - seconds)


def _key(found: Mapping[str, Any]) -> str:
    return str(found.get("metadata", {}).get("oms_key", ""))


def _currency(found: Mapping[str, Any]) -> str:
    return _text(found, "currency").upper()


def _id(found: Mapping[str, Any]) -> str:
    return _text(found, "id")


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 200:
        raise ProviderUnavailable(f"Stripe's answer has no usable {name}")
    return value
