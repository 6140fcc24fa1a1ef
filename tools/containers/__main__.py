"""`python -m tools.containers`: makes every image that tests/containers runs; `make containers` calls it.

With `--can` it runs one program in a container on a network instead: whether an engine can work here.
"""

from __future__ import annotations

import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tools.benchmarks.environment import NoEnvironment
from tools.containers import stand_ins
from tools.containers.image import AGAIN, EXTENDED, IMAGE, Build, made_provider
from tools.containers.kubectl import kubectl
from tools.containers.podman import EngineError, Podman, options

PROJECT: Final = Path(__file__).parents[2]
FOLDER: Final = PROJECT / ".oms/containers"
"""Roots and downloaded packages, which are kept; everything else is below `WORK`."""

WORK: Final = FOLDER / "work"
ENGINE: Final = Podman(WORK)


def main() -> int:
    """Make stand-ins and images, two things at a time."""
    if sys.argv[1:] == ["--can"]:
        return _can()
    begun = time.monotonic()

    def say(words: str) -> None:
        print(f"containers: {time.monotonic() - begun:4.0f} s: {words}", flush=True)

    try:
        with ThreadPoolExecutor(2) as threads:
            broker = threads.submit(_broker, say)
            _ours(say)
            broker.result()
    except (EngineError, NoEnvironment) as error:
        print(f"containers: {error}", file=sys.stderr)
        return 1
    return 0


def _can() -> int:
    """Run the one program that is static everywhere, and there for the engine's own use."""
    alone = WORK / "alone"
    alone.mkdir(parents=True)
    try:
        shutil.copy(shutil.which("catatonit") or "/usr/libexec/podman/catatonit", alone / "catatonit")
        stand_ins.run("tar", "--create", f"--directory={alone}", f"--file={alone}.tar", "catatonit")
        ENGINE("import", "--quiet", f"{alone}.tar", "localhost/alone")
        ENGINE("network", "create", "alone")
        ENGINE("run", "--rm", "--network=alone", *options(), "localhost/alone", "/catatonit", "--version")
    except (EngineError, OSError) as error:
        print(f"containers: no engine can run on this machine: {error}", file=sys.stderr)
        return 1
    print("containers: an engine can run on this machine")
    return 0


def _ours(say: stand_ins.Say) -> None:
    stand_ins.python(ENGINE, FOLDER)
    inside = ENGINE("run", "--rm", "--network=none", *options(), stand_ins.PYTHON, "python", "--version")
    say(f"STAND-IN for {stand_ins.PYTHON}, not itself: Debian {stand_ins.SUITE} with its {inside}")
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(Build(PROJECT, IMAGE, FOLDER).run, ENGINE)
        again = threads.submit(_elsewhere().run, ENGINE)
        first.result()
        say(f"{IMAGE} is built from the Dockerfile")
        again.result()
        say(f"{AGAIN} is built too, from a copy of the files in another folder")
    providers = made_provider(WORK / "elsewhere/deploy/image/mine")
    arguments = {"REQUIREMENTS": "telemetry", "EMBEDDED": "yes", "PROVIDERS": providers}
    Build(WORK / "elsewhere", EXTENDED, FOLDER, arguments).run(ENGINE)
    say(f"{EXTENDED} is built with all that is optional")
    stand_ins.postgresql(ENGINE, WORK / "postgresql")
    say(f"STAND-IN for {stand_ins.POSTGRESQL}: the PostgreSQL of the wheel on the stand-in for Python")


def _broker(say: stand_ins.Say) -> None:
    kubectl()
    stand_ins.rabbitmq(ENGINE, FOLDER, WORK / "rabbitmq")
    say(f"STAND-IN for {stand_ins.RABBITMQ}: Debian {stand_ins.SUITE} with Debian's RabbitMQ")


def _elsewhere() -> Build:
    """The same files at another place and with other times, as another machine would have them."""
    folder = WORK / "elsewhere"
    listed = stand_ins.run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for path in listed.split("\0"):
        if path and (PROJECT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / path, folder / path)
            shutil.copymode(PROJECT / path, folder / path)
    return Build(folder, AGAIN, FOLDER)


if __name__ == "__main__":
    raise SystemExit(main())
