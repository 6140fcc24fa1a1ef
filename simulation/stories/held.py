"""Stories of orders at which a person looks before anything is paid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from simulation.stories.acts import Act, Cancel, Decide, NobodyDecides
from simulation.stories.endings import RELEASED, cancelled, sold, untouched
from simulation.stories.story import Ending, Flow, Story

TEA: Final = {"tea": 1}
KETTLE: Final = {"kettle": 1}
MACHINE: Final = {"machine": 1}
_ASKED: Final[dict[str, Any]] = {"hold": {"reason": "a new customer"}}


def _held(name: str, ending: Ending, *acts: Act, flow: Flow = Flow.CHARGE_HOLDS) -> Story:
    """Of an order that asks for it."""
    return Story(name, TEA, ending, acts, flow, more=_ASKED)


_LEFT_ALONE: Final = untouched(TEA, "hold_denied", "InventoryReserved", RELEASED)

HELD: Final[tuple[Story, ...]] = (
    Story("Below the limit nobody is asked", TEA, sold(TEA), flow=Flow.CHARGE_HOLDS),
    Story("At the limit nobody is asked", MACHINE, sold(MACHINE), flow=Flow.CHARGE_HOLDS),
    Story(
        "Above the limit it is held, and approved",
        KETTLE,
        sold(KETTLE),
        acts=(Decide(approved=True),),
        flow=Flow.CHARGE_HOLDS,
    ),
    _held("It asks to be looked at, and is approved", sold(TEA), Decide(approved=True)),
    _held("It is denied, and nothing was paid", _LEFT_ALONE, Decide(approved=False)),
    _held(
        "Nobody decides, which is a no",
        replace(_LEFT_ALONE, failure="wait_deadline"),
        NobodyDecides(),
    ),
    _held(
        "The approval comes twice",
        sold(TEA),
        Decide(approved=True),
        Decide(approved=True, at=None),
    ),
    _held(
        "Completed, and a no comes too late",
        sold(TEA),
        Decide(approved=True),
        Decide(approved=False, at="completed", refused="too_late"),
    ),
    _held(
        "Denied, and a yes comes too late",
        _LEFT_ALONE,
        Decide(approved=False),
        Decide(approved=True, at="rejected", refused="too_late"),
    ),
    _held("The customer cancels while it is held", cancelled(TEA, RELEASED), Cancel("on_hold")),
    _held(
        "Cancelled while it is held, and a yes comes too late",
        cancelled(TEA, RELEASED),
        Cancel("on_hold"),
        Decide(approved=True, at="cancelled", refused="too_late"),
    ),
    Story(
        "Approved, and then the card is declined",
        TEA,
        untouched(TEA, "payment_declined", "InventoryReserved", "PaymentDeclined", RELEASED),
        acts=(Decide(approved=True),),
        flow=Flow.CHARGE_HOLDS,
        payment_method="pm_card_declined",
        more=_ASKED,
    ),
    _held(
        "Held, approved, set aside and captured",
        sold(TEA, Flow.CAPTURE_HOLDS),
        Decide(approved=True),
        flow=Flow.CAPTURE_HOLDS,
    ),
    _held(
        "Denied where money is captured, and nothing was set aside",
        _LEFT_ALONE,
        Decide(approved=False),
        flow=Flow.CAPTURE_HOLDS,
    ),
    Story(
        "Approved, authorized, and the carrier refuses",
        TEA,
        untouched(
            TEA,
            "shipment_rejected",
            "InventoryReserved",
            "PaymentAuthorized",
            "ShipmentRejected",
            "PaymentVoided",
            RELEASED,
        ),
        acts=(Decide(approved=True),),
        flow=Flow.CAPTURE_HOLDS,
        postal_code="00000",
        more=_ASKED,
    ),
)
