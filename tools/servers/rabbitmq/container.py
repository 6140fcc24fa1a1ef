"""A RabbitMQ in a container, where neither programs nor packages are to be had but Docker or Podman is."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from oms.embedded.child import ServerError, run_tool, wait_until
from oms.embedded.folder_lock import FolderLock
from oms.embedded.ports import LOOPBACK, free_ports
from tools.servers.rabbitmq.node import answers_amqp

IMAGE: Final = "rabbitmq:4"


class RabbitContainer:
    """A broker in a container; does what RabbitNode does, but `stop` removes the container and its data.

    `folder` only holds the lock; its path names the container, so that one left over is replaced.
    """

    def __init__(self, engine: str, folder: Path, *, start_timeout_s: float = 300.0) -> None:
        self._engine = engine
        self._folder = folder.absolute()
        self._name = f"oms-rabbitmq-{hashlib.sha256(str(self._folder).encode()).hexdigest()[:12]}"
        self._port: int | None = None
        self._start_timeout_s = start_timeout_s
        self._lock = FolderLock(self._folder)

    @property
    def port(self) -> int:
        """The AMQP port."""
        if self._port is None:
            raise ServerError("the private RabbitMQ has not been started")
        return self._port

    @property
    def url(self) -> str:
        """Where the broker is: `amqp://guest:guest@127.0.0.1:port/`."""
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/"

    def start(self) -> None:
        """Start, and return when the broker accepts AMQP connections."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            self._port = self._port or free_ports(1)[0]
            self._remove()
            self._call("create", "--name", self._name, "--publish", f"{LOOPBACK}:{self._port}:5672", IMAGE)
            self._call("start", self._name)
            self._await_broker()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the broker and remove its container. Harmless when there is none."""
        try:
            self._remove()
        finally:
            self._lock.release()

    def kill(self) -> None:
        """SIGKILL, as a crash would do. `restart` brings the broker back."""
        self._call("kill", self._name)

    def restart(self) -> None:
        """Stop what runs and start again with the same data on the same port."""
        self._call("restart", "--time", "60", self._name)
        self._await_broker()

    def suspend(self) -> None:
        """The broker is there and says nothing, as a machine that hangs."""
        self._call("pause", self._name)

    def resume(self) -> None:
        """Let it go on after `suspend`."""
        self._call("unpause", self._name)

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` in the container and return what it prints; ServerError when it fails."""
        return self._call("exec", self._name, "rabbitmqctl", *arguments)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _await_broker(self) -> None:
        if not wait_until(self._answers, timeout_s=self._start_timeout_s, every_s=0.2):
            raise ServerError(f"RabbitMQ in the container {self._name} was not up in time")

    def _answers(self) -> bool:
        return answers_amqp(self.port)

    def _remove(self) -> None:
        run_tool([self._engine, "rm", "--force", "--volumes", self._name], env=os.environ)

    def _call(self, *arguments: str) -> str:
        result = run_tool([self._engine, *arguments], env=os.environ)
        if result.returncode != 0:
            said = result.stderr.strip().splitlines() or ["no output"]
            raise ServerError(f"{self._engine} {arguments[0]} failed: {said[-1]}")
        return result.stdout


def find_engine() -> str | None:
    """The name of a container engine that really answers, not only of its client; else None."""
    for engine in ("docker", "podman"):
        if shutil.which(engine) and run_tool([engine, "info"], env=os.environ).returncode == 0:
            return engine
    return None
