"""The shelf: whatever is asked of it, it never holds more than is there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.commands import ItemQuantity
from participants.inventory.stock import OUT_OF_STOCK, UNKNOWN_SKU, Shelf, Shortage, StockLevel, lines_of
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
