"""Databases that are set up in their own way: what a session needs it sets, and what it cannot is named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from messaging.connecting import connect, connect_and_wait, conninfo
from messaging.postgresql import create_engine
from messaging.sessions import UnfitDatabase
from oms.failures import Failure
from oms.readiness import database_trouble, wait_for_database
from oms.rights import needed_rights
from oms.settings import Settings
from tests.support.api import ADMIN, an_api, an_api_alone
from tests.support.orders import AN_ORDER

pytestmark = pytest.mark.postgresql

SETTINGS = [
    ("datestyle", "SQL, DMY"),
    ("datestyle", "German"),
    ("intervalstyle", "iso_8601"),
    ("timezone", "Asia/Kolkata"),
    ("timezone", "<+0130>-01:30"),
    ("standard_conforming_strings", "off"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-10"),
    ("search_path", "nowhere"),
    ("client_encoding", "latin1"),
    ("row_security", "off"),
]


def set_up(url: str, name: str, value: str) -> None:
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        database = sql.Identifier(str(make_url(url).database))
        statement = sql.SQL("ALTER DATABASE {} SET {} TO {}")
        connection.execute(statement.format(database, sql.Identifier(name), _value(name, value)))


def _value(name: str, value: str) -> sql.Composable:
    """Lists are written as lists."""
    if name == "datestyle":
        return sql.SQL(", ").join(map(sql.Literal, value.split(", ")))
    return sql.Literal(value)


@pytest.mark.parametrize(("name", "value"), SETTINGS)
async def test_orders_do_not_depend_on_the_databases_own_settings(
    migrated_database_url: str, name: str, value: str
) -> None:
    set_up(migrated_database_url, name, value)
    async with an_api(migrated_database_url) as api:
        address = {**AN_ORDER["shipping_address"], "name": "Ærøskøbing Ж \\ '"}
        order = await api.order(shipping_address=address)
        await api.completed()
        await api.is_now(order, "completed")
        shown = (await api.http.get(f"/orders/{order['order_id']}", headers=ADMIN)).json()
        created = datetime.fromisoformat(shown["created_at"])
        assert abs(created - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize(("name", "value"), SETTINGS)
async def test_both_kinds_of_sessions_read_times_as_they_are(
    database_url: str, name: str, value: str
) -> None:
    set_up(database_url, name, value)
    moment = datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
    query = "SELECT '2026-02-03 04:05:06.789+00'::timestamptz, current_setting('transaction_isolation')"
    async with await connect(database_url) as connection:
        assert await connection.ask([(query, ())]) == [[(moment, "read committed")]]
    with connect_and_wait(database_url) as waiting:
        found = waiting.execute(query).fetchone()
        assert found is not None
        assert found[0] == moment


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
async def foreign(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[tuple[str, str]]:
    """A database in another encoding, beside the test's own."""
    name = f"{make_url(database_url).database}_{request.param.lower()}"
    create = sql.SQL("CREATE DATABASE {} ENCODING {} LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0")
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
        connection.execute(create.format(sql.Identifier(name), sql.Literal(request.param)))
        yield request.param, make_url(database_url).set(database=name).render_as_string(hide_password=False)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def test_a_database_that_cannot_hold_every_name_is_refused_at_the_start(
    foreign: tuple[str, str],
) -> None:
    encoding, url = foreign
    with pytest.raises(
        Failure, match=f"OMS_PAYMENT_DATABASE_URL.*server_encoding {encoding}.*must have UTF8"
    ):
        await wait_for_database(Settings(database_url=url), "payment")
    with pytest.raises(UnfitDatabase, match="server_encoding"):
        await connect(url)


async def test_a_setting_that_no_session_could_keep_behind_a_pooler_is_named(database_url: str) -> None:
    set_up(database_url, "array_nulls", "off")
    with pytest.raises(UnfitDatabase, match="array_nulls off, and must have on"):
        await connect(database_url)


# -- what a database refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("REVOKE INSERT ON orchestrator.history FROM {role}", "INSERT on orchestrator.history"),
        ("REVOKE INSERT ON orchestrator.sagas FROM {role}", "INSERT on orchestrator.sagas"),
        ("ALTER TABLE orchestrator.outbox RENAME TO elsewhere", "DELETE on orchestrator.outbox"),
        ("REVOKE SELECT ON orchestrator.installation FROM {role}", "SELECT on orchestrator.installation"),
        ("REVOKE USAGE ON SCHEMA orchestrator FROM {role}", "permission denied for schema orchestrator"),
        ("ALTER ROLE {role} SET default_transaction_read_only TO on", "it is read-only"),
    ],
)
async def test_what_a_database_refuses_is_told_by_readiness_and_answered_503(
    migrated_database_url: str, a_role: Callable[[], str], statement: str, told: str
) -> None:
    url = a_role()
    with psycopg.connect(conninfo(migrated_database_url), autocommit=True) as owner:
        owner.execute(statement.format(role=make_url(url).username).encode())
    engine = create_engine(url)
    trouble = await database_trouble(engine, "orchestrator")
    assert trouble is not None
    assert told in trouble
    await engine.dispose()
    async with an_api_alone(url) as api:
        answer = await api.http.post("/orders", json=AN_ORDER)
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert "Retry-After" in answer.headers


@pytest.mark.parametrize("service", ["orchestrator", "inventory", "payment", "shipping", "sandbox"])
async def test_a_role_with_the_needed_rights_is_ready(
    migrated_database_url: str, a_role: Callable[[], str], service: str
) -> None:
    engine = create_engine(a_role())
    assert await database_trouble(engine, service) is None
    await engine.dispose()


@pytest.fixture
def a_role(migrated_database_url: str) -> Iterator[Callable[[], str]]:
    """Makes a role with the rights that services need, and returns its URL."""
    url = make_url(migrated_database_url)
    role = f"r_{url.database}"

    def make() -> str:
        with psycopg.connect(conninfo(migrated_database_url), autocommit=True) as owner:
            owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'r'".encode())
            for service in ("orchestrator", "inventory", "payment", "shipping", "sandbox"):
                owner.execute(f"GRANT USAGE ON SCHEMA {service} TO {role}".encode())
                owner.execute(f"GRANT SELECT ON {service}.schema_version TO {role}".encode())
                for table, right in needed_rights(service):
                    owner.execute(f"GRANT {right} ON {table} TO {role}".encode())
        return url.set(username=role, password="r").render_as_string(hide_password=False)

    yield make
    with psycopg.connect(conninfo(migrated_database_url), autocommit=True) as owner:
        owner.execute(f"DROP OWNED BY {role}".encode())
        owner.execute(f"DROP ROLE {role}".encode())
