"""A PostgreSQL server with a standby, and what an operator does with the two."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Self

import psycopg
from sqlalchemy import make_url

from oms.embedded.child import ServerError, wait_until
from oms.embedded.postgresql import EmbeddedPostgres, program

FOLLOWS_WITHIN_S: Final = 60.0
_NAME: Final = "standby"


class Standby(EmbeddedPostgres):
    """A copy of `primary`, made at the first start, that follows it until it is promoted."""

    def __init__(self, folder: Path, primary: EmbeddedPostgres, *, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        self._primary = primary

    def _create_cluster(self) -> None:
        source = f"{_conninfo(self._primary)}?application_name={_NAME}"
        self._password_file.write_text(f"{make_url(self._primary.url).password}\n")
        self._tool(
            *(program("pg_basebackup"), "--pgdata", self._data, "--dbname", source),
            *("--checkpoint", "fast", "--write-recovery-conf"),
        )


class Pair:
    """A primary and its standby in folders below `folder`; use it in `with`."""

    def __init__(self, folder: Path) -> None:
        self.primary = EmbeddedPostgres(folder / "server1")
        self.standby: EmbeddedPostgres = Standby(folder / "server2", self.primary)
        self._folder = folder
        self._servers = [self.primary, self.standby]

    @property
    def url(self) -> str:
        """Both servers, as libpq writes it; it stays the same whichever is the primary."""
        at = make_url(self._servers[0].url)
        hosts = ",".join(f"{at.host}:{make_url(server.url).port}" for server in self._servers[:2])
        return f"postgresql://{at.username}:{at.password}@{hosts}/{at.database}"

    def start(self) -> None:
        """Start both; the standby follows without the primary waiting for it."""
        try:
            self.primary.start()
            self.standby.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop whatever runs."""
        for server in reversed(self._servers):
            server.stop()

    def make_synchronous(self) -> None:
        """From now on a commit is confirmed when the standby has it on disk too."""
        execute(self.primary, f"ALTER SYSTEM SET synchronous_standby_names = '{_NAME}'")
        execute(self.primary, "SELECT pg_reload_conf()")
        self._await("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")

    def catch_up(self) -> None:
        """Return when the standby has all that the primary has."""
        self._await("SELECT bool_and(flush_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication")

    def cut(self) -> None:
        """The standby gets nothing any more, as when the way to it is broken."""
        execute(self.standby, "ALTER SYSTEM SET primary_conninfo = ''")
        execute(self.standby, "SELECT pg_reload_conf()")
        self._await("SELECT count(*) = 0 FROM pg_stat_replication")

    def fail_over(self) -> None:
        """SIGKILL the primary and promote the standby."""
        self.primary.kill()
        execute(self.standby, "SELECT pg_promote()")
        self.primary, self.standby = self.standby, self.primary

    def rejoin(self) -> None:
        """In place of the server that was lost a new standby, at its address, for which the primary waits."""
        lost = self.standby
        port = make_url(lost.url).port
        lost.stop()
        self.standby = Standby(self._folder / f"server{len(self._servers) + 1}", self.primary, port=port)
        self._servers.append(self.standby)
        self.standby.start()
        self.make_synchronous()

    def _await(self, question: str) -> None:
        if not wait_until(lambda: execute(self.primary, question) == [(True,)], timeout_s=FOLLOWS_WITHIN_S):
            raise ServerError(f"the standby does not do as it should: {question}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def execute(server: EmbeddedPostgres, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement; returns its rows, if it has any."""
    with psycopg.connect(_conninfo(server), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def _conninfo(server: EmbeddedPostgres) -> str:
    return make_url(server.url).set(drivername="postgresql").render_as_string(hide_password=False)
