"""Databases to simulate in: on a private server, or on the one that somebody names."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from oms.embedded.postgresql import EmbeddedPostgres
from simulation.postgresql.database import SETTINGS, prepare


@contextmanager
def databases(count: int, server_url: str | None) -> Iterator[list[str]]:
    """So many prepared databases, by their URLs; they are gone afterwards.

    Args:
        server_url: of a server on which databases may be made; None starts a private one for the while.

    Raises:
        ServerError: the private server does not start.
        psycopg.OperationalError: the named one cannot be reached.
    """
    if server_url is None:
        with tempfile.TemporaryDirectory(prefix="oms-simulation-") as folder:
            Path(folder).chmod(0o755)
            with EmbeddedPostgres(Path(folder) / "server", settings=SETTINGS) as server:
                yield [_made(make_url(server.url)) for _ in range(count)]
        return
    server_at = make_url(server_url)
    made: list[str] = []
    try:
        made += [_made(server_at) for _ in range(count)]
        yield made
    finally:
        for url in made:
            _execute(server_at, "DROP DATABASE IF EXISTS {} WITH (FORCE)", str(make_url(url).database))


def _made(server: URL) -> str:
    name = f"oms_simulation_{secrets.token_hex(6)}"
    _execute(server, "CREATE DATABASE {}", name)
    url = server.set(drivername="postgresql+psycopg", database=name).render_as_string(hide_password=False)
    prepare(url)
    return url


def _execute(server: URL, statement: str, name: str) -> None:
    plain = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
