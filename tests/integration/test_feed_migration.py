"""The column and the index of the feed come to histories that are there already, while orders go on (S29)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from messaging.connecting import connect
from migrations.feed import set_in_order
from migrations.run import migrate, revisions
from oms.definitions import registry
from oms.settings import load_settings
from oms.wiring import migrate as migrate_all_services
from orchestrator.queries import Queries
from orchestrator.queries.feed import CursorUnknown, FeedFilter, FeedQueries, FeedUnordered
from orchestrator.queries.feed_position import BEGINNING, Position, position_of
from tests.integration.a_long_past import add_a_past, saga_ids
from tests.integration.feed_writers import Writer
from tests.integration.test_expanding_migrations import connected

pytestmark = pytest.mark.postgresql

BEFORE: Final = "orchestrator_0020"
COLUMN: Final = "orchestrator_0021"
INDEX: Final = "orchestrator_0022"
SAGAS: Final = 6

ANSWERS: Final = """
UPDATE orchestrator.history
SET accepted = '{"event": "PaymentSuccessfulEvent", "step": "charge", "direction": "forward"}'
"""
AS_THE_RELEASE_BEFORE: Final = """
INSERT INTO orchestrator.history (saga_id, version, at, kind, accepted, led_to)
SELECT saga_id, 4, at, kind, accepted, led_to FROM orchestrator.history WHERE saga_id = %s AND version = 3
"""
WAITING: Final = """
SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%' AND wait_event_type = 'Lock'
"""
INVALID: Final = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass"
NAME: Final = "orchestrator.history_by_transaction"


@pytest.fixture
def old(database_url: str) -> str:
    """A database of the release before, with answers in its histories."""
    migrate("orchestrator", database_url, BEFORE)
    add_a_past(database_url, sagas=SAGAS, letters=1)
    said(database_url, ANSWERS)
    return database_url


def said(url: str, statement: str, *parameters: Any) -> list[Any]:
    with connected(url) as connection:
        cursor: psycopg.Cursor[Any] = connection.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[FeedQueries]:
    engine = create_async_engine(url, async_creator=lambda: connect(url))
    try:
        yield Queries(engine, registry(load_settings())).feed
    finally:
        await engine.dispose()


async def seen(url: str, count: int, after: Position = BEGINNING) -> list[tuple[UUID, int]]:
    """So many events behind a place at least, by small pages; the server may have transactions of its own."""
    found: list[tuple[UUID, int]] = []
    async with reading(url) as feed, asyncio.timeout(60):
        while len(found) < count:
            page = await feed.page(after, FeedFilter(), 5)
            found += [(event.saga_id, event.seq) for event in page.items]
            after = position_of(page.next_cursor)
    return found


def test_the_table_is_not_written_anew(old: str) -> None:
    where = "SELECT pg_relation_filenode('orchestrator.history')"
    before = said(old, where)
    assert migrate("orchestrator", old, INDEX) == (COLUMN, INDEX)
    assert said(old, where) == before


async def test_what_was_there_comes_first_in_its_own_order_and_then_what_follows(old: str) -> None:
    migrate("orchestrator", old, COLUMN)
    sagas = saga_ids(old, range(1, SAGAS + 1))
    said(old, AS_THE_RELEASE_BEFORE, sagas[2])
    migrate("orchestrator", old)
    async with Writer(old) as writer:
        await writer.write((sagas[0], 4))
        await writer.commit()
    there = [(saga_id, version) for saga_id in sorted(sagas) for version in (1, 2, 3)]
    assert await seen(old, 20) == [*there, (sagas[2], 4), (sagas[0], 4)]


def test_an_index_that_was_left_half_built_is_built_anew(old: str) -> None:
    migrate("orchestrator", old, COLUMN)
    said(old, "CREATE INDEX history_by_transaction ON orchestrator.history (version)")
    said(old, INVALID, NAME)
    assert migrate("orchestrator", old, INDEX) == (INDEX,)
    [(definition, is_valid)] = said(
        old,
        "SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index WHERE indexrelid = %s::regclass",
        NAME,
    )
    assert is_valid
    assert definition.endswith("(transaction_id, saga_id, version)")


def test_replicas_that_migrate_together_do_not_wait_for_each_other_for_ever(old: str) -> None:
    """Who waits for its turn holds no snapshot that the index of the one before it would wait for."""
    with ThreadPoolExecutor() as threads:
        migrating = [threads.submit(_in_a_process_of_its_own, old) for _ in range(3)]
        applied = [each.result() for each in migrating]
    assert sorted(applied) == [
        0,
        0,
        len(revisions("orchestrator")) - revisions("orchestrator").index(BEFORE) - 1,
    ]


def _in_a_process_of_its_own(url: str) -> int:
    program = (
        "import sys; from migrations.run import migrate; print(len(migrate('orchestrator', sys.argv[1])))"
    )
    return int(subprocess.run([sys.executable, "-c", program, url], check=True, capture_output=True).stdout)


async def test_writers_go_on_while_the_index_is_built(old: str) -> None:
    """A transaction that has written already holds up the index, and the index nobody."""
    migrate("orchestrator", old, COLUMN)
    sagas = saga_ids(old, (1, 2))
    with ThreadPoolExecutor() as threads:
        async with Writer(old) as first, Writer(old) as second:
            await first.write((sagas[0], 4))
            building = threads.submit(migrate, "orchestrator", old, INDEX)
            while not said(old, WAITING)[0][0]:
                said(old, "SELECT pg_sleep(0.01)")
            await second.write((sagas[1], 4))
            await second.commit()
            assert not building.done()
            await first.commit()
            assert building.result() == (INDEX,)


# -- on another server ------------------------------------------------------------------------------------


async def test_after_a_restore_on_another_server_a_migration_sets_the_feed_in_order(
    migrated_database_url: str,
) -> None:
    """What a dump brings along: numbers that this server will not give out for years."""
    url = migrated_database_url
    add_a_past(url, sagas=SAGAS, letters=1)
    said(url, ANSWERS)
    said(url, "UPDATE orchestrator.history SET transaction_id = (900000000000 - version)::text::xid8")
    said(
        url,
        "INSERT INTO orchestrator.retention (id, mark, advanced_at, pruned_transaction_id, pruned_saga_id)"
        " VALUES (1, gen_random_uuid(), now(), '900000000000', gen_random_uuid())",
    )
    sagas = sorted(saga_ids(url, range(1, SAGAS + 1)))
    with pytest.raises(FeedUnordered):
        await seen(url, 1)

    await migrate_all_services(load_settings(database_url=url))

    everything = [(saga_id, version) for saga_id in sagas for version in (1, 2, 3)]
    assert await seen(url, 18) == everything
    with pytest.raises(CursorUnknown):
        await seen(url, 1, Position(900_000_000_000 - 3, sagas[0], 3))
    async with Writer(url) as writer:
        await writer.write((sagas[0], 4))
        await writer.commit()
    assert await seen(url, 19) == [*everything, (sagas[0], 4)]
    assert set_in_order(url) == 0
