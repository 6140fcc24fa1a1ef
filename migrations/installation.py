"""One identity in all schemas of an installation: made once, found again, refused where two meet (M4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Connection, Engine, text

from contracts.routing import ORCHESTRATOR, PARTICIPANTS
from migrations.run import MigrationFailed, engine_of

log = structlog.get_logger(__name__)

MEMBERS: Final = (ORCHESTRATOR, *PARTICIPANTS)
"""Our own services whose schemas know their installation. When two make one at once, the first decides."""

OTHERS: Final = frozenset({"sandbox"})
"""Schemas that belong to nobody: the sandbox stands for providers of the world outside."""


def members(services: Collection[str]) -> list[str]:
    """Those of these services whose schemas know their installation, our own first."""
    more = [service for service in services if service not in MEMBERS and service not in OTHERS]
    return [*(service for service in MEMBERS if service in services), *more]


def identities(urls: Mapping[str, str]) -> dict[str, UUID | None]:
    """The installation of each service's schema; None where it has none yet.

    Args:
        urls: the database of each service.
    """
    return {service: _read(engine_of(urls[service]), service) for service in members(urls)}


def agreed(urls: Mapping[str, str], given: UUID | None = None) -> UUID | None:
    """The one installation that these schemas belong to; None where none of them has any.

    Where none has, other services' schemas in the same databases are looked at too.

    Args:
        given: what a person says that it is.

    Raises:
        MigrationFailed: they belong to several, or to another one than was given.
    """
    found = {service: its for service, its in identities(urls).items() if its is not None}
    if not found:
        found = _neighbours(urls)
    if len(set(found.values())) > 1:
        whose = ", ".join(f"{service} to {its}" for service, its in found.items())
        raise MigrationFailed(
            f"these schemas belong to different installations ({whose}): correct the database "
            "URLs, or, if they are to be one from now on, run `oms installation new`"
        )
    standing = next(iter(found.values()), None)
    if given is not None and standing is not None and standing != given:
        raise MigrationFailed(
            f"schema {next(iter(found))} belongs to installation {standing} and not to {given}: correct the "
            "database URL, or run `oms installation new`"
        )
    return given or standing


def identify(urls: Mapping[str, str], given: UUID | None = None) -> UUID | None:
    """Put one identity into all these schemas, which are migrated; returns it.

    It is made where none of them has any. Participants' schemas alone stay without one until the
    orchestrator's is known: theirs would be another.

    Raises:
        MigrationFailed: see `agreed`.
    """
    belonging = members(urls)
    chosen = agreed(urls, given)
    if chosen is None and ORCHESTRATOR in urls:
        chosen = uuid4()
    if chosen is None:
        if belonging:
            log.warning(
                "no installation yet: migrate with the orchestrator's schema, or name it by --installation",
                schemas=belonging,
            )
        return None
    for service in belonging:
        chosen = _write(engine_of(urls[service]), service, chosen)
    agreed(urls, chosen)
    return chosen


def renew(urls: Mapping[str, str], identity: UUID) -> None:
    """Make these schemas another installation's, for instance because they are a copy.

    Raises:
        MigrationFailed: a schema has not been migrated so far.
    """
    belonging = members(urls)
    for service in belonging:
        if not _is_readable(engine_of(urls[service]), service):
            raise MigrationFailed(f"schema {service} knows no installation yet: run `oms migrate` first")
    for service in belonging:
        with engine_of(urls[service]).begin() as connection:
            connection.execute(text(f"DELETE FROM {service}.installation"))  # noqa: S608  a name of ours
            _insert(connection, service, identity)


def _write(engine: Engine, service: str, identity: UUID) -> UUID:
    """Write it unless another one was faster; returns what stands."""
    with engine.begin() as connection:
        _insert(connection, service, identity)
    return _read(engine, service) or identity


def _insert(connection: Connection, service: str, identity: UUID) -> None:
    connection.execute(
        text(
            f"INSERT INTO {service}.installation (id, installation_id, since) VALUES (1, :its, now()) "  # noqa: S608
            "ON CONFLICT (id) DO NOTHING"
        ),
        {"its": identity},
    )


def _neighbours(urls: Mapping[str, str]) -> dict[str, UUID]:
    """What other services' schemas in these databases say, as far as this role may read them."""
    found: dict[str, UUID] = {}
    for url in dict.fromkeys(urls.values()):
        for service in members((*MEMBERS, *urls)):
            its = None if service in found else _read(engine_of(url), service)
            if its is not None:
                found[service] = its
    return found


def _read(engine: Engine, service: str) -> UUID | None:
    if not _is_readable(engine, service):
        return None
    with engine.connect() as connection:
        its: UUID | None = connection.scalar(text(f"SELECT installation_id FROM {service}.installation"))  # noqa: S608
        return its


def _is_readable(engine: Engine, service: str) -> bool:
    """Whether the table is there, and this role may read it."""
    asked = text(
        "SELECT bool_and(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = :schema AND c.relname = 'installation'"
    )
    with engine.connect() as connection:
        return bool(connection.scalar(asked, {"schema": service}))
