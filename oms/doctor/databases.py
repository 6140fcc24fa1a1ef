"""The databases of the settings: whether they can be used, by this role, at this revision, by whose clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.routing import ORCHESTRATOR
from messaging.clock import StorageClock
from messaging.connecting import connect, shared_between_transactions
from messaging.postgresql import create_engine
from messaging.sessions import UnfitDatabase
from migrations.run import NewerSchema, pending_async
from oms.clocks import look
from oms.doctor.finding import Finding, note, well, wrong
from oms.failures import Failure
from oms.identity import known_installation
from oms.installed_participants import histories
from oms.readiness import database_trouble
from oms.settings import Settings
from oms.variables import PREFIX
from oms.wiring import services_of

OLDEST: Final = 140000
"""Of PostgreSQL, as it numbers its versions: what is older gets no fixes any more."""


async def database_findings(settings: Settings) -> AsyncIterator[Finding]:
    """What there is to say of each service's database, and of all of them."""
    given = {name: url for name in services_of(settings) if (url := settings.database_url_of(name))}
    reached: list[str] = []
    for service, url in given.items():
        async for finding in _of_one(service, url, reached):
            yield finding
    if reached:
        yield await _clock(given[ORCHESTRATOR if ORCHESTRATOR in reached else reached[0]])
        yield await _installation(settings)


async def _of_one(service: str, url: str, reached: list[str]) -> AsyncIterator[Finding]:
    of = f"database {service}"
    try:
        async with await connect(url) as connection:
            await connection.set_autocommit(True)
            version = connection.info.server_version
            shared = await shared_between_transactions(connection, partial(_another, url))
            pooled = connection.pooled
    except UnfitDatabase as error:
        yield wrong(of, f"{_variable(service)}: {error}")
        return
    except (psycopg.Error, OSError) as error:
        yield wrong(of, f"{_variable(service)}: {_first_line(error)}")
        return
    if version < OLDEST:
        yield note(of, f"PostgreSQL {version // 10000} gets no fixes any more: move to a newer one")
    if pooled:
        kind = "transaction" if shared else "session"
        yield note(f"pooler {service}", f"in {kind} mode: statements are not prepared, which costs a little")
    schema = await _schema(service, url)
    yield schema or await _rights(service, url, version)
    if schema is None:
        reached.append(service)


async def _another(url: str) -> psycopg.AsyncConnection[object]:
    connection = await connect(url)
    await connection.set_autocommit(True)
    return connection


async def _schema(service: str, url: str) -> Finding | None:
    """What is wrong with the schema's revision; None where it will do."""
    of = f"schema {service}"
    try:
        waiting = [revision for each in histories(service) for revision in await pending_async(each, url)]
    except NewerSchema as newer:
        return note(of, f"{newer}: it will do, and this program is the older one")
    except (DBAPIError, Failure) as error:
        return wrong(of, _first_line(error))
    if waiting:
        return wrong(of, f"run `oms migrate`: {len(waiting)} revisions are missing, up to {waiting[-1]}")
    return None


async def _rights(service: str, url: str, version: int) -> Finding:
    engine: AsyncEngine = create_engine(url, pool_size=1)
    try:
        trouble = await database_trouble(engine, service)
    finally:
        await engine.dispose()
    if trouble is None:
        shown = f"{version // 10000}.{version % 10000}"
        return well(f"database {service}", f"PostgreSQL {shown}, schema up to date, all rights there")
    return wrong(f"database {service}", f"{trouble} (deploy/postgresql/roles.sql gives the rights)")


async def _clock(url: str) -> Finding:
    clock, engine = StorageClock(), create_engine(url, pool_size=1)
    with suppress(DBAPIError, OSError):
        await look(clock, engine)
    await engine.dispose()
    if clock.ahead_s is None:
        return wrong("clock", "the database does not tell its time")
    if clock.difference is not None:
        return wrong("clock", f"{clock.difference}: set it by NTP")
    return well("clock", f"within {abs(clock.ahead_s):.1f} s of the database's")


async def _installation(settings: Settings) -> Finding:
    try:
        known = await known_installation(settings)
    except Failure as error:
        return wrong("installation", str(error))
    if known is None:
        return wrong("installation", "the databases have no identity yet: run `oms migrate`")
    return well("installation", str(known))


def _variable(service: str) -> str:
    return f"{PREFIX}{service.upper()}_DATABASE_URL (or {PREFIX}DATABASE_URL)"


def _first_line(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0][:300]
