"""Where the audit reads: one connection a database, each in a read-only snapshot of its own.

Besides these it takes one more at times, to look at what has happened meanwhile: two where all schemas are at
one URL, however many schemas there are. A pooler that has fewer is named, not waited for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from contracts.routing import INVENTORY, ORCHESTRATOR, PAYMENT, SHIPPING
from messaging.connecting import connect
from messaging.sessions import WITHOUT_TIME_LIMITS
from oms.embedded.installation import embedded_url
from oms.failures import Failure

SANDBOX: Final = "sandbox"
NEEDED: Final = (ORCHESTRATOR, INVENTORY, PAYMENT, SHIPPING)
"""Schemas without which there is no audit, in the order in which they are read: ended sagas first."""

AUDIT: Final = "audit"


class AuditImpossible(Failure):
    """A schema cannot be read; the message names it and what helps."""


class DatabaseUrls(Protocol):
    """Settings that know the database of each service, and the auditor's own."""

    def database_url_of(self, service: str) -> str | None:
        """The URL, None where there is none."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What other distributions bring: participants, whose ledgers are read too, and sagas.

    Attributes:
        places: which participant does each step, by definition.
    """

    participants: tuple[str, ...] = ()
    places: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


NOBODY: Final = Installed()


@dataclass(frozen=True, slots=True)
class Sources:
    """The database URLs at which each schema may be found, most wanted first."""

    urls: Mapping[str, tuple[str, ...]]
    installed: Installed = NOBODY


def sources_of(settings: DatabaseUrls, installed: Installed = NOBODY) -> Sources:
    """Each schema at the auditor's own URL, else at its service's.

    Raises:
        AuditImpossible: no database is known.
    """
    urls: dict[str, tuple[str, ...]] = {}
    for schema in (*NEEDED, SANDBOX, *installed.participants):
        wanted = (settings.database_url_of(AUDIT), settings.database_url_of(schema))
        urls[schema] = tuple(dict.fromkeys(url for url in wanted if url is not None))
    if not all(urls[schema] for schema in NEEDED):
        raise AuditImpossible(
            "which database? Set OMS_DATABASE_URL, or OMS_AUDIT_DATABASE_URL for a role that may only read"
        )
    return Sources(urls, installed)


@asynccontextmanager
async def sources_or_embedded(
    settings: DatabaseUrls, folder: Path, installed: Installed = NOBODY
) -> AsyncIterator[Sources]:
    """The databases of the settings; where they name none, the embedded one in ``folder``.

    A server that runs there is used as it is; else one runs for as long as the block does.

    Raises:
        AuditImpossible: no database is named, and there is none in the folder.
        ServerError: the one in the folder cannot be used.
    """
    named = any(settings.database_url_of(service) for service in (*NEEDED, "audit"))
    if named or not (folder / "data").exists():
        yield sources_of(settings, installed)
        return
    async with AsyncExitStack() as exits:
        url = await embedded_url(exits, folder)
        schemas = (*NEEDED, SANDBOX, *installed.participants)
        yield Sources(dict.fromkeys(schemas, (url,)), installed)


class Snapshots:
    """Open snapshots by schema: everything read through one of them is of one moment."""

    def __init__(self, connections: Mapping[str, AsyncConnection], orchestrator: AsyncEngine) -> None:
        self._connections = connections
        self._orchestrator = orchestrator

    def __contains__(self, schema: object) -> bool:
        return schema in self._connections

    def __getitem__(self, schema: str) -> AsyncConnection:
        return self._connections[schema]

    @asynccontextmanager
    async def later(self) -> AsyncIterator[AsyncConnection]:
        """The orchestrator's schema as it is now, after all the snapshots."""
        async with self._orchestrator.connect() as connection:
            yield connection


@asynccontextmanager
async def snapshots(sources: Sources) -> AsyncIterator[Snapshots]:
    """Take the snapshots in the order of `NEEDED`, then the sandbox's and installed participants'.

    Schemas at one URL are read in one.

    Raises:
        AuditImpossible: a schema is at none of its URLs, or may not be read.
    """
    by_url: dict[str, AsyncConnection] = {}
    opened: dict[str, AsyncConnection] = {}
    async with AsyncExitStack() as exits:
        for schema in (*NEEDED, SANDBOX, *sources.installed.participants):
            await _open(schema, sources.urls[schema], opened, by_url, exits)
        yield Snapshots(opened, opened[ORCHESTRATOR].engine)


def _engine(url: str) -> AsyncEngine:
    engine = create_async_engine(url, poolclass=NullPool, async_creator=partial(connect, url))
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


async def _open(
    schema: str,
    urls: Collection[str],
    opened: dict[str, AsyncConnection],
    by_url: dict[str, AsyncConnection],
    exits: AsyncExitStack,
) -> None:
    for url in urls:
        if url not in by_url:
            by_url[url] = await exits.enter_async_context(_engine(url).connect())
            await by_url[url].execute(text(WITHOUT_TIME_LIMITS))
        if await _readable(by_url[url], schema):
            opened[schema] = by_url[url]
            return
    if schema in NEEDED:
        raise AuditImpossible(f"schema {schema} is not there: has `oms migrate` been run on this database?")


async def _readable(connection: AsyncConnection, schema: str) -> bool:
    """Whether the schema is there.

    Raises:
        AuditImpossible: it is there, and this role may not read it.
    """
    found = text(
        "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = :schema"
    ).bindparams(schema=schema)
    allowed: bool | None = (await connection.execute(found)).scalar_one_or_none()
    if allowed is False:
        raise AuditImpossible(f"this database role may not read schema {schema}: GRANT USAGE and SELECT")
    return allowed is True
