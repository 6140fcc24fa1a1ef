"""Brings the schema of a service to its newest revision, beneath running services; many may try at once."""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from psycopg import errors
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from messaging.connecting import connect_and_wait
from messaging.postgresql import quoted_name
from messaging.round_trip import ISOLATION
from messaging.sessions import WITHOUT_TIME_LIMITS

log = structlog.get_logger(__name__)

SERVICES: Final = ("orchestrator", "inventory", "payment", "shipping", "sandbox")
"""Our own services that have a schema; a service's name is its schema's."""

LOCKED_WITHIN_S: Final = 1.0
"""Seconds that a revision waits for a table, and with it everybody who comes to the table after it."""

PAUSE_S: Final = 2.0
"""Seconds in between, in which services work."""

WAITING_S: Final = 0.2
"""Seconds between two looks whether somebody else still migrates the same schema."""

PATIENCE_S: Final = 600.0
"""Seconds after which a revision is given up: somebody holds a table in a very long transaction."""

_HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class History:
    """The revisions of a schema, which a folder holds; a schema may have several histories beside each other.

    Attributes:
        schema: also the service's name.
        folder: of Alembic's revisions.
        version_table: in the schema; says which of them have been applied.
    """

    schema: str
    folder: Path
    version_table: str = "schema_version"


def history_of(service: str) -> History:
    """The history of one of our own services. Raises ValueError for any other."""
    if service not in SERVICES:
        raise ValueError(f"{service!r} is none of {', '.join(SERVICES)}")
    return History(service, _HERE / service / "versions")


def histories_of_kit(participant: str, own: Path | None) -> tuple[History, ...]:
    """What a participant that is made with the kit has: the kit's tables first, then its author's.

    Args:
        own: the folder of its author's revisions, if there are any.
    """
    first = History(participant, _HERE / "kit" / "versions")
    return (first,) if own is None else (first, History(participant, own, "own_schema_version"))


_ALEMBIC: Final = threading.Lock()
"""Alembic keeps the migration that it runs in module variables: one at a time in a process."""


class MigrationFailed(Exception):
    """The schema cannot be brought to this program's revision; the message says why."""


class NewerSchema(MigrationFailed):
    """A newer version of the program has migrated the schema; code of this version can work on it still."""


def revisions(service: str | History) -> tuple[str, ...]:
    """All revisions of a schema, oldest first."""
    return _following(configured(service), None)


def migrate(service: str | History, url: str, up_to: str = "head") -> tuple[str, ...]:
    """Create or upgrade a schema in the database at ``url``: of one of our own services, or by a history.

    Each revision has a transaction of its own; replicas that start together wait for whoever is first.
    One that says ``beside_writers = True`` has none: it builds its index while others write, and may be
    repeated when it was interrupted.

    Args:
        up_to: the last revision to apply.

    Returns:
        The revisions that were applied, oldest first; nothing when the schema was up to date.

    Raises:
        NewerSchema: the database was migrated by a newer version of the program.
        MigrationFailed: its tables were in use for too long.
        sqlalchemy.exc.OperationalError: the database cannot be reached.
    """
    history = history_of(service) if isinstance(service, str) else service
    config = configured(history)
    engine = engine_of(url)
    with _ALEMBIC, _alone(engine, history.schema):
        with engine.begin() as connection:
            _create_schema(connection, history.schema)
            before = _revision(connection, history)
        todo = _known(history, config, before, up_to)
        scripts = ScriptDirectory.from_config(config)
        for revision in todo:
            if _beside_writers(scripts, revision):
                _apply_beside_writers(engine, config, revision)
            else:
                _apply(engine, config, revision)
        return todo


async def migrate_async(service: str | History, url: str) -> tuple[str, ...]:
    """`migrate` beside a running event loop."""
    return await asyncio.to_thread(migrate, service, url)


def pending(service: str | History, url: str) -> tuple[str, ...]:
    """The revisions that `migrate` would apply, oldest first; nothing when the schema is up to date.

    Raises:
        NewerSchema: the database was migrated by a newer version of the program.
        sqlalchemy.exc.OperationalError: the database cannot be reached.
    """
    history = history_of(service) if isinstance(service, str) else service
    with engine_of(url).connect() as connection:
        before = _revision(connection, history)
    return _known(history, configured(history), before)


async def pending_async(service: str | History, url: str) -> tuple[str, ...]:
    """`pending` beside a running event loop."""
    return await asyncio.to_thread(pending, service, url)


def engine_of(url: str) -> Engine:
    """Connections to the database at ``url``, none of which is kept."""
    return create_engine(
        url, poolclass=NullPool, isolation_level=ISOLATION, creator=partial(connect_and_wait, url)
    )


@contextmanager
def _alone(engine: Engine, schema: str) -> Iterator[None]:
    """Nobody else migrates the schema meanwhile.

    Whoever waits, and whoever has the lock, holds no snapshot: an index that is built beside writers waits
    for every older one.
    """
    while True:
        with engine.begin() as connection:
            connection.execute(text(WITHOUT_TIME_LIMITS))
            mine = "SELECT pg_try_advisory_xact_lock(:key)"
            if connection.scalar(text(mine), {"key": _lock_key(schema)}):
                connection.execute(text("SAVEPOINT locked"))  # the statement before it is over only now
                yield
                return
        time.sleep(WAITING_S)


def _apply(engine: Engine, config: Config, revision: str) -> None:
    """One revision, all or nothing; while its tables are in use it steps back, for others to work."""
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            with engine.begin() as connection:
                connection.execute(text(WITHOUT_TIME_LIMITS))
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCKED_WITHIN_S:g}s'"))
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
        except OperationalError as error:
            if not isinstance(error.orig, errors.LockNotAvailable | errors.DeadlockDetected):
                raise
            if time.monotonic() > give_up_at:
                raise MigrationFailed(
                    f"{revision} was not applied: its tables were in use for {PATIENCE_S:g} s; end the long"
                    " transaction that holds them (pg_stat_activity), then try again"
                ) from error
            log.warning("a table is in use, trying again", revision=revision)
            time.sleep(PAUSE_S)
        else:
            return


def _beside_writers(scripts: ScriptDirectory, revision: str) -> bool:
    return bool(getattr(scripts.get_revision(revision).module, "beside_writers", False))


def _apply_beside_writers(engine: Engine, config: Config, revision: str) -> None:
    """One revision that takes no lock which writers would wait for; its statements commit one by one."""
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        if not _pooled(connection):
            # It holds until the connection is closed. A pooler's server would go on with it elsewhere.
            connection.execute(text(WITHOUT_TIME_LIMITS.replace("true", "false")))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except OperationalError as error:
            if not isinstance(error.orig, errors.QueryCanceled):
                raise
            raise MigrationFailed(
                f"{revision} builds an index beside whoever writes, and statement_timeout has ended it:"
                " migrate past the pooler, or let the role of migrations take its time"
            ) from error


def _pooled(connection: Connection) -> bool:
    """Whether somebody stands between us and the server."""
    driver: Any = connection.connection.driver_connection
    return bool(connection.scalar(text("SELECT pg_backend_pid()")) != driver.info.backend_pid)


def configured(service: str | History) -> Config:
    """Alembic's configuration without a file, so that it works wherever the package is installed."""
    history = history_of(service) if isinstance(service, str) else service
    config = Config()
    config.set_main_option("script_location", _escaped(_HERE))
    config.set_main_option("version_locations", _escaped(history.folder))
    config.set_main_option("path_separator", "newline")
    config.attributes["service"] = history.schema
    config.attributes["version_table"] = history.version_table
    return config


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


def _lock_key(service: str) -> int:
    return zlib.crc32(f"oms.migrations.{service}".encode())


def _create_schema(connection: Connection, service: str) -> None:
    """Asked for only where it is missing: an existing one may belong to somebody who may not create any."""
    known = connection.execute(text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": service})
    if known.first() is None:
        connection.execute(text(f"CREATE SCHEMA {quoted_name(service)}"))


def _revision(connection: Connection, history: History) -> str | None:
    options = {"version_table": history.version_table, "version_table_schema": history.schema}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def _known(history: History, config: Config, before: str | None, up_to: str = "head") -> tuple[str, ...]:
    """What follows ``before``; raises NewerSchema where this program does not know it."""
    try:
        return _following(config, before, up_to)
    except RevisionError as unknown:
        raise NewerSchema(
            f"schema {history.schema} is at revision {before}, which this version does not know: "
            f"a newer version has migrated it"
        ) from unknown


def _following(config: Config, before: str | None, up_to: str = "head") -> tuple[str, ...]:
    scripts = ScriptDirectory.from_config(config)
    newest_first = scripts.iterate_revisions(up_to, before or "base")
    return tuple(script.revision for script in newest_first)[::-1]
