"""Building the Dockerfile as a person would, with what this machine needs to reach packages."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from tools.containers.podman import Podman

IMAGE: Final = "localhost/oms-saga-orchestrator"
AGAIN: Final = "localhost/oms-saga-orchestrator-again"
EXTENDED: Final = "localhost/oms-saga-orchestrator-extended"

MADE_AT: Final = 1735689600
"""Seconds since 1970 that stand in every file of the image: what SOURCE_DATE_EPOCH is by default."""

PROVIDER: Final = "lenient-gateway"
_NAME: Final = PROVIDER.replace("-", "_")
_MODULE: Final = '''"""A payment gateway of one's own, in so far as `oms extensions` looks at it."""


def gateway(limits):
    """The client, given the limits of a call."""
    raise NotImplementedError
'''


@dataclass(frozen=True, slots=True)
class Build:
    """One build of the Dockerfile in ``context``; downloaded packages are kept in ``cache``."""

    context: Path
    tag: str
    cache: Path
    arguments: Mapping[str, str] = field(default_factory=dict)

    def run(self, engine: Podman) -> None:
        """Build. Raises EngineError where it fails."""
        downloads = self.cache / "pip"
        downloads.mkdir(parents=True, exist_ok=True)
        mounts = [
            f"--volume={downloads}:/root/.cache/pip",
            *(f"--volume={each}" for each in _of_this_machine()),
        ]
        given = [f"--build-arg={name}={value}" for name, value in self.arguments.items()]
        fixed = (
            "--isolation=chroot",
            "--network=host",
            "--pull=never",
            "--layers=false",
            f"--timestamp={MADE_AT}",
        )
        engine("build", *fixed, *mounts, *given, f"--tag={self.tag}", self.context)


def made_provider(folder: Path) -> str:
    """A wheel with a payment gateway and its pinned requirement; the value of the build argument for them."""
    folder.mkdir(parents=True)
    wheel = folder / f"{_NAME}-1.0-py3-none-any.whl"
    about = f"{_NAME}-1.0.dist-info"
    members = {
        f"{_NAME}.py": _MODULE,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {PROVIDER}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": f"[oms.payment_gateways]\n{PROVIDER} = {_NAME}:gateway\n",
    }
    members[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in (*members, f"{about}/RECORD"))
    with ZipFile(wheel, "w", ZIP_STORED) as archive:
        for name, text in members.items():
            archive.writestr(ZipInfo(name), text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "requirements.txt").write_text(f"{PROVIDER}==1.0 --hash=sha256:{digest}\n")
    return f"deploy/image/{folder.name}"


def _of_this_machine() -> list[str]:
    """Its certificates and pip's settings, mounted while the image is built and never part of it."""
    authorities = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    places = (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf")
    settings = next((place for place in places if place.is_file()), None)
    found = {"/etc/ssl/certs/ca-certificates.crt": authorities, "/etc/pip.conf": settings}
    return [f"{path}:{place}:ro" for place, path in found.items() if path and Path(path).is_file()]
