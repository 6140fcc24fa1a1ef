"""The wheel and the source distribution: built from a commit, and looked into."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from io import BytesIO
from pathlib import Path
from typing import Final
from zipfile import ZipFile

HOUSE: Final = "oms"
"""The one name that the wheel may put beside those of others."""

NEEDED: Final = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "oms/py.typed", "CHANGELOG.md")
"""Files without which nobody can build from the source distribution, or know what it is."""

SECRETIVE: Final = (".oms/", ".venv/", "node_modules/", ".git/", "__pycache__/")
"""What belongs to a machine, and to no release."""


class Unfit(Exception):
    """What was built must not be published; the message says why."""


@dataclass(frozen=True, slots=True)
class Built:
    """The two files of a release."""

    sdist: Path
    wheel: Path


def version_of(folder: Path) -> str:
    """The version that a checkout says that it is."""
    version: str = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]
    return version


def exported(project: Path, folder: Path) -> Path:
    """The last commit, as files in a folder: what is not committed is in no release."""
    packed = subprocess.run(["git", "archive", "HEAD"], cwd=project, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def built(python: str, sources: Path, folder: Path) -> Built:
    """Both, the wheel from the source distribution: so that this one is known to be whole.

    Raises:
        Unfit: they cannot be built.
    """
    shutil.rmtree(folder, ignore_errors=True)
    command = [python, "-m", "build", "--no-isolation", "--outdir", str(folder), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unfit(f"it cannot be built:\n{(done.stdout + done.stderr)[-3000:]}")
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Built(sdist, wheel)


def troubles(made: Built, version: str) -> list[str]:
    """Why these must not be published, a sentence each; the last step before strangers see them."""
    return [*_of_wheel(made.wheel, version), *_of_sdist(made.sdist, version)]


def _of_wheel(wheel: Path, version: str) -> Iterator[str]:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [archive.read(each) for each in names if each.endswith(".dist-info/METADATA")]
    own = [name for name in names if ".dist-info/" not in name]
    strangers = sorted({name.partition("/")[0] for name in own} - {HOUSE})
    if strangers:
        yield f"the wheel has {', '.join(strangers)} beside {HOUSE}"
    if f"{HOUSE}/py.typed" not in names:
        yield "the wheel has no py.typed, so its types are not seen"
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        yield "the wheel has no licence"
    told = message_from_bytes(metadata)
    if told["Version"] != version:
        yield f"the wheel is of version {told['Version']}, and not {version}"
    yield from _machine_bound("wheel", names)


def _of_sdist(sdist: Path, version: str) -> Iterator[str]:
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    root = f"oms_saga_orchestrator-{version}/"
    missing = [name for name in NEEDED if root + name not in names]
    if missing:
        yield f"the source distribution lacks {', '.join(missing)}"
    yield from _machine_bound("source distribution", names)


def _machine_bound(what: str, names: list[str]) -> Iterator[str]:
    found = [name for name in names if any(f"/{each}" in f"/{name}" for each in SECRETIVE)]
    if found:
        yield f"the {what} has {found[0]}, which belongs to one machine"
