"""A database that refuses what it is asked, as when rights are changed in error: nothing is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from participants.inventory.handlers import inventory
from tests.support.participant_stage import Stage, payment_stage, until
from tests.support.participants import Case
from tests.support.providers import Gateway


@asynccontextmanager
async def refusing(stage: Stage, loop: str) -> AsyncIterator[None]:
    """No answer can be sent, and no failed command's hop, until a loop of that name has failed."""
    await stage.execute(f"ALTER TABLE {stage.name}.outbox ADD CONSTRAINT closed CHECK (false) NOT VALID")
    with capture_logs() as lines:
        yield
        await until(lambda: any(str(line.get("loop", "")).startswith(loop) for line in lines))
    await stage.execute(f"ALTER TABLE {stage.name}.outbox DROP CONSTRAINT closed")


async def test_commands_are_served_when_the_database_takes_answers_again(engine: AsyncEngine) -> None:
    async with Stage(inventory, engine) as stage:
        await stage.replica()
        async with refusing(stage, "consumer of"):
            stage.send(*(Case().reserve(TEA=1) for _ in range(3)))
        assert await stage.types(3) == ["InventoryRejectedEvent"] * 3


async def test_calls_are_settled_when_the_database_takes_answers_again(engine: AsyncEngine) -> None:
    gateway, cases = Gateway(), [Case() for _ in range(3)]
    async with payment_stage(engine, gateway) as stage:
        payment = await stage.replica()
        answers = asyncio.Event()

        async def held() -> None:
            await answers.wait()

        gateway.before("charge", *[held] * len(cases))
        stage.send(*(case.charge(10) for case in cases))
        await until(lambda: payment.calls_under_way == len(cases))
        async with refusing(stage, "answers to"):
            answers.set()
        assert await stage.types(3) == ["PaymentSuccessfulEvent"] * 3
        assert gateway.balance == 30
        await until(lambda: payment.calls_under_way == 0)
