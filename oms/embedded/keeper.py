"""Keeps the embedded PostgreSQL working for as long as a process of ours needs it.

A server that is gone, or does not answer, is started again. One that runs and cannot do its work (its disk is
full, its folder became read-only, it recovers from a crash of its own) is looked at again. Each try is a line
in the log; after the last one the process ends with one line. Meanwhile `/readyz` tells that the database is
in trouble, and whoever waits for it is patient.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
import structlog
from psycopg import sql

from oms.embedded.child import ServerError
from oms.embedded.postgresql import EmbeddedPostgres
from oms.failures import Failure

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 2.0
"""Seconds between two looks at a server that works."""

ANSWERS_WITHIN_S: Final = 30.0
"""Seconds after which a server that runs and says nothing counts as gone."""

PAUSES_S: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""The tries at a server in trouble: seconds to wait before each."""

LONGEST_S: Final = 120.0
"""Seconds of trouble after which there is no further try, however many are left."""

CALM_S: Final = 60.0
"""Seconds that a server has to work until all tries are there again."""

ROOM_BYTES: Final = 1_000_000
"""What has to be free on the disk."""

_PROBE: Final = sql.SQL("COPY (SELECT repeat('x', {})) TO {}")
"""Writes so many bytes to a file in the folder, as any session would write to its tables."""


class Lost(Failure):
    """The embedded PostgreSQL cannot be kept working."""


@dataclass(frozen=True, slots=True)
class _Trouble:
    problem: str
    needs_start: bool


@asynccontextmanager
async def kept(server: EmbeddedPostgres) -> AsyncIterator[Keeper]:
    """Keep a server, which was started, working while the block runs; gives who does it.

    Raises:
        Lost: in place of the block, which is cancelled: all tries were in vain.
    """
    block = asyncio.current_task()
    assert block is not None
    keeper = Keeper(server)
    keeping = asyncio.create_task(keeper.keep(), name="embedded PostgreSQL")
    keeping.add_done_callback(lambda ended: None if ended.cancelled() else block.cancel())
    try:
        yield keeper
    except BaseException:
        if keeping.done() and not keeping.cancelled():
            block.uncancel()
            keeping.result()
        raise
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


class Keeper:
    """Looks at one server again and again.

    Attributes:
        trouble: what is wrong with it just now, None when it works.
    """

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.trouble: str | None = None
        self._server = server
        self._now = asyncio.get_running_loop().time
        self._pauses: Iterator[float] = iter(PAUSES_S)
        self._works_since: float | None = self._now()
        self._trouble_since = 0.0

    async def keep(self) -> None:
        """Never returns. Raises Lost."""
        trouble: _Trouble | None = None
        while True:
            trouble = trouble or await self._look()
            if trouble is None:
                self._note_that_it_works()
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                trouble = await self._try(trouble)

    async def _look(self) -> _Trouble | None:
        if self._server.pid is None:
            return _Trouble(f"it has ended: {self._server.last_words}", needs_start=True)
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                await _probe(self._server)
        except TimeoutError:
            return _Trouble("it does not answer", needs_start=True)
        except (psycopg.Error, ServerError, OSError) as error:
            return _Trouble(_first_line(error), needs_start=False)
        return None

    def _note_that_it_works(self) -> None:
        self.trouble = None
        if self._works_since is None:
            self._works_since = self._now()
            log.info("the embedded PostgreSQL works again")
        elif self._now() - self._works_since > CALM_S:
            self._pauses = iter(PAUSES_S)

    async def _try(self, trouble: _Trouble) -> _Trouble | None:
        """Wait, and do what may help; gives the next trouble where that is known already."""
        self.trouble = trouble.problem
        if self._works_since is not None:
            self._works_since, self._trouble_since = None, self._now()
        pause = next(self._pauses, None)
        if pause is None or self._now() - self._trouble_since > LONGEST_S:
            raise Lost(
                f"the embedded PostgreSQL in {self._server.folder} cannot be kept working: {trouble.problem}"
            )
        doing = "starting it again" if trouble.needs_start else "looking again"
        log.warning(f"the embedded PostgreSQL is in trouble, {doing}", problem=trouble.problem, after_s=pause)
        await asyncio.sleep(pause)
        if not trouble.needs_start:
            return None
        try:
            await _to_its_end(asyncio.create_task(asyncio.to_thread(_start_again, self._server)))
        except ServerError as error:
            return _Trouble(_first_line(error), needs_start=True)
        return None


async def _probe(server: EmbeddedPostgres) -> None:
    url = server.url.replace("postgresql+psycopg:", "postgresql:", 1)
    file = str(server.folder / "data" / "oms.probe")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        try:
            await connection.execute(_PROBE.format(ROOM_BYTES, file))
        finally:  # else the room that it found would be its own the next time
            await connection.execute(_PROBE.format(0, file))


def _start_again(server: EmbeddedPostgres) -> None:
    """What runs has had its time to answer: it is killed, and its data recover."""
    server.kill()
    server.restart()


async def _to_its_end(starting: asyncio.Task[None]) -> None:
    """Wait for a start also when nobody wants it any more: it must not outlive us."""
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        raise


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
