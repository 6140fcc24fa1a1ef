"""Submissions while their storage is away: everybody is told at once, not one after the other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import uuid4

import pytest
from sqlalchemy.exc import TimeoutError as PoolExhausted

from messaging.sqlstates import is_transient
from messaging.unit_of_work import StorageUnavailable
from orchestrator.core.definition import StepPolicy
from orchestrator.core.registry import Registry
from orchestrator.engine import Engine
from orchestrator.intake import Intake, Submission
from orchestrator.sagas.order_fulfillment import NAME, order_fulfillment
from orchestrator.storage import OrchestratorTransaction
from tests.support.orders import an_order

R = TypeVar("R")


class Away:
    """A storage that cannot be used."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(self, work: Callable[[OrchestratorTransaction], Awaitable[R]]) -> R:
        self.runs += 1
        raise StorageUnavailable("the database cannot be used")


class GoneMeanwhile(Away):
    """A storage that does not take a group, and is away when it is tried one by one."""

    async def run(self, work: Callable[[OrchestratorTransaction], Awaitable[R]]) -> R:
        if self.runs:
            return await super().run(work)
        self.runs += 1
        raise ValueError("one of them is bad")


@pytest.mark.parametrize(("storage", "runs"), [(Away(), 1), (GoneMeanwhile(), 2)], ids=["at once", "later"])
async def test_a_group_is_refused_as_one_when_the_storage_is_away(storage: Away, runs: int) -> None:
    engine = Engine(Registry([order_fulfillment(StepPolicy())]), uuid4, random.Random(1))
    intake = Intake(storage, engine, 86400)
    waiting = [
        asyncio.ensure_future(intake.submit(Submission(NAME, an_order(), "c-1", uuid4(), uuid4())))
        for _ in range(50)
    ]
    await asyncio.sleep(0)
    assert await intake.run_once() == 50
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StorageUnavailable}
    assert storage.runs == runs


def test_s17_a_pool_without_a_free_connection_is_trouble_that_passes() -> None:
    assert is_transient(PoolExhausted())
