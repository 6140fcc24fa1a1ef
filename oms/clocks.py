"""Looks at the database's clock, when a process starts and ever after."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.background import BackgroundLoops
from messaging.clock import StorageClock
from messaging.connecting import checked_out
from messaging.sqlstates import is_transient

log = structlog.get_logger(__name__)

LOOK_S: Final = 10.0
"""Seconds between two looks."""

PAUSE_S: Final = 1.0
"""Seconds until the next try, while a process that starts cannot look."""

_NOW: Final = text("SELECT clock_timestamp()")


async def look(clock: StorageClock, database: AsyncEngine) -> None:
    """Take over the database's time."""
    async with checked_out(database) as connection:
        await connection.execute(_NOW)  # the second one finds everything warm
        asked = clock.asked()
        clock.told(asked, (await connection.execute(_NOW)).scalar_one())


async def wait_for_time(clock: StorageClock, database: AsyncEngine) -> None:
    """Return once the database has told its time."""
    while not await _told(clock, database):  # noqa: ASYNC110  the database gives no sign
        await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def compared(clock: StorageClock, database: AsyncEngine, rng: random.Random) -> AsyncIterator[None]:
    """Look again and again while the block runs, and speak of what differs."""
    loops = BackgroundLoops(rng)
    loops.start("clock", _Comparison(clock, database).look_and_tell, pause_s=LOOK_S)
    try:
        yield
    finally:
        await loops.stop(1.0)


class _Comparison:
    """Looks, and says once when clocks begin to differ and once when they agree again."""

    def __init__(self, clock: StorageClock, database: AsyncEngine) -> None:
        self._clock = clock
        self._database = database
        self._said = False

    async def look_and_tell(self) -> bool:
        """As a background loop. False, always: the next look has time."""
        await _told(self._clock, self._database)
        differs = self._clock.difference
        if differs is not None and not self._said:
            log.warning(
                "clocks differ: set this machine's by NTP; identities go by the database's", how=differs
            )
        elif differs is None and self._said:
            log.info("clocks agree again")
        self._said = differs is not None
        return False


async def _told(clock: StorageClock, database: AsyncEngine) -> bool:
    """Whether the database has told its time."""
    try:
        await look(clock, database)
    except Exception as error:
        if not is_transient(error):
            raise
        return False
    return True
