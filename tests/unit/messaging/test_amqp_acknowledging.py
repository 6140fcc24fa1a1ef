"""Whatever the order, exactly what was done is acknowledged, and never more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from messaging.rabbitmq.acknowledging import Owed


def test_a_whole_batch_takes_one_frame() -> None:
    assert Owed().acknowledge(range(1, 201)) == [(200, True)]


def test_what_lies_behind_a_gap_goes_singly() -> None:
    assert Owed().acknowledge([1, 2, 5, 4]) == [(2, True), (4, False), (5, False)]


def test_closing_the_gap_takes_one_frame_and_skips_what_went_before() -> None:
    owed = Owed()
    owed.acknowledge([2, 3])

    assert owed.acknowledge([1, 4]) == [(4, True)]
    assert owed.acknowledge([5]) == [(5, True)]


def test_a_frame_names_only_tags_that_the_broker_still_expects() -> None:
    owed = Owed()
    owed.acknowledge([2, 3])

    assert owed.acknowledge([1]) == [(1, True)]  # 3 is acknowledged already: naming it would be an error


def test_nothing_is_acknowledged_twice() -> None:
    owed = Owed()
    owed.acknowledge([1, 2, 4])

    assert owed.acknowledge([4, 2, 1]) == []
    assert owed.acknowledge([]) == []


@given(st.permutations(range(1, 31)), st.lists(st.integers(min_value=1, max_value=9)))
def test_the_broker_agrees_in_any_order(order: list[int], sizes: list[int]) -> None:
    owed, outstanding, done = Owed(), set(range(1, 31)), set[int]()
    while order:
        size = sizes.pop() if sizes else len(order)
        batch, order = order[:size], order[size:]
        done |= set(batch)
        for tag, multiple in owed.acknowledge(batch):
            assert tag in outstanding
            outstanding -= set(range(1, tag + 1)) if multiple else {tag}
        assert outstanding == set(range(1, 31)) - done
