"""Connections to PostgreSQL that are made whole, or given back whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import psycopg
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection as SqlConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.round_trip import Connection

ALIVE: Final[dict[str, Any]] = {"connect_timeout": 5, "keepalives_idle": 10, "tcp_user_timeout": 15000}
"""Seconds, seconds and milliseconds after which a dead server is noticed."""


async def connect(url: str, **options: Any) -> Connection:
    """A connection to the database at a SQLAlchemy ``url``.

    Cancelled in mid-connect, it goes on until there is something to close. Left half-way, it would hold a
    backend of the server, and whatever waits for all backends, until the server loses patience (a minute).

    The driver prepares nothing of its own accord: at every rollback it would have the server forget all that
    is prepared, what `Connection.ask` relies on too.
    """
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connecting = asyncio.ensure_future(
        Connection.connect(conninfo, prepare_threshold=None, **ALIVE, **options)
    )
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        with suppress(psycopg.Error, OSError):
            await (await connecting).close()
        raise


@asynccontextmanager
async def checked_out(engine: AsyncEngine) -> AsyncIterator[SqlConnection]:
    """A connection of the pool, for work that may be cancelled at any moment: it always goes back.

    Cancelled in mid-checkout, a connection would be nobody's, and its place in the pool taken, until the
    garbage collector finds it. With a busy event loop that soon empties the pool.
    """
    connection = engine.connect()
    checkout = asyncio.ensure_future(_checkout(connection))
    try:
        await asyncio.shield(checkout)
    except asyncio.CancelledError:
        _returning(checkout, connection)
        raise
    try:
        yield connection
    finally:
        await asyncio.shield(asyncio.ensure_future(connection.close()))


async def _checkout(connection: SqlConnection) -> None:
    await connection.start()


_RETURNS: Final[set[asyncio.Task[None]]] = set()
"""Checkouts that nobody waits for any more; the event loop alone would let go of them."""


def _returning(checkout: asyncio.Task[None], connection: SqlConnection) -> None:
    """Give a connection back as soon as it is there."""

    async def give_back() -> None:
        with suppress(Exception):  # who wanted it has left: nobody is to be told
            await checkout
            await connection.close()

    task = asyncio.get_running_loop().create_task(give_back())
    _RETURNS.add(task)
    task.add_done_callback(_RETURNS.discard)
