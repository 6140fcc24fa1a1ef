"""Payment: takes an order's total and gives it back; or has it set aside, and takes that later."""

from __future__ import annotations

from typing import Final

from contracts.commands import (
    AuthorizePayment,
    CapturePayment,
    ChargePayment,
    RefundPayment,
    VoidAuthorization,
)
from contracts.events import (
    PaymentAuthorizedEvent,
    PaymentCapturedEvent,
    PaymentDeclinedEvent,
    PaymentRefundedEvent,
    PaymentSuccessfulEvent,
    PaymentVoidedEvent,
)
from contracts.routing import PAYMENT
from participants.kit.errands import Errand
from participants.kit.participant import HouseParticipant
from participants.payment.gateway import (
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
)
from participants.provider_plan import Took
from participants.provider_terms import ProviderMisuse, Voided, VoidNotOffered

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


@payment.provider_step(AuthorizePayment, undo=VoidAuthorization)
class Authorization:
    """Has the total set aside; voiding gives up what the ledger says was authorized."""

    rejection = PaymentDeclinedEvent
    keeps = ("amount", "currency")
    without: Final = {"customer_id": "not stored"}

    def __init__(self, gateway: PaymentGateway) -> None:
        self._given = gateway

    @property
    def _gateway(self) -> AuthorizingGateway:
        return authorizing(self._given)

    async def call(self, errand: Errand, command: AuthorizePayment) -> Authorized | Declined:
        """Authorize."""
        asked = (command.amount, command.currency, command.payment_method)
        return await self._gateway.authorize(errand.key, str(errand.subject_id), *asked)

    async def close(self, errand: Errand) -> Voided | Authorized | Declined | VoidNotOffered:
        """Close the authorization's key."""
        return await self._gateway.close_authorization(errand.key)

    async def find(self, errand: Errand) -> Authorized | Declined | Voided | None:
        """Look the authorization up by its key."""
        return await self._gateway.find_authorization(errand.key)

    async def recall(self, errand: Errand) -> tuple[FoundAuthorization, ...]:
        """Look the authorization up among those of the order."""
        return await self._gateway.authorizations_of(str(errand.subject_id))

    def success(self, errand: Errand, took: Took) -> PaymentAuthorizedEvent:
        """The total is set aside."""
        amount, currency = errand.kept["amount"], errand.kept["currency"]
        return errand.answer(
            PaymentAuthorizedEvent, amount=amount, currency=currency, reference=took.reference
        )

    async def undo(self, errand: Errand, done: PaymentAuthorizedEvent) -> Released:
        """Give all of it up."""
        return await self._gateway.release(errand.key, done.reference)

    async def find_undo(self, errand: Errand) -> Released | None:
        """Look the release up by its key."""
        return await self._gateway.find_release(errand.key)

    async def recall_undo(self, errand: Errand) -> tuple[FoundRelease, ...]:
        """Look the release up among those of the order."""
        return await self._gateway.releases_of(str(errand.subject_id))

    def undone(self, errand: Errand, took: Took) -> PaymentVoidedEvent:
        """What was given up."""
        amount = errand.kept.get("amount", 0)
        return errand.answer(PaymentVoidedEvent, amount=amount, reference=took.reference)


@payment.provider_step(CapturePayment)
class Capture:
    """Takes what was set aside, once its parcel has left: what is refused is a person's to settle (S27)."""

    keeps = ("authorization", "amount", "currency")

    def __init__(self, gateway: PaymentGateway) -> None:
        self._given = gateway

    async def call(self, errand: Errand, command: CapturePayment) -> Charged | Declined:
        """Capture."""
        gateway = authorizing(self._given)
        return await gateway.capture(errand.key, command.authorization, command.amount)

    async def close(self, errand: Errand) -> Voided | Charged | Declined | VoidNotOffered:
        """Void the capture's key."""
        return await self._given.void(errand.key)

    async def find(self, errand: Errand) -> Charged | Declined | Voided | None:
        """Look the capture up by its key."""
        return await self._given.find_charge(errand.key)

    async def recall(self, errand: Errand) -> tuple[FoundCharge, ...]:
        """Look the capture up among the charges of the order."""
        return await self._given.charges_of(str(errand.subject_id))

    def success(self, errand: Errand, took: Took) -> PaymentCapturedEvent:
        """The money was taken."""
        amount, currency = errand.kept["amount"], errand.kept["currency"]
        return errand.answer(PaymentCapturedEvent, amount=amount, currency=currency, reference=took.reference)


def authorizing(gateway: PaymentGateway) -> AuthorizingGateway:
    """The gateway as one that authorizes. Raises ProviderMisuse where it does not."""
    if isinstance(gateway, AuthorizingGateway):
        return gateway
    raise ProviderMisuse("this gateway does not authorize and capture (OMS_PAYMENT_FLOW=capture needs one)")
