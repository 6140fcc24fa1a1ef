"""Where the programs of a RabbitMQ are, and how to call them."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oms.embedded.child import ServerError

OLDEST_VERSION: Final = (3, 10)

_DEBIAN_SCRIPTS: Final = Path("/usr/lib/rabbitmq/bin")
# What a caller's environment might hold to steer another RabbitMQ or Erlang.
_FOREIGN: Final = ("RABBITMQ_", "ERL_", "ERLANG_", "NOTIFY_SOCKET")


@dataclass(frozen=True, slots=True)
class Installation:
    """Programs of one RabbitMQ with its Erlang.

    `scripts` is the folder of the real scripts (a distribution's wrappers refuse all users but their own),
    `programs` and `libraries` are folders to be looked into first. With `chroot` all of these are paths below
    that folder, calls need root, and a node's own folder must lie below it too.
    """

    scripts: Path
    programs: tuple[Path, ...] = ()
    libraries: tuple[Path, ...] = ()
    chroot: Path | None = None

    def command(self, program: str, *arguments: str) -> list[str]:
        """The argument list that runs `program`: a script of RabbitMQ, or one of Erlang found on the path."""
        script = self.scripts / program
        name = str(script) if program.startswith("rabbitmq") else program
        return [*(("chroot", str(self.chroot)) if self.chroot else ()), name, *arguments]

    def environment(self) -> dict[str, str]:
        """The caller's environment, less what is meant for other servers, plus where to find things."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        standard = kept.get("PATH", "") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        libraries = [*map(str, self.libraries), *filter(None, [kept.get("LD_LIBRARY_PATH")])]
        kept["PATH"] = ":".join([*map(str, self.programs), standard])
        return kept | ({"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {})

    def inside(self, path: Path) -> Path:
        """`path` as the programs see it; ValueError when it lies outside the chroot."""
        return Path("/") / path.relative_to(self.chroot) if self.chroot else path

    def version(self) -> tuple[int, ...]:
        """The version by the name of the server's own plugin; empty when it cannot be told."""
        scripts = self.chroot / self.scripts.relative_to("/") if self.chroot else self.scripts
        home = (scripts / "rabbitmq-server").resolve().parent.parent
        for plugin in sorted((home / "plugins").glob("rabbit-[0-9]*")):
            if match := re.match(r"rabbit-(\d+(?:\.\d+)*)", plugin.name):
                return tuple(map(int, match[1].split(".")))
        return ()


def in_unpacked_system(root: Path) -> Installation:
    """The RabbitMQ of another Debian that was unpacked into a folder, as debootstrap does; needs root to run.

    So newer versions than this machine's run beside it. Raises ServerError when there is none, or when
    it cannot see processes: RabbitMQ then starts, but its watch over memory does not.
    """
    root = root.absolute()
    installation = Installation(_DEBIAN_SCRIPTS, chroot=root)
    if not installation.version():
        raise ServerError(f"{root} holds no unpacked system with RabbitMQ")
    if not (root / "proc/meminfo").exists():
        raise ServerError(f"{root} has no /proc: mount --bind /proc {root}/proc")
    return installation


def find_installed() -> Installation | None:
    """A RabbitMQ that is installed on this machine, recent enough, with Erlang on the path; else None."""
    on_path = shutil.which("rabbitmq-server")
    if shutil.which("erl") is None:
        return None
    candidates = [_DEBIAN_SCRIPTS, *([Path(on_path).resolve().parent] if on_path else [])]
    for scripts in candidates:
        installation = Installation(scripts)
        if (scripts / "rabbitmq-env").exists() and installation.version() >= OLDEST_VERSION:
            return installation
    return None
