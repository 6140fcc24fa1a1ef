"""A connection of the pool goes back whoever stops waiting for it, and whenever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import count

import pytest
from sqlalchemy import Connection, event, literal, select
from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.connecting import checked_out
from messaging.postgresql import create_engine
from tests.support.participant_stage import until


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url, pool_size=1)
    yield engine
    await engine.dispose()


async def read(engine: AsyncEngine) -> None:
    async with checked_out(engine) as connection:
        await connection.execute(select(literal(1)))


def pool_of(engine: AsyncEngine) -> int:
    out: int = engine.pool.checkedout()  # type: ignore[attr-defined]  # of every pool that counts
    return out


async def test_a_connection_goes_back_that_nobody_waits_for_any_more(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """It has left the pool and has not reached whoever asked: cancelled then, it must not be nobody's."""
    reached, handed_over = asyncio.Event(), asyncio.Event()

    async def hold(_: object) -> None:
        reached.set()
        await handed_over.wait()

    @event.listens_for(engine.sync_engine, "engine_connect")
    def on_its_way(connection: Connection) -> None:
        connection.connection.dbapi_connection.run_async(hold)  # type: ignore[union-attr]

    with caplog.at_level(logging.ERROR, "sqlalchemy.pool"):
        reading = asyncio.create_task(read(engine))
        await reached.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        handed_over.set()
        await until(lambda: pool_of(engine) == 0)
    assert caplog.records == []
    await read(engine)


async def test_a_read_may_be_cancelled_at_any_moment(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    read_once = engine.execution_options(isolation_level="AUTOCOMMIT")
    await read(read_once)
    with caplog.at_level(logging.ERROR, "sqlalchemy.pool"):
        for steps in count():
            reading = asyncio.create_task(read(read_once))
            for _ in range(steps):
                await asyncio.sleep(0)
            in_time = not reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await until(lambda: pool_of(engine) == 0)
            if in_time:
                break
    assert caplog.records == []
    await read(read_once)
