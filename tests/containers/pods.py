"""Pods of deploy/kubernetes as containers here: their commands, files, variables and restrictions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.manifests.rendering import Manifest, of_kind
from tools.containers.compose import NETWORK
from tools.containers.podman import Podman, options

_PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
_UNDONE: Final = {"name", "image", "imagePullPolicy", "ports", "resources", "lifecycle", "args", *_PROBES}
"""Keys of a container that are no option of the engine."""


@dataclass(frozen=True, slots=True)
class Pods:
    """Runs pods of some manifests; what a secret or ConfigMap holds is written below ``folder``.

    Args:
        secrets: what each secret holds, by its name and by file.
        images: what is run instead of the images that are named, by the end of a name.
    """

    engine: Podman
    manifests: list[Manifest]
    secrets: Mapping[str, Mapping[str, str]]
    images: Mapping[str, str]
    folder: Path

    def start(self, name: str, template: Manifest, container: Manifest, **variables: str) -> None:
        """Start one container of a pod, detached; further variables go before those of the manifests."""
        more = [f"--env={key}={value}" for key, value in variables.items()]
        self.engine(*self._run(name, template, container, "--detach", *more))

    def complete(self, name: str, template: Manifest, container: Manifest) -> None:
        """Run one to its end. Raises EngineError where it fails."""
        self.engine(*self._run(name, template, container, "--rm"))

    def probes(self, name: str, container: Manifest) -> list[str]:
        """The URLs that the cluster would ask."""
        networks = self.engine.inspect(name)["NetworkSettings"]["Networks"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        asked = [container[probe]["httpGet"] for probe in _PROBES]
        address = networks[NETWORK]["IPAddress"]
        return [f"http://{address}:{ports[get['port']]}{get['path']}" for get in asked]

    def _run(self, name: str, template: Manifest, container: Manifest, *how: str) -> list[str]:
        pod = template["spec"]["securityContext"]
        user = f"--user={pod['runAsUser']}:{pod['runAsGroup']}"
        fixed = ["run", f"--name={name}", f"--network={NETWORK}", *options(), user]
        image = next(ours for end, ours in self.images.items() if end in container["image"])
        mine = self._options(template, container)
        return [*fixed, *mine, *how, image, *map(str, container.get("args", self._arguments(container)))]

    def _options(self, template: Manifest, container: Manifest) -> Iterator[str]:
        for key, value in container.items():
            if key not in _UNDONE:
                yield from self._option(template, key, value)

    def _option(self, template: Manifest, key: str, value: Any) -> Iterator[str]:
        match key:
            case "command":
                yield f"--entrypoint={json.dumps(value[:1])}"
            case "env":
                yield from (f"--env={each['name']}={each['value']}" for each in value)
            case "envFrom":
                for each in value:
                    held = self._held("ConfigMap", each["configMapRef"]["name"])
                    yield from (f"--env={name}={text}" for name, text in held.items())
            case "volumeMounts":
                for each in value:
                    assert each["readOnly"] is True
                    yield f"--volume={self._volume(template, each['name'])}:{each['mountPath']}:ro"
            case "securityContext":
                assert value == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }
                yield from ("--security-opt=no-new-privileges", "--read-only", "--read-only-tmpfs=false")
                yield "--cap-drop=ALL"
            case _:
                raise AssertionError(f"{key} of a container is not known here")

    def _arguments(self, container: Manifest) -> list[str]:
        rest: list[str] = container.get("command", [])[1:]
        return rest

    def _volume(self, template: Manifest, name: str) -> Path:
        (volume,) = (each for each in template["spec"]["volumes"] if each["name"] == name)
        if "secret" in volume:
            source = volume["secret"]["secretName"]
            held, mode = self.secrets[source], volume["secret"]["defaultMode"]
        else:
            source, mode = volume["configMap"]["name"], 0o444
            held = self._held("ConfigMap", source)
        return self._written(source, held, mode, template["spec"]["securityContext"]["fsGroup"])

    def _written(self, name: str, held: Mapping[str, str], mode: int, group: int) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        for file, text in held.items():
            path = folder / file
            path.write_text(text)
            path.chmod(mode)
            os.chown(path, 0, group)
        return folder

    def _held(self, kind: str, name: str) -> Mapping[str, str]:
        (found,) = (each for each in of_kind(self.manifests, kind) if each["metadata"]["name"] == name)
        data: Mapping[str, str] = found["data"]
        return data
