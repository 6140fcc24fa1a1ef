"""RabbitMQ from the packages of the machine's own Debian or Ubuntu, unpacked into a folder of ours.

Nothing is installed and root is not needed. The machine's package lists are used as they are; where they are
missing or too old, lists of our own are fetched into the same folder by the machine's own sources.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from oms.servers.child import ServerError
from oms.servers.folder_lock import exclusive
from oms.servers.rabbitmq.installation import Installation

_SERVER: Final = "rabbitmq-server"
_OTHER_RELATIONS: Final = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
# Start scripts of Erlang, and the way from their folder to Erlang's root.
_STARTERS: Final = {"bin/erl": "..", "erts-*/bin/erl": "../.."}


def fetch_packages(cache: Path) -> Installation:
    """The unpacked RabbitMQ in `cache`, fetched first where it is not there yet, by one process at a time.

    Raises ServerError when this machine has no apt, or its sources cannot be reached.
    """
    tree = cache / "rabbitmq"
    if not tree.exists():
        with exclusive(cache):
            if not tree.exists():
                _unpack_into(tree, cache)
    return _installation_in(tree)


def _installation_in(tree: Path) -> Installation:
    libraries = [*tree.glob("usr/lib/*-linux-*"), *tree.glob("lib/*-linux-*")]
    return Installation(tree / "usr/lib/rabbitmq/bin", (tree / "usr/lib/erlang/bin",), tuple(libraries))


def _unpack_into(tree: Path, cache: Path) -> None:
    """Fetch and unpack beside, then rename: what is there is always whole."""
    if not all(map(shutil.which, ("apt-get", "apt-cache", "dpkg"))):
        raise ServerError("this machine has no apt-get, so packages of RabbitMQ cannot be fetched")
    unfinished, archives = cache / "rabbitmq.unfinished", cache / "archives"
    for folder in (unfinished, archives):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    _download(archives, cache)
    for archive in sorted(archives.glob("*.deb")):
        _run(["dpkg", "-x", str(archive), str(unfinished)])
    _relocate_erlang(unfinished / "usr/lib/erlang")
    shutil.rmtree(archives)
    unfinished.rename(tree)


def _download(archives: Path, cache: Path) -> None:
    """With the machine's package lists; when they do not do, with lists of our own."""
    try:
        _download_with([], archives)
    except ServerError:
        private = _private_lists(cache / "apt")
        _run(["apt-get", "update", "--quiet", *private])
        _download_with(private, archives)


def _download_with(options: Sequence[str], archives: Path) -> None:
    names = _needed_packages(options)
    _run(["apt-get", "download", "--quiet", *options, *names], cwd=archives)


def _needed_packages(options: Sequence[str]) -> list[str]:
    """RabbitMQ and all of its Erlang, which must lie in one place, and libraries that this machine lacks."""
    depends_alone = [f"--no-{relation}" for relation in _OTHER_RELATIONS]
    depends = _run(["apt-cache", "depends", "--recurse", *depends_alone, *options, _SERVER])
    erlang = [name for name in depends.splitlines() if re.match(r"erlang-(?!.*-hipe)", name)]
    planned = _run(["apt-get", "install", "--simulate", "--no-install-recommends", *options, _SERVER])
    missing = re.findall(r"^Inst (lib\S+)", planned, flags=re.MULTILINE)
    return [_SERVER, *sorted({*erlang, *(name for name in missing if not name.startswith("libc6"))})]


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


def _relocate_erlang(erlang: Path) -> None:
    """Erlang's place on the machine is written into its start scripts; let them find it where they are."""
    for pattern, up in _STARTERS.items():
        root = f'ROOTDIR="$(cd "$(dirname "$(readlink -f "$0")")/{up}" && pwd)"'
        for starter in erlang.glob(pattern):
            starter.write_text(starter.read_text().replace("ROOTDIR=/usr/lib/erlang", root))


def _run(argv: Sequence[str], *, cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(
        argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        said = [line for line in result.stderr.splitlines() if line.strip()] or ["no output"]
        errors = [line.removeprefix("E: ") for line in said if line.startswith("E: ")]
        raise ServerError(f"{' '.join(argv[:2])} failed: {(errors or said)[0]}")
    return result.stdout
