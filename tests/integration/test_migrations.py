"""The schemas of the services: made from nothing, equal to what the code expects, safe to make twice."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, NullPool, create_engine, inspect, text

from migrations import run
from migrations.run import SERVICES, MigrationFailed, migrate, migrate_async, revisions
from oms.readiness import wait_for_schema
from oms.settings import load_settings
from participants.tables import participant_metadata

pytestmark = pytest.mark.postgresql

WANTED = """
SELECT count(*) FROM pg_locks
WHERE NOT granted AND relation = 'inventory.stock_movements'::regclass AND mode = 'AccessExclusiveLock'
"""

A_DELIVERY = """
INSERT INTO inventory.stock_movements (sku, kind, quantity, recorded_at) VALUES (:sku, 'adjustment', 1, now())
"""

TABLES = {
    "orchestrator": "orchestrator.tables",
    "inventory": "participants.inventory.tables",
    "payment": "participants.payment.tables",
    "sandbox": "oms.sandbox.tables",
}


def metadata_of(service: str) -> MetaData:
    if service not in TABLES:
        return participant_metadata(service)
    metadata = importlib.import_module(TABLES[service]).METADATA
    assert isinstance(metadata, MetaData)
    return metadata


@pytest.mark.parametrize("service", SERVICES)
def test_the_migrated_schema_is_the_one_that_the_code_expects(service: str, database_url: str) -> None:
    assert migrate(service, database_url)
    engine = create_engine(database_url, poolclass=NullPool)
    options = {
        "include_schemas": True,
        "include_name": lambda name, kind, _: kind != "schema" or name == service,
        "version_table": "schema_version",
        "version_table_schema": service,
        "compare_type": True,
        "compare_server_default": True,
    }
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata_of(service)) == []


@pytest.mark.parametrize("service", SERVICES)
def test_checks_keys_and_storage_options_are_the_expected_ones(service: str, database_url: str) -> None:
    """What Alembic does not compare: the same schema, made from the metadata, must look the same."""
    migrate(service, database_url)
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        migrated = _described(connection, service)
        connection.execute(text(f"DROP SCHEMA {service} CASCADE"))
        connection.execute(text(f"CREATE SCHEMA {service}"))
        metadata_of(service).create_all(connection)
        assert _described(connection, service) == migrated
        connection.rollback()


def _described(connection, service: str) -> list[tuple[str, ...]]:  # type: ignore[no-untyped-def]
    constraints = text(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = to_regnamespace(:schema) AND conrelid::regclass::text !~ 'schema_version'"
    )
    storage = text(
        "SELECT relname, relkind, reloptions::text FROM pg_class "
        "WHERE relnamespace = to_regnamespace(:schema) AND relname !~ 'schema_version'"
    )
    rows = [
        *connection.execute(constraints, {"schema": service}),
        *connection.execute(storage, {"schema": service}),
    ]
    return sorted(tuple(str(value) for value in row) for row in rows)


def test_migrating_again_changes_nothing(database_url: str) -> None:
    assert migrate("inventory", database_url)[0] == "inventory_0001"
    assert migrate("inventory", database_url) == ()


async def test_replicas_that_start_together_migrate_once(database_url: str) -> None:
    """In one process and across processes: one of them migrates, the others wait and find it done."""
    program = "import sys; from migrations.run import migrate; print(len(migrate('payment', sys.argv[1])))"

    async def in_another_process() -> int:
        arguments = (sys.executable, "-c", program, database_url)
        process = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
        said, _ = await process.communicate()
        return int(said)

    async def in_this_process() -> int:
        return len(await migrate_async("payment", database_url))

    *counts, most = sorted(
        await asyncio.gather(in_another_process(), in_another_process(), in_this_process(), in_this_process())
    )
    assert counts == [0, 0, 0]
    assert most > 0


def test_a_migration_that_waits_for_a_table_lets_others_work_on_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long transaction holds a table that a revision wants to itself: writers must not queue behind it."""
    monkeypatch.setattr(run, "LOCKED_WITHIN_S", 0.05)
    monkeypatch.setattr(run, "PAUSE_S", 0.05)
    first, *later = revisions("inventory")
    migrate("inventory", database_url, first)
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.connect() as reader, ThreadPoolExecutor() as threads:
        reader.execute(text("SELECT * FROM inventory.stock_movements"))
        migrating = threads.submit(migrate, "inventory", database_url)
        with engine.begin() as looker:
            while not looker.scalar(text(WANTED)):
                looker.execute(text("SELECT pg_sleep(0.01)"))
        for sku in range(20):
            with engine.begin() as writer:
                writer.execute(text(A_DELIVERY), {"sku": f"SKU-{sku}"})
        assert not migrating.done()
        reader.rollback()
        assert migrating.result() == tuple(later)


def test_a_migration_that_never_gets_its_table_says_so_and_changes_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LOCKED_WITHIN_S", 0.05)
    monkeypatch.setattr(run, "PATIENCE_S", 0)
    first, *later = revisions("inventory")
    migrate("inventory", database_url, first)
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.connect() as reader:
        reader.execute(text("SELECT * FROM inventory.stock_movements"))
        with pytest.raises(MigrationFailed, match="inventory_0002 was not applied: its tables were in use"):
            migrate("inventory", database_url)
    assert migrate("inventory", database_url) == tuple(later)


def test_services_are_migrated_independently(database_url: str) -> None:
    migrate("shipping", database_url)
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.connect() as connection:
        schemas = set(inspect(connection).get_schema_names())
    assert "shipping" in schemas
    assert not schemas & (set(SERVICES) - {"shipping"})


def test_it_works_outside_a_checkout(database_url: str, tmp_path: Path) -> None:
    """No file of ours is looked for in the working directory, and none is written there."""
    program = "import sys; from migrations.run import migrate; migrate('inventory', sys.argv[1])"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(
        [sys.executable, "-c", program, database_url], cwd=tmp_path, env=environment, check=True, timeout=60
    )
    assert list(tmp_path.iterdir()) == []


def test_a_schema_of_a_newer_version_is_named_and_left_alone(database_url: str) -> None:
    migrate("payment", database_url)
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("UPDATE payment.schema_version SET version_num = 'payment_9999'"))
    with pytest.raises(MigrationFailed, match="payment is at revision payment_9999"):
        migrate("payment", database_url)


async def test_a_service_starts_on_a_schema_that_a_newer_version_has_migrated(database_url: str) -> None:
    """In the middle of an upgrade, or after one that was taken back: migrations expand first."""
    await migrate_async("payment", database_url)
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("UPDATE payment.schema_version SET version_num = 'payment_9999'"))

    await wait_for_schema(load_settings(database_url=database_url), "payment")


def test_an_unknown_service_is_a_bug(database_url: str) -> None:
    with pytest.raises(ValueError, match="'billing' is none of"):
        migrate("billing", database_url)
