"""What a process waits for before it starts, and what it says of its health while it runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import psycopg
import structlog
from psycopg import errors
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.one_line import first_line
from messaging.connecting import checked_out, connect
from messaging.sessions import UnfitDatabase
from messaging.sqlstates import cause_of
from migrations.run import NewerSchema, pending_async
from oms.failures import Failure
from oms.installed_participants import histories
from oms.rights import needed_rights
from oms.settings import Settings
from oms.variables import PREFIX

log = structlog.get_logger(__name__)

PAUSE_S = 1.0
"""Seconds between two looks at a server that is not up yet."""

_MISCONFIGURED = (
    errors.InvalidPassword,
    errors.InvalidAuthorizationSpecification,
    errors.InvalidCatalogName,
)


async def wait_for_database(settings: Settings, service: str) -> None:
    """Return once the service's database answers; says what it waits for.

    Raises:
        Failure: the database answers, but does not let us in.
    """
    with suppress(NewerSchema):
        await _outdated(settings, service)


async def wait_for_schema(settings: Settings, service: str) -> None:
    """Return once the service's schema is at this program's revision; says what it waits for.

    One that a newer version has migrated will do: migrations only add while older code may run, which must
    be able to start again in the middle of an upgrade, or after one that was taken back.

    Raises:
        Failure: the database answers, but does not let us in.
    """
    said = False
    try:
        while await _outdated(settings, service):
            if not said:
                log.warning("waiting for `oms migrate`: the schema is not up to date", schema=service)
                said = True
            await asyncio.sleep(PAUSE_S)
    except NewerSchema as newer:
        log.warning("the schema is newer than this program", schema=service, said=str(newer))
    await _say_what_stands_between(settings.required_database_url(service), service)


async def _outdated(settings: Settings, service: str) -> bool:
    """Whether migrations are missing, as soon as the database answers. Raises NewerSchema, too."""
    url = settings.required_database_url(service)
    shown = make_url(url).render_as_string(hide_password=True)
    said = False
    while True:
        try:
            return any([await pending_async(history, url) for history in histories(service)])
        except UnfitDatabase as error:
            raise Failure(f"{_variable(service)}: {error}") from None
        except DBAPIError as error:
            _fail_if_misconfigured(error, service)
            if not isinstance(error, OperationalError):
                raise Failure(f"{shown}: {first_line(cause_of(error))}") from None
            if not said:
                log.warning("waiting for PostgreSQL", url=shown, problem=first_line(cause_of(error)))
                said = True
            await asyncio.sleep(PAUSE_S)


async def _say_what_stands_between(url: str, service: str) -> None:
    """A line where a pooler is, and what is done without because of it."""
    with suppress(psycopg.Error, OSError):  # whoever comes next will say it better
        async with await connect(url) as connection:
            if connection.pooled:
                log.warning("behind a pooler: statements are not prepared", database=service)


_REFUSALS: Final = text("""
SELECT current_setting('transaction_read_only') = 'on', (
    SELECT string_agg(right_ || ' on ' || name, ', ' ORDER BY name, right_)
    FROM unnest(CAST(:names AS text[]), CAST(:rights AS text[])) AS needed (name, right_)
    WHERE has_table_privilege(to_regclass(name), right_) IS NOT TRUE)
""")


async def database_trouble(database: AsyncEngine, service: str) -> str | None:
    """Why a service's database cannot be used, as it would turn out at work; None when it can."""
    names, rights = zip(*needed_rights(service), strict=True)
    try:
        async with asyncio.timeout(3), checked_out(database) as connection:
            asked = _REFUSALS.bindparams(names=list(names), rights=list(rights))
            [(read_only, missing)] = await connection.execute(asked)
    except TimeoutError:
        return "it does not answer"
    except (DBAPIError, PoolExhausted, UnfitDatabase, OSError) as error:
        return first_line(cause_of(error))
    if missing is not None:
        return f"the tables are not there, or not for this role: {missing}"
    return "it is read-only" if read_only else None


def _fail_if_misconfigured(error: DBAPIError, service: str) -> None:
    text_of_error = first_line(cause_of(error))
    refused = (
        "password authentication failed",
        "does not exist",
        "no pg_hba.conf entry",
        "certificate verify failed",
        "server certificate for",  # another host than the URL names
        "statement pooling mode",  # of a pooler, which allows no transactions
    )
    if isinstance(error.orig, _MISCONFIGURED) or any(phrase in text_of_error for phrase in refused):
        raise Failure(f"{_variable(service)}: {text_of_error}") from None


def _variable(service: str) -> str:
    return f"{PREFIX}{service.upper()}_DATABASE_URL (or {PREFIX}DATABASE_URL)"
