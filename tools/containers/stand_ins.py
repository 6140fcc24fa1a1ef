"""Images in the place of those that `Dockerfile` and `compose.yaml` name: no registry of images is asked.

What stands in is made of Debian's packages, by the machine's own sources for them, and of the PostgreSQL
in our wheel. Roots are kept as archives, so a second run makes none.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oms.embedded.postgresql import program
from tools.containers.podman import EngineError, Podman

Say = Callable[[str], None]
"""Tells whoever looks on."""

SUITE: Final = "trixie"
"""The Debian that Python's, PostgreSQL's and RabbitMQ's slim images are made of too."""

PYTHON: Final = "docker.io/library/python:3.13-slim"
POSTGRESQL: Final = "docker.io/library/postgres:18"
RABBITMQ: Final = "docker.io/library/rabbitmq:4-management"

_PATH: Final = "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LEFT_OUT: Final = ("doc", "man", "locale", "info")


@dataclass(frozen=True, slots=True)
class Root:
    """A system of Debian's packages, an archive in ``cache``."""

    name: str
    packages: tuple[str, ...]
    links: tuple[tuple[str, str], ...] = ()
    """Further links in it: where, and to what."""

    def archive(self, cache: Path) -> Path:
        """The archive, made where it is missing. Raises EngineError where the packages cannot be had."""
        path = cache / f"{self.name}-{SUITE}.tar"
        if not path.exists():
            unfinished = path.with_suffix(".unfinished.tar")
            self._make(unfinished)
            unfinished.rename(path)
        return path

    def _make(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        spared = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _LEFT_OUT]
        wanted = f"--include={','.join(self.packages)}"
        source = f"deb {mirror()} {SUITE} main"
        run("mmdebstrap", "--quiet", "--variant=apt", wanted, *spared, SUITE, str(path), source)
        with tarfile.open(path, "a") as archive:
            for place, target in self.links:
                link = tarfile.TarInfo(place)
                link.type, link.linkname = tarfile.SYMTYPE, target
                archive.addfile(link)


BASE: Final = Root(
    "python",
    ("python3", "python3-venv", "ca-certificates"),
    (("./usr/local/bin/python", "/usr/bin/python3"),),
)
BROKER: Final = Root("rabbitmq", ("rabbitmq-server",))

_POSTGRESQL: Final = f"""FROM {PYTHON}
RUN echo 'postgres:x:999:999::/var/lib/postgresql:/bin/sh' >> /etc/passwd \\
 && echo 'postgres:x:999:' >> /etc/group \\
 && mkdir -p /var/lib/postgresql /docker-entrypoint-initdb.d && chown 999:999 /var/lib/postgresql
COPY wheel /opt/wheel
COPY postgresql.sh /usr/local/bin/entrypoint
ENV PATH=/opt/wheel/BIN:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/18/docker
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["entrypoint"]
CMD ["postgres"]
"""
_RABBITMQ: Final = """FROM rabbitmq-root
COPY rabbitmq.sh /usr/local/bin/entrypoint
RUN mkdir -p /etc/rabbitmq/conf.d && echo '[rabbitmq_management].' > /etc/rabbitmq/enabled_plugins
VOLUME /var/lib/rabbitmq
ENTRYPOINT ["entrypoint"]
CMD ["rabbitmq-server"]
"""
_START: Final = Path(__file__).parent / "starts"
"""What the official images' own entry points do of that which `compose.yaml` asks for."""


def python(engine: Podman, cache: Path) -> None:
    """Debian's Python with venv, in the place of Python's slim image."""
    engine("import", "--quiet", "--change", _PATH, BASE.archive(cache), PYTHON)


def postgresql(engine: Podman, folder: Path) -> None:
    """The programs of the wheel, on the first stand-in."""
    binaries = program("postgres").parent
    package = binaries.parents[1]
    inside = f"{package.name}/{binaries.relative_to(package)}"
    (folder / "wheel").mkdir(parents=True)
    for part in (package, package.with_name(f"{package.name}.libs")):
        run("cp", "--recursive", str(part), str(folder / "wheel"))
    _build(engine, folder, POSTGRESQL, _POSTGRESQL.replace("BIN", inside), "postgresql.sh")


def rabbitmq(engine: Podman, cache: Path, folder: Path) -> None:
    """Debian's RabbitMQ with its management page."""
    engine("import", "--quiet", "--change", _PATH, BROKER.archive(cache), "localhost/rabbitmq-root")
    folder.mkdir(parents=True)
    _build(engine, folder, RABBITMQ, _RABBITMQ, "rabbitmq.sh")


def _build(engine: Podman, folder: Path, name: str, containerfile: str, start: str) -> None:
    (folder / "Containerfile").write_text(containerfile)
    (folder / start).write_bytes((_START / start).read_bytes())
    (folder / start).chmod(0o755)
    engine(
        "build", "--quiet", "--isolation=chroot", "--network=host", "--pull=never", f"--tag={name}", folder
    )


def mirror() -> str:
    """Where this machine has Debian's packages from. Raises EngineError where it does not say."""
    listed = run(
        "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"
    )
    if not listed.strip():
        raise EngineError("apt knows no source of Debian's packages: run `apt-get update`")
    return sorted(set(listed.split()))[0]


def run(*argv: str) -> str:
    """What a program prints. Raises EngineError with the end of its complaint."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-10:])
        raise EngineError(f"{argv[0]} failed: {said}")
    return done.stdout
