"""Connections to PostgreSQL that are made whole, or given back whole."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from sqlalchemy import make_url

ALIVE: Final[dict[str, Any]] = {"connect_timeout": 5, "keepalives_idle": 10, "tcp_user_timeout": 15000}
"""Seconds, seconds and milliseconds after which a dead server is noticed."""


async def connect(url: str, **options: Any) -> AsyncConnection[TupleRow]:
    """A connection to the database at a SQLAlchemy ``url``.

    Cancelled in mid-connect, it goes on until there is something to close. Left half-way, it would hold a
    backend of the server, and whatever waits for all backends, until the server loses patience (a minute).
    """
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connecting = asyncio.ensure_future(AsyncConnection.connect(conninfo, **ALIVE, **options))
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        with suppress(psycopg.Error, OSError):
            await (await connecting).close()
        raise
