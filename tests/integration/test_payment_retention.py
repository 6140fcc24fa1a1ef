"""Payment behind the low-water mark, on a real PostgreSQL: nobody is charged for what ended long ago (P7)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.commands import AdvanceLowWaterMark, Verdict
from contracts.envelope import Direction
from messaging.compose import instruction_message
from messaging.identifiers import first_id_at, time_ordered_ids
from tests.support.participant_stage import Stage, payment_stage
from tests.support.participants import NOW, Case
from tests.support.participants import new_id as message_id
from tests.support.providers import Gateway

DAY = timedelta(days=1)
new_id = time_ordered_ids(random.Random(11), lambda: int((datetime.now(UTC) - 50 * DAY).timestamp() * 1000))
"""Ids of fifty days ago."""


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def stage(engine: AsyncEngine, gateway: Gateway) -> AsyncIterator[Stage]:
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        yield stage


def old_case() -> Case:
    return Case(saga_id=new_id(), order_id=new_id())


def tell(stage: Stage, days: int) -> None:
    """The instruction that lets go of what is older than so many days."""
    mark = first_id_at(datetime.now(UTC) - days * DAY)
    instruction = AdvanceLowWaterMark(mark=mark)
    stage.publish(instruction_message(instruction, "payment", message_id(), NOW, "orchestrator"))


async def heard(stage: Stage, days: int) -> None:
    """The same, returning once the mark is known: what comes in one batch with it is decided without it."""
    tell(stage, days)
    while not await stage.rows("SELECT mark FROM payment.retention"):
        pass


async def test_unknown_work_behind_the_mark_is_not_done(stage: Stage, gateway: Gateway) -> None:
    await heard(stage, days=30)
    late = old_case()
    for command in (
        late.charge(),
        late.refund(),
        late.settle("charge", Direction.FORWARD, Verdict.NO_EFFECT),
    ):
        stage.send(command)
        dead = await stage.dead_letter()
        assert (dead.headers["error-type"], dead.headers["error-permanent"]) == ("expired", True)
    assert gateway.calls == []
    assert await stage.rows("SELECT 1 FROM payment.ledger") == []


async def test_what_the_ledger_still_knows_is_answered_as_ever(stage: Stage, gateway: Gateway) -> None:
    """P2, P3: a saga behind the mark whose rows are there is nothing special."""
    case = old_case()
    first = await stage.answer(case.charge())
    await heard(stage, days=30)
    assert await stage.answer(case.charge()) == first
    assert (await stage.answer(case.refund())).type == "PaymentRefundedEvent"
    assert gateway.balance == 0


async def test_a_batch_of_commands_and_a_mark_is_served_whole(stage: Stage, gateway: Gateway) -> None:
    for days in (60, 55, 57):
        stage.send(old_case().charge())
        tell(stage, days)
    assert await stage.types(3) == ["PaymentSuccessfulEvent"] * 3
    await heard(stage, days=58)
    assert (await stage.answer(old_case().charge())).type == "PaymentSuccessfulEvent"
    [row] = await stage.rows("SELECT mark FROM payment.retention")
    assert row["mark"] > first_id_at(datetime.now(UTC) - 56 * DAY)


async def test_a_mark_that_lets_go_of_what_may_be_at_work_is_a_dead_letter(stage: Stage) -> None:
    tell(stage, days=1)
    dead = await stage.dead_letter()
    assert (dead.type, dead.headers["error-type"]) == ("AdvanceLowWaterMark", "mark_too_young")
    assert await stage.rows("SELECT mark FROM payment.retention") == []
