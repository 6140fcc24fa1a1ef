"""Ids go by the database's clock, however wrong this machine's is, and in whichever direction."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from messaging.clock import StorageClock
from messaging.identifiers import time_of, time_ordered_ids

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Machine:
    """A machine whose clock may be wrong."""

    def __init__(self, wrong_by: timedelta) -> None:
        self.wrong_by = wrong_by
        self.elapsed_s = 1000.0
        self.clock = StorageClock(
            lambda: (NOW + wrong_by).timestamp() + self.elapsed_s - 1000.0, lambda: self.elapsed_s
        )

    def look(self, trip_s: float = 0.0) -> None:
        """Ask a database whose clock is right, half of the trip after the question."""
        asked = self.clock.asked()
        self.elapsed_s += trip_s
        self.clock.told(asked, NOW + timedelta(seconds=self.elapsed_s - 1000.0 - trip_s / 2))


WRONG = [timedelta(hours=2), timedelta(days=-10), timedelta(0), timedelta(days=4000)]


@pytest.mark.parametrize("wrong_by", WRONG, ids=str)
def test_an_id_is_of_the_databases_time(wrong_by: timedelta) -> None:
    machine = Machine(wrong_by)
    machine.look(trip_s=4.0)
    machine.elapsed_s += 60
    new_id = time_ordered_ids(random.Random(1), machine.clock.milliseconds)
    assert abs(time_of(new_id()) - (NOW + timedelta(seconds=64))) < timedelta(milliseconds=2)
    assert abs(machine.clock.now() - (NOW + timedelta(seconds=64))) < timedelta(milliseconds=2)


@pytest.mark.parametrize("wrong_by", WRONG, ids=str)
def test_ids_that_were_drawn_before_the_first_look_do_not_hold_later_ones(wrong_by: timedelta) -> None:
    machine = Machine(wrong_by)
    new_id = time_ordered_ids(random.Random(1), machine.clock.milliseconds)
    new_id()
    machine.look()
    assert abs(time_of(new_id()) - NOW) < timedelta(milliseconds=2)


def test_a_small_step_back_does_not_turn_the_order_of_ids() -> None:
    milliseconds = iter((10_000_000, 9_990_000, 9_990_000))
    new_id = time_ordered_ids(random.Random(1), lambda: next(milliseconds))
    first, second, third = new_id(), new_id(), new_id()
    assert first < second < third


@pytest.mark.parametrize(
    ("wrong_by", "difference", "trouble"),
    [
        (timedelta(seconds=1), None, None),
        (
            timedelta(seconds=-20),
            "this machine's clock is 20 s behind the database's",
            None,
        ),
        (
            timedelta(hours=2),
            "this machine's clock is 7200 s ahead of the database's",
            "this machine's clock is 7200 s ahead of the database's",
        ),
    ],
    ids=str,
)
def test_a_difference_is_told_and_beyond_a_bound_it_is_trouble(
    wrong_by: timedelta, difference: str | None, trouble: str | None
) -> None:
    machine = Machine(wrong_by)
    assert machine.clock.difference is None
    machine.look()
    assert (machine.clock.difference, machine.clock.trouble) == (difference, trouble)
    [(_, ahead_s)] = machine.clock.readings()
    assert ahead_s == pytest.approx(wrong_by.total_seconds(), abs=0.01)
