"""What Erlang nodes need to find and trust each other: a port mapper (epmd) and a secret (the cookie).

Both are our own, on loopback and a random port, so that no node meets an Erlang that runs on this machine
already. The nodes of a cluster share one; a node by itself makes its own.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from oms.embedded.child import ServerError, end_leftover, end_server, last_words, start_server, wait_until
from oms.embedded.ports import LOOPBACK, free_ports
from tools.servers.rabbitmq.installation import Installation

_ENDING: Final = ((signal.SIGTERM, 10.0),)
# Node names end in `@localhost`; Erlang is told what that means, whatever the machine's hosts file says.
_HOSTS: Final = '{lookup, [file, native]}.\n{host, {127,0,0,1}, ["localhost"]}.\n'
_LOOPBACK_ALONE: Final = "-kernel inet_dist_use_interface {127,0,0,1}"


class ErlangNeighbourhood:
    """A port mapper and a cookie, kept in `folder`; `environment` makes a program a part of it."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self._installation = installation
        self._folder = folder
        self._port: int | None = None
        self._mapper: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the port mapper, on the port of the last time if that is free; harmless when it runs."""
        if self._alive():
            return
        self._prepare()
        for _ in range(3):
            self._port = self._port or free_ports(1)[0]
            self._mapper = self._launch(self._port)
            if wait_until(self._up_or_gone, timeout_s=20) and self._alive():
                return
            self._port = None
        raise ServerError(f"Erlang's port mapper does not start: {last_words(self._log)}")

    def stop(self) -> None:
        """End the port mapper; harmless when it does not run."""
        if self._mapper is not None:
            end_server(self._mapper, _ENDING)
            self._mapper = None

    def environment(self) -> dict[str, str]:
        """Variables for every program of this neighbourhood. HOME is where Erlang looks for the cookie."""
        return {
            **self._installation.environment(),
            "HOME": str(self._installation.inside(self._folder)),
            "ERL_INETRC": str(self._installation.inside(self._folder / "hosts")),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self._port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _LOOPBACK_ALONE,
            "RABBITMQ_CTL_ERL_ARGS": _LOOPBACK_ALONE,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        return self._folder / "epmd.log"

    @property
    def _pid_file(self) -> Path:
        return self._folder / "epmd.pid"

    def _prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        (self._folder / "hosts").write_text(_HOSTS)
        cookie = self._folder / ".erlang.cookie"
        if not cookie.exists():
            with os.fdopen(os.open(cookie, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
                file.write(secrets.token_hex(16))
        end_leftover(self._pid_file, "-address", _ENDING)

    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        argv = self._installation.command("epmd", "-address", LOOPBACK, "-port", str(port))
        mapper = start_server(argv, env=self.environment(), log=self._log, death_signal=signal.SIGTERM)
        self._pid_file.write_text(f"{mapper.pid}\n")
        return mapper

    def _alive(self) -> bool:
        return self._mapper is not None and self._mapper.poll() is None

    def _up_or_gone(self) -> bool:
        if not self._alive():
            return True
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, self._port)) == 0
