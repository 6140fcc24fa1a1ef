"""What the orders of a chaos run are, and what they leave on the shelves, by the customers' own count."""

from __future__ import annotations

import pytest

from oms.demo.sample_orders import HELD_ABOVE, PRICES
from tools.chaos.lives import DEFAULT, LIVES, PLAIN, REFUSED, UNKNOWN, WHOLE, Kind, Life
from tools.chaos.orders import Placed


def _kind(life: Life, name: str) -> Kind:
    [found] = [kind for kind in life.kinds if kind.name == name]
    return found


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES)
def test_everything_that_is_ordered_has_a_price_and_is_there_but_for_what_nobody_has(life: Life) -> None:
    ordered = {sku for kind in life.kinds for sku in kind.quantities}
    assert ordered <= PRICES.keys()
    assert ordered - life.stock.keys() == {UNKNOWN}
    assert life.locations.keys() <= life.stock.keys()


def test_just_those_orders_that_wait_for_a_person_are_dear_enough_for_one() -> None:
    for kind in WHOLE.kinds:
        total = sum(PRICES[sku] * quantity for sku, quantity in kind.quantities.items())
        waits = kind.approved is not None or kind.name == "held and cancelled"
        assert (total > HELD_ABOVE) == waits, kind.name


def test_the_whole_life_has_all_of_the_default_flow() -> None:
    assert set(map(id, DEFAULT.kinds)) <= set(map(id, WHOLE.kinds))


@pytest.mark.parametrize(
    ("status", "taken"),
    [
        (None, {}),
        ("rejected", {}),
        ("cancelled", {}),
        ("partially_fulfilled", {"TEA-ASSAM": 2}),
        ("completed", {"TEA-ASSAM": 2, REFUSED: 1}),
    ],
)
def test_what_leaves_the_shelves_is_what_was_shipped(status: str | None, taken: dict[str, int]) -> None:
    kind = _kind(WHOLE, "one of two parcels refused")
    assert Placed(1, kind, status=status).taken() == taken


def test_what_was_sent_back_stands_on_the_shelves_again() -> None:
    kind = _kind(WHOLE, "sent back in part")
    assert kind.sends_back
    there = Placed(1, kind, status="completed").taken()
    assert there - Placed(2, kind, status="completed", returned=True).taken() == kind.sends_back


def test_plain_orders_tell_that_all_is_as_before() -> None:
    assert all(PLAIN in life.kinds for life in LIVES.values())
