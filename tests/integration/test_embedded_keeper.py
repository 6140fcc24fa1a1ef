"""Whatever happens to the embedded PostgreSQL: it works again, or whoever needs it ends with one line."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import pytest_asyncio

from oms.embedded import keeper as embedded_keeper
from oms.embedded.child import run_tool
from oms.embedded.keeper import Keeper, Lost, kept
from oms.embedded.postgresql import EmbeddedPostgres, account_for, program
from oms.processes import stack
from oms.settings import load_settings

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(600)]

PATIENT = (0.0, *[0.5] * 200)
IMPATIENT = (0.0, 0.1, 0.1)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_keeper, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(embedded_keeper, "PAUSES_S", PATIENT)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow one another quickly, and there are few."""
    monkeypatch.setattr(embedded_keeper, "PAUSES_S", IMPATIENT)


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    async with EmbeddedPostgres(tmp_path / "postgres") as server:
        await execute(server, "CREATE TABLE kept AS SELECT 42 AS answer")
        yield server
        make_writable(server.folder)


async def execute(server: EmbeddedPostgres, statement: str) -> list[tuple[object, ...]]:
    url = server.url.replace("postgresql+psycopg://", "postgresql://")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


async def answered(server: EmbeddedPostgres) -> list[tuple[object, ...]] | None:
    """What is in the table; None while the server takes nobody in."""
    try:
        return await execute(server, "SELECT answer FROM kept")
    except psycopg.OperationalError:
        return None


async def in_trouble(keeper: Keeper) -> str:
    while keeper.trouble is None:
        await asyncio.sleep(0.01)
    return keeper.trouble


async def works(keeper: Keeper) -> None:
    while keeper.trouble is not None:
        await asyncio.sleep(0.01)


def family(server: EmbeddedPostgres) -> list[psutil.Process]:
    assert server.pid is not None
    postmaster = psutil.Process(server.pid)
    return [postmaster, *postmaster.children(recursive=True)]


def works_still(process: psutil.Process) -> bool:
    """Whether it could still write: one that has ended may wait for its parent to read how."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def limit_files(server: EmbeddedPostgres, size: str) -> None:
    """How large a file may be that sessions of the server write, from now on; as its own account, who may."""
    limit = ["prlimit", f"--pid={server.pid}", f"--fsize={size}:unlimited"]
    done = run_tool(limit, env=os.environ, account=account_for(server.folder, program("postgres")))
    assert done.returncode == 0, done.stderr


def make_read_only(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)


def make_writable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")) if folder.exists() else ():
        path.chmod(path.stat().st_mode | 0o200)


# -- it works again ---------------------------------------------------------------------------------------


async def test_a_killed_server_is_started_again_with_its_data_on_its_port(server: EmbeddedPostgres) -> None:
    url, first = server.url, server.pid
    async with kept(server) as keeper:
        server.kill()
        assert "it has ended" in await in_trouble(keeper)
        await works(keeper)
        assert (server.url, await execute(server, "SELECT answer FROM kept")) == (url, [(42,)])
        assert server.pid != first


async def test_a_server_that_hangs_with_all_its_processes_is_started_again(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_keeper, "ANSWERS_WITHIN_S", 3.0)
    async with kept(server) as keeper:
        hung = family(server)
        for process in hung:
            process.send_signal(signal.SIGSTOP)
        assert await in_trouble(keeper) == "it does not answer"
        await works(keeper)
        assert await execute(server, "SELECT answer FROM kept") == [(42,)]
        assert not any(works_still(process) for process in hung)


async def test_a_server_that_recovers_by_itself_is_left_to_it(server: EmbeddedPostgres) -> None:
    first = server.pid
    async with kept(server) as keeper:
        family(server)[-1].kill()
        while "recovery" not in (server.folder / "server.log").read_text():
            await asyncio.sleep(0.01)
        while (answer := await answered(server)) is None:
            await asyncio.sleep(0.1)
        await works(keeper)
        assert answer == [(42,)]
        assert server.pid == first


async def test_a_disk_that_takes_nothing_is_told_and_forgotten_once_it_does(server: EmbeddedPostgres) -> None:
    """A limit on the size of files is refused by the kernel where a full disk would be."""
    first = server.pid
    async with kept(server) as keeper:
        limit_files(server, str(embedded_keeper.ROOM_BYTES // 2))
        assert "could not write" in await in_trouble(keeper)
        limit_files(server, "unlimited")
        await works(keeper)
        assert server.pid == first
        assert (server.folder / "data/oms.probe").stat().st_size <= 1


async def test_a_folder_that_is_read_only_for_a_while_is_waited_for(server: EmbeddedPostgres) -> None:
    async with kept(server) as keeper:
        make_read_only(server.folder)
        assert "Permission denied" in await in_trouble(keeper)
        make_writable(server.folder)
        await works(keeper)
        assert await execute(server, "SELECT answer FROM kept") == [(42,)]


# -- it is given up ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
async def test_a_folder_that_stays_read_only_ends_the_work_with_one_line(server: EmbeddedPostgres) -> None:
    async def work() -> None:
        async with kept(server):
            make_read_only(server.folder)
            await asyncio.Event().wait()

    with pytest.raises(Lost, match=r"cannot be kept working: .*Permission denied") as caught:
        await work()
    assert "\n" not in str(caught.value)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@pytest.mark.usefixtures("impatient")
async def test_data_that_are_gone_are_not_replaced_by_an_empty_database(server: EmbeddedPostgres) -> None:
    async def work() -> None:
        async with kept(server):
            server.kill()
            shutil.rmtree(server.folder / "data")
            await asyncio.Event().wait()

    with pytest.raises(Lost, match="data is gone"):
        await work()
    assert not (server.folder / "data").exists()


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_dies_after_every_start_is_given_up(server: EmbeddedPostgres) -> None:
    deaths = []

    async def work() -> None:
        async with kept(server) as keeper:
            while True:
                deaths.append(server.pid)
                server.kill()
                await in_trouble(keeper)
                await works(keeper)

    with pytest.raises(Lost, match="it has ended"):
        await work()
    assert len(set(deaths)) == len(IMPATIENT) + 1


async def test_leaving_while_it_is_started_again_leaves_no_server_behind(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path / "postgres") as server, kept(server) as keeper:
        server.kill()
        await in_trouble(keeper)
    assert server.pid is None
    home = str(tmp_path / "postgres" / "data")
    assert not [each.pid for each in psutil.process_iter(["cmdline"]) if home in (each.info["cmdline"] or ())]


async def test_an_error_of_the_work_itself_stays_what_it_is(server: EmbeddedPostgres) -> None:
    with pytest.raises(ZeroDivisionError):
        async with kept(server):
            raise ZeroDivisionError


# -- the whole system on it -------------------------------------------------------------------------------


async def test_readiness_tells_and_everything_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("OMS_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "oms"

    async def work() -> None:
        async with (
            stack(load_settings(), "127.0.0.1", 0, folder) as running,
            httpx.AsyncClient(base_url=running.api_url) as client,
        ):
            assert (await server_in(client))["status"] == "ok"
            (folder / "postgres/data").rename(folder / "postgres/elsewhere")
            while (found := await server_in(client))["status"] == "ok":
                await asyncio.sleep(0.05)
            assert found["status"] == "down"
            monkeypatch.setattr(embedded_keeper, "LONGEST_S", 0.0)
            await asyncio.Event().wait()

    with pytest.raises(Lost, match=r"cannot be kept working: could not open file"):
        await work()


async def server_in(client: httpx.AsyncClient) -> dict[str, str | None]:
    """What `/readyz` says of the embedded server."""
    found: dict[str, str | None] = (await client.get("/readyz")).json()["components"]["embedded PostgreSQL"]
    return found
