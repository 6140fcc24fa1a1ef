"""The registrar on a stage: in memory, and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from enrolment.messages import FreeSeats, NoSeat, SeatsFreed, SeatsTaken, TakeSeats
from enrolment.registrar import COURSES, registrar
from sqlalchemy import delete, insert, select

from oms.kit import Effect
from oms.kit.testing import Stage, in_memory, on_postgresql


@pytest.fixture(params=[in_memory, on_postgresql], scope="module")
async def any_stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with request.param(registrar) as stage:
        yield stage


@pytest.fixture
async def stage(any_stage: Stage) -> Stage:
    courses = [{"course": "algebra", "free": 2}, {"course": "chess", "free": 1}]
    await any_stage.execute(delete(COURSES))
    await any_stage.execute(insert(COURSES), courses)
    return any_stage


async def free(stage: Stage) -> dict[str, int]:
    rows = await stage.execute(select(COURSES.c.course, COURSES.c.free))
    return {row.course: row.free for row in rows}


async def test_a_seat_is_taken_in_each_course_once_however_often_it_is_asked_for(stage: Stage) -> None:
    saga = stage.saga()
    first = await saga.ask(TakeSeats, courses=["algebra", "chess"])
    assert isinstance(first, SeatsTaken)
    assert await saga.ask(TakeSeats, courses=["algebra", "chess"]) == first
    assert await free(stage) == {"algebra": 1, "chess": 0}


async def test_when_one_course_is_full_no_seat_is_taken_in_the_others(stage: Stage) -> None:
    await stage.ask(TakeSeats, courses=["chess"])
    answer = await stage.ask(TakeSeats, courses=["algebra", "chess"])
    assert isinstance(answer, NoSeat)
    assert (answer.code, answer.message) == ("full", "chess")
    assert await free(stage) == {"algebra": 2, "chess": 0}


async def test_an_unknown_course_is_refused(stage: Stage) -> None:
    answer = await stage.ask(TakeSeats, courses=["zoology"])
    assert isinstance(answer, NoSeat)
    assert answer.code == "unknown_course"


async def test_seats_are_given_back_once(stage: Stage) -> None:
    saga = stage.saga()
    await saga.ask(TakeSeats, courses=["algebra"])
    freed = await saga.ask(FreeSeats)
    assert isinstance(freed, SeatsFreed)
    assert await saga.ask(FreeSeats) == freed
    assert await free(stage) == {"algebra": 2, "chess": 1}


async def test_what_was_never_taken_is_not_given_back_and_is_not_taken_later(stage: Stage) -> None:
    saga = stage.saga()
    answer = await saga.ask(FreeSeats)
    assert isinstance(answer, SeatsFreed)
    assert answer.effect is Effect.NOTHING
    assert type(await saga.ask(TakeSeats, courses=["algebra"])).__name__ == "StepRefused"
    assert await free(stage) == {"algebra": 2, "chess": 1}
