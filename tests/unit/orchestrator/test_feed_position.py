"""Cursors of the feed: opaque, the same for the same place, refused when they are anything else (S29)."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.queries.feed_position import ALL, BEGINNING, CURSOR_PATTERN, Position, position_of
from orchestrator.queries.paging import InvalidCursor

SAGA = UUID(int=7)

POSITIONS = st.builds(
    Position,
    st.integers(0, 2**63 - 1),
    st.uuids(),
    st.integers(0, 2**31 - 1),
    st.integers(0, ALL),
    st.none() | st.integers(0, 2**63 - 1),
)


@given(POSITIONS)
def test_a_cursor_names_its_place(position: Position) -> None:
    found = position_of(position.cursor)
    assert (found, found.pruned_sagas) == (position, position.pruned_sagas)
    assert re.fullmatch(CURSOR_PATTERN, position.cursor)


def test_places_are_ordered_by_transaction_saga_version_and_event() -> None:
    places = [
        BEGINNING,
        Position(0, SAGA, 9),
        Position(1, SAGA, 1, 1),
        Position(1, SAGA, 1, 3),
        Position(1, SAGA, 1),
        Position(1, SAGA, 2, 1),
        Position(1, UUID(int=8), 1, 1),
        Position(2, SAGA, 1),
    ]
    assert sorted(places) == places


@given(st.text(max_size=60))
def test_whatever_else_is_refused(text: str) -> None:
    try:
        position = position_of(text)
    except InvalidCursor:
        return
    assert position.cursor == text


@pytest.mark.parametrize(
    "position",
    [Position(2**63, SAGA, 1), Position(2**64 - 1, SAGA, 1), Position(1, SAGA, 2**31)],
)
def test_what_the_database_cannot_count_to_is_refused(position: Position) -> None:
    with pytest.raises(InvalidCursor):
        position_of(position.cursor)


@pytest.mark.parametrize("change", [lambda cursor: cursor + "=", lambda cursor: cursor[:-1], str.swapcase])
def test_a_changed_cursor_is_another_place_or_none(change: Callable[[str], str]) -> None:
    cursor = Position(12345, SAGA, 3).cursor
    with suppress(InvalidCursor):
        assert position_of(change(cursor)) != position_of(cursor)


def test_a_cursor_of_another_kind_is_refused() -> None:
    packed = bytearray(31)
    packed[0] = 2
    with pytest.raises(InvalidCursor):
        position_of(urlsafe_b64encode(bytes(packed)).decode().rstrip("="))
