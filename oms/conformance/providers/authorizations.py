"""A gateway that authorizes: authorizations under keys, what is captured of them, and what is given up."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

from oms.conformance.providers.charges import ChargeExamples
from oms.conformance.providers.keys import Attempt, Kind, Work, answered, asked, key_attempts, must, words
from oms.conformance.verdict import NotTried
from participants.payment.gateway import (
    EXPIRED,
    Authorized,
    AuthorizingGateway,
    Charged,
    Declined,
    FoundAuthorization,
    FoundRelease,
    PaymentGateway,
    Released,
    RenewalNotOffered,
    RenewingGateway,
)
from participants.provider_terms import ProviderMisuse, Voided, VoidNotOffered


class Authorizations:
    """Authorizations as `Keyed`."""

    name = "authorization"
    success = Authorized
    refusal = Declined

    def __init__(self, gateway: AuthorizingGateway, examples: ChargeExamples) -> None:
        self._gateway = gateway
        self._examples = examples

    def new(self) -> Work:
        """See `Keyed.new`."""
        return Work(str(uuid4()), f"{uuid4()}:authorize:forward")

    def offers(self, kind: Kind) -> bool:
        """See `Keyed.offers`."""
        return self._examples.method(kind) is not None

    def do(self, work: Work, kind: Kind = Kind.GOOD) -> Awaitable[Authorized | Declined]:
        """See `Keyed.do`."""
        amount = self._examples.amount + (1 if kind is Kind.OTHER else 0)
        method = self._examples.method(kind)
        if method is None:
            raise NotTried(f"no example is given of {kind}")
        return self._gateway.authorize(work.key, work.order_id, amount, self._examples.currency, method)

    def find(self, key: str) -> Awaitable[Authorized | Declined | Voided | None]:
        """See `Keyed.find`."""
        return self._gateway.find_authorization(key)

    def of_order(self, order_id: str) -> Awaitable[Sequence[FoundAuthorization]]:
        """See `Keyed.of_order`."""
        return self._gateway.authorizations_of(order_id)

    def void(self, key: str) -> Awaitable[Voided | Authorized | Declined | VoidNotOffered]:
        """See `Keyed.void`."""
        return self._gateway.close_authorization(key)


async def authorization_attempts(gateway: PaymentGateway, examples: ChargeExamples) -> list[Attempt]:
    """Everything about money that is set aside, in order; nothing for a gateway that does not offer it."""
    if not isinstance(gateway, AuthorizingGateway):
        return []
    if isinstance(await asked(gateway.find_authorization(f"{uuid4()}:authorize:forward")), ProviderMisuse):
        return []
    of_keys = key_attempts(Authorizations(gateway, examples))
    return [
        *(replace(each, name=f"authorizations: {each.name}") for each in of_keys),
        Attempt("a capture is a charge", ("P6", "S27"), partial(_capture, gateway, examples)),
        Attempt("a capture of more than is left", ("S27",), partial(_too_much, gateway, examples)),
        Attempt(
            "a release, again, and no capture after it", ("P6", "S27"), partial(_release, gateway, examples)
        ),
        *_renewals(gateway, examples),
    ]


def _renewals(gateway: AuthorizingGateway, examples: ChargeExamples) -> list[Attempt]:
    """What is tried with a gateway that may set aside anew what has expired."""
    if not isinstance(gateway, RenewingGateway):
        return []
    name = "what has expired is set aside anew, once, and captured"
    return [Attempt(name, ("P6", "S27"), partial(_renewed, gateway, examples))]


async def _authorized(gateway: AuthorizingGateway, examples: ChargeExamples) -> tuple[Work, str]:
    authorizations = Authorizations(gateway, examples)
    work = authorizations.new()
    came = await answered(partial(authorizations.do, work))
    must(isinstance(came, Authorized), "P6", f"authorization under {work.key}", "Authorized", came)
    return work, str(came.reference)


async def _capture(gateway: AuthorizingGateway, examples: ChargeExamples) -> None:
    work, reference = await _authorized(gateway, examples)
    taken = await gateway.charges_of(work.order_id)
    must(taken == (), "S27", "look-up of what was charged before the capture", "none", taken)
    key = _key("capture")
    first = await _captured(gateway, key, reference, examples.amount)
    must(isinstance(first, Charged), "P6", f"capture of {examples.amount} under {key}", "Charged", first)
    again = await _captured(gateway, key, reference, examples.amount)
    must(again == first, "P6", f"the same capture under {key} again", words(first), again)
    found = await asked(gateway.find_charge(key))
    must(found == first, "P6", f"look-up of the charge {key}", words(first), found)
    sums = [charge.amount for charge in await gateway.charges_of(work.order_id)]
    must(sums == [examples.amount], "S27", "look-up of what was charged", str([examples.amount]), sums)


async def _too_much(gateway: AuthorizingGateway, examples: ChargeExamples) -> None:
    work, reference = await _authorized(gateway, examples)
    came = await _captured(gateway, _key("capture"), reference, examples.amount + 1)
    sent = f"capture of {examples.amount + 1} where {examples.amount} were authorized"
    refused = isinstance(came, ProviderMisuse | Declined)
    must(refused, "S27", sent, "402, or a status such as 422, which is no answer", came)
    taken = await gateway.charges_of(work.order_id)
    must(taken == (), "S27", sent, "nothing is charged", taken)


async def _release(gateway: AuthorizingGateway, examples: ChargeExamples) -> None:
    work, reference = await _authorized(gateway, examples)
    key = _key("authorize:compensating")
    first = await answered(partial(gateway.release, key, reference))
    must(isinstance(first, Released), "P6", f"release under {key}", "Released", first)
    again = await answered(partial(gateway.release, key, reference))
    must(again == first, "P6", f"the same release under {key} again", words(first), again)
    found = await asked(gateway.find_release(key))
    must(found == first, "P6", f"look-up of the release {key}", words(first), found)
    listed = await gateway.releases_of(work.order_id)
    expected = (FoundRelease(key, first.reference, reference),)
    must(listed == expected, "P6", f"look-up of order {work.order_id}", words(expected), listed)
    came = await _captured(gateway, _key("capture"), reference, 1)
    refused = isinstance(came, ProviderMisuse | Declined)
    must(refused, "S27", "capture of what was given up", "402, or a status such as 422", came)


async def _renewed(gateway: RenewingGateway, examples: ChargeExamples) -> None:
    if examples.renewing is None:
        raise NotTried("no example is given of an authorization that expires and can be set aside anew")
    work, reference = await _authorized(
        gateway, examples.model_copy(update={"payment_method": examples.renewing})
    )
    refused = await _captured(gateway, _key("capture"), reference, examples.amount)
    expired = isinstance(refused, Declined) and refused.code == EXPIRED
    must(expired, "S27", "capture of what has expired", f"402 with the code {EXPIRED}", refused)
    key = _key("capture:forward:renew")
    first = await answered(partial(gateway.renew, key, reference, examples.amount))
    if isinstance(first, RenewalNotOffered):
        raise NotTried("it sets nothing aside anew")
    must(isinstance(first, Authorized), "P6", f"renewal under {key}", "Authorized", first)
    again = await answered(partial(gateway.renew, key, reference, examples.amount))
    must(again == first, "P6", f"the same renewal under {key} again", words(first), again)
    listed = [each.reference for each in await gateway.authorizations_of(work.order_id) if each.key == key]
    must(listed == [first.reference], "P6", f"look-up of order {work.order_id}", first.reference, listed)
    second = await answered(partial(gateway.renew, _key("capture:forward:renew"), reference, examples.amount))
    must(isinstance(second, Declined), "S27", "a second renewal of the same", "Declined", second)
    taken = await _captured(gateway, _key("capture:forward:again"), first.reference, examples.amount)
    must(isinstance(taken, Charged), "P6", "capture of what was set aside anew", "Charged", taken)


async def _captured(gateway: AuthorizingGateway, key: str, reference: str, amount: int) -> Any:
    return await answered(partial(gateway.capture, key, reference, amount))


def _key(work: str) -> str:
    return f"{uuid4()}:{work}"
