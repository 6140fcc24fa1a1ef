"""The embedded PostgreSQL is real, keeps what was committed, touches nothing else and ends with its owner."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from oms.embedded import postgresql as embedded
from oms.embedded.child import ServerError, wait_until
from oms.embedded.folder_lock import FolderInUseError
from oms.embedded.postgresql import EmbeddedPostgres

PROJECT = Path(__file__).parents[2]

pytestmark = pytest.mark.postgresql


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("embedded") / "postgres") as server:
        yield server


def query(server: EmbeddedPostgres, statement: str) -> str:
    with psycopg.connect(plain(server.url), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""


def plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


def folder_of(server: EmbeddedPostgres) -> Path:
    return Path(query(server, "SHOW data_directory")).parent


def test_it_is_postgresql_18_and_flushes_to_disk(server: EmbeddedPostgres) -> None:
    assert query(server, "SHOW server_version").startswith("18.")
    assert query(server, "SHOW fsync") == "on"
    assert query(server, "SHOW synchronous_commit") == "on"
    assert query(server, "SHOW full_page_writes") == "on"


def test_texts_and_times_do_not_depend_on_the_machine(server: EmbeddedPostgres) -> None:
    assert query(server, "SHOW server_encoding") == "UTF8"
    assert query(server, "SHOW timezone") == "UTC"
    assert query(server, "SELECT datlocale FROM pg_database WHERE datname = 'oms'") == "C.UTF-8"


def test_it_listens_on_loopback_alone(server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    listening = [c.laddr.ip for c in psutil.Process(server.pid).net_connections() if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]


def test_it_asks_for_the_password(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(plain(server.url), password="guessed").close()


def test_only_its_owner_may_look_into_its_folder(server: EmbeddedPostgres) -> None:
    folder = folder_of(server)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600


def test_it_is_not_root(server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    assert psutil.Process(server.pid).uids().effective != 0


def test_a_second_start_on_the_folder_is_refused_by_name(server: EmbeddedPostgres) -> None:
    with pytest.raises(FolderInUseError, match=f"is in use by process {os.getpid()}"):
        EmbeddedPostgres(folder_of(server)).start()
    assert query(server, "SELECT 1") == "1"


def test_what_was_committed_outlives_a_crash_and_the_port_stays(server: EmbeddedPostgres) -> None:
    query(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    url = server.url
    server.kill()
    assert server.pid is None
    server.restart()
    assert server.url == url
    assert query(server, "SELECT answer FROM kept") == "42"


def test_stopping_twice_is_harmless_and_data_stay(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")
    with server:
        query(server, "CREATE TABLE kept AS SELECT 1 AS answer")
    server.stop()
    with server:
        assert query(server, "SELECT answer FROM kept") == "1"
    assert server.pid is None


async def test_it_serves_an_event_loop_that_ends_before_it(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path / "postgres") as server:
        await asyncio.to_thread(server.restart)
        async with await psycopg.AsyncConnection.connect(plain(server.url)) as connection:
            cursor = await connection.execute("SELECT 1")
            assert await cursor.fetchone() == (1,)
    assert server.pid is None


AS_SOMEBODY_ELSE = (
    [
        *(
            str(shutil.which("setpriv")),
            "--reuid=nobody",
            f"--regid={pwd.getpwnam('nobody').pw_gid}",
            "--clear-groups",
        ),
        # The project may lie where root alone may enter.
        *(f"--{kind}-caps=-all,+dac_read_search" for kind in ("inh", "ambient")),
    ]
    if os.geteuid() == 0
    else []
)
"""What turns root into a plain user; a plain user is one already."""


def a_folder_of_somebody_else(tmp_path: Path) -> Path:
    """A folder for a server, in which the plain user may make what it likes."""
    place = tmp_path / "somebody"
    place.mkdir()
    if os.geteuid() == 0:
        shutil.chown(place, "nobody")
    return place / "postgres"


OWNER_THAT_IS_KILLED = """
import os, signal, sys
from pathlib import Path
from oms.embedded import postgresql as embedded
from oms.embedded.postgresql import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("setpriv", ["with the kernel's help", "left over"])
def test_a_server_whose_owner_was_killed_is_replaced(tmp_path: Path, setpriv: str) -> None:
    """Root has the kernel's help always, so the owner is somebody else."""
    folder = a_folder_of_somebody_else(tmp_path)
    environment = dict(os.environ)
    if setpriv == "left over":
        environment["PATH"] = ""
    owner = subprocess.run(
        [*AS_SOMEBODY_ELSE, sys.executable, "-c", OWNER_THAT_IS_KILLED, folder],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        check=False,
    )
    assert owner.returncode == -signal.SIGKILL, owner.stderr
    first = int(owner.stdout)
    with EmbeddedPostgres(folder) as server:
        assert server.pid != first
        assert wait_until(lambda: not is_running(first), timeout_s=30)
        assert query(server, "SELECT 1") == "1"


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_an_interrupted_first_start_is_begun_anew(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    with EmbeddedPostgres(folder):
        pass
    (folder / "data").rename(folder / "data.unfinished")
    (folder / "data.unfinished" / "PG_VERSION").unlink()
    (folder / "data.unfinished.1f2e3d4c").mkdir()
    with EmbeddedPostgres(folder) as server:
        assert query(server, "SELECT 1") == "1"
    assert not list(folder.glob("*unfinished*"))


def test_a_program_that_has_the_old_servers_number_is_no_obstacle_and_left_alone(tmp_path: Path) -> None:
    """As after a reboot: the pid file stays, and its number is somebody else's, of the same account."""
    folder = a_folder_of_somebody_else(tmp_path)
    with EmbeddedPostgres(folder):
        pass
    with subprocess.Popen([*AS_SOMEBODY_ELSE, "/bin/sleep", "600"]) as program:
        pid_file = folder / "data" / "postmaster.pid"
        pid_file.write_text(f"{program.pid}\n{folder}/data\n1\n1\n\n\n\n")
        shutil.chown(pid_file, (folder / "data").stat().st_uid)
        with EmbeddedPostgres(folder) as server:
            assert query(server, "SELECT 1") == "1"
        assert program.poll() is None
        program.kill()


def test_it_needs_no_room_in_the_machines_shared_memory(server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    mapped = {each.path for each in psutil.Process(server.pid).memory_maps()}
    assert not [path for path in mapped if path.startswith("/dev/shm")]


def test_a_file_that_is_missing_is_named_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    with EmbeddedPostgres(folder):
        pass
    (folder / "data" / "PG_VERSION").unlink()
    with pytest.raises(ServerError, match=r"cannot keep PostgreSQL in .*PG_VERSION: No such file"):
        EmbeddedPostgres(folder).start()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("keep me")
    before = tmp_path.stat()
    with pytest.raises(ServerError, match="is not empty and not a folder of an embedded PostgreSQL"):
        EmbeddedPostgres(tmp_path).start()
    assert tmp_path.stat().st_uid == before.st_uid
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]


def test_data_of_another_version_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    with EmbeddedPostgres(folder):
        pass
    (folder / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(ServerError, match="holds data of PostgreSQL 17, not 18"):
        EmbeddedPostgres(folder).start()


def test_a_wrong_setting_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"does not start: .*no_such_setting") as caught:
        EmbeddedPostgres(tmp_path / "postgres", settings={"no_such_setting": "1"}).start()
    assert "\n" not in str(caught.value)


def test_environment_variables_for_other_servers_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("LC_ALL", "no_SUCH.locale")
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        assert query(server, "SELECT 1") == "1"


def test_all_of_it_may_lie_below_a_folder_that_only_its_owner_may_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = embedded.program("postgres").parents[2]
    shutil.copytree(package / "pginstall18", closed / "package" / "pginstall18")
    shutil.copytree(package.with_suffix(".libs"), closed / f"{package.name}.libs")
    monkeypatch.setattr(embedded, "program", lambda name: closed / "package/pginstall18/bin" / name)
    with EmbeddedPostgres(closed / "oms" / "postgres") as server:
        assert query(server, "SELECT 1") == "1"
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert closed.stat().st_uid == os.geteuid()
