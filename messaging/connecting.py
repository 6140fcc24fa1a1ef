"""Connections to PostgreSQL that are made whole, or given back whole."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import psycopg
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection as SqlConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.round_trip import Connection, Naming
from messaging.sessions import ADMITTED_WITHIN_S, CONNECTED_WITH, NotAdmitted, UnfitDatabase, check, opening

_NAMINGS: Final[dict[str, Naming]] = {}
"""What this process knows of each database that it connects to."""


async def connect(url: str, **options: Any) -> Connection:
    """A connection to the database at a SQLAlchemy ``url``, in a session that is as ours must be.

    Cancelled in mid-connect, it goes on until there is something to close. Left half-way, it would hold a
    backend of the server, and whatever waits for all backends, until the server loses patience (a minute).

    Raises:
        psycopg.OperationalError: nobody is there, or nobody answers.
        UnfitDatabase: nothing can be stored in it faithfully.
    """
    connecting = asyncio.ensure_future(_opened(url, options))
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        with suppress(psycopg.Error, OSError, UnfitDatabase):
            await (await connecting).close()
        raise


async def _opened(url: str, options: dict[str, Any]) -> Connection:
    connection = await Connection.connect(conninfo(url), **(CONNECTED_WITH | options))
    autocommit = connection.autocommit
    try:
        await connection.set_autocommit(True)
        async with asyncio.timeout(ADMITTED_WITHIN_S):
            row = await (await connection.execute(opening(connection.pgconn))).fetchone()
        await connection.set_autocommit(autocommit)
        backend = check(row or ())
    except TimeoutError:
        await connection.close()
        raise NotAdmitted from None
    except BaseException:
        await connection.close()
        raise
    connection.pooled = backend != connection.pgconn.backend_pid
    connection.naming = _NAMINGS.setdefault(make_url(url).render_as_string(), connection.naming)
    return connection


def connect_and_wait(url: str) -> psycopg.Connection[Any]:
    """The same for a thread without an event loop, which waits. Raises as `connect` does."""
    connection = psycopg.connect(conninfo(url), autocommit=True, **CONNECTED_WITH)
    hung_up = threading.Event()
    impatience = threading.Timer(ADMITTED_WITHIN_S, _hang_up, [connection, hung_up])
    impatience.start()
    try:
        row = connection.execute(opening(connection.pgconn)).fetchone()
        check(row or ())
        connection.autocommit = False
    except BaseException as error:
        connection.close()
        if isinstance(error, psycopg.OperationalError) and hung_up.is_set():
            raise NotAdmitted from None
        raise
    finally:
        impatience.cancel()
    return connection


def conninfo(url: str) -> str:
    """A SQLAlchemy ``url`` as libpq reads it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _hang_up(connection: psycopg.Connection[Any], hung_up: threading.Event) -> None:
    """End a connection in the middle of whatever it waits for."""
    hung_up.set()
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


async def shared_between_transactions(connection: Connection, another: Callable[[], Awaitable[Any]]) -> bool:
    """Whether a pooler hands the server to others between two transactions: nothing then stays in a session.

    A server that is ours is told us again and again, is told to nobody else, and has meanwhile done nothing
    but what we asked; a shared one that others have just taken shows that by the last alone. What cannot be
    seen counts as shared. Both connections are in autocommit mode; ``another`` makes the second one.
    """
    if not connection.pooled:
        return False
    try:
        async with asyncio.timeout(ADMITTED_WITHIN_S), await another() as other:
            return any([await _passed_on(connection, other) for _ in range(_LOOKS)])
    except (TimeoutError, NotAdmitted):
        return True  # too few servers for two at once: one that stays ours would be missing to others


_LOOKS: Final = 3
"""How often it is looked whether a server is shared: a pooler may deal its servers out in turn."""


async def _passed_on(connection: Connection, other: Any) -> bool:
    """Whether the server of one connection is seen to serve another."""
    asked = f"SELECT pg_backend_pid() /* {secrets.token_hex(8)} */"
    (first,) = await _row(connection, asked)
    seen = await _row(other, _SEEN.format(first))
    (again,) = await _row(connection, asked)
    return bool(first != again or seen[0] == first or seen[1] != asked)


_SEEN: Final = "SELECT pg_backend_pid(), (SELECT query FROM pg_stat_activity WHERE pid = {})"


async def _row(connection: Any, query: str) -> Any:
    return await (await connection.execute(query)).fetchone()


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
