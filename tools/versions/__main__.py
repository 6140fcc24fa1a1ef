"""`python -m tools.versions`: the suites on other versions of the servers; ends with 1 when one has failed.

Each RabbitMQ meets one PostgreSQL: the first the first, the second the second; when one list is shorter, its
last meets all that remain. Both are private servers; brokers that single tests start for themselves have the
same version.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import mkdtemp
from typing import Final
from xml.etree import ElementTree

import aiormq
import psycopg

from oms.embedded.child import ServerError
from oms.embedded.postgresql import EmbeddedPostgres
from tools.servers.given import (
    BROKER_VARIABLE,
    DATABASE_VARIABLE,
    NOT_FLUSHED,
    PROJECT,
    ROOT_VARIABLE,
    broker_of,
)
from tools.versions.postgresql import unpacked_postgres

HERE: Final = "here"
"""In place of a folder: what the tests take otherwise, this machine's RabbitMQ and the wheel's PostgreSQL."""

SUITES: Final = ("tests/conformance", "tests/integration")
MARKED: Final = "rabbitmq or postgresql"
"""Tests without a server say nothing about its version."""

NOT_RUN: Final = "tests/integration/test_embedded_postgresql.py"
"""It is about the wheel's PostgreSQL alone."""

_COLUMNS: Final = "{:>10}  {:>10}  {:>7}  {:>7}  {:>7}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the suites on two servers, whose versions are those that they told."""

    rabbitmq: str
    postgresql: str
    passed: int
    failed: int
    skipped: int
    good: bool


def main() -> int:
    """Run the tests on one pair of servers after the other."""
    asked = _asked()
    outcomes: list[Outcome] = []
    for stopping in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stopping, signal.default_int_handler)
    try:
        for rabbitmq, postgresql in pairs(asked.rabbitmq, asked.postgresql):
            outcomes.append(outcome(rabbitmq, postgresql, (*asked.tests, "-m", asked.marked)))
    except KeyboardInterrupt:
        print("stopped; everything that was started has been ended")
        return 130
    except ServerError as error:
        print(f"versions: {error}")
        return 1
    finally:
        show(outcomes)
    return 0 if all(each.good for each in outcomes) else 1


def pairs(rabbitmq: Sequence[str], postgresql: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Which RabbitMQ meets which PostgreSQL."""
    shorter = min(rabbitmq, postgresql, key=len)
    return zip_longest(rabbitmq, postgresql, fillvalue=shorter[-1])


def outcome(rabbitmq: str, postgresql: str, tests: Sequence[str]) -> Outcome:
    """Run tests, chosen as pytest takes it, on two servers; what pytest prints is shown as it comes."""
    root = "" if rabbitmq == HERE else str(Path(rabbitmq).absolute())
    with (
        temporary_folder(root) as folder,
        broker_of(root, folder / "rabbitmq") as broker,
        database(postgresql, folder / "postgresql") as database_url,
    ):
        versions = asyncio.run(version_of_broker(broker.url)), version_of_database(database_url)
        print(f"\nRabbitMQ {versions[0]}, PostgreSQL {versions[1]}", flush=True)
        variables = {BROKER_VARIABLE: broker.url, DATABASE_VARIABLE: database_url, ROOT_VARIABLE: root}
        report = folder / "report.xml"
        kept = (f"--basetemp={folder / 'tests'}", f"--junitxml={report}")
        code = pytest((*tests, f"--ignore={NOT_RUN}", *kept), variables)
        return Outcome(*versions, *counts(report), good=code == 0)


def pytest(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Its exit code. When we are stopped, it is waited for, so that it ends what its tests have started."""
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    with subprocess.Popen(command, cwd=PROJECT, env={**os.environ, **variables}, process_group=0) as running:
        try:
            return running.wait()
        except KeyboardInterrupt:
            running.send_signal(signal.SIGINT)
            running.wait()
            raise


@contextmanager
def temporary_folder(root: str) -> Iterator[Path]:
    """A folder for all that is made, where the RabbitMQ of an unpacked system can see it."""
    folder = Path(mkdtemp(prefix="oms-versions-", dir=f"{root}/tmp" if root else None))
    folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def database(postgresql: str, folder: Path) -> Iterator[str]:
    """The URL of a PostgreSQL that is started for it."""
    if postgresql != HERE:
        with unpacked_postgres(Path(postgresql), folder) as url:
            yield url
        return
    with EmbeddedPostgres(folder, settings=NOT_FLUSHED) as server:
        yield server.url


async def version_of_broker(url: str) -> str:
    """As it tells everybody who connects."""
    connection = await aiormq.connect(url)
    try:
        return str(connection.server_properties["version"])
    finally:
        await connection.close()


def version_of_database(url: str) -> str:
    """As it tells everybody who connects."""
    with psycopg.connect(url.replace("+psycopg", "", 1)) as connection:
        return str(connection.info.parameter_status("server_version"))


def counts(report: Path) -> tuple[int, int, int]:
    """How many tests passed, failed and were skipped, by the report that pytest has left."""
    if not report.exists():
        return 0, 0, 0
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    told = [{name: int(value) for name, value in each.items() if value.isdigit()} for each in suites]
    failed = sum(each["failures"] + each["errors"] for each in told)
    skipped = sum(each["skipped"] for each in told)
    return sum(each["tests"] for each in told) - failed - skipped, failed, skipped


def show(outcomes: Sequence[Outcome]) -> None:
    """The table."""
    print("\n" + _COLUMNS.format("RabbitMQ", "PostgreSQL", "passed", "failed", "skipped"))
    for each in outcomes:
        print(_COLUMNS.format(each.rabbitmq, each.postgresql, each.passed, each.failed, each.skipped))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.versions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.epilog = 'Example: make versions ARGS="--rabbitmq here /srv/trixie --postgresql /srv/pg15 here"'
    parser.add_argument(
        "--rabbitmq",
        nargs="+",
        default=[HERE],
        metavar="FOLDER",
        help="systems with RabbitMQ, as debootstrap unpacks them (needs root); or `here`, this machine's",
    )
    parser.add_argument(
        "--postgresql",
        nargs="+",
        default=[HERE],
        metavar="FOLDER",
        help="unpacked packages of PostgreSQL; or `here`, the wheel's",
    )
    parser.add_argument("--tests", nargs="+", default=SUITES, metavar="PATH", help="(both suites)")
    parser.add_argument(
        "--marked", default=MARKED, metavar="MARKERS", help="which of them, as for pytest -m (%(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
