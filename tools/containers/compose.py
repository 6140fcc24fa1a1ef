"""`compose.yaml` on this engine: each service's own words as options of `podman run`, in its order.

The engine has no tool for the file here, and without systemd nothing asks its health checks regularly, so
that is done here too. What the file says and this does not know is refused: nothing in it is passed over.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tools.containers.podman import EngineError, Podman, options

NETWORK: Final = "oms"
_UNDONE: Final = frozenset({"image", "build", "command", "depends_on", "deploy"})
"""Keys of a service that are no option of its container: read by `Compose` itself."""


@dataclass(frozen=True, slots=True)
class Compose:
    """The services of a file, with their containers."""

    path: Path
    engine: Podman

    @property
    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """The services as they stand in the file, by name."""
        services: Mapping[str, Mapping[str, Any]] = yaml.safe_load(self.path.read_text())["services"]
        return services

    def containers(self, service: str) -> list[str]:
        """The names of a service's containers."""
        replicas = self.services[service].get("deploy", {}).get("replicas", 1)
        return [f"{service}-{number}" for number in range(1, replicas + 1)]

    def up(self) -> None:
        """Start everything, each service once what it waits for is there. Raises EngineError."""
        self.engine("network", "create", NETWORK)
        for service in self._in_order():
            for name, wait in self.services[service].get("depends_on", {}).items():
                self._wait(name, wait["condition"])
            for container in self.containers(service):
                self.start(service, container)
        for service, about in self.services.items():
            if "healthcheck" in about:
                self._wait(service, "service_healthy")

    def start(self, service: str, container: str, *more: str) -> None:
        """Run one container, with further options of the engine."""
        about = self.services[service]
        command = [str(word) for word in about.get("command", [])]
        image = str(about["image"])
        image = image if "/" in image else self._full(image)
        run = ("run", "--detach", f"--name={container}", f"--network={NETWORK}:alias={service}", *options())
        self.engine(*run, *self._options(about), *more, image, *command)

    def healthy(self, container: str) -> bool:
        """Whether its own health check succeeds now."""
        return self.engine.run("healthcheck", "run", container).returncode == 0

    def until_healthy(self, container: str) -> None:
        """Ask the health check until it succeeds. Raises EngineError with the log where it never does."""
        check = self.services[container.rpartition("-")[0]]["healthcheck"]
        for _ in range(int(check["retries"]) * 4):  # a machine under load is slower than compose allows for
            if self.healthy(container):
                return
            time.sleep(float(str(check["interval"]).removesuffix("s")) / 4)
        raise EngineError(f"{container} is not healthy:\n{self.log(container)}")

    def log(self, container: str) -> str:
        """The end of what it printed, both streams."""
        done = self.engine.run("logs", "--tail=30", container)
        return done.stdout + done.stderr

    def _full(self, image: str) -> str:
        ours = any(image == about["image"] and "build" in about for about in self.services.values())
        return f"localhost/{image}" if ours else f"docker.io/library/{image}"

    def _in_order(self) -> Iterator[str]:
        done: list[str] = []
        while left := [name for name in self.services if name not in done]:
            ready = [name for name in left if set(self.services[name].get("depends_on", {})) <= set(done)]
            done += ready
            yield from ready

    def _wait(self, service: str, condition: str) -> None:
        for container in self.containers(service):
            if condition == "service_healthy":
                self.until_healthy(container)
            elif condition == "service_completed_successfully":
                code = self.engine("wait", container)
                if code != "0":
                    raise EngineError(f"{container} ended with {code}:\n{self.log(container)}")
            else:
                raise EngineError(f"{self.path.name} waits for {condition}, which is not known here")

    def _options(self, about: Mapping[str, Any]) -> Iterator[str]:
        for key, value in about.items():
            if key not in _UNDONE:
                yield from self._option(key, value)

    def _option(self, key: str, value: Any) -> Iterator[str]:
        match key:
            case "environment":
                yield from (f"--env={name}={_value(text)}" for name, text in value.items())
            case "volumes":
                yield from (f"--volume={self._volume(each)}" for each in value)
            case "ports":
                yield from (f"--publish={each}" for each in value)
            case "cap_drop":
                yield from (f"--cap-drop={each}" for each in value)
            case "security_opt":
                yield from (f"--security-opt={each}" for each in value)
            case "healthcheck":
                kind, *words = value["test"]
                plain = kind == "CMD"  # a list, for which no shell is needed
                yield f"--health-cmd={json.dumps(words) if plain else words[0]}"
                yield "--health-interval=disable"  # asked for by hand
                yield f"--health-timeout={value['timeout']}"
            case "hostname" | "init":
                yield f"--{key}={str(value).lower()}"
            case "restart":
                yield f"--restart={value}"
            case "read_only":
                yield from (f"--read-only={str(value).lower()}", "--read-only-tmpfs=false")
            case "stop_grace_period":
                yield f"--stop-timeout={str(value).removesuffix('s')}"
            case _:
                raise EngineError(f"{self.path.name}: {key} of a service is not known here")

    def _volume(self, volume: str) -> str:
        return str(self.path.parent / volume) if volume.startswith("./") else volume


def _value(text: object) -> str:
    """What compose puts in the place of a variable that is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(text))


def status_of(pid: int) -> dict[str, str]:
    """What the kernel says of a process: users, groups, capabilities, seccomp."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def kill(pid: int) -> None:
    """End a process as a crash would."""
    subprocess.run(["kill", "-KILL", str(pid)], check=True)
