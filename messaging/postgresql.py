"""The unit of work on PostgreSQL: pipelined writes, the outbox table, patience with the database (S17)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from psycopg import errors
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import TupleRow
from pydantic_core import to_json
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.ext.asyncio import AsyncConnection as SqlConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import conv

from messaging.connecting import connect
from messaging.identifiers import AS_NUMBER
from messaging.obstructions import Destination
from messaging.outbox import Lease, Outbox
from messaging.relay import (
    FIRST_LEASE_S,
    LEASE_S,
    REFUSED_PAUSE_CAP_S,
    REFUSED_PAUSE_S,
    Claim,
)
from messaging.round_trip import COMMIT, ISOLATION, Connection, Statement
from messaging.sqlstates import Trouble, is_transient, trouble_of
from messaging.transport import Message
from messaging.unit_of_work import PatientUnitOfWork

T = TypeVar("T", bound="SqlTransaction")


def create_engine(url: str, pool_size: int = 10) -> AsyncEngine:
    """An engine for one service. ``url`` begins with ``postgresql+psycopg://``."""
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=30,
        pool_pre_ping=False,
        hide_parameters=True,  # errors and logs repeat nobody's data
        pool_use_lifo=True,  # the one used last has its statements prepared
        isolation_level=ISOLATION,
        async_creator=partial(connect, url),
    )


def quoted_name(name: str) -> str:
    """A schema's name as it stands in SQL: in quotes where it is a word of the language."""
    dialect: Any = PGDialect_psycopg
    return str(dialect().identifier_preparer.quote(name))


def outbox_table(metadata: MetaData) -> Table:
    """The outbox of one service. ``claimed_until`` is the lease of whoever is publishing the row (M2)."""
    return Table(
        "outbox",
        metadata,
        Column("message_id", Uuid, primary_key=True),
        Column("type", Text, nullable=False),
        Column("exchange", Text, nullable=False),
        Column("routing_key", Text, nullable=False),
        Column("mandatory", Boolean, nullable=False),
        Column("correlation_id", Uuid),
        Column("app_id", Text, nullable=False),
        Column("headers", JSON, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("claimed_until", DateTime(timezone=True), nullable=False),
        Column("attempts", Integer, nullable=False, server_default="0"),
    )


def installation_table(metadata: MetaData) -> Table:
    """The installation that the schema belongs to, in a single row: the same in every schema of it (M4)."""
    return Table(
        "installation",
        metadata,
        Column("id", SmallInteger, primary_key=True, autoincrement=False),
        Column("installation_id", Uuid, nullable=False),
        Column("since", DateTime(timezone=True), nullable=False),
        CheckConstraint("id = 1", name=conv("ck_installation_single")),
    )


class LostUpdate(Exception):
    """A guarded write found another version than the one it was decided on: somebody got past a lock."""


class SqlTransaction:
    """One open transaction of one service.

    Reads go out as they are asked for; writes are collected and go out in one pipeline with the commit.
    """

    schema: str
    """The service's schema, which holds its outbox."""

    def __init__(self, connection: SqlConnection, driver: Connection) -> None:
        self.connection = connection
        self.outgoing: list[Message] = []
        self._driver = driver
        self._writes: list[Statement] = []
        self._after_commit: list[Callable[[], None]] = []

    async def now(self) -> datetime:
        """The database's own time, in a statement of its own (S11).

        As the first one it shares its round trip with the transaction's beginning.
        """
        [rows] = await self.fetch_together(("SELECT clock_timestamp()", ()))
        moment: datetime = rows[0][0]
        return moment

    async def fetch(self, query: str, parameters: Sequence[Any] = ()) -> list[TupleRow]:
        """The rows of one statement."""
        [rows] = await self.fetch_together((query, parameters))
        return rows

    async def fetch_together(self, *statements: Statement) -> list[list[TupleRow]]:
        """The rows of several statements, executed in order within one round trip."""
        return await self._driver.ask(statements)

    def write(self, query: str, parameters: Sequence[Any], expected_rows: int | None = None) -> None:
        """Queue a statement; it is executed, in order, before the commit.

        Where it does not touch ``expected_rows`` rows, `commit` raises LostUpdate.
        """
        if expected_rows is None:
            self._writes.append((query, parameters))
        else:
            self._writes.append((_GUARDED.format(query=query), [*parameters, expected_rows]))

    def send(self, messages: Sequence[Message]) -> None:
        """Put messages into this transaction's outbox (M1)."""
        self.outgoing.extend(messages)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call back once the transaction is durable."""
        self._after_commit.append(callback)

    async def outbox_holds(self, message_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these messages have not been confirmed yet (S4)."""
        query = f"SELECT message_id FROM {self.schema}.outbox WHERE message_id = ANY(%s)"  # noqa: S608
        return {row[0] for row in await self.fetch(query, [list(message_ids)])}

    async def read_installation(self) -> UUID | None:
        """See `IdentityTransaction.read_installation`."""
        rows = await self.fetch(f"SELECT installation_id FROM {self.schema}.installation")  # noqa: S608
        return rows[0][0] if rows else None

    async def claim_outbox(self, limit: int, obstructed: Sequence[Destination] = ()) -> list[Claim]:
        """See `RelayTransaction.claim_outbox` (M2)."""
        exchanges, routing_keys = [each[0] for each in obstructed], [each[1] for each in obstructed]
        return await self._claim(_UNOBSTRUCTED, (exchanges, routing_keys, limit))

    async def probe_outbox(self, destination: Destination) -> list[Claim]:
        """See `RelayTransaction.probe_outbox` (M2)."""
        return await self._claim(_UNTRIED_FOR_LONGEST, destination)

    async def release_outbox(self, leases: Sequence[Lease]) -> None:
        """See `RelayTransaction.release_outbox` (M2)."""
        if leases:
            ids, attempts = [each.message_id for each in leases], [each.attempts for each in leases]
            pause = (await self.now(), REFUSED_PAUSE_S, REFUSED_PAUSE_CAP_S)
            self.write(_RELEASE.format(schema=self.schema), [ids, attempts, *pause])

    async def _claim(self, which: str, parameters: Sequence[Any]) -> list[Claim]:
        """Lease the rows of ``which`` whose lease has run out."""
        now = await self.now()
        query = _CLAIM.format(schema=self.schema, which=which)
        rows = await self.fetch(query, [now, *parameters, now, LEASE_S])
        claims = (Claim(_message(row[:-1]), row[-1]) for row in rows)
        return sorted(claims, key=lambda claim: claim.message.message_id)

    async def commit(self, confirmed: Sequence[UUID]) -> None:
        """Execute the collected writes, the outbox's included, and commit: one round trip."""
        statements = list(self._writes)
        if self.outgoing:
            statements.append((_INSERT.format(schema=self.schema), _columns(self.outgoing)))
        if confirmed:
            statements.append((_DELETE.format(schema=self.schema), [sorted(confirmed, key=AS_NUMBER)]))
        await self._execute_and_commit(statements)
        callbacks, self._after_commit = self._after_commit, []  # they know us: all would stay until collected
        for callback in callbacks:
            callback()

    async def _execute_and_commit(self, statements: Sequence[Statement]) -> None:
        """The first statement that fails makes the server skip all that follow, the commit included."""
        if not statements and self._driver.pgconn.transaction_status == TransactionStatus.IDLE:
            return
        try:
            await self._driver.ask([*statements, COMMIT])
        except errors.DivisionByZero as error:
            raise LostUpdate("a write did not touch the rows that it was decided on") from error


_GUARDED: Final = "WITH touched AS ({query} RETURNING 1) SELECT 1 / (count(*) = %s)::int FROM touched"
"""Divides by zero, which ends the transaction at the server, unless the expected rows were touched."""

_INSERT: Final = """
INSERT INTO {schema}.outbox (message_id, type, exchange, routing_key, mandatory, correlation_id, app_id,
                             headers, body, created_at, claimed_until)
SELECT message_id, type, exchange, routing_key, mandatory, correlation_id, app_id,
       headers::json, body, created_at, created_at + make_interval(secs => %s)
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::bool[], %s::uuid[], %s::text[],
            %s::text[], %s::bytea[], %s::timestamptz[])
  AS message (message_id, type, exchange, routing_key, mandatory, correlation_id, app_id,
              headers, body, created_at)
"""

_DELETE: Final = """
DELETE FROM {schema}.outbox WHERE message_id IN (
    SELECT message_id FROM {schema}.outbox WHERE message_id = ANY(%s)
    ORDER BY message_id FOR UPDATE SKIP LOCKED)
"""

_CLAIM: Final = """
WITH due AS (
    SELECT message_id FROM {schema}.outbox WHERE claimed_until <= %s AND {which}
    FOR UPDATE SKIP LOCKED)
UPDATE {schema}.outbox AS claimed
SET attempts = claimed.attempts + 1,
    claimed_until = %s + make_interval(secs => %s)
FROM due WHERE claimed.message_id = due.message_id
RETURNING claimed.message_id, type, exchange, routing_key, body, correlation_id, app_id, created_at,
          mandatory, headers, claimed.attempts
"""

_UNOBSTRUCTED: Final = """
(exchange, routing_key) NOT IN (SELECT * FROM unnest(%s::text[], %s::text[])) ORDER BY message_id LIMIT %s
"""

_UNTRIED_FOR_LONGEST: Final = """
(exchange, routing_key) = (%s, %s) ORDER BY claimed_until, message_id LIMIT 1
"""

_RELEASE: Final = """
WITH ours AS (
    SELECT message_id FROM {schema}.outbox JOIN unnest(%s::uuid[], %s::int[]) AS lease (message_id, attempts)
        USING (message_id, attempts)
    ORDER BY message_id FOR UPDATE OF outbox SKIP LOCKED)
UPDATE {schema}.outbox AS released
SET claimed_until = least(claimed_until,
    %s + make_interval(secs => least(%s * power(2, least(released.attempts, 10)), %s)))
FROM ours WHERE released.message_id = ours.message_id
"""


def _columns(messages: Sequence[Message]) -> list[Any]:
    return [
        FIRST_LEASE_S,
        [message.message_id for message in messages],
        [message.type for message in messages],
        [message.exchange for message in messages],
        [message.routing_key for message in messages],
        [message.mandatory for message in messages],
        [message.correlation_id for message in messages],
        [message.app_id for message in messages],
        [to_json(message.headers).decode() for message in messages],
        [message.body for message in messages],
        [message.timestamp for message in messages],
    ]


def _message(row: TupleRow) -> Message:
    return Message(*row)


class SqlUnitOfWork(PatientUnitOfWork[T]):
    """Runs units of work of one service on one engine."""

    def __init__(
        self,
        engine: AsyncEngine,
        transaction: Callable[[SqlConnection, Connection], T],
        outbox: Outbox,
        rng: random.Random,
        patience_s: float | None = None,
    ) -> None:
        """
        Args:
            patience_s: seconds of database trouble after which `run` gives up; None never does.
        """
        super().__init__(self._open, is_transient, outbox, rng, patience_s)
        self._engine = engine
        self._transaction = transaction

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[T]:
        async with self._engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Connection = raw.driver_connection  # type: ignore[assignment]
            try:
                yield self._transaction(connection, driver)
            except BaseException as error:
                if not _reusable(driver, error):
                    await connection.invalidate()
                raise


def _reusable(driver: Connection, error: BaseException) -> bool:
    """Whether a connection on which this happened is as good as new once it is rolled back.

    Torn in mid-pipeline, it would give its next user what was left of the results. To a server that has
    become a standby, or with plans that it has outgrown, it would have each of them refused again.
    """
    torn = not isinstance(error, Exception) or driver.pgconn.pipeline_status != PipelineStatus.OFF
    return not torn and trouble_of(error) is not Trouble.ELSEWHERE
