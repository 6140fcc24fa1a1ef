"""A PostgreSQL of whatever version, whose programs lie in a folder."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from oms.embedded.child import (
    Account,
    ServerError,
    end_server,
    last_words,
    lines_of,
    run_tool,
    start_server,
    wait_until,
)
from oms.embedded.ports import LOOPBACK, free_ports
from oms.embedded.postgresql import account_for

USER: Final = "oms"
ENDING: Final = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))
SETTINGS: Final = (
    f"--listen_addresses={LOOPBACK}",
    "--unix_socket_directories=",
    "--max_connections=200",
    "--fsync=off",
)
ENVIRONMENT: Final = {**os.environ, "LC_ALL": "C"}


def programs_in(unpacked: Path) -> Path:
    """The folder below `unpacked` with `initdb` and `postgres`; ServerError when there is none."""
    for initdb in unpacked.absolute().rglob("bin/initdb"):
        return initdb.parent
    raise ServerError(f"{unpacked} holds no unpacked PostgreSQL")


@contextmanager
def unpacked_postgres(unpacked: Path, folder: Path) -> Iterator[str]:
    """The URL of a server that runs the programs below `unpacked`, with its data in `folder`, a new one."""
    programs = programs_in(unpacked)
    folder.mkdir(mode=0o700)
    account = account_for(folder, programs / "postgres")
    password = _new_cluster(programs, folder, account)
    port = free_ports(1)[0]
    server = start_server(
        [programs / "postgres", "-D", folder / "data", f"--port={port}", *SETTINGS],
        env=ENVIRONMENT,
        log=folder / "server.log",
        death_signal=signal.SIGINT,
        account=account,
    )
    try:
        wait_until(lambda: server.poll() is not None or _is_ready(folder), timeout_s=60)
        if not _is_ready(folder):
            raise ServerError(f"PostgreSQL in {folder} does not start: {last_words(folder / 'server.log')}")
        yield f"postgresql+psycopg://{USER}:{password}@{LOOPBACK}:{port}/postgres"
    finally:
        end_server(server, ENDING)


def _new_cluster(programs: Path, folder: Path, account: Account | None) -> str:
    """Make a database cluster in `folder`; its password."""
    password = secrets.token_urlsafe(24)
    (folder / "password").write_text(password)
    if account is not None:
        os.chown(folder / "password", account.uid, account.gid)
    made = run_tool(
        [
            programs / "initdb",
            *("--pgdata", folder / "data", "--username", USER, "--pwfile", folder / "password"),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"),
        ],
        env=ENVIRONMENT,
        account=account,
    )
    if made.returncode != 0:
        raise ServerError(f"initdb failed: {made.stderr.strip()}")
    return password


def _is_ready(folder: Path) -> bool:
    """The server says so in the eighth line of its pid file."""
    return lines_of(folder / "data/postmaster.pid")[7:8] == ["ready"]
