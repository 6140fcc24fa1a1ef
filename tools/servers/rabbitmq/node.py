"""One running RabbitMQ node in a folder of its own, on loopback ports of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Final, Self

from oms.embedded.child import (
    ServerError,
    end_leftover,
    end_server,
    last_words,
    run_tool,
    start_server,
    wait_until,
)
from oms.embedded.folder_lock import FolderLock
from oms.embedded.ports import LOOPBACK, free_ports
from tools.servers.rabbitmq.erlang import ErlangNeighbourhood
from tools.servers.rabbitmq.installation import Installation

_ENDING: Final = ((signal.SIGTERM, 60.0),)
_CONFIG: Final = """\
listeners.tcp.1 = {address}:{port}
log.file = false
log.console = true
log.console.level = warning
raft.wal_max_size_bytes = 67108864
"""
# Somebody took a port between our choice and the server's start: the AMQP one, or the one among nodes.
_PORT_TAKEN: Final = ("eaddrinuse", "dist_port_already_used")
_PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME: Final = b"\x01"


class RabbitNode:
    """A broker whose data, logs, cookie and settings lie in `folder`; use it in `with`.

    `config` are more lines for `rabbitmq.conf`. Nodes of one cluster get different names and one
    `neighbourhood`, started before and stopped after them. The AMQP port is chosen at the first start and
    kept over `kill` and `restart`. Every failure is a ServerError with one line for a person.
    """

    def __init__(
        self,
        installation: Installation,
        folder: Path,
        *,
        name: str = "rabbit",
        config: str = "",
        neighbourhood: ErlangNeighbourhood | None = None,
        start_timeout_s: float = 120.0,
    ) -> None:
        self._installation = installation
        self._folder = folder.absolute()
        self._name = f"{name}@localhost"
        self._config = config
        self._own = (
            ErlangNeighbourhood(installation, self._folder / "home") if neighbourhood is None else None
        )
        self._neighbourhood = self._own or neighbourhood
        self._start_timeout_s = start_timeout_s
        self._lock = FolderLock(self._folder)
        self._ports: tuple[int, int] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """The node's Erlang name, by which the others of its cluster know it."""
        return self._name

    @property
    def port(self) -> int:
        """The AMQP port."""
        if self._ports is None:
            raise ServerError("the private RabbitMQ has not been started")
        return self._ports[0]

    @property
    def url(self) -> str:
        """Where the broker is: `amqp://guest:guest@127.0.0.1:port/`."""
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/"

    @property
    def pid(self) -> int | None:
        """The broker's process id, None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start, and return when the broker accepts AMQP connections."""
        self._occupy_folder()
        try:
            end_leftover(self._folder / "pid", str(self._installation.inside(self._folder)), _ENDING)
            if self._own is not None:
                self._own.start()
            self._launch_until_up()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Let the broker end in order. Harmless when it does not run."""
        try:
            self._end_process()
        finally:
            if self._own is not None:
                self._own.stop()
            self._lock.release()

    def kill(self) -> None:
        """SIGKILL, as a crash would do. `restart` brings the broker back."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Stop what runs and start again with the same data on the same port."""
        self.stop()
        self.start()

    def suspend(self) -> None:
        """SIGSTOP: the broker is there and says nothing, as a machine that hangs."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `suspend`."""
        self._signal(signal.SIGCONT)

    def control(self, *arguments: str, tool: str = "rabbitmqctl") -> str:
        """Run `rabbitmqctl`, or a tool beside it, on this node; returns what it prints.

        Raises ServerError when it fails.
        """
        result = run_tool(self._installation.command(tool, *arguments), env=self._environment())
        if result.returncode != 0:
            said = [line for line in (result.stderr + result.stdout).splitlines() if line.strip()]
            reason = " ".join(said[:2]) or "no output"  # the first may say no more than "Error:"
            raise ServerError(f"{tool} {' '.join(arguments)} failed: {reason}")
        return result.stdout

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    def _occupy_folder(self) -> None:
        if " " in f"{self._folder}{self._installation.scripts}":
            raise ServerError(f"RabbitMQ cannot run in a folder with a blank in its name: {self._folder}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise ServerError(f"cannot keep RabbitMQ in {self._folder}: {error.strerror or error}") from None

    def _launch_until_up(self) -> None:
        give_up_at = monotonic() + self._start_timeout_s
        kept_ports = self._ports
        while True:
            amqp, distribution = kept_ports or tuple(free_ports(2))
            self._process = self._launch(amqp, distribution)
            if (
                wait_until(self._up_or_gone, timeout_s=give_up_at - monotonic(), every_s=0.1)
                and self.pid is not None
            ):
                return
            reason = last_words(self._log, "error", "failed")
            self._end_process()
            said = self._log.read_text(errors="replace")
            if kept_ports is not None or not any(trouble in said for trouble in _PORT_TAKEN):
                raise ServerError(f"RabbitMQ in {self._folder} does not start: {reason}")

    def _launch(self, amqp: int, distribution: int) -> subprocess.Popen[bytes]:
        self._ports = (amqp, distribution)
        config = _CONFIG.format(address=LOOPBACK, port=amqp) + self._config
        (self._folder / "rabbitmq.conf").write_text(config)
        (self._folder / "enabled_plugins").write_text("[].\n")
        process = start_server(
            self._installation.command("rabbitmq-server"),
            env=self._environment(),
            log=self._log,
            death_signal=signal.SIGTERM,
        )
        (self._folder / "pid").write_text(f"{process.pid}\n")
        return process

    def _environment(self) -> dict[str, str]:
        assert self._neighbourhood is not None
        assert self._ports is not None
        shared = self._neighbourhood.environment()
        folder = self._installation.inside(self._folder)
        places = {
            "CONFIG_FILE": "rabbitmq.conf",
            "ADVANCED_CONFIG_FILE": "advanced.config",
            "CONF_ENV_FILE": "rabbitmq-env.conf",
            "ENABLED_PLUGINS_FILE": "enabled_plugins",
            "PID_FILE": "rabbitmq.pid",
            "MNESIA_BASE": "data",
            "MNESIA_DIR": "data/node",
            "FEATURE_FLAGS_FILE": "data/feature_flags",
            "PLUGINS_EXPAND_DIR": "data/plugins",
            "LOG_BASE": "log",
        }
        # The folder stands among the server's arguments as a mark by which it is known again.
        arguments = f"{shared['RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS']} -oms {folder}"
        return {
            **shared,
            **{f"RABBITMQ_{name}": str(folder / place) for name, place in places.items()},
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_DIST_PORT": str(self._ports[1]),
            "RABBITMQ_LOG": "-color",
            # The start script then becomes the server, instead of waiting beside it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": arguments,
        }

    def _up_or_gone(self) -> bool:
        return self.pid is None or answers_amqp(self.port)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise ServerError("the private RabbitMQ does not run")
        self._process.send_signal(number)

    def _end_process(self) -> None:
        if self._process is not None:
            end_server(self._process, _ENDING)
            self._process = None


def answers_amqp(port: int) -> bool:
    """Is a broker up there? It then answers the protocol header with its first method."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=5) as probe:
            probe.sendall(_PROTOCOL_HEADER)
            return probe.recv(1) == _METHOD_FRAME
    except OSError:
        return False
