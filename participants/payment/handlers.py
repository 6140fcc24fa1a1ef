"""Payment: charge an order's total, give it back. The money is at the gateway."""

from __future__ import annotations

from typing import Final

from contracts.commands import ChargePayment, RefundPayment
from contracts.events import PaymentDeclinedEvent, PaymentRefundedEvent, PaymentSuccessfulEvent
from contracts.routing import PAYMENT
from participants.kit.errands import Errand
from participants.kit.participant import HouseParticipant
from participants.payment.gateway import (
    Charged,
    Declined,
    FoundCharge,
    FoundRefund,
    PaymentGateway,
    Refunded,
)
from participants.provider_plan import Took
from participants.provider_terms import Voided, VoidNotOffered

payment: Final = HouseParticipant(PAYMENT)


@payment.provider_step(ChargePayment, undo=RefundPayment)
class Charge:
    """Takes the total; a refund gives back what the ledger says was taken, whatever its message says."""

    rejection = PaymentDeclinedEvent
    keeps = ("amount", "currency")
    without: Final = {"customer_id": "not stored"}

    def __init__(self, gateway: PaymentGateway) -> None:
        self._gateway = gateway

    async def call(self, errand: Errand, command: ChargePayment) -> Charged | Declined:
        """Charge."""
        asked = (command.amount, command.currency, command.payment_method)
        return await self._gateway.charge(errand.key, str(errand.subject_id), *asked)

    async def close(self, errand: Errand) -> Voided | Charged | Declined | VoidNotOffered:
        """Void the charge's key."""
        return await self._gateway.void(errand.key)

    async def find(self, errand: Errand) -> Charged | Declined | Voided | None:
        """Look the charge up by its key."""
        return await self._gateway.find_charge(errand.key)

    async def recall(self, errand: Errand) -> tuple[FoundCharge, ...]:
        """Look the charge up among those of the order."""
        return await self._gateway.charges_of(str(errand.subject_id))

    def success(self, errand: Errand, took: Took) -> PaymentSuccessfulEvent:
        """The total was taken."""
        amount, currency = errand.kept["amount"], errand.kept["currency"]
        return errand.answer(
            PaymentSuccessfulEvent, amount=amount, currency=currency, reference=took.reference
        )

    async def undo(self, errand: Errand, done: PaymentSuccessfulEvent) -> Refunded:
        """Refund all of it."""
        return await self._gateway.refund(errand.key, done.reference, done.amount)

    async def find_undo(self, errand: Errand) -> Refunded | None:
        """Look the refund up by its key."""
        return await self._gateway.find_refund(errand.key)

    async def recall_undo(self, errand: Errand) -> tuple[FoundRefund, ...]:
        """Look the refund up among those of the order."""
        return await self._gateway.refunds_of(str(errand.subject_id))

    def undone(self, errand: Errand, took: Took) -> PaymentRefundedEvent:
        """What was given back."""
        amount = errand.kept.get("amount", 0)
        return errand.answer(PaymentRefundedEvent, amount=amount, reference=took.reference)
