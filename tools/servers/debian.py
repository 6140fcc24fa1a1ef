"""Programs from the packages of the machine's own Debian or Ubuntu, unpacked into a folder of ours.

Nothing is installed and root is not needed. The machine's package lists are used as they are; where they are
missing or too old, lists of our own are fetched into the same folder by the machine's own sources.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from oms.embedded.child import ServerError
from oms.embedded.folder_lock import exclusive

_OTHER_RELATIONS: Final = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")

Options = Sequence[str]
Choose = Callable[[Options], list[str]]
"""Which packages are needed; the options are for apt."""


def unpacked(program: str, cache: Path, choose: Choose, finish: Callable[[Path], None]) -> Path:
    """The folder in `cache` with a program's packages, fetched where it is missing, by one process at a time.

    Args:
        finish: makes what has been unpacked fit to run from there.

    Raises:
        ServerError: this machine has no apt, or its sources cannot be reached.
    """
    tree = cache / program
    if not tree.exists():
        with exclusive(cache):
            if not tree.exists():
                _unpack_into(tree, cache, choose, finish)
    return tree


def depends(package: str, options: Options) -> list[str]:
    """Everything that a package needs, whether the machine has it or not."""
    alone = [f"--no-{relation}" for relation in _OTHER_RELATIONS]
    return run(["apt-cache", "depends", "--recurse", *alone, *options, package]).splitlines()


def missing(package: str, options: Options) -> list[str]:
    """What the machine lacks of all that a package needs, without what it recommends."""
    planned = run(["apt-get", "install", "--simulate", "--no-install-recommends", *options, package])
    return re.findall(r"^Inst (\S+)", planned, flags=re.MULTILINE)


def libraries(tree: Path) -> tuple[Path, ...]:
    """Where the shared libraries of an unpacked tree are."""
    return (*tree.glob("usr/lib/*-linux-*"), *tree.glob("lib/*-linux-*"))


def run(argv: Sequence[str], *, cwd: Path | None = None) -> str:
    """What a program prints. Raises ServerError with the first line of its complaint."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(
        argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        said = [line for line in result.stderr.splitlines() if line.strip()] or ["no output"]
        errors = [line.removeprefix("E: ") for line in said if line.startswith("E: ")]
        raise ServerError(f"{' '.join(argv[:2])} failed: {(errors or said)[0]}")
    return result.stdout


def _unpack_into(tree: Path, cache: Path, choose: Choose, finish: Callable[[Path], None]) -> None:
    """Fetch and unpack beside, then rename: what is there is always whole."""
    if not all(map(shutil.which, ("apt-get", "apt-cache", "dpkg"))):
        raise ServerError("this machine has no apt-get, so packages cannot be fetched")
    unfinished, archives = tree.with_suffix(".unfinished"), cache / "archives"
    for folder in (unfinished, archives):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    _download(archives, cache, choose)
    for archive in sorted(archives.glob("*.deb")):
        run(["dpkg", "-x", str(archive), str(unfinished)])
    finish(unfinished)
    shutil.rmtree(archives)
    unfinished.rename(tree)


def _download(archives: Path, cache: Path, choose: Choose) -> None:
    """With the machine's package lists; when they do not do, with lists of our own."""
    try:
        _download_with([], archives, choose)
    except ServerError:
        private = _private_lists(cache / "apt")
        run(["apt-get", "update", "--quiet", *private])
        _download_with(private, archives, choose)


def _download_with(options: Options, archives: Path, choose: Choose) -> None:
    run(["apt-get", "download", "--quiet", *options, *choose(options)], cwd=archives)


def _private_lists(folder: Path) -> list[str]:
    """Options by which apt keeps its lists below `folder`, so that it can be called without root."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    settings = {
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "true",
    }
    return [argument for name, value in settings.items() for argument in ("-o", f"{name}={value}")]
