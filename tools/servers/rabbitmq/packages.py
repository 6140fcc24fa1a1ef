"""RabbitMQ from the packages of the machine's own Debian or Ubuntu, unpacked into a folder of ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tools.servers import debian
from tools.servers.rabbitmq.installation import Installation

_SERVER: Final = "rabbitmq-server"
# Start scripts of Erlang, and the way from their folder to Erlang's root.
_STARTERS: Final = {"bin/erl": "..", "erts-*/bin/erl": "../.."}


def fetch_packages(cache: Path) -> Installation:
    """The unpacked RabbitMQ in `cache`, fetched first where it is not there yet, by one process at a time.

    Raises ServerError when this machine has no apt, or its sources cannot be reached.
    """
    tree = debian.unpacked("rabbitmq", cache, _needed, _relocated)
    return Installation(tree / "usr/lib/rabbitmq/bin", (tree / "usr/lib/erlang/bin",), debian.libraries(tree))


def _needed(options: debian.Options) -> list[str]:
    """RabbitMQ and all of its Erlang, which must lie in one place, and libraries that this machine lacks."""
    erlang = [name for name in debian.depends(_SERVER, options) if re.match(r"erlang-(?!.*-hipe)", name)]
    lacking = [name for name in debian.missing(_SERVER, options) if re.match(r"lib(?!c6)", name)]
    return [_SERVER, *sorted({*erlang, *lacking})]


def _relocated(tree: Path) -> None:
    _relocate_erlang(tree / "usr/lib/erlang")


def _relocate_erlang(erlang: Path) -> None:
    """Erlang's place on the machine is written into its start scripts; let them find it where they are."""
    for pattern, up in _STARTERS.items():
        root = f'ROOTDIR="$(cd "$(dirname "$(readlink -f "$0")")/{up}" && pwd)"'
        for starter in erlang.glob(pattern):
            starter.write_text(starter.read_text().replace("ROOTDIR=/usr/lib/erlang", root))
