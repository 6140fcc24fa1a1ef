"""`oms prune --archive`: whatever leaves the database is in the file before, and nothing else is (P7)."""

from __future__ import annotations

import json
import random
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.identifiers import time_ordered_ids
from messaging.outbox import Outbox
from messaging.postgresql import SqlUnitOfWork
from oms.cli import main
from oms.retention import LeftToTheRelay
from orchestrator.retention.postgresql import ArchivingTransaction
from orchestrator.retention.pruning import Retention
from tests.integration.audited_orders import Books
from tests.integration.test_retention import (  # noqa: F401  (fixtures)
    MONTH,
    ago,
    books,
    dead_letter,
    job,
    pruned,
)

pytestmark = pytest.mark.postgresql

Oms = Callable[..., tuple[int, str]]

MORE = (
    "INSERT INTO orchestrator.history SELECT saga_id, 1, now(), 'x', '{}', '{}' FROM orchestrator.sagas",
    "INSERT INTO orchestrator.saga_metadata SELECT saga_id, 'channel', 'web' FROM orchestrator.sagas",
    "INSERT INTO orchestrator.saga_references"
    " SELECT definition, 'c', saga_id::text, saga_id, order_id FROM orchestrator.sagas",
    "INSERT INTO orchestrator.idempotency_keys"
    " VALUES ('c', 'k', 'f', gen_random_uuid(), now() - interval '9 d')",
)


@pytest.fixture
def full(books: Books) -> Books:  # noqa: F811
    """A past with rows of every table that is pruned, and as many of lately."""
    for statement in MORE:
        books.execute(statement)
    books.go_to(ago(50))
    job(books, books.new_id(), "finished", ago(50), letters=2)
    dead_letter(books, "discarded")
    books.go_to(ago(0))
    dead_letter(books, "discarded")
    return books


@pytest.fixture
def oms(
    migrated_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Oms:
    """Prunes the database by the command line; gives its exit code and stderr."""
    monkeypatch.setenv("OMS_ORCHESTRATOR_DATABASE_URL", migrated_database_url)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        code = main(["prune", "--older-than", "30d", "--yes", *arguments])
        return code, capsys.readouterr().err

    return run


PRUNED_TABLES = (
    "sagas",
    "orders",
    "history",
    "dead_letters",
    "saga_references",
    "saga_metadata",
    "idempotency_keys",
    "jobs",
    "job_items",
)


def read(full: Books, query: str) -> Sequence[Any]:
    with full.engine.connect() as connection:
        return connection.execute(text(query)).all()


def everything(full: Books) -> list[str]:
    """Every row of the tables that are pruned, as the archive writes it."""
    found = []
    for table in PRUNED_TABLES:
        written = f"json_build_object('table', '{table}', 'row', to_json(t))::text"
        found += [line for (line,) in read(full, f"SELECT {written} FROM orchestrator.{table} t")]
    return sorted(found)


def test_what_is_gone_is_in_the_file_and_what_is_in_the_file_is_gone(
    full: Books,
    oms: Oms,
    tmp_path: Path,
) -> None:
    before = everything(full)
    code, said = oms("--archive", "gone.ndjson", "--batch", "1")
    assert code == 0, said
    archived = (tmp_path / "gone.ndjson").read_text().splitlines()
    left = everything(full)
    assert left
    assert sorted([*archived, *left]) == before
    assert {json.loads(line)["table"] for line in archived} == set(PRUNED_TABLES)


def test_nobody_else_can_read_the_file(full: Books, oms: Oms, tmp_path: Path) -> None:
    assert oms("--archive", "gone.ndjson")[0] == 0
    assert stat.S_IMODE((tmp_path / "gone.ndjson").stat().st_mode) == 0o600


def test_a_file_that_is_there_stays_and_so_does_everything_else(
    full: Books,
    oms: Oms,
    tmp_path: Path,
) -> None:
    (tmp_path / "gone.ndjson").write_text("mine")
    before = everything(full)
    code, said = oms("--archive", "gone.ndjson")
    assert (code, said.splitlines()[-1]) == (
        1,
        "oms: gone.ndjson is there already; an archive is a new file",
    )
    assert (tmp_path / "gone.ndjson").read_text() == "mine"
    assert everything(full) == before


@pytest.mark.parametrize("file", ["no/such/folder.ndjson", "."])
def test_a_file_that_cannot_be_made_is_said(
    full: Books,
    oms: Oms,
    file: str,
) -> None:
    before = everything(full)
    code, said = oms("--archive", file)
    assert code == 1
    assert file in said
    assert everything(full) == before


def test_a_dry_run_makes_no_file(full: Books, oms: Oms, tmp_path: Path) -> None:
    assert oms("--archive", "gone.ndjson", "--dry-run")[0] == 0
    assert not (tmp_path / "gone.ndjson").exists()


async def test_what_cannot_be_written_down_is_not_removed(full: Books, engine: AsyncEngine) -> None:
    class DiskFull(Exception):
        pass

    kept: list[str] = []

    def keep_rows(written: Sequence[str]) -> None:
        if kept:
            raise DiskFull
        kept.extend(written)

    before = everything(full)
    with pytest.raises(DiskFull):
        await pruned(archiving(engine, keep_rows), batch=1)
    assert sorted([*kept, *everything(full)]) == before
    assert kept


def archiving(database: AsyncEngine, keep_rows: Callable[[Sequence[str]], None]) -> Retention:
    rng = random.Random(1)
    unit_of_work = SqlUnitOfWork(database, ArchivingTransaction, Outbox(LeftToTheRelay()), rng, 30)
    return Retention(unit_of_work, time_ordered_ids(rng), keep_rows=keep_rows)


# -- the feed behind what was pruned ----------------------------------------------------------------------


def test_where_something_was_pruned_from_the_feed_is_known(
    full: Books,
    oms: Oms,
) -> None:
    """The last one in the order of the feed, however the batches came."""
    old = read(
        full,
        "SELECT h.transaction_id::text::bigint, h.saga_id, h.version FROM orchestrator.history h"
        " JOIN orchestrator.sagas s USING (saga_id) WHERE s.updated_at < now() - interval '30 d'",
    )
    assert len(old) > 1
    assert oms("--batch", "1")[0] == 0
    noted = read(
        full,
        "SELECT pruned_transaction_id::text::bigint, pruned_saga_id, pruned_version"
        " FROM orchestrator.retention",
    )
    assert noted == [max(old)]
    assert oms("--batch", "1")[0] == 0
    assert len(read(full, "SELECT 1 FROM orchestrator.history")) == 1
