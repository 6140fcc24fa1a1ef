"""The whole system behind PgBouncer, which hands its few servers from transaction to transaction."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from messaging import connecting
from messaging.connecting import connect, conninfo, shared_between_transactions
from messaging.round_trip import COMMIT, Connection
from migrations.run import MigrationFailed, migrate, revisions
from oms import processes
from oms.audit import Sources, audit
from oms.audit.sources import NEEDED, SANDBOX
from oms.cli import main
from oms.settings import Settings
from orchestrator.progress import connector
from tests.support.orders import AN_ORDER
from tests.support.pgbouncer import Mode, pooler

pytestmark = pytest.mark.postgresql

Pooled = Callable[[str, Mode, int], str]
TOKEN = "a-token-for-tests"
STATE = """
SELECT pg_backend_pid(), current_setting('synchronous_commit'), (SELECT count(*) FROM pg_prepared_statements),
       (SELECT count(*) FROM pg_listening_channels()), current_setting('lock_timeout')
"""


@pytest.fixture
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooled]:
    """Puts a pooler with so many connections before a database."""
    folder = tmp_path_factory.mktemp("pgbouncer")
    with ExitStack() as running:
        yield lambda url, mode, size: running.enter_context(
            pooler(url, folder / secrets.token_hex(4), mode, size)
        )
    shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def opened(url: str, folder: Path, connections: int = 12) -> AsyncIterator[httpx.AsyncClient]:
    """Everything in one process on this database."""
    settings = Settings(
        database_url=url, admin_token=SecretStr(TOKEN), database_connections=connections, broker_url=()
    )
    async with processes.stack(settings, "127.0.0.1", 0, folder) as running:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=running.api_url, headers=headers, timeout=60) as http:
            await http.put("/inventory/SKU-1", json={"on_hand": 1000})
            yield http


async def ended(http: httpx.AsyncClient, orders: int) -> list[str]:
    """The states of so many orders that are submitted side by side and waited for."""
    wait = {"Prefer": "wait=40"}
    answers = await asyncio.gather(
        *(http.post("/orders", json=AN_ORDER, headers=wait) for _ in range(orders))
    )
    return [answer.json()["status"] for answer in answers]


async def test_orders_end_and_every_command_works_behind_a_pooler_of_transactions(
    pooled: Pooled, migrated_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = pooled(migrated_database_url, "transaction", 4)
    monkeypatch.setenv("OMS_DATABASE_URL", url)
    async with opened(url, tmp_path) as http:
        assert await ended(http, 40) == ["completed"] * 40
        assert (await http.get("/readyz")).json()["status"] == "ok"
        report = await audit(Sources(dict.fromkeys((*NEEDED, SANDBOX), (url,))))
        assert report.ok
        for command in (
            ["migrate"],
            ["tokens", "create", "--name", "jane", "--role", "viewer"],
            ["tokens", "list"],
            ["prune", "--older-than", "30d", "--yes"],
        ):
            assert await asyncio.to_thread(main, command) == 0, command
        # In a thread: a transaction of the running system that is halfway must be able to end.
        left = await asyncio.to_thread(left_on_servers, url, 4)
        assert {state[1:] for state in left} == {("on", 0, 0, "0")}


def left_on_servers(url: str, count: int) -> list[tuple[object, ...]]:
    """What stands on so many servers of a pooler, each held while the next is looked at."""
    with ExitStack() as held:
        seen = []
        for _ in range(count):
            connection = held.enter_context(psycopg.connect(conninfo(url), prepare_threshold=None))
            seen.append(connection.execute(STATE).fetchone() or ())
    assert len({state[0] for state in seen}) == count
    return seen


async def test_nobody_waits_for_ever_with_the_fewest_connections(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with opened(migrated_database_url, tmp_path, connections=4) as http:
        assert await ended(http, 60) == ["completed"] * 60


@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize(("mode", "shared"), [("transaction", True), ("session", False)])
async def test_it_is_found_out_whether_servers_are_shared(
    pooled: Pooled, database_url: str, mode: Mode, shared: bool, others: int
) -> None:
    """However busy they are: others take and give back the servers while it is looked."""
    connecting_there = connector(pooled(database_url, mode, 10))
    async with await connecting_there() as connection, asyncio.TaskGroup() as busy:
        tasks = [busy.create_task(at_work(await connecting_there())) for _ in range(others)]
        for _ in range(30 if others else 1):
            assert await shared_between_transactions(connection, connecting_there) is shared
        for task in tasks:
            task.cancel()
    async with await connector(database_url)() as connection:
        assert not await shared_between_transactions(connection, connector(database_url))


async def at_work(connection: Connection) -> None:
    """Asks again and again, until cancelled."""
    async with connection:
        while True:
            await connection.execute("SELECT 1")


async def test_a_statement_that_another_server_knows_teaches_to_prepare_no_more(database_url: str) -> None:
    """A pooler that does not show itself: the server that answers is not the one that prepared."""
    connection = await connect(database_url)
    look = ("SELECT 1", ())
    await connection.ask([look, COMMIT])
    await connection.execute("DEALLOCATE ALL")
    await connection.commit()
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        await connection.ask([look])
    await connection.close()
    another = await connect(database_url)
    for _ in range(2):
        assert await another.ask([look, COMMIT]) == [[(1,)], []]
    assert left_on_servers(database_url, 1)[0][2] == 0
    await another.close()


async def test_a_pooler_with_one_connection_is_named_and_not_waited_for(
    pooled: Pooled, migrated_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = pooled(migrated_database_url, "transaction", 1)
    monkeypatch.setattr(connecting, "ADMITTED_WITHIN_S", 0.5)
    async with await psycopg.AsyncConnection.connect(conninfo(url)) as busy:
        await busy.execute("SELECT 1")
        with pytest.raises(OperationalError, match="too few connections at a pooler"):
            await audit(Sources(dict.fromkeys((*NEEDED, SANDBOX), (url,))))
        with pytest.raises(OperationalError, match="too few connections at a pooler"):
            await asyncio.to_thread(migrate, "payment", url)
        await busy.rollback()


def test_a_migration_goes_through_a_pooler(pooled: Pooled, database_url: str) -> None:
    assert migrate("inventory", pooled(database_url, "transaction", 2)) == revisions("inventory")


def test_an_index_that_a_time_limit_ends_is_told_and_built_again(pooled: Pooled, database_url: str) -> None:
    """Behind a pooler the limit stays as it is: what is set in a session would be somebody else's next."""
    url = pooled(database_url, "transaction", 4)
    migrate("orchestrator", url, up_to="orchestrator_0021")
    with psycopg.connect(conninfo(database_url)) as writer:
        writer.execute("LOCK TABLE orchestrator.history IN ROW EXCLUSIVE MODE")  # the index waits for its end
        with psycopg.connect(conninfo(database_url), autocommit=True) as owner:
            database = sql.Identifier(owner.info.dbname)
            owner.execute(sql.SQL("ALTER DATABASE {} SET statement_timeout = '3s'").format(database))
        limited = pooled(database_url, "transaction", 4)
        with pytest.raises(MigrationFailed, match=r"orchestrator_0022 .* statement_timeout"):
            migrate("orchestrator", limited)
    assert {state[1:] for state in left_on_servers(limited, 2)} == {("on", 0, 0, "0")}
    assert migrate("orchestrator", limited)[0] == "orchestrator_0022"
