"""M5: what is in hand is counted in parts, whatever messages they come in."""

from __future__ import annotations

import pytest

from messaging.parts import InHand
from messaging.rabbitmq.window import CAUTIOUS, Window


def test_a_message_is_done_with_the_last_of_its_parts_and_once() -> None:
    in_hand: InHand[int] = InHand()
    in_hand.arrived(1, 3)
    assert [in_hand.done(1, place) for place in (2, 2, 0, 1, 1)] == [False, False, False, True, False]
    assert (in_hand.parts, len(in_hand)) == (0, 0)


def test_what_is_not_in_hand_is_no_news() -> None:
    in_hand: InHand[int] = InHand()
    in_hand.arrived(1, 1)
    assert not in_hand.done(2, 0)
    assert not in_hand.done(1, 5)
    assert in_hand.parts == 1


def test_single_messages_are_handed_out_up_to_the_prefetch_and_nothing_is_changed() -> None:
    window = Window(500)
    assert window.size == 500
    for tag in range(500):
        window.arrived(tag, 1)
        assert not window.is_outgrown
        assert not window.is_overfull
    for tag in range(500):
        assert window.done(tag, 0)
        assert not window.is_outgrown


def test_a_queue_that_may_hold_batches_begins_with_few_messages() -> None:
    assert Window(500, CAUTIOUS).size == 7


@pytest.mark.parametrize("prefetch", [1, 5, 500])
def test_it_grows_as_soon_as_messages_turn_out_to_be_single(prefetch: int) -> None:
    window = Window(prefetch, CAUTIOUS)
    for tag in range(5000):
        window.arrived(tag, 1)
        if window.is_outgrown:
            window.renew()
        if window.in_hand.parts >= window.size:
            for done in range(tag + 1):
                window.done(done, 0)
    assert 2 * window.size >= prefetch


@pytest.mark.parametrize("prefetch", [1, 5, 100, 500])
def test_single_messages_that_nobody_is_done_with_are_handed_out_up_to_the_prefetch(prefetch: int) -> None:
    window = Window(prefetch, CAUTIOUS)
    tag = room = 0
    while window.is_outgrown or tag < window.size + room:
        if window.is_outgrown:
            room = tag
            window.renew()
        window.arrived(tag, 1)
        tag += 1
    assert prefetch / 2 <= tag <= prefetch


def test_full_batches_where_single_messages_were_expected_stop_it_until_there_is_room() -> None:
    window = Window(128)
    tag = 0
    while not window.is_overfull:
        window.arrived(tag, 64)
        tag += 1
    assert window.in_hand.parts == 2 * 128
    room = [window.has_room]
    for tag in (0, 1, 2):
        for place in range(64):
            window.done(tag, place)
        room.append(window.has_room)
    assert room == [False, False, False, True]
    assert window.renew() < 128


def test_batches_that_a_few_parts_hold_back_make_room_for_others() -> None:
    window = Window(256, CAUTIOUS)
    for tag in range(window.size):
        window.arrived(tag, 64)
    for tag in range(window.size):
        for place in range(63):
            assert not window.done(tag, place)
    assert window.is_outgrown
    assert window.renew() >= 3
    assert not window.is_outgrown
