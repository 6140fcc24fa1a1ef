"""Whose doing it is that Stripe refuses to take a payment: the customer's is a decline, ours is a misuse.

A decline turns the order round and lets its stock go. What nobody but the operator can put right, such as a
payment type that the account has not switched on, stays a dead letter until somebody has.
"""

from __future__ import annotations

from typing import Final

from oms_stripe.api import RequestRefused

OF_THE_ORDER: Final = frozenset({"payment_method", "amount", "currency"})
"""Fields of the request that the order brings; all others are the gateway's own."""

_OF_THE_METHOD: Final = "payment_method_"
_OURS: Final = frozenset({"payment_method_configuration_failures", "payment_method_unactivated"})
"""Of the codes that begin so, those that the account's owner puts right."""

_THE_CUSTOMERS: Final = frozenset(
    {
        "amount_too_large",
        "amount_too_small",
        "card_decline_rate_limit_exceeded",
        "invalid_card_type",
        "payment_intent_authentication_failure",
        "payment_intent_incompatible_payment_method",
        "payment_intent_payment_attempt_expired",
        "payment_intent_payment_attempt_failed",
    }
)

AMOUNT: Final = "This amount cannot be paid in this currency."
METHOD: Final = "This payment method cannot be used for this payment."


def is_the_customers(refused: RequestRefused) -> bool:
    """Whether what is refused came with the order.

    Of a payment method that was used up or detached Stripe names neither code nor field: its words do.
    """
    if refused.code in _OURS:
        return False
    if refused.param in OF_THE_ORDER or refused.code in _THE_CUSTOMERS:
        return True
    if refused.param:
        return False
    if refused.code:
        return refused.code.startswith(_OF_THE_METHOD)
    return "paymentmethod" in refused.message.lower().replace(" ", "")


def told(refused: RequestRefused) -> tuple[str, str]:
    """Code and words for the customer: ours, since Stripe's repeat what was sent."""
    code = refused.code or f"{refused.param or 'payment_method'}_refused"
    of_the_amount = refused.param in ("amount", "currency") or refused.code.startswith("amount_")
    return code, AMOUNT if of_the_amount else METHOD
