"""A PgBouncer of a test's own: the named one, else the machine's, else one unpacked from its packages."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import make_url

from oms.embedded.child import ServerError, end_server, last_words, start_server, wait_until
from oms.embedded.ports import LOOPBACK, free_ports
from oms.embedded.postgresql import account_for
from tests.support.servers import PROJECT
from tools.servers import debian

VARIABLE: Final = "OMS_TEST_PGBOUNCER"
Mode = Literal["transaction", "session"]

_PACKAGE: Final = "pgbouncer"
_CONFIGURATION: Final = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = {loopback}
listen_port = {own_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 500
"""


@contextmanager
def pooler(database_url: str, folder: Path, mode: Mode, size: int) -> Iterator[str]:
    """The URL of a database by way of a PgBouncer that has so many connections to it.

    Raises:
        ServerError: there is none, and none can be fetched, or it does not start.
    """
    url, own_port = make_url(database_url), free_ports(1)[0]
    program, libraries = _program()
    folder.mkdir(parents=True)
    (folder / "users").write_text(f'"{url.username}" "{url.password}"\n')
    configuration = folder / "pgbouncer.ini"
    values = {"host": url.host, "port": url.port, "own_port": own_port, "mode": mode, "size": size}
    configuration.write_text(_CONFIGURATION.format(loopback=LOOPBACK, folder=folder, **values))
    account = account_for(folder, program)
    if account is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, account.uid, account.gid)
    environment = {"LD_LIBRARY_PATH": libraries} if libraries else {}
    log = folder.with_suffix(".log")
    process = start_server(
        [program, configuration], env=environment, log=log, death_signal=signal.SIGTERM, account=account
    )
    try:
        if not wait_until(lambda: process.poll() is not None or _listens(own_port), timeout_s=30):
            raise ServerError(f"PgBouncer is not ready: {last_words(log, 'FATAL', 'ERROR')}")
        if process.poll() is not None:
            raise ServerError(f"PgBouncer does not start: {last_words(log, 'FATAL', 'ERROR')}")
        yield url.set(host=LOOPBACK, port=own_port).render_as_string(hide_password=False)
    finally:
        end_server(process, ((signal.SIGINT, 5.0), (signal.SIGTERM, 5.0)))


def _program() -> tuple[Path, str]:
    """The program, and where it finds libraries that the machine lacks."""
    given = os.environ.get(VARIABLE) or shutil.which(_PACKAGE) or shutil.which(f"/usr/sbin/{_PACKAGE}")
    if given:
        return Path(given), ""
    tree = debian.unpacked(_PACKAGE, PROJECT / ".oms/servers", _needed, lambda _: None)
    return tree / "usr/sbin" / _PACKAGE, ":".join(map(str, debian.libraries(tree)))


def _needed(options: debian.Options) -> list[str]:
    lacking = [name for name in debian.missing(_PACKAGE, options) if re.match(r"lib(?!c6$)", name)]
    return sorted({_PACKAGE, *lacking})


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((LOOPBACK, port)) == 0
