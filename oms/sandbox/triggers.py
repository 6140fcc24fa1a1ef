"""What makes the sandbox misbehave, as data: payment methods, postal codes and products with a meaning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

NEVER: Final = 2**31 - 1
"""A call number that is not reached: the provider stays down for this request."""

REFUSED: Final = 0
"""Instead of a call number: it is refused for good."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the sandbox treats one request.

    ``outcome`` stands from the call numbered ``answers_from_call`` on (counted per key from 1);
    calls before get a 503. ``silent_calls``: so many calls take effect and are never answered.
    """

    outcome: str
    code: str | None = None
    message: str | None = None
    answers_from_call: int = 1
    silent_calls: int = 0
    refunds_answer_from_call: int = 1
    """`REFUSED`: no call is answered with success."""
    captures_answer_from_call: int = 1
    expires: bool = False
    """What is authorized expires before it is captured."""
    renews: bool = False
    """It can then be set aside anew, by the stored method, and does not expire again."""


_PAYS: Final = Behaviour("succeeded")
_SHIPS: Final = Behaviour("shipped")
_UNKNOWN_METHOD: Final = Behaviour(
    "declined", "unknown_payment_method", "The sandbox knows no such payment method."
)

PAYMENT_TRIGGERS: Final[dict[str, Behaviour]] = {
    "pm_card_visa": _PAYS,
    "pm_card_declined": Behaviour("declined", "card_declined", "The card was declined."),
    "pm_gateway_flaky": Behaviour("succeeded", answers_from_call=3),
    "pm_gateway_stubborn": Behaviour("succeeded", answers_from_call=10),
    "pm_gateway_down": Behaviour("succeeded", answers_from_call=NEVER),
    "pm_gateway_timeout": Behaviour("succeeded", silent_calls=1),
    "pm_refund_flaky": Behaviour("succeeded", refunds_answer_from_call=3),
    "pm_refund_down": Behaviour("succeeded", refunds_answer_from_call=NEVER),
    "pm_refund_refused": Behaviour("succeeded", refunds_answer_from_call=REFUSED),
    "pm_authorization_expires": Behaviour("succeeded", expires=True),
    "pm_authorization_renews": Behaviour("succeeded", expires=True, renews=True),
    "pm_capture_flaky": Behaviour("succeeded", captures_answer_from_call=3),
    "pm_capture_down": Behaviour("succeeded", captures_answer_from_call=NEVER),
}
"""By payment method. Any other is declined."""

CARRIER_TRIGGERS: Final[dict[str, Behaviour]] = {
    "00000": Behaviour("rejected", "address_refused", "The carrier does not deliver to this postal code."),
    "00001": Behaviour("shipped", answers_from_call=3),
    "00002": Behaviour("shipped", answers_from_call=NEVER),
    "00003": Behaviour("shipped", silent_calls=1),
}
"""By postal code. Any other is shipped to."""

_UNSHIPPABLE: Final = Behaviour("rejected", "parcel_refused", "The carrier does not take such a parcel.")

PARCEL_TRIGGERS: Final[dict[str, Behaviour]] = {
    "SHIP-REFUSED": _UNSHIPPABLE,
    "SHIP-REFUSED-LATE": replace(_UNSHIPPABLE, answers_from_call=3),
    "SHIP-FLAKY": Behaviour("shipped", answers_from_call=3),
    "SHIP-SILENT": Behaviour("shipped", silent_calls=1),
}
"""By what a product's SKU is, or ends with behind a dot: how a parcel with it goes where its postal code has
no meaning; the first of these counts."""


def payment_behaviour(payment_method: str) -> Behaviour:
    """How a charge with this payment method goes; an authorization goes the same way."""
    return PAYMENT_TRIGGERS.get(payment_method, _UNKNOWN_METHOD)


def carrier_behaviour(postal_code: str, skus: Iterable[str] = ()) -> Behaviour:
    """How a parcel with these products goes to this postal code."""
    inside = {sku.rpartition(".")[2] for sku in skus}
    of_parcel = (each for sku, each in PARCEL_TRIGGERS.items() if sku in inside)
    return CARRIER_TRIGGERS.get(postal_code) or next(of_parcel, _SHIPS)
