"""One identity in all schemas of an installation (M4), on real databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import NullPool, create_engine, text

from migrations.installation import MEMBERS, agreed, identify, identities, renew
from migrations.run import MigrationFailed, migrate
from oms.cli import main
from oms.settings import load_settings
from oms.wiring import migrate as migrate_settings

pytestmark = pytest.mark.postgresql

FreshDatabase = Callable[[], str]


def migrated(url: str, *services: str) -> dict[str, str]:
    for service in services:
        migrate(service, url)
    return dict.fromkeys(services, url)


async def test_m4_migrating_makes_one_identity_for_all_schemas(database_url: str) -> None:
    settings = load_settings(database_url=database_url)

    await migrate_settings(settings)

    found = identities(dict.fromkeys(MEMBERS, database_url))
    assert set(found) == set(MEMBERS)
    [its] = set(found.values())
    assert isinstance(its, UUID)
    await migrate_settings(settings)
    assert set(identities(dict.fromkeys(MEMBERS, database_url)).values()) == {its}


async def test_services_with_databases_of_their_own_get_the_same_identity(
    fresh_database: FreshDatabase,
) -> None:
    urls = {f"{service}_database_url": fresh_database() for service in MEMBERS}

    await migrate_settings(load_settings(**urls))

    found = identities({service: urls[f"{service}_database_url"] for service in MEMBERS})
    assert len(set(found.values())) == 1


async def test_a_schema_that_is_migrated_later_gets_the_identity_of_its_neighbours(database_url: str) -> None:
    await migrate_settings(load_settings(orchestrator_database_url=database_url))
    await migrate_settings(load_settings(payment_database_url=database_url))

    found = identities(dict.fromkeys(("orchestrator", "payment"), database_url))
    assert found["orchestrator"] is not None
    assert found["payment"] == found["orchestrator"]


async def test_a_restored_schema_without_identity_gets_that_of_the_others(database_url: str) -> None:
    """As after a restore of the orchestrator's schema from before there were identities."""
    await migrate_settings(load_settings(database_url=database_url))
    before = identities(dict.fromkeys(MEMBERS, database_url))
    execute(database_url, "DELETE FROM orchestrator.installation")

    await migrate_settings(load_settings(database_url=database_url))

    assert identities(dict.fromkeys(MEMBERS, database_url)) == before


def test_a_participant_alone_gets_no_identity_of_its_own(database_url: str) -> None:
    urls = migrated(database_url, "inventory")

    assert identify(urls) is None

    given = uuid4()
    assert identify(urls, given) == given
    assert identities(urls) == {"inventory": given}


@pytest.mark.parametrize("given", [None, UUID(int=1)])
def test_m4_schemas_of_two_installations_are_not_migrated_together(
    fresh_database: FreshDatabase, given: UUID | None
) -> None:
    ours = migrated(fresh_database(), "orchestrator")
    theirs = migrated(fresh_database(), "inventory")
    identify(ours, UUID(int=1))
    identify(theirs, UUID(int=2))

    with pytest.raises(MigrationFailed, match="different installations") as refused:
        identify(ours | theirs, given)

    assert f"orchestrator to {UUID(int=1)}, inventory to {UUID(int=2)}" in str(refused.value)


def test_another_identity_than_the_standing_one_is_refused(database_url: str) -> None:
    urls = migrated(database_url, "orchestrator", "payment")
    identify(urls, UUID(int=1))

    with pytest.raises(MigrationFailed, match=f"installation {UUID(int=1)} and not to {UUID(int=2)}"):
        identify(urls, UUID(int=2))

    assert agreed(urls) == UUID(int=1)


def test_those_who_migrate_at_once_agree(database_url: str) -> None:
    urls = migrated(database_url, *MEMBERS)

    with ThreadPoolExecutor(6) as threads:
        said = list(threads.map(lambda _: identify(urls), range(6)))

    assert len(set(said)) == 1
    assert set(identities(urls).values()) == set(said)


def test_a_copy_becomes_an_installation_of_its_own(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = migrated(database_url, *MEMBERS)
    identify(urls, UUID(int=1))
    monkeypatch.setenv("OMS_DATABASE_URL", database_url)

    assert main(["installation", "new", "--yes", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["installation"]
    assert main(["installation", "show", "--json"]) == 0

    assert made != str(UUID(int=1))
    assert json.loads(capsys.readouterr().out) == dict.fromkeys(MEMBERS, made)


def test_a_database_that_was_not_migrated_cannot_become_one(database_url: str) -> None:
    migrate("payment", database_url, "payment_0002")

    with pytest.raises(MigrationFailed, match="schema payment knows no installation yet: run `oms migrate`"):
        renew({"payment": database_url}, uuid4())


def execute(url: str, statement: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement))
