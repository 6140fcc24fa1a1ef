"""What a session needs of a server, whatever the database's or the role's own settings are.

The settings that say how values are written are set where they differ. Poolers that hand a server from
transaction to transaction know these few, since the server reports them, and set them again on whatever they
hand out. Anything else is said with each transaction (`messaging.round_trip.BEGIN`), or not relied upon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg.pq.abc import PGconn

CONNECTED_WITH: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "tcp_user_timeout": 15000,
    "client_encoding": "utf8",
    "prepare_threshold": None,
}
"""Seconds, seconds and milliseconds after which a dead server is noticed; text as it is.

The driver prepares nothing of its own accord: at every rollback it would have the server forget all that is
prepared, what `Connection.ask` relies on too; and behind a pooler its names would meet with those of others.
"""

WRITTEN: Final = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",
}
"""Settings by which values are written and read."""

REQUIRED: Final = {"server_encoding": "UTF8", "array_nulls": "on"}
"""What no session can change, or no pooler would keep."""

WITHOUT_TIME_LIMITS: Final = """
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""
"""For one transaction that may last: a migration, a snapshot. Not every server knows all of these."""

ADMITTED_WITHIN_S: Final = 15.0
"""Seconds for the first answer. A pooler lets everybody in, and then waits for a server that is free."""


class UnfitDatabase(Exception):
    """The database cannot store everything faithfully; the message says what is needed."""


class NotAdmitted(psycopg.OperationalError):
    """The connection was taken, and nobody answered."""

    def __init__(self) -> None:
        super().__init__(
            f"connected, and not answered within {ADMITTED_WITHIN_S:g} s: are there too few connections at a "
            "pooler (default_pool_size) or the server?"
        )


def opening(pgconn: PGconn) -> bytes:
    """The first statement of a session: sets what differs, and asks what `check` wants to know."""
    differing = [name for name, value in WRITTEN.items() if _reported(pgconn, name) != value]
    asked = [f"current_setting('{name}')" for name in REQUIRED]
    set_now = [f"set_config('{name}', '{WRITTEN[name]}', false)" for name in differing]
    return f"SELECT pg_backend_pid(), {', '.join([*asked, *set_now])}".encode()


def check(row: Sequence[Any]) -> int:
    """The server's process that answered `opening`.

    Raises:
        UnfitDatabase: it cannot be used as it is.
    """
    backend, *found = row[: 1 + len(REQUIRED)]
    for (name, needed), value in zip(REQUIRED.items(), found, strict=True):
        if value != needed:
            raise UnfitDatabase(
                f"the database has {name} {value}, and must have {needed}{_HELP.get(name, '')}"
            )
    return int(backend)


_HELP: Final = {
    "server_encoding": ": make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
}


def _reported(pgconn: PGconn, name: str) -> str | None:
    value = pgconn.parameter_status(name.encode())
    return value.decode() if value is not None else None
