"""Real servers for tests: those that the environment names, else private ones."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from oms.embedded.child import ServerError
from oms.embedded.postgresql import EmbeddedPostgres
from tools.servers.given import BROKER_VARIABLE, DATABASE_VARIABLE, NOT_FLUSHED, PROJECT, new_broker

__all__ = [
    "BROKER_VARIABLE",
    "DATABASE_VARIABLE",
    "PROJECT",
    "Databases",
    "broker",
    "databases",
    "new_broker",
]

Preparation = Callable[[str], object]


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """The URL of the broker that tests share."""
    given = os.environ.get(BROKER_VARIABLE)
    if given:
        yield given
        return
    with new_broker(folder) as private:
        yield private.url


@contextmanager
def databases(folder: Path) -> Iterator[Databases]:
    """The PostgreSQL server that tests share."""
    given = os.environ.get(DATABASE_VARIABLE)
    if given:
        shared = Databases(_checked(given))
        yield shared
        shared.drop_all()
        return
    with EmbeddedPostgres(folder, settings=NOT_FLUSHED) as private:
        yield Databases(make_url(private.url))


class Databases:
    """Makes and drops databases on one server; names are random, so several test runs may share it."""

    def __init__(self, server: URL) -> None:
        self._server = server
        self._made: list[str] = []
        self._templates: dict[str, str] = {}

    def create(self, template: str = "template1") -> str:
        """A new database, as a copy of `template`, by its URL."""
        name = f"oms_test_{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        self._made.append(name)
        return self._server.set(database=name).render_as_string(hide_password=False)

    def copy_of(self, name: str, prepare: Preparation) -> str:
        """A copy of database `name`, which `prepare(url)` fills once, leaving no connection open."""
        if name not in self._templates:
            url = self.create()
            prepare(url)
            self._templates[name] = str(make_url(url).database)
        return self.create(self._templates[name])

    def drop(self, url: str) -> None:
        """Drop a database that was made here, whoever is connected to it."""
        name = str(make_url(url).database)
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        self._made.remove(name)

    def drop_all(self) -> None:
        """Drop what was made here and is still there."""
        for name in list(self._made):
            self.drop(self._server.set(database=name).render_as_string(hide_password=False))

    def _execute(self, statement: sql.Composed) -> None:
        plain = self._server.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(statement)


def _checked(given: str) -> URL:
    try:
        url = make_url(given)
    except ArgumentError:
        raise ServerError(f"{DATABASE_VARIABLE} is not a database URL") from None
    if url.get_backend_name() != "postgresql":
        raise ServerError(f"{DATABASE_VARIABLE} must begin with postgresql://")
    return url.set(drivername="postgresql+psycopg")
