"""Somebody who has never seen the checkout: installs the wheel, runs the demo, judges a gateway."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from oms.embedded.ports import free_ports
from tools.release.distributions import Unfit

READY_WITHIN_S: Final = 300
ENDED_WITHIN_S: Final = 120


class Stranger:
    """An environment with the wheel and its pinned packages alone, and an empty folder to work in."""

    def __init__(self, folder: Path) -> None:
        self._environment = folder / "environment"
        self._folder = folder / "work"
        self._folder.mkdir(parents=True)

    def install(self, wheel: Path, pins: Path) -> None:
        """As docs/production.md says. Raises Unfit."""
        venv.create(self._environment, with_pip=True)
        pip = [self._program("python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
        self._do([*pip, "-qq", "--require-hashes", "-r", str(pins)])
        self._do([*pip, "-qq", "--no-deps", str(wheel)])
        self._do([*pip[:-1], "check"])

    def try_out(self) -> None:
        """The version, the demo with its audit, then a running system. Raises Unfit."""
        self._say("oms --help")
        self._do([self._program("oms"), "--help"])
        self._do([self._program("python"), "-c", "import oms.kit, oms.contracts.orders"])
        self._say("oms demo")
        self._do([self._program("oms"), "demo"])
        with self._running() as url:
            for command in (["doctor"], ["conformance", "--gateway", f"{url}/sandbox", "--burst", "20"]):
                self._say(f"oms {' '.join(command)}")
                self._do([self._program("oms"), *command])

    @contextmanager
    def _running(self) -> Iterator[str]:
        """`oms run`, which ends well when it is told to."""
        [port] = free_ports(1)
        process = subprocess.Popen(
            [self._program("oms"), "run", "--port", str(port)],
            cwd=self._folder,
            env=self._variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(f"{url}/readyz", process)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(ENDED_WITHIN_S)
        if code != 0:
            raise Unfit(f"`oms run` ended with {code}")

    def _do(self, command: list[str]) -> None:
        done = subprocess.run(
            command, cwd=self._folder, env=self._variables, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip()[-3000:]
            raise Unfit(f"`{Path(command[0]).name} {' '.join(command[1:])}` failed:\n{said}")

    def _say(self, what: str) -> None:
        print(f"  {what}", file=sys.stderr)

    def _program(self, name: str) -> str:
        return str(self._environment / "bin" / name)

    @property
    def _variables(self) -> Mapping[str, str]:
        """Nothing of the caller's but where programs and packages are found."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        return {**kept, "PATH": os.environ.get("PATH", os.defpath), "HOME": str(self._folder)}


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while process.poll() is None and time.monotonic() < until:
        try:
            with urlopen(url) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            pass
        time.sleep(0.2)
    raise Unfit("`oms run` does not become ready")
