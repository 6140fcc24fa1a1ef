"""Jobs as values: how they move, how they end, how fast they may go (D5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from orchestrator.jobs.job import (
    HIGHEST_RATE,
    LARGEST_TURN,
    LOWEST_RATE,
    Item,
    ItemResult,
    Job,
    JobKind,
    JobState,
    Outcome,
    Refusals,
    after,
    counted,
    next_turn_at,
    turn_size,
    why_changed,
)
from orchestrator.storage import DeadLetter, DeadLetterStatus
from tests.support.orders import NOON

DONE = Outcome(ItemResult.SUCCEEDED)
ITEM = Item(uuid4(), 3)


def refused(code: str, explanation: str = "no") -> Outcome:
    return Outcome(ItemResult.REFUSED, code, explanation)


def a_job(total: int) -> Job:
    return Job(
        job_id=uuid4(),
        kind=JobKind.REPLAY,
        filter={},
        reason="why",
        actor="somebody",
        rate_per_second=50.0,
        created_at=NOON,
        next_at=NOON,
        total=total,
    )


def a_dead_letter(status: DeadLetterStatus, version: int) -> DeadLetter:
    return DeadLetter(
        dead_letter_id=ITEM.item_id,
        kind="command",
        work_key="k",
        death_id="d",
        queue="q",
        type="t",
        error_type="e",
        error_message="m",
        error_stack="",
        permanent=False,
        attempts=1,
        first_failed_at=NOON,
        last_failed_at=NOON,
        exchange="",
        routing_key="",
        message_id="m",
        headers={},
        body=b"",
        body_truncated=False,
        created_at=NOON,
        status=status,
        version=version,
    )


def test_a_job_moves_with_each_item_and_ends_with_its_last() -> None:
    first = after(a_job(2), ITEM, DONE, NOON)
    assert (first.done, first.position, first.state, first.version) == (
        1,
        ITEM.item_id,
        JobState.RUNNING,
        1,
    )
    last = after(first, Item(uuid4(), 1), refused("closed"), NOON)
    assert (last.succeeded, last.refused, last.state, last.version) == (1, 1, JobState.FINISHED, 2)
    assert last.finished_at == NOON


def test_refusals_are_counted_by_their_code_with_the_first_as_example() -> None:
    job = a_job(9)
    for outcome in (refused("closed", "a"), DONE, refused("closed", "b"), refused("gone", "c")):
        job = after(job, ITEM, outcome, NOON)
    assert job.refusals == {"closed": Refusals(2, "a"), "gone": Refusals(1, "c")}
    assert counted([refused("closed", "a"), DONE]) == {"closed": Refusals(1, "a")}


@pytest.mark.parametrize(
    ("status", "version", "left_alone"),
    [
        (DeadLetterStatus.OPEN, 3, False),
        (DeadLetterStatus.OPEN, 5, False),  # it died once more: the same work, still to be replayed
        (DeadLetterStatus.REPLAYING, 3, False),  # it was chosen like that
        (DeadLetterStatus.REPLAYING, 4, True),
    ],
)
def test_what_is_on_its_way_is_left_alone(status: DeadLetterStatus, version: int, left_alone: bool) -> None:
    assert (why_changed(ITEM, a_dead_letter(status, version)) is not None) == left_alone


def test_a_turn_is_about_a_seconds_worth() -> None:
    assert [turn_size(rate) for rate in (LOWEST_RATE, 1, 2.5, 50, HIGHEST_RATE)] == [
        1,
        1,
        3,
        50,
        LARGEST_TURN,
    ]


def test_turns_keep_to_the_rate() -> None:
    assert next_turn_at(NOON, NOON, 50, 50.0) == NOON + timedelta(seconds=1)
    assert next_turn_at(NOON, NOON, 1, 0.1) == NOON + timedelta(seconds=10)


def test_looking_late_costs_no_speed_and_being_held_up_gives_no_burst() -> None:
    late, held_up = NOON + timedelta(seconds=0.5), NOON + timedelta(hours=1)
    assert next_turn_at(NOON, late, 50, 50.0) == NOON + timedelta(seconds=1)
    assert next_turn_at(NOON, held_up, 50, 50.0) == held_up - timedelta(seconds=1)


def test_a_job_with_nothing_done_has_no_position() -> None:
    assert a_job(1).position is None
    assert replace(a_job(1), succeeded=1).done == 1
