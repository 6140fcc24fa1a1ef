"""Fixtures that all tests share: real servers, fresh databases, names of one's own on a shared broker."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator

import hypothesis
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.postgresql import create_engine
from migrations.run import SERVICES, migrate
from oms.embedded.child import ServerError
from oms.embedded.postgresql import EmbeddedPostgres
from tests.support import servers
from tests.support.servers import Databases
from tests.tiers import Tiers, demanded_tiers
from tools.servers.rabbitmq.broker import PrivateBroker


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tiers", default="", help="fail unless each of these tiers (folders) ran a test: a,b,c"
    )


hypothesis.settings.register_profile("no clock", deadline=None)
hypothesis.settings.load_profile("no clock")
"""No test asserts a time, an example of hypothesis neither."""


def pytest_configure(config: pytest.Config) -> None:
    os.environ.pop("COLUMNS", None)  # pytest's workers have it: tables would be as narrow as their terminal
    config.pluginmanager.register(Tiers(demanded_tiers(config)), "tiers")


@pytest.fixture(scope="session")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A RabbitMQ for all tests, which share it: see `unique_prefix`."""
    folder = tmp_path_factory.mktemp("rabbitmq")
    try:
        with servers.broker(folder) as url:
            yield url
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def unique_prefix() -> str:
    """A prefix for names of exchanges and queues, so that tests do not meet on the shared broker."""
    return f"t{secrets.token_hex(4)}."


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """A PostgreSQL for all tests, on which each makes databases of its own."""
    folder = tmp_path_factory.mktemp("postgres") / "server"
    try:
        with servers.databases(folder) as server:
            yield server
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def fresh_database(databases: Databases) -> Iterator[Callable[[], str]]:
    """Makes an empty database at each call and returns its URL; all are dropped after the test."""
    made: list[str] = []

    def create() -> str:
        made.append(databases.create())
        return made[-1]

    yield create
    for url in made:
        databases.drop(url)


@pytest.fixture
def database_url(fresh_database: Callable[[], str]) -> str:
    """An empty database of this test's own."""
    return fresh_database()


@pytest.fixture
def migrated_database_url(databases: Databases) -> Iterator[str]:
    """A database of this test's own that holds the schemas of all services, and no rows."""
    url = databases.copy_of("migrated", migrate_all)
    yield url
    databases.drop(url)


@pytest.fixture
async def engine(migrated_database_url: str) -> AsyncIterator[AsyncEngine]:
    """The connections of a process to that database."""
    engine = create_engine(migrated_database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def private_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    """A RabbitMQ of this test's own, to be killed and restarted; it is up."""
    folder = tmp_path_factory.mktemp("rabbitmq")
    with servers.new_broker(folder) as broker:
        yield broker
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def private_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of this test's own, to be killed and restarted; it is up."""
    folder = tmp_path_factory.mktemp("postgres") / "server"
    with EmbeddedPostgres(folder) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


def migrate_all(url: str) -> None:
    for service in SERVICES:
        migrate(service, url)
