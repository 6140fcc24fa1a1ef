"""Stories of orders whose money is set aside first, and taken once their parcel has left (S27)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from contracts.commands import Verdict
from contracts.returns import Disposition
from simulation.stories.acts import Act, Cancel, GoodsCome, ReplayUntilDone, SendBack, Settle
from simulation.stories.endings import (
    CAME_BACK,
    CREATED,
    GONE,
    RELEASED,
    SETTLED,
    cancelled,
    returned,
    sold,
    untouched,
)
from simulation.stories.story import DELIVERS, PAYS, Ending, Flow, Money, Story

TEA: Final = {"tea": 1}
_FLOW: Final = Flow.CAPTURE
_SOLD: Final = sold(TEA, _FLOW)
_PAID_OUTSIDE: Final = replace(
    _SOLD, money=Money(), events=(*CREATED, "PaymentAuthorized", "OrderFulfilled", SETTLED, *GONE)
)
_REFUSED: Final = untouched(
    TEA,
    "shipment_rejected",
    "InventoryReserved",
    "PaymentAuthorized",
    "ShipmentRejected",
    "PaymentVoided",
    RELEASED,
)


def _story(
    name: str,
    ending: Ending,
    *acts: Act,
    payment_method: str = PAYS,
    postal_code: str = DELIVERS,
) -> Story:
    return Story(name, TEA, ending, acts, _FLOW, payment_method, postal_code)


CAPTURED: Final[tuple[Story, ...]] = (
    _story("Set aside, then captured once the parcel has left", _SOLD),
    _story(
        "The authorization is declined",
        untouched(TEA, "payment_declined", "InventoryReserved", "PaymentDeclined", RELEASED),
        payment_method="pm_card_declined",
    ),
    _story("Authorizing fails twice, then works", _SOLD, payment_method="pm_gateway_flaky"),
    _story("The gateway authorizes and does not answer", _SOLD, payment_method="pm_gateway_timeout"),
    _story(
        "Authorizing fails until an operator replays it",
        _SOLD,
        ReplayUntilDone(),
        payment_method="pm_gateway_stubborn",
    ),
    _story(
        "Nothing can be authorized, and the customer cancels",
        cancelled(TEA, "PaymentVoided", RELEASED),
        Cancel("reserved"),
        payment_method="pm_gateway_down",
    ),
    _story("The carrier refuses, and what was set aside is given up", _REFUSED, postal_code="00000"),
    _story(
        "Authorized, and the carrier stays down: a person finds that nothing left",
        replace(
            _REFUSED,
            failure="operator_verdict",
            events=(
                *CREATED,
                "PaymentAuthorized",
                SETTLED,
                "PaymentVoided",
                RELEASED,
                "OrderRejected",
            ),
        ),
        Cancel("authorized", refused="too_late"),
        Settle("ship", Verdict.NO_EFFECT),
        postal_code="00002",
    ),
    _story("The capture fails twice, then works", _SOLD, payment_method="pm_capture_flaky"),
    _story(
        "The authorization expires, is set aside anew and captured",
        _SOLD,
        payment_method="pm_authorization_renews",
    ),
    _story(
        "What was captured anew comes back",
        returned(_SOLD, TEA, TEA, CAME_BACK),
        SendBack(TEA),
        GoodsCome({"tea": Disposition.RESTOCK}),
        payment_method="pm_authorization_renews",
    ),
    _story(
        "The authorization expires before the capture: a person has it paid in another way",
        _PAID_OUTSIDE,
        Settle("capture", Verdict.SETTLED_OUTSIDE),
        payment_method="pm_authorization_expires",
    ),
)
