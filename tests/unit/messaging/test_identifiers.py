"""Time-ordered ids tell when they were made, and a moment tells which ids came before it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from messaging.identifiers import first_id_at, time_of, time_ordered_ids

MOMENT = datetime(2026, 1, 31, 12, 0, 0, 123_000, tzinfo=UTC)


def made_at(moment: datetime) -> UUID:
    return time_ordered_ids(random.Random(1), lambda: int(moment.timestamp() * 1000))()


def test_an_id_tells_when_it_was_made_to_the_millisecond() -> None:
    assert time_of(made_at(MOMENT)) == MOMENT
    assert time_of(first_id_at(MOMENT)) == MOMENT


def test_what_was_made_before_a_moment_is_below_its_first_id_and_nothing_else_is() -> None:
    first = first_id_at(MOMENT)
    assert first.version == 7
    assert made_at(MOMENT - timedelta(milliseconds=1)) < first <= made_at(MOMENT)


def test_an_id_of_another_kind_tells_no_time() -> None:
    with pytest.raises(ValueError, match="not a time-ordered id"):
        time_of(uuid4())
