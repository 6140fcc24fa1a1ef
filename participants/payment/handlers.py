"""Payment: takes an order's total, or has it set aside and takes it later; gives it back, or a part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol, Self

from contracts.commands import (
    AuthorizePayment,
    CapturePayment,
    ChargePayment,
    ClaimRefund,
    ClaimUnshipped,
    Command,
    RefundPart,
    RefundPayment,
    RefundUnshipped,
    ReleaseRefundClaim,
    VoidAuthorization,
    VoidRemainder,
)
from contracts.events import (
    PartialRefundRejectedEvent,
    PaymentAuthorizedEvent,
    PaymentCapturedEvent,
    PaymentDeclinedEvent,
    PaymentPartlyRefundedEvent,
    PaymentRefundedEvent,
    PaymentSuccessfulEvent,
    PaymentVoidedEvent,
    RefundClaimedEvent,
    RefundClaimRejectedEvent,
    RefundClaimReleasedEvent,
    RemainderVoidedEvent,
)
from contracts.routing import PAYMENT
from messaging.errors import PermanentFailure
from participants.kit.errands import Errand
from participants.kit.participant import HouseParticipant
from participants.kit.work import Held, Work
from participants.ledger import LedgerTransaction
from participants.payment.claims import Claims, ClaimSheet
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
    RenewingGateway,
)
from participants.payment.postgresql import SqlPaymentTransaction
from participants.payment.renewal import Renewal, has_expired
from participants.provider_plan import NOTHING, Took
from participants.provider_terms import ProviderMisuse, Voided, VoidNotOffered

payment: Final = HouseParticipant(PAYMENT, transaction=SqlPaymentTransaction)


class _OfAnAmount:
    """Of an amount of 0 nothing is taken, set aside or given back: no gateway is asked for that (P6)."""

    def is_nothing(self, errand: Errand) -> bool:
        """Whether it is about no money at all."""
        return _is_of_nothing(errand)


@payment.provider_step(ChargePayment, undo=RefundPayment)
class Charge(_OfAnAmount):
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

    async def undo(self, errand: Errand, done: PaymentSuccessfulEvent) -> Refunded | Declined:
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
class Authorization(_OfAnAmount):
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
    """Takes what was set aside, once its parcel has left: what is refused is a person's to settle (S27).

    What has expired is set aside and captured anew first, where the gateway offers that (`Renewal`). Where
    nothing is to be taken, what was set aside is given up instead (`Remainder`).
    """

    keeps = ("authorization", "amount", "currency")

    def __init__(self, gateway: PaymentGateway) -> None:
        self._given = gateway
        self._rest = Remainder(gateway)

    def is_nothing(self, errand: Errand) -> bool:
        """Whether nothing is to be taken where nothing was set aside."""
        return _is_of_nothing(errand) and bool(errand.kept["authorization"] == NOTHING.reference)

    async def call(self, errand: Errand, command: CapturePayment) -> Charged | Declined | Released:
        """Capture."""
        if _is_of_nothing(errand):
            return await self._rest.call(errand, command)
        gateway, reference, amount = authorizing(self._given), command.authorization, command.amount
        answer = await gateway.capture(errand.key, reference, amount)
        renewal = self._renewal(errand)
        if renewal is None or not has_expired(answer):
            return answer
        return await renewal.capture(str(errand.subject_id), reference, amount, answer)

    async def close(self, errand: Errand) -> Voided | Charged | Declined | VoidNotOffered:
        """Void the capture's key, and those of its renewal."""
        if _is_of_nothing(errand):
            return VoidNotOffered()
        answer, renewal = await self._given.void(errand.key), self._renewal(errand)
        renewed = isinstance(answer, Voided | VoidNotOffered) or has_expired(answer)
        if renewal is None or not renewed:
            return answer
        closed = await renewal.close()
        return closed if isinstance(closed, Charged | VoidNotOffered) else answer

    async def find(self, errand: Errand) -> Charged | Declined | Voided | Released | None:
        """Look the capture up by its key; of one that has expired, its renewal."""
        if _is_of_nothing(errand):
            return await self._rest.find(errand)
        found, renewal = await self._given.find_charge(errand.key), self._renewal(errand)
        if renewal is None or not (found is None or has_expired(found)):
            return found
        return await renewal.find(found)

    async def recall(self, errand: Errand) -> tuple[FoundCharge, ...] | Released | None:
        """Look the capture up among the charges of the order."""
        if _is_of_nothing(errand):
            return await self._rest.recall(errand)
        found, renewal = await self._given.charges_of(str(errand.subject_id)), self._renewal(errand)
        return found if renewal is None else renewal.own(found)

    def _renewal(self, errand: Errand) -> Renewal | None:
        return Renewal(self._given, errand.key) if isinstance(self._given, RenewingGateway) else None

    def success(self, errand: Errand, took: Took) -> PaymentCapturedEvent:
        """The money was taken."""
        amount, currency = errand.kept["amount"], errand.kept["currency"]
        return errand.answer(PaymentCapturedEvent, amount=amount, currency=currency, reference=took.reference)


def _is_of_nothing(errand: Errand) -> bool:
    return bool(errand.kept.get("amount") == 0)


def authorizing(gateway: PaymentGateway) -> AuthorizingGateway:
    """The gateway as one that authorizes. Raises ProviderMisuse where it does not."""
    if isinstance(gateway, AuthorizingGateway):
        return gateway
    raise ProviderMisuse("this gateway does not authorize and capture (OMS_PAYMENT_FLOW=capture needs one)")


class PaymentTransaction(LedgerTransaction, Protocol):
    """A transaction over payment's ledger and what returns have claimed."""

    async def lock_claims(self, charged: Mapping[str, int]) -> Mapping[str, Claims]:
        """What is claimed of these payments, entered where they are new and locked in their order (S18, S28).

        Args:
            charged: what was taken by each, in minor units; of one that is known, what was said first stands.
        """

    def save_claims(self, claims: Mapping[str, Claims], now: datetime) -> None:
        """Write changed claims."""


class LockedClaims(ClaimSheet):
    """The claims on every payment that a batch may touch, locked in their order (S18)."""

    @classmethod
    async def opened(cls, transaction: PaymentTransaction, works: Sequence[Work]) -> Self:
        """Those that are claimed of anew, and those of which the sagas hold claims."""
        charged: dict[str, int] = {}
        for work in works:
            command = work.command
            if isinstance(command, ClaimRefund | ClaimUnshipped):
                charged.setdefault(command.charge, command.charged)
            for held in work.held(ClaimRefund):
                charged.setdefault(held.notes["charge"], held.notes["charged"])
        return cls(await transaction.lock_claims(charged) if charged else {})

    async def save(self, transaction: PaymentTransaction, works: Sequence[Work]) -> None:
        """What has changed."""
        transaction.save_claims(self.changed, works[0].now)


@payment.step(ClaimRefund, undo=ReleaseRefundClaim, bench=LockedClaims)
class RefundClaim:
    """All that is claimed of a payment is never more than was taken by it (S28)."""

    async def do(
        self, sheet: ClaimSheet, work: Work, command: ClaimRefund
    ) -> RefundClaimedEvent | RefundClaimRejectedEvent:
        """P1: claim it, or reject (P8)."""
        charge, left = command.charge, sheet.left(command.charge)
        if sheet.charged(charge) != command.charged:
            message = f"{sheet.charged(charge)} were taken by this payment, not {command.charged}"
            return work.answer(RefundClaimRejectedEvent, code="another_amount", message=message)
        if command.amount > left:
            message = f"{left} are left of the {command.charged} that were taken, {command.amount} are asked"
            return work.answer(RefundClaimRejectedEvent, code="more_than_taken", message=message)
        sheet.add(charge, command.amount)
        work.keep(charge=charge, charged=command.charged, amount=command.amount, currency=command.currency)
        return work.answer(RefundClaimedEvent, amount=command.amount, currency=command.currency)

    async def undo(
        self, sheet: ClaimSheet, work: Work, command: ReleaseRefundClaim, done: RefundClaimedEvent
    ) -> RefundClaimReleasedEvent:
        """P3: give it up, unless the money has gone."""
        if work.held(RefundPart):
            raise PermanentFailure("refunded", "what this saga has claimed was given back")
        for held in work.held(ClaimRefund):
            sheet.add(held.notes["charge"], -held.notes["amount"])
        return work.answer(RefundClaimReleasedEvent, amount=done.amount)


@payment.step(ClaimUnshipped, bench=LockedClaims)
class UnshippedClaim:
    """The price of what could not be shipped is claimed beside what returns claim, for good (S31)."""

    async def do(self, sheet: ClaimSheet, work: Work, command: ClaimUnshipped) -> RefundClaimedEvent:
        """P1: claim it. Returns are of what was shipped alone, so the rest is there for this."""
        charge = command.charge
        if sheet.charged(charge) != command.charged or command.amount > sheet.left(charge):
            left = f"{sheet.left(charge)} of the {sheet.charged(charge)} that were taken are left"
            raise PermanentFailure("more_than_taken", f"{left}, {command.amount} are to be given back")
        sheet.add(charge, command.amount)
        work.keep(charge=charge, charged=command.charged, amount=command.amount, currency=command.currency)
        return work.answer(RefundClaimedEvent, amount=command.amount, currency=command.currency)


class _ClaimedRefund(_OfAnAmount):
    """Gives back what its saga has claimed of a payment, no more and no less."""

    def __init__(self, gateway: PaymentGateway) -> None:
        self._gateway = gateway

    async def find(self, errand: Errand) -> Refunded | None:
        """Look it up by its key."""
        return await self._gateway.find_refund(errand.key)

    async def _refund(self, errand: Errand, command: RefundPart | RefundUnshipped) -> Refunded | Declined:
        if command.amount < command.charged and not self._gateway.traits.refunds_in_part:
            return Declined("no_partial_refunds", "this gateway gives all of a payment back, or nothing")
        return await self._gateway.refund(errand.key, command.charge, command.amount)

    def success(self, errand: Errand, took: Took) -> PaymentPartlyRefundedEvent:
        """It was given back."""
        worth = {name: errand.kept[name] for name in ("amount", "currency")}
        return errand.answer(PaymentPartlyRefundedEvent, **worth, reference=took.reference)


def _check_claimed(command: RefundPart | RefundUnshipped, claim: type[Command], held: Sequence[Held]) -> None:
    """S28: before the first call. Raises PermanentFailure where no claim covers it."""
    asked = {name: getattr(command, name) for name in ("charge", "charged", "amount", "currency")}
    if not any(each.is_of(claim) and each.notes == asked for each in held):
        raise PermanentFailure("not_claimed", "this saga has not claimed what it wants to be given back")


@payment.provider_step(RefundPart)
class PartialRefund(_ClaimedRefund):
    """Gives back what a return has claimed of a payment (S28)."""

    rejection = PartialRefundRejectedEvent
    keeps = ("amount", "currency", "charge", "paid_order_id")
    without: Final = {"reason": "not stored"}

    def check(self, command: RefundPart, held: Sequence[Held]) -> None:
        """See `_check_claimed`."""
        _check_claimed(command, ClaimRefund, held)

    async def call(self, errand: Errand, command: RefundPart) -> Refunded | Declined:
        """Refund it."""
        return await self._refund(errand, command)

    async def recall(self, errand: Errand) -> tuple[FoundRefund, ...]:
        """Look it up among those of the order that was paid."""
        return await self._gateway.refunds_of(errand.kept["paid_order_id"])


@payment.provider_step(RefundUnshipped)
class UnshippedRefund(_ClaimedRefund):
    """Gives back the price of what could not be shipped: what is refused is a person's to settle (S31)."""

    keeps = ("amount", "currency", "charge")

    def check(self, command: RefundUnshipped, held: Sequence[Held]) -> None:
        """See `_check_claimed`."""
        _check_claimed(command, ClaimUnshipped, held)

    async def call(self, errand: Errand, command: RefundUnshipped) -> Refunded | Declined:
        """Refund it."""
        return await self._refund(errand, command)

    async def recall(self, errand: Errand) -> tuple[FoundRefund, ...]:
        """Look it up among those of the order."""
        return await self._gateway.refunds_of(str(errand.subject_id))


@payment.provider_step(VoidRemainder)
class Remainder(_OfAnAmount):
    """Gives up what a capture has left of an authorization (S31)."""

    keeps = ("amount", "currency", "authorization")

    def __init__(self, gateway: PaymentGateway) -> None:
        self._given = gateway

    @property
    def _gateway(self) -> AuthorizingGateway:
        return authorizing(self._given)

    async def call(self, errand: Errand, command: VoidRemainder | CapturePayment) -> Released:
        """Release the rest, unless that was done before: a gateway may refuse to do it twice."""
        given_up = await self.recall(errand)
        return given_up or await self._gateway.release(errand.key, command.authorization)

    async def find(self, errand: Errand) -> Released | None:
        """Look the release up by its key."""
        return await self._gateway.find_release(errand.key)

    async def recall(self, errand: Errand) -> Released | None:
        """Look for any release of this authorization among those of the order."""
        for found in await self._gateway.releases_of(str(errand.subject_id)):
            if found.authorization == errand.kept["authorization"]:
                return Released(found.reference)
        return None

    def success(self, errand: Errand, took: Took) -> RemainderVoidedEvent:
        """Nothing of it is set aside any more."""
        worth = {name: errand.kept[name] for name in ("amount", "currency")}
        return errand.answer(RemainderVoidedEvent, **worth, reference=took.reference)
