"""Stories of orders that are paid before their parcel leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from contracts.commands import Verdict
from simulation.stories.acts import FIRST_KEY, Cancel, ReplayUntilDone, Retry, Settle, SubmitAgain
from simulation.stories.endings import CREATED, RELEASED, SETTLED, cancelled, sold, untouched
from simulation.stories.story import ON_HAND, Money, Stock, Story

TEA: Final = {"tea": 1}
BOTH: Final = {"tea": 2, "mug": 3}

_REFUSED: Final = untouched(
    TEA,
    "shipment_rejected",
    "InventoryReserved",
    "PaymentSuccessful",
    "ShipmentRejected",
    "PaymentRefunded",
    RELEASED,
)
_PAID_AND_BACK: Final = replace(_REFUSED, money=Money(taken=900, back=900))

_NOTHING_LEFT: Final = replace(
    _PAID_AND_BACK,
    failure="operator_verdict",
    events=(*CREATED, "PaymentSuccessful", SETTLED, "PaymentRefunded", RELEASED, "OrderRejected"),
)

CHARGED: Final[tuple[Story, ...]] = (
    Story("All goes well", TEA, sold(TEA)),
    Story("Several products leave in one parcel", BOTH, sold(BOTH)),
    Story(
        "The last piece is sold",
        TEA,
        replace(sold(TEA), stock={"tea": Stock(1, 0)}),
    ),
    Story(
        "More is ordered than there is",
        {"tea": ON_HAND + 1},
        untouched(TEA, "out_of_stock", "InventoryRejected"),
    ),
    Story(
        "One of two products is missing, so neither is reserved",
        BOTH,
        replace(
            untouched(BOTH, "out_of_stock", "InventoryRejected"),
            stock={"tea": Stock(10, 10), "mug": Stock(2, 2)},
        ),
    ),
    Story(
        "A product that nobody has",
        TEA,
        replace(untouched(TEA, "unknown_sku", "InventoryRejected"), stock={}),
    ),
    Story(
        "The card is declined",
        TEA,
        untouched(TEA, "payment_declined", "InventoryReserved", "PaymentDeclined", RELEASED),
        payment_method="pm_card_declined",
    ),
    Story("The gateway fails twice, then takes the money", TEA, sold(TEA), payment_method="pm_gateway_flaky"),
    Story(
        "The gateway takes the money and does not answer",
        TEA,
        sold(TEA),
        payment_method="pm_gateway_timeout",
    ),
    Story(
        "The gateway fails until an operator replays the charge",
        TEA,
        sold(TEA),
        acts=(ReplayUntilDone(),),
        payment_method="pm_gateway_stubborn",
    ),
    Story(
        "The gateway stays down, and the customer cancels",
        TEA,
        cancelled(TEA, "PaymentRefunded", RELEASED),
        acts=(Cancel("reserved"), Cancel("cancelled")),
        payment_method="pm_gateway_down",
    ),
    Story("The carrier refuses the address", TEA, _PAID_AND_BACK, postal_code="00000"),
    Story(
        "The carrier refuses, and the refund fails twice",
        TEA,
        _PAID_AND_BACK,
        payment_method="pm_refund_flaky",
        postal_code="00000",
    ),
    Story(
        "The carrier refuses, and the refund never works: a person pays back",
        TEA,
        replace(
            _REFUSED,
            money=Money(taken=900),
            events=(
                *CREATED,
                "PaymentSuccessful",
                "ShipmentRejected",
                SETTLED,
                RELEASED,
                "OrderRejected",
            ),
        ),
        acts=(Settle("charge", Verdict.SETTLED_OUTSIDE),),
        payment_method="pm_refund_down",
        postal_code="00000",
    ),
    Story("The carrier fails twice, then takes the parcel", TEA, sold(TEA), postal_code="00001"),
    Story("The carrier takes the parcel and does not answer", TEA, sold(TEA), postal_code="00003"),
    Story(
        "The carrier stays down: retried in vain, then a person finds that nothing left",
        TEA,
        _NOTHING_LEFT,
        acts=(Retry("ship"), Settle("ship", Verdict.NO_EFFECT)),
        postal_code="00002",
    ),
    Story(
        "The carrier stays down, and it is too late to cancel",
        TEA,
        _NOTHING_LEFT,
        acts=(Cancel("paid", refused="too_late"), Settle("ship", Verdict.NO_EFFECT)),
        postal_code="00002",
    ),
    Story(
        "Completed, and it is too late to cancel",
        TEA,
        sold(TEA),
        acts=(Cancel("completed", refused="ended"),),
    ),
    Story(
        "Sent twice under one key, it is one order",
        TEA,
        sold(TEA),
        acts=(SubmitAgain(FIRST_KEY),),
    ),
    Story(
        "Another order under the key of the first",
        TEA,
        sold(TEA),
        acts=(SubmitAgain(FIRST_KEY, {"payment_method": "pm_other"}, "idempotency_key_reused"),),
    ),
    Story(
        "A second order with the reference of the first",
        TEA,
        sold(TEA),
        acts=(SubmitAgain("second", refused="reference_taken"),),
        more={"reference": "A-1001"},
    ),
    Story(
        "A reference stays taken after the order was rejected",
        TEA,
        untouched(TEA, "payment_declined", "InventoryReserved", "PaymentDeclined", RELEASED),
        acts=(Cancel("rejected", refused="ended"), SubmitAgain("second", refused="reference_taken")),
        payment_method="pm_card_declined",
        more={"reference": "A-1002"},
    ),
)
