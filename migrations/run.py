"""Brings the schema of a service to its newest revision; any number of processes may try at once."""

from __future__ import annotations

import asyncio
import threading
import zlib
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine, text

SERVICES: Final = ("orchestrator", "inventory", "payment", "shipping", "sandbox")
"""The services that have a schema; a service's name is its schema's."""

_HERE: Final = Path(__file__).parent
_ALEMBIC: Final = threading.Lock()
"""Alembic keeps the migration that it runs in module variables: one at a time in a process."""


class MigrationFailed(Exception):
    """The schema cannot be brought to this program's revision; the message says why."""


def migrate(service: str, url: str) -> tuple[str, ...]:
    """Create or upgrade the schema of ``service`` in the database at ``url``.

    All of it happens in one transaction, under a lock that replicas starting together wait for.

    Returns:
        The revisions that were applied, oldest first; nothing when the schema was up to date.

    Raises:
        MigrationFailed: the database was migrated by a newer version of the program.
        sqlalchemy.exc.OperationalError: the database cannot be reached.
    """
    config = _config(service)
    engine = create_engine(url, poolclass=NullPool)
    with _ALEMBIC, engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _lock_key(service)})
        _create_schema(connection, service)
        before = _revision(connection, service)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as unknown:
            raise _unknown(service, before) from unknown
        return _applied(config, before)


async def migrate_async(service: str, url: str) -> tuple[str, ...]:
    """`migrate` beside a running event loop."""
    return await asyncio.to_thread(migrate, service, url)


def pending(service: str, url: str) -> tuple[str, ...]:
    """The revisions that `migrate` would apply, oldest first; nothing when the schema is up to date.

    Raises:
        MigrationFailed: the database was migrated by a newer version of the program.
        sqlalchemy.exc.OperationalError: the database cannot be reached.
    """
    config = _config(service)
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        before = _revision(connection, service)
    try:
        return _applied(config, before)
    except CommandError as unknown:
        raise _unknown(service, before) from unknown


async def pending_async(service: str, url: str) -> tuple[str, ...]:
    """`pending` beside a running event loop."""
    return await asyncio.to_thread(pending, service, url)


def _unknown(service: str, revision: str | None) -> MigrationFailed:
    return MigrationFailed(
        f"schema {service} is at revision {revision}, which this version does not know: "
        f"a newer version has migrated it"
    )


def _config(service: str) -> Config:
    """Alembic's configuration without a file, so that it works wherever the package is installed."""
    if service not in SERVICES:
        raise ValueError(f"{service!r} is none of {', '.join(SERVICES)}")
    config = Config()
    config.set_main_option("script_location", _escaped(_HERE))
    config.set_main_option("version_locations", _escaped(_HERE / service / "versions"))
    config.set_main_option("path_separator", "newline")
    config.attributes["service"] = service
    return config


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


def _lock_key(service: str) -> int:
    return zlib.crc32(f"oms.migrations.{service}".encode())


def _create_schema(connection: Connection, service: str) -> None:
    """Asked for only where it is missing: an existing one may belong to somebody who may not create any."""
    known = connection.execute(text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": service})
    if known.first() is None:
        connection.execute(text(f"CREATE SCHEMA {service}"))


def _revision(connection: Connection, service: str) -> str | None:
    options = {"version_table": "schema_version", "version_table_schema": service}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def _applied(config: Config, before: str | None) -> tuple[str, ...]:
    scripts = ScriptDirectory.from_config(config)
    newest_first = scripts.iterate_revisions("head", before or "base")
    return tuple(script.revision for script in newest_first)[::-1]
