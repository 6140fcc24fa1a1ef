"""The servers that everything is measured on: private ones that write to disk, or those that were given."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aio_pika
import psycopg
from aio_pika.exceptions import ChannelNotFoundEntity
from psycopg import sql
from sqlalchemy import URL, make_url

from contracts.routing import INSTALLATION_EXCHANGE, OUTCOMES_QUEUE, PARTICIPANTS, command_queue
from oms.embedded.postgresql import EmbeddedPostgres
from tools.servers.rabbitmq.broker import private_broker
from tools.servers.rabbitmq.node import RabbitNode

SETTINGS: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_wal_size": "4GB"}
"""Everything durable. Checkpoints are rare enough not to fall into one contender's run and not another's."""

Prepare = Callable[[str], object]
"""Fills a new database, given its URL for SQLAlchemy."""


@dataclass(slots=True)
class Servers:
    """A broker and a PostgreSQL; process ids where they are ours."""

    broker_url: str
    database_server: URL
    broker_pid: int | None
    postgres_pid: int | None
    _templates: dict[str, str] = field(default_factory=dict)
    _made: list[str] = field(default_factory=list)

    def database(self, template: str, prepare: Prepare) -> str:
        """A new database, a copy of what ``prepare`` makes once."""
        if template not in self._templates:
            name = self._create("template1")
            prepare(self.url_of(name))
            self._templates[template] = name
        return self.url_of(self._create(self._templates[template]))

    def drop(self, url: str) -> None:
        """Give a database back."""
        name = str(make_url(url).database)
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        self._made.remove(name)

    def drop_all(self) -> None:
        """Leave a server that was given as it was found."""
        for name in list(self._made):
            self.drop(self.url_of(name))

    async def empty_queues(self) -> None:
        """Throw away commands and outcomes that nobody worked on: they would be the next one's load."""
        async with await aio_pika.connect(self.broker_url) as connection:
            for name in (OUTCOMES_QUEUE, *map(command_queue, PARTICIPANTS)):
                async with connection.channel() as channel:
                    with suppress(ChannelNotFoundEntity):
                        await (await channel.get_queue(name)).purge()
            async with connection.channel() as channel:  # the next one's database is another installation's
                await channel.exchange_delete(INSTALLATION_EXCHANGE)

    def execute(self, statement: Any) -> None:
        """Run one statement on the server's own database."""
        with psycopg.connect(plain(self.database_server), autocommit=True) as connection:
            connection.execute(statement)

    def version(self) -> str:
        """PostgreSQL's version."""
        with psycopg.connect(plain(self.database_server)) as connection:
            return str(connection.info.server_version)

    def url_of(self, name: str) -> str:
        """A database of this server, for SQLAlchemy."""
        return self.database_server.set(database=name).render_as_string(hide_password=False)

    def _create(self, template: str) -> str:
        name = f"oms_bench_{secrets.token_hex(5)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        self._made.append(name)
        return name


def plain(url: URL | str) -> str:
    """The same URL for the driver itself: ``postgresql://...``."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def servers(folder: Path, broker_url: str | None, database_url: str | None) -> Iterator[Servers]:
    """Private servers below ``folder`` for whatever was not given."""
    broker = None if broker_url else private_broker(folder / "rabbitmq")
    postgres = None if database_url else EmbeddedPostgres(folder / "postgres", settings=SETTINGS)
    started: list[Any] = []
    try:
        for server in (broker, postgres):
            if server is not None:
                server.start()
                started.append(server)
        found = Servers(
            broker_url or (broker.url if broker else ""),
            make_url(database_url or (postgres.url if postgres else "")).set(drivername="postgresql+psycopg"),
            broker.pid if isinstance(broker, RabbitNode) else None,
            postgres.pid if postgres else None,
        )
        yield found
        found.drop_all()
    finally:
        for server in reversed(started):
            server.stop()
