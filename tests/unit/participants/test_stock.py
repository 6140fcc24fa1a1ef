"""The shelf: whatever is asked of it, it never holds more than is there."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.commands import ItemQuantity
from participants.inventory.allocation import Places, allocated
from participants.inventory.stock import (
    OUT_OF_STOCK,
    UNKNOWN_SKU,
    Shelf,
    Shortage,
    StockLevel,
    lines_of,
    totals,
)
from tests.support.participants import new_id

SAGA = new_id()


def shelf(**on_hand: int) -> Shelf:
    return Shelf({sku: StockLevel(count, 0) for sku, count in on_hand.items()})


def test_all_lines_or_none() -> None:
    stock = shelf(A=5, B=1)
    assert stock.reserve({"A": 2, "B": 2}) == Shortage(OUT_OF_STOCK, ("B",))
    assert stock.changed == {}
    assert stock.reserve({"A": 2, "B": 1}) is None
    assert stock.changed == {"A": StockLevel(5, 2), "B": StockLevel(1, 1)}


def test_unknown_comes_before_out_of_stock() -> None:
    assert shelf(A=0).reserve({"A": 1, "X": 1}) == Shortage(UNKNOWN_SKU, ("X",))


def test_orders_of_one_batch_see_each_other() -> None:
    stock = shelf(A=2)
    assert [stock.reserve({"A": 1}) is None for _ in range(3)] == [True, True, False]
    stock.release({"A": 1})
    assert stock.reserve({"A": 1}) is None


def test_reduction_lowers_both_and_is_noted() -> None:
    stock = shelf(A=5)
    stock.reserve({"A": 3})
    stock.reduce({"A": 3}, SAGA)
    assert stock.changed == {"A": StockLevel(2, 0)}
    [reduction] = stock.reductions
    assert (reduction.sku, reduction.quantity, reduction.saga_id) == ("A", 3, SAGA)


def test_releasing_what_is_not_held_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="oversold"):
        shelf(A=1).release({"A": 1})


def test_a_product_on_two_lines_counts_as_its_sum() -> None:
    items = (ItemQuantity(sku="A", quantity=1), ItemQuantity(sku="A", quantity=2))
    assert lines_of(items) == {"A": 3}


@given(
    st.dictionaries(st.sampled_from("ABC"), st.integers(0, 10)),
    st.lists(st.dictionaries(st.sampled_from("ABCD"), st.integers(1, 4), min_size=1)),
)
def test_it_never_oversells(on_hand: dict[str, int], orders: list[dict[str, int]]) -> None:
    stock = shelf(**on_hand)
    held = [order for order in orders if stock.reserve(order) is None]
    for sku, count in on_hand.items():
        wanted = sum(order.get(sku, 0) for order in held)
        assert wanted <= count
        assert stock.changed.get(sku, StockLevel(count, 0)) == StockLevel(count, wanted)
    for order in held:
        stock.release(order)
    assert all(level.reserved == 0 for level in stock.changed.values())


@pytest.mark.parametrize(
    ("available", "places"),
    [
        ({"b": {"A": 3, "B": 1}, "c": {"A": 9, "B": 9}}, {("A", "b"): 3, ("B", "b"): 1}),
        ({"b": {"A": 9}, "a": {"B": 1}, "z": {"A": 3, "B": 0}}, {("A", "b"): 3, ("B", "a"): 1}),
        ({"b": {"A": 2, "B": 1}, "c": {"A": 1}}, {("A", "b"): 2, ("A", "c"): 1, ("B", "b"): 1}),
        ({"c": {"A": 1}, "b": {"A": 1}, "a": {"A": 1}, "x": {"B": 1}}, None),
    ],
    ids=["one location", "two by name", "a line in two parts", "one after the other"],
)
def test_what_is_ordered_is_taken_from_few_locations(
    available: dict[str, dict[str, int]], places: dict[tuple[str, str], int] | None
) -> None:
    taken = allocated({"A": 3, "B": 1}, available, "default")
    assert taken == (places or {("A", "a"): 1, ("A", "b"): 1, ("A", "c"): 1, ("B", "x"): 1})


LOCATIONS = st.sampled_from(["a", "b", "c"])


@given(
    st.dictionaries(st.sampled_from("AB"), st.integers(0, 6), min_size=2),
    st.dictionaries(st.tuples(st.sampled_from("AB"), LOCATIONS), st.integers(0, 4)),
    st.lists(st.dictionaries(st.sampled_from("AB"), st.integers(1, 6), min_size=1)),
)
def test_no_location_gives_more_than_it_has_and_all_goes_back_where_it_was(
    at_default: dict[str, int], there: dict[tuple[str, str], int], orders: list[dict[str, int]]
) -> None:
    named = {place: StockLevel(count, 0) for place, count in there.items()}
    on_hand = Counter(at_default)
    for (sku, _), count in there.items():
        on_hand[sku] += count
    stock = Shelf({sku: StockLevel(on_hand[sku], 0) for sku in at_default}, named)
    held = []
    for order in orders:
        places = stock.places(order)
        if stock.reserve(order) is None:
            stock.hold(places)
            assert not places or totals(places) == order
            held.append((order, places))
    for sku, count in at_default.items():
        assert sum(order.get(sku, 0) - _at_named(places, sku) for order, places in held) <= count
    for order, places in held:
        stock.release(order, places)
    assert all(level.reserved == 0 for level in (*stock.changed.values(), *stock.changed_places.values()))


def _at_named(places: Places, sku: str) -> int:
    return sum(count for (each, at), count in places.items() if each == sku and at != "default")
