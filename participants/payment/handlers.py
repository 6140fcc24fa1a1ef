"""Payment's work: charge an order's total, give it back. The money is at the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from contracts.commands import ChargePayment, Command, RefundPayment
from contracts.envelope import Direction
from contracts.events import OutcomeEvent, PaymentDeclinedEvent, PaymentRefundedEvent, PaymentSuccessfulEvent
from contracts.sensitive import without_sensitive
from participants.commands import Work
from participants.ledger import LedgerRow
from participants.payment import gateway
from participants.payment.gateway import PaymentGateway
from participants.provider_plan import Declined, NoEffect, NotFound, Took
from participants.provider_terms import ProviderTraits, Voided, VoidNotOffered
from participants.replies import step_of

CHARGE: Final = Work(
    ChargePayment, PaymentSuccessfulEvent, PaymentDeclinedEvent, RefundPayment, PaymentRefundedEvent
)


class PaymentWork:
    """Charges and refunds through a `PaymentGateway`; a `participants.provider_work.ProviderWork`."""

    work = CHARGE

    def __init__(self, gateway: PaymentGateway) -> None:
        self._gateway = gateway
        self.reversal = Refund(gateway)

    @property
    def traits(self) -> ProviderTraits:
        """What the gateway promises."""
        return self._gateway.traits

    def details(self, command: Command) -> Mapping[str, Any]:
        """Amount and currency: what a refund gives back, whatever its message says."""
        assert isinstance(command, ChargePayment)
        return {"amount": command.amount, "currency": command.currency}

    def request(self, command: Command) -> Mapping[str, Any]:
        """The payment method; sensitive."""
        assert isinstance(command, ChargePayment)
        return {"payment_method": command.payment_method}

    def success(self, row: LedgerRow, took: Took) -> OutcomeEvent:
        """The total was taken."""
        return PaymentSuccessfulEvent(
            **step_of(row, Direction.FORWARD),
            amount=row.details["amount"],
            currency=row.details["currency"],
            reference=took.reference,
        )

    def rejection(self, row: LedgerRow, declined: Declined) -> OutcomeEvent:
        """The gateway said no."""
        message = without_sensitive(declined.message, row.request)
        return PaymentDeclinedEvent(**step_of(row, Direction.FORWARD), code=declined.code, message=message)

    async def act(self, key: str, row: LedgerRow) -> Took | Declined:
        """Charge."""
        assert row.request is not None
        answer = await self._gateway.charge(
            key,
            str(row.order_id),
            row.details["amount"],
            row.details["currency"],
            row.request["payment_method"],
        )
        return _known(answer)

    async def close(self, key: str, row: LedgerRow) -> Took | Declined | NoEffect | VoidNotOffered:
        """Void the charge's key."""
        answer = await self._gateway.void(key)
        if isinstance(answer, VoidNotOffered):
            return answer
        return NoEffect() if isinstance(answer, Voided) else _known(answer)

    async def find(self, key: str, row: LedgerRow) -> Took | Declined | NoEffect | NotFound:
        """Look the charge up by its key."""
        answer = await self._gateway.find_charge(key)
        if answer is None:
            return NotFound()
        return NoEffect() if isinstance(answer, Voided) else _known(answer)

    async def recall(self, key: str, row: LedgerRow) -> Took | NotFound:
        """Look the charge up among those of the order."""
        for charge in await self._gateway.charges_of(str(row.order_id)):
            if charge.key == key:
                return Took(charge.reference)
        return NotFound()


class Refund:
    """Gives a charge back; the `participants.provider_plan.Reversal` of `PaymentWork`."""

    def __init__(self, gateway: PaymentGateway) -> None:
        self._gateway = gateway

    def told(self, row: LedgerRow, took: Took) -> Mapping[str, Any]:
        """What was given back."""
        return {"amount": row.details.get("amount", 0), "reference": took.reference}

    async def act(self, key: str, row: LedgerRow) -> Took:
        """Refund all of it."""
        refunded = await self._gateway.refund(key, row.details["reference"], row.details["amount"])
        return Took(refunded.reference)

    async def find(self, key: str, row: LedgerRow) -> Took | NotFound:
        """Look the refund up by its key."""
        refunded = await self._gateway.find_refund(key)
        return NotFound() if refunded is None else Took(refunded.reference)

    async def recall(self, key: str, row: LedgerRow) -> Took | NotFound:
        """Look the refund up among those of the order."""
        for refund in await self._gateway.refunds_of(str(row.order_id)):
            if refund.key == key:
                return Took(refund.reference)
        return NotFound()


def _known(answer: gateway.Charged | gateway.Declined) -> Took | Declined:
    if isinstance(answer, gateway.Charged):
        return Took(answer.reference)
    return Declined(answer.code, answer.message)
