"""Stories of goods that come back (S28)."""

from __future__ import annotations

from typing import Final

from contracts.returns import Disposition
from simulation.stories.acts import Act, CancelReturn, Decide, GoodsCome, NothingComes, SendBack
from simulation.stories.endings import (
    CAME_BACK,
    KEPT,
    NEVER_CAME,
    NOT_REFUNDED,
    RELEASED,
    returned,
    sold,
    untouched,
)
from simulation.stories.story import PAYS, Ending, Flow, Story

RESTOCK, WRITE_OFF = Disposition.RESTOCK, Disposition.WRITE_OFF
BOTH: Final = {"tea": 2, "mug": 1}
TEA, TWO_TEAS, MUG = {"tea": 1}, {"tea": 2}, {"mug": 1}
_SOLD: Final = sold(BOTH)
_TEA_COMES: Final = GoodsCome({"tea": RESTOCK})


def _story(
    name: str,
    ending: Ending,
    *acts: Act,
    flow: Flow = Flow.CHARGE,
    payment_method: str = PAYS,
) -> Story:
    return Story(name, BOTH, ending, acts, flow, payment_method)


RETURNED: Final[tuple[Story, ...]] = (
    _story(
        "One piece comes back and is restocked",
        returned(_SOLD, TEA, TEA, CAME_BACK),
        SendBack(TEA),
        _TEA_COMES,
    ),
    _story(
        "One piece comes back broken and is written off",
        returned(_SOLD, MUG, {}, CAME_BACK),
        SendBack(MUG),
        GoodsCome({"mug": WRITE_OFF}),
    ),
    _story(
        "Of two products one is restocked and one written off",
        returned(_SOLD, BOTH, TWO_TEAS, CAME_BACK),
        SendBack(BOTH),
        GoodsCome({"tea": RESTOCK, "mug": WRITE_OFF}),
    ),
    _story(
        "Everything comes back, by two returns one after the other",
        returned(_SOLD, BOTH, BOTH, CAME_BACK, CAME_BACK),
        SendBack(TWO_TEAS),
        _TEA_COMES,
        SendBack(MUG),
        GoodsCome({"mug": RESTOCK}),
    ),
    _story(
        "What is in a return cannot be in a second one",
        returned(_SOLD, TWO_TEAS, TWO_TEAS, CAME_BACK),
        SendBack(TWO_TEAS),
        SendBack(TEA, refused="already_returned"),
        _TEA_COMES,
        SendBack(TEA, refused="already_returned"),
    ),
    _story("More is sent back than was ordered", _SOLD, SendBack({"tea": 3}, refused="more_than_ordered")),
    _story("A product is sent back that was not ordered", _SOLD, SendBack({"jar": 1}, refused="not_ordered")),
    Story(
        "Nothing comes back of an order that never left",
        TEA,
        untouched(TEA, "payment_declined", "InventoryReserved", "PaymentDeclined", RELEASED),
        acts=(SendBack(TEA, at="rejected", refused="not_shipped"),),
        payment_method="pm_card_declined",
    ),
    Story(
        "Nothing comes back of an order on hold",
        TEA,
        sold(TEA),
        acts=(SendBack(TEA, at="on_hold", refused="not_shipped"), Decide(approved=True)),
        flow=Flow.CHARGE_HOLDS,
        more={"hold": {"reason": "a new customer"}},
    ),
    _story("The goods never come", returned(_SOLD, {}, {}, NEVER_CAME), SendBack(TEA), NothingComes()),
    _story(
        "The goods never come, and are sent back once more later",
        returned(_SOLD, TEA, TEA, NEVER_CAME, CAME_BACK),
        SendBack(TEA),
        NothingComes(),
        SendBack(TEA),
        _TEA_COMES,
    ),
    _story(
        "The customer keeps the goods, and sends them back later after all",
        returned(_SOLD, TWO_TEAS, {}, KEPT, CAME_BACK),
        SendBack(TWO_TEAS),
        CancelReturn(),
        SendBack(TWO_TEAS),
        GoodsCome({"tea": WRITE_OFF}),
    ),
    _story(
        "The warehouse's word leaves a product out",
        returned(_SOLD, BOTH, BOTH, CAME_BACK),
        SendBack(BOTH),
        GoodsCome({"tea": RESTOCK}, refused="unfit_signal"),
        GoodsCome({"tea": RESTOCK, "mug": RESTOCK}),
    ),
    _story(
        "The refund of a return fails twice, and is given once",
        returned(_SOLD, TEA, TEA, CAME_BACK),
        SendBack(TEA),
        _TEA_COMES,
        payment_method="pm_refund_flaky",
    ),
    _story(
        "The gateway refuses the refund, and the return with it",
        returned(_SOLD, {}, {}, NOT_REFUNDED),
        SendBack(TEA),
        _TEA_COMES,
        payment_method="pm_refund_refused",
    ),
    _story(
        "What was captured is given back in part",
        returned(sold(BOTH, Flow.CAPTURE), TEA, TEA, CAME_BACK),
        SendBack(TEA),
        _TEA_COMES,
        flow=Flow.CAPTURE,
    ),
)
