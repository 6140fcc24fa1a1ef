"""Several statements in one round trip, on a real PostgreSQL: what comes back, what fails, what is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from psycopg.pq import PipelineStatus, TransactionStatus
from sqlalchemy import make_url

from messaging import round_trip
from messaging.connecting import connect
from messaging.round_trip import COMMIT, Connection
from messaging.sqlstates import Trouble, trouble_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url)
    await connection.ask([("CREATE TABLE things (id int PRIMARY KEY, name text)", ()), COMMIT])
    yield connection
    await connection.close()


async def names(connection: Connection) -> list[str]:
    rows, _ = await connection.ask([("SELECT name FROM things ORDER BY id", ()), COMMIT])
    return [name for (name,) in rows]


async def test_each_statement_gets_its_own_rows_and_values_keep_their_types(connection: Connection) -> None:
    values = (UUID(int=7), NOON, b"\0\1", '{"a": 1}')
    one, many, none = await connection.ask(
        [
            ("SELECT %s::uuid, %s::timestamptz, %s::bytea, %s::json", values),
            ("SELECT * FROM unnest(%s::int[], %s::text[])", ([1, 2], ["a", None])),
            ("SELECT 1 WHERE false", ()),
        ]
    )
    assert one == [(UUID(int=7), NOON, b"\0\1", {"a": 1})]
    assert many == [(1, "a"), (2, None)]
    assert none == []


async def test_a_transaction_begins_with_the_first_question_and_ends_with_a_commit(
    connection: Connection,
) -> None:
    await connection.ask([("INSERT INTO things VALUES (%s, %s)", (1, "kept"))])
    assert connection.pgconn.transaction_status == TransactionStatus.INTRANS
    await connection.ask([("INSERT INTO things VALUES (%s, %s)", (2, "kept too")), COMMIT])
    assert connection.pgconn.transaction_status == TransactionStatus.IDLE
    await connection.ask([("INSERT INTO things VALUES (%s, %s)", (3, "rolled back"))])
    await connection.rollback()
    assert await names(connection) == ["kept", "kept too"]


async def test_the_first_that_fails_is_told_and_what_follows_it_is_skipped_the_commit_too(
    connection: Connection,
) -> None:
    insert = "INSERT INTO things VALUES (%s, %s)"
    with pytest.raises(psycopg.errors.UniqueViolation) as raised:
        await connection.ask([(insert, (1, "a")), (insert, (1, "b")), ("SELECT 1 / 0", ()), COMMIT])
    assert raised.value.diag.constraint_name == "things_pkey"
    await connection.rollback()
    assert await names(connection) == []


async def test_a_value_that_cannot_be_sent_leaves_the_connection_as_it_was(connection: Connection) -> None:
    insert = "INSERT INTO things VALUES (%s, %s)"
    with pytest.raises(psycopg.DataError):
        await connection.ask([(insert, (1, "good")), (insert, (2, "a\0b"))])
    assert connection.pgconn.pipeline_status == PipelineStatus.OFF
    assert await names(connection) == []


async def test_more_than_any_buffer_holds_goes_both_ways(connection: Connection) -> None:
    """Both sides would wait for the other if nobody read while writing."""
    large = "x" * 1_000_000
    found = await connection.ask([("SELECT %s::text", (large,))] * 40)
    assert found == [[(large,)]] * 40


async def test_a_statement_is_prepared_once_and_not_without_limit(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round_trip, "PREPARED_LIMIT", 10)
    for _ in range(2):
        for number in range(20):
            [rows] = await connection.ask([(f"SELECT {number} + %s::int", (1,))])
            assert rows == [(number + 1,)]
    [[(prepared,)]] = await connection.ask([("SELECT count(*) FROM pg_prepared_statements", ())])
    assert prepared == 10


async def test_what_the_driver_is_asked_besides_makes_the_server_forget_nothing(
    connection: Connection,
) -> None:
    assert await names(connection) == []
    for _ in range(20):
        await connection.execute("SELECT name FROM things")
    await connection.rollback()
    assert await names(connection) == []


async def test_a_failure_forgets_nothing_that_the_server_has_prepared(connection: Connection) -> None:
    ask = [("SELECT %s::int", (1,)), ("SELECT 1 / %s::int", (0,)), ("SELECT %s::text", ("skipped",))]
    for _ in range(3):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await connection.ask(ask)
        await connection.rollback()
    assert await connection.ask([ask[0], ask[2]]) == [[(1,)], [("skipped",)]]


@pytest.mark.parametrize(
    "meanwhile",
    ["ALTER TABLE things ALTER name TYPE varchar(9)", "DEALLOCATE ALL"],
    ids=["migration", "pooler"],
)
async def test_a_plan_that_the_server_cannot_use_any_more_is_told_by_an_error_of_its_own(
    connection: Connection, meanwhile: str
) -> None:
    look = ("SELECT * FROM things", ())
    await connection.ask([look, COMMIT])
    await connection.execute(meanwhile.encode())
    await connection.commit()
    with pytest.raises(psycopg.Error) as raised:
        await connection.ask([look])
    assert trouble_of(raised.value) is Trouble.ELSEWHERE


async def test_a_lost_connection_is_an_operational_error(connection: Connection, database_url: str) -> None:
    backend = connection.pgconn.backend_pid
    asking = asyncio.create_task(connection.ask([("SELECT pg_sleep(60)", ())]))
    await ended(database_url, backend)
    with pytest.raises(psycopg.OperationalError):
        await asking
    with pytest.raises(psycopg.OperationalError):
        await connection.ask([("SELECT 1", ())])


async def test_who_stops_waiting_leaves_a_connection_that_says_so(
    fresh_database: Callable[[], str],
) -> None:
    connection = await connect(fresh_database())
    asking = asyncio.create_task(connection.ask([("SELECT pg_sleep(60)", ())]))
    await asyncio.sleep(0.2)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert asking.cancelled()
    assert connection.pgconn.pipeline_status == PipelineStatus.ON
    await connection.close()


async def ended(database_url: str, backend: int) -> None:
    """The backend is at work on a statement and is then ended."""
    plain = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(plain, autocommit=True) as other:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
        while not await (await other.execute(query, [backend])).fetchall():
            await asyncio.sleep(0.05)
