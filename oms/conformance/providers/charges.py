"""A payment gateway: charges under keys, and refunds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Final
from uuid import uuid4

from pydantic import Field

from oms.conformance.providers.keys import AT_ONCE, Attempt, Kind, Work, answered, asked, must, words
from oms.conformance.repertoire import Part
from oms.conformance.verdict import NotTried
from participants.payment.gateway import Charged, Declined, FoundCharge, PaymentGateway, Refunded
from participants.provider_terms import CallUnderWay, ProviderMisuse, Voided, VoidNotOffered


class ChargeExamples(Part):
    """Payment methods and what they do. By default those of the sandbox.

    Attributes:
        amount: in minor units; one more is asked for as another request.
        payment_method: one that pays.
        declined: one that is declined; None where there is none.
        slow: one that takes the money and does not answer the first call in time.
        failing: one to which there is no answer.
        renewing: one whose authorization has expired when it is captured, and can be set aside anew.
    """

    amount: Annotated[int, Field(ge=2)] = 1299
    currency: str = "EUR"
    payment_method: str = "pm_card_visa"
    declined: str | None = None
    slow: str | None = None
    failing: str | None = None
    renewing: str | None = None

    def method(self, kind: Kind) -> str | None:
        """The payment method that makes such a request; None where no example was given."""
        other = {Kind.REFUSED: self.declined, Kind.SLOW: self.slow, Kind.FAILING: self.failing}
        return other.get(kind, self.payment_method)


OF_THE_SANDBOX: Final = ChargeExamples(
    declined="pm_card_declined",
    slow="pm_gateway_timeout",
    failing="pm_gateway_down",
    renewing="pm_authorization_renews",
)


class Charges:
    """Charges as `Keyed`."""

    name = "charge"
    success = Charged
    refusal = Declined

    def __init__(self, gateway: PaymentGateway, examples: ChargeExamples) -> None:
        self._gateway = gateway
        self._examples = examples

    def new(self) -> Work:
        """See `Keyed.new`."""
        return Work(str(uuid4()), f"{uuid4()}:charge:forward")

    def offers(self, kind: Kind) -> bool:
        """See `Keyed.offers`."""
        return self._examples.method(kind) is not None

    def do(self, work: Work, kind: Kind = Kind.GOOD) -> Awaitable[Charged | Declined]:
        """See `Keyed.do`."""
        amount = self._examples.amount + (1 if kind is Kind.OTHER else 0)
        method = self._examples.method(kind)
        if method is None:
            raise NotTried(f"no example is given of {kind}")
        return self._gateway.charge(work.key, work.order_id, amount, self._examples.currency, method)

    def find(self, key: str) -> Awaitable[Charged | Declined | Voided | None]:
        """See `Keyed.find`."""
        return self._gateway.find_charge(key)

    def of_order(self, order_id: str) -> Awaitable[Sequence[FoundCharge]]:
        """See `Keyed.of_order`."""
        return self._gateway.charges_of(order_id)

    def void(self, key: str) -> Awaitable[Voided | Charged | Declined | VoidNotOffered]:
        """See `Keyed.void`."""
        return self._gateway.void(key)


def refund_attempts(gateway: PaymentGateway, examples: ChargeExamples) -> list[Attempt]:
    """Everything about giving money back, in order."""
    return [
        Attempt("a charge as the books show it", ("P6",), partial(_books, gateway, examples)),
        Attempt("a refund, again and side by side", ("P6",), partial(_refund, gateway, examples, _undoing)),
        Attempt(
            "a refund for a return, again and side by side",
            ("P6",),
            partial(_refund, gateway, examples, _for_a_return),
        ),
        Attempt("another refund under the key", ("P6",), partial(_other_refund, gateway, examples)),
        Attempt("a refund of more than was taken", ("P6",), partial(_too_much, gateway, examples)),
    ]


async def _books(gateway: PaymentGateway, examples: ChargeExamples) -> None:
    work, charged = await _charged(gateway, examples)
    found = await gateway.charges_of(work.order_id)
    expected = FoundCharge(work.key, charged.reference, examples.amount, examples.currency, refunded=0)
    must(found == (expected,), "P6", f"look-up of order {work.order_id}", words(expected), found)


async def _refund(gateway: PaymentGateway, examples: ChargeExamples, key_of: Callable[[Work], str]) -> None:
    work, charged = await _charged(gateway, examples)
    key = key_of(work)
    sent = f"refund of {examples.amount} under {key}"
    first = await answered(partial(gateway.refund, key, charged.reference, examples.amount))
    must(isinstance(first, Refunded), "P6", sent, "Refunded", first)
    calls = (asked(gateway.refund(key, charged.reference, examples.amount)) for _ in range(AT_ONCE))
    for came in await asyncio.gather(*calls):
        fits = came == first or isinstance(came, CallUnderWay)
        must(fits, "P6", f"{sent}, {AT_ONCE} times more at once", f"{words(first)}, or 409", came)
    found = await asked(gateway.find_refund(key))
    must(found == first, "P6", f"look-up of the refund {key}", words(first), found)
    never = await asked(gateway.find_refund(key_of(Charges(gateway, examples).new())))
    must(never is None, "P6", "look-up of a refund under a key that was never used", "no items", never)
    await _given_back(gateway, work, examples.amount, sent)


async def _other_refund(gateway: PaymentGateway, examples: ChargeExamples) -> None:
    work, charged = await _charged(gateway, examples)
    key = _undoing(work)
    await answered(partial(gateway.refund, key, charged.reference, 1))
    came = await answered(partial(gateway.refund, key, charged.reference, examples.amount - 1))
    sent = f"refund of {examples.amount - 1} under {key}, which has given back 1"
    must(isinstance(came, ProviderMisuse), "P6", sent, "a status such as 422, which is no answer", came)
    await _given_back(gateway, work, 1, sent)


async def _too_much(gateway: PaymentGateway, examples: ChargeExamples) -> None:
    work, charged = await _charged(gateway, examples)
    key = _undoing(work)
    came = await answered(partial(gateway.refund, key, charged.reference, examples.amount + 1))
    sent = f"refund of {examples.amount + 1} where {examples.amount} were taken"
    must(isinstance(came, ProviderMisuse), "P6", sent, "a status such as 422, which is no answer", came)
    await _given_back(gateway, work, 0, sent)
    key = _for_a_return(work)
    came = await answered(partial(gateway.refund, key, f"none-{uuid4()}", 1))
    sent = "refund of a charge that there is not"
    must(isinstance(came, ProviderMisuse), "P6", sent, "a status such as 422, which is no answer", came)


async def _charged(gateway: PaymentGateway, examples: ChargeExamples) -> tuple[Work, Charged]:
    charges = Charges(gateway, examples)
    work = charges.new()
    came = await answered(partial(charges.do, work))
    must(isinstance(came, Charged), "P6", f"charge under the new key {work.key}", "Charged", came)
    return work, came


async def _given_back(gateway: PaymentGateway, work: Work, amount: int, sent: str) -> None:
    refunds = list(await gateway.refunds_of(work.order_id))
    given_back = sum(refund.amount for refund in refunds)
    must(given_back == amount, "P6", f"look-up of the order's refunds after {sent}", str(amount), refunds)
    charges = list(await gateway.charges_of(work.order_id))
    refunded = sum(charge.refunded for charge in charges)
    must(refunded == amount, "P6", f"look-up of the charge after {sent}", f"refunded {amount}", charges)


def _undoing(work: Work) -> str:
    """The key under which a charge is undone."""
    return f"{work.key.removesuffix(':forward')}:compensating"


def _for_a_return(work: Work) -> str:
    """One under which a return gives back: it says nothing of the charge."""
    return f"{uuid4()}:refund:forward"
