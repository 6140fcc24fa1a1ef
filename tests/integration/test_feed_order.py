"""The feed on real PostgreSQL: readers see each event once and in order, however transactions meet (S29).

What keeps it so is taken away here as well, one piece at a time: the same interleaving then shows it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from messaging.connecting import connect
from oms.definitions import registry
from oms.settings import load_settings
from orchestrator.measures import FEED_HELD
from orchestrator.postgresql import INSERT_HISTORY
from orchestrator.queries import Queries
from orchestrator.queries import feed as feed_module
from orchestrator.queries.feed import FeedFilter, FeedQueries
from orchestrator.queries.feed_position import BEGINNING, Position, position_of
from tests.integration.a_long_past import add_a_past, saga_ids
from tests.integration.feed_writers import Writer

pytestmark = pytest.mark.postgresql

SAGAS: Final = 12
THERE: Final = 3
"""Entries that each saga has in the beginning, with no event in them."""

Seen = list[tuple[UUID, int]]


@pytest.fixture
def url(migrated_database_url: str) -> str:
    add_a_past(migrated_database_url, sagas=SAGAS, letters=1)
    return migrated_database_url


@pytest.fixture
async def feed(url: str) -> AsyncIterator[FeedQueries]:
    engine = create_async_engine(url, async_creator=lambda: connect(url), pool_size=10)
    yield Queries(engine, registry(load_settings())).feed
    await engine.dispose()


@pytest.fixture
def sagas(url: str) -> list[UUID]:
    return saga_ids(url, range(1, SAGAS + 1))


@pytest.fixture
async def open_writer(url: str) -> AsyncIterator[Callable[..., Awaitable[Writer]]]:
    async with AsyncExitStack() as stack:
        yield lambda *statement: stack.enter_async_context(Writer(url, *statement))


class Reader:
    """Reads on behind what it has seen, as somebody does who keeps a cursor."""

    def __init__(self, feed: FeedQueries, limit: int = 100) -> None:
        self._feed = feed
        self._limit = limit
        self.after: Position = BEGINNING
        self.seen: Seen = []

    async def read(self) -> bool:
        """Read once; whether there may be more."""
        page = await self._feed.page(self.after, FeedFilter(), self._limit)
        self.after = position_of(page.next_cursor)
        self.seen += [(event.saga_id, event.seq) for event in page.items]
        return page.more

    async def read_all(self) -> Seen:
        """Read as far as one can now."""
        while await self.read():
            pass
        return self.seen

    async def read_until(self, count: int) -> Seen:
        """Read until so many have been seen: the server may have transactions of its own open for a while."""
        async with asyncio.timeout(60):
            while len(await self.read_all()) < count:
                await asyncio.sleep(0.02)
        return self.seen


async def late_commit(reader: Reader, sagas: list[UUID], open_writer: Any) -> None:
    """An older transaction commits after a younger one, and somebody reads in between."""
    older, younger = await open_writer(), await open_writer()
    await older.begin()
    await younger.write((sagas[1], THERE + 1))
    await younger.commit()
    await reader.read_all()
    await older.write((sagas[0], THERE + 1))
    await older.commit()


async def long_wait(reader: Reader, sagas: list[UUID], open_writer: Any, statement: str) -> Seen:
    """A transaction with an older number waits for a saga that a younger one holds."""
    older, younger = await open_writer(statement), await open_writer(statement)
    await older.lock(sagas[:1])
    await younger.lock(sagas[1:2])
    waiting = asyncio.create_task(older.lock(sagas[1:2]))
    await younger.write((sagas[1], THERE + 1))
    await younger.commit()
    await waiting
    await older.write((sagas[1], THERE + 2), (sagas[1], THERE + 3), (sagas[0], THERE + 1))
    await older.commit()
    return await reader.read_until(4)


def each_in_its_order(seen: Seen) -> bool:
    """Whether every saga's events were seen in its own order."""
    return all(
        versions == sorted(versions)
        for saga_id in {saga_id for saga_id, _ in seen}
        for versions in [[version for of, version in seen if of == saga_id]]
    )


async def test_what_commits_late_is_not_passed_over(
    feed: FeedQueries, sagas: list[UUID], open_writer: Any
) -> None:
    reader = Reader(feed)
    await late_commit(reader, sagas, open_writer)
    assert await reader.read_until(2) == [(sagas[0], THERE + 1), (sagas[1], THERE + 1)]


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_who_waited_for_a_saga_comes_after_the_one_it_waited_for(
    feed: FeedQueries, sagas: list[UUID], open_writer: Any, limit: int
) -> None:
    seen = await long_wait(Reader(feed, limit), sagas, open_writer, INSERT_HISTORY)
    assert sorted(seen) == sorted([(sagas[0], THERE + 1), *((sagas[1], THERE + n) for n in (1, 2, 3))])
    assert each_in_its_order(seen)


async def test_an_open_transaction_holds_back_what_is_younger_and_nothing_else(
    feed: FeedQueries, sagas: list[UUID], open_writer: Any
) -> None:
    reader, held, before, after = Reader(feed), *[await open_writer() for _ in range(3)]
    await before.write((sagas[0], THERE + 1))
    await before.commit()
    await held.begin()
    await after.write((sagas[1], THERE + 1))
    await after.commit()
    assert await reader.read_until(1) == [(sagas[0], THERE + 1)]
    assert await reader.read_all() == [(sagas[0], THERE + 1)]
    await held.roll_back()
    assert await reader.read_until(2) == [(sagas[0], THERE + 1), (sagas[1], THERE + 1)]


async def test_how_long_the_feed_is_held_up_is_measured(
    feed: FeedQueries, url: str, sagas: list[UUID], open_writer: Any
) -> None:
    held, after = await open_writer(), await open_writer()
    await held.begin()
    await after.write((sagas[1], THERE + 1))
    await after.commit()
    assert await _held_s(url) > 0
    await held.roll_back()
    await Reader(feed).read_until(1)
    assert await _held_s(url) == 0


async def _held_s(url: str) -> float:
    engine = create_async_engine(url, async_creator=lambda: connect(url))
    queries = Queries(engine, registry(load_settings()))
    readings = {str(series): value async for series, value in queries.gauges.readings([])}
    await engine.dispose()
    [held] = [value for series, value in readings.items() if FEED_HELD.name in series]
    assert isinstance(held, float)
    return held


async def test_what_is_taken_back_is_never_seen(
    feed: FeedQueries, sagas: list[UUID], open_writer: Any
) -> None:
    reader, writer = Reader(feed), await open_writer()
    await writer.write((sagas[0], THERE + 1))
    await writer.roll_back()
    await writer.write((sagas[1], THERE + 1))
    await writer.commit()
    assert await reader.read_until(1) == [(sagas[1], THERE + 1)]


# -- what keeps it so, taken away -------------------------------------------------------------------------


async def test_without_the_bound_what_commits_late_is_missed(
    feed: FeedQueries, sagas: list[UUID], open_writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = feed_module.BELOW_THE_OLDEST_OPEN
    monkeypatch.setattr(feed_module, "OF_ALL", feed_module.OF_ALL.replace(bound, "true"))
    monkeypatch.setattr(feed_module.FeedQueries, "_check", _unchecked)
    reader = Reader(feed)
    await late_commit(reader, sagas, open_writer)
    assert await reader.read_all() == [(sagas[1], THERE + 1)]


async def test_by_the_time_of_writing_alone_what_commits_late_is_missed(
    feed: FeedQueries, sagas: list[UUID], open_writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of a sequence, or of a clock, with no number of a transaction in it."""
    bound = feed_module.BELOW_THE_OLDEST_OPEN
    by_time = feed_module.OF_ALL.replace(bound, "true").replace(
        "(h.transaction_id, h.saga_id, h.version) >=",
        "(h.at, h.saga_id, h.version) > (SELECT at, saga_id, version FROM orchestrator.history"
        " WHERE saga_id = :saga_id AND version = :version UNION ALL SELECT '-infinity', :saga_id, :version"
        " LIMIT 1) OR (h.transaction_id, h.saga_id, h.version) <",
    )
    monkeypatch.setattr(feed_module, "OF_ALL", by_time.replace("ORDER BY h.transaction_id", "ORDER BY h.at"))
    monkeypatch.setattr(feed_module.FeedQueries, "_check", _unchecked)
    reader = Reader(feed)
    await late_commit(reader, sagas, open_writer)
    assert await reader.read_all() == [(sagas[1], THERE + 1)]


async def test_by_its_own_number_alone_an_entry_comes_before_the_one_it_follows(
    feed: FeedQueries, sagas: list[UUID], open_writer: Any
) -> None:
    own = INSERT_HISTORY.replace("b.saga_id = h.saga_id", "false")
    assert not each_in_its_order(await long_wait(Reader(feed), sagas, open_writer, own))


async def _unchecked(*_: object) -> Any:
    """No cursor is looked at."""
    return SimpleNamespace(pruned_sagas=0, now=datetime.now(UTC))


# -- a storm ----------------------------------------------------------------------------------------------

WRITERS: Final = 20
COMMITS: Final = 12
READERS: Final = ((1, 11), (7, 12), (100, 13))
"""How many events a page of each has, and the seed of its pauses."""


async def test_in_a_storm_every_reader_sees_the_same_and_each_event_once(
    feed: FeedQueries, sagas: list[UUID], open_writer: Any
) -> None:
    writing = [
        asyncio.create_task(_write(await open_writer(), sagas, random.Random(seed)))
        for seed in range(WRITERS)
    ]
    over = asyncio.Event()
    readers = [Reader(feed, limit) for limit, _ in READERS]
    reading = [
        asyncio.create_task(_read(reader, over, random.Random(seed)))
        for reader, (_, seed) in zip(readers, READERS, strict=True)
    ]
    written = [entry for entries in await asyncio.gather(*writing) for entry in entries]
    over.set()
    await asyncio.gather(*reading)
    for reader in readers:
        await reader.read_until(len(written))

    assert len(written) > WRITERS
    for reader in readers:
        assert sorted(reader.seen) == sorted(written)
        assert each_in_its_order(reader.seen)
        assert reader.seen == readers[0].seen


async def _write(writer: Writer, sagas: list[UUID], rng: random.Random) -> Seen:
    """Transactions on a few sagas each, with pauses in them; some are taken back."""
    written: Seen = []
    for _ in range(COMMITS):
        chosen = rng.sample(sagas, rng.randint(1, 3))
        if rng.random() < 0.3:
            await writer.begin()
            await asyncio.sleep(rng.random() / 50)
        lengths = await writer.lock(chosen)
        await asyncio.sleep(rng.random() / 50)
        entries = [
            (saga_id, lengths[saga_id] + n + 1) for saga_id in chosen for n in range(rng.randint(1, 2))
        ]
        await writer.write(*entries)
        await asyncio.sleep(rng.random() / 50)
        if rng.random() < 0.1:
            await writer.roll_back()
        else:
            await writer.commit()
            written += entries
    return written


async def _read(reader: Reader, over: asyncio.Event, rng: random.Random) -> None:
    while not over.is_set():
        await reader.read()
        await asyncio.sleep(rng.random() / 100)
