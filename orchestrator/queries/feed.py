"""The feed: every public event of every saga, in commit order, from any point that is kept (S29).

It is the sagas' histories, read in another order. Numbers of transactions are given out before they commit,
so that a later one may be seen earlier: only what is below the oldest transaction that is still open is read.
Nothing can come before it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import dropwhile, takewhile
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row, TextClause, text

from orchestrator.codec import Unreadable
from orchestrator.core.registry import Registry
from orchestrator.core.state import Saga
from orchestrator.queries.feed_events import Entry, PublicEvent, Telling, Told, needing_bodies
from orchestrator.queries.feed_position import ALL, BEGINNING, Position
from orchestrator.queries.messages import folded_entries, messages_at
from orchestrator.queries.reader import Reader
from orchestrator.queries.sagas import HistoryRow, SagaQueries, saga_of, whole_sagas
from orchestrator.tables import sagas

DEFAULT_EVENTS: Final = 100
MAX_EVENTS: Final = 500

SCANNED: Final = 500
"""Entries that one read looks through for events of some type."""

READS: Final = 10
"""In a row; after so many whoever asks gets the cursor to go on from, though nothing was found."""

LONGEST_OPEN: Final = timedelta(hours=1)
"""No transaction of ours is open for longer: an entry's time is not further behind those that precede it."""

# Both bounds are conditions of the index: the tuple is compared as it is ordered.
BELOW_THE_OLDEST_OPEN: Final = "h.transaction_id < pg_snapshot_xmin(pg_current_snapshot())"
_IN_ORDER: Final = f"""
WHERE (h.transaction_id, h.saga_id, h.version) >= (CAST(:transaction AS xid8), :saga_id, :version)
  AND {BELOW_THE_OLDEST_OPEN}
ORDER BY h.transaction_id, h.saga_id, h.version LIMIT :limit
"""
_ENTRY: Final = """
SELECT h.transaction_id::text::bigint AS transaction, h.saga_id, h.version, h.at, h.kind, h.accepted,
       h.led_to, s.order_id, s.definition, s.definition_version
"""
_ORDERED: Final = "ORDER BY h.transaction_id, h.saga_id, h.version"

OF_ALL: Final = f"""{_ENTRY} FROM (SELECT h.* FROM orchestrator.history h {_IN_ORDER}) h
JOIN orchestrator.sagas s ON s.saga_id = h.saga_id {_ORDERED}
"""  # noqa: S608 (constants of this module)

OF_ORDER: Final = f"""WITH its AS MATERIALIZED (
    SELECT h.* FROM orchestrator.sagas s JOIN orchestrator.history h ON h.saga_id = s.saga_id
    WHERE s.order_id = :order_id)
{_ENTRY} FROM (SELECT h.* FROM its h {_IN_ORDER}) h
JOIN orchestrator.sagas s ON s.saga_id = h.saga_id {_ORDERED}
"""  # noqa: S608 (constants of this module)

STANDING: Final = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS readable_below,
       EXISTS (SELECT FROM orchestrator.history h
               WHERE h.transaction_id >= pg_snapshot_xmax(pg_current_snapshot()))
       OR r.pruned_transaction_id >= pg_snapshot_xmax(pg_current_snapshot()) AS of_another_server,
       (SELECT h.transaction_id::text::bigint FROM orchestrator.history h
        WHERE h.saga_id = :saga_id AND h.version = :version) AS transaction,
       r.pruned_transaction_id::text::bigint AS pruned_transaction, r.pruned_saga_id, r.pruned_version,
       coalesce(r.pruned_sagas, 0) AS pruned_sagas, clock_timestamp() AS now
FROM (SELECT 1) here LEFT JOIN orchestrator.retention r ON r.id = 1
"""

LATEST: Final = f"""
SELECT h.transaction_id::text::bigint AS transaction, h.saga_id, h.version FROM orchestrator.history h
WHERE {BELOW_THE_OLDEST_OPEN} ORDER BY h.transaction_id DESC, h.saga_id DESC, h.version DESC LIMIT 1
"""  # noqa: S608 (constants of this module)

NOT_BEFORE: Final = f"""
SELECT h.transaction_id::text::bigint AS transaction, h.saga_id, h.version FROM orchestrator.history h
WHERE {BELOW_THE_OLDEST_OPEN} AND h.at < :since
ORDER BY h.transaction_id DESC, h.saga_id DESC, h.version DESC LIMIT 1
"""  # noqa: S608 (constants of this module)

HELD_BACK: Final = """
SELECT greatest(0, extract(epoch FROM clock_timestamp() - h.at))::float AS seconds FROM orchestrator.history h
WHERE h.transaction_id >= pg_snapshot_xmin(pg_current_snapshot())
ORDER BY h.transaction_id, h.saga_id, h.version LIMIT 1
"""
"""For how long the first of what has committed waits until nothing can come before it."""

HISTORIES: Final = """
SELECT h.saga_id, h.version, h.at, h.kind, h.accepted, h.led_to FROM orchestrator.history h
JOIN unnest(CAST(:saga_ids AS uuid[]), CAST(:versions AS int[])) AS w (saga_id, version)
  ON h.saga_id = w.saga_id AND h.version <= w.version
ORDER BY h.saga_id, h.version
"""


class CursorGone(Exception):
    """Something behind the cursor has been pruned: whoever goes on from it would miss it without knowing."""


class CursorUnknown(Exception):
    """The cursor names an event that this database does not have there: it was restored, or failed over."""


class FeedUnordered(Exception):
    """Entries are numbered as another server numbers its transactions: `oms migrate` sets that right."""


class EventList(BaseModel):
    """Some events, oldest first, and where to go on."""

    model_config = ConfigDict(frozen=True)

    items: tuple[PublicEvent, ...]
    next_cursor: str = Field(description="Give it as `after` for what follows; also where nothing came")
    more: bool = Field(description="Whether there may be more by now: ask again at once")


@dataclass(frozen=True, slots=True)
class Start:
    """Where somebody may begin whose place is kept here (S30).

    Attributes:
        pruned_sagas: how many had been pruned before: while it is so many, nothing behind the position is
            missing that was not missing then.
    """

    position: Position
    pruned_sagas: int

    @property
    def said_by_cursor(self) -> Position:
        """The position for somebody who keeps nothing but its cursor."""
        return replace(self.position, pruned_sagas=self.pruned_sagas)


def all_known(_: Entry, _now: datetime) -> bool:
    """Whoever asks is told of every entry what can be told of it here."""
    return True


@dataclass(frozen=True, slots=True)
class FeedFilter:
    """Which events are wanted; nothing means all."""

    types: frozenset[str] = frozenset()
    order_id: UUID | None = None


class FeedQueries:
    """Reads the feed."""

    def __init__(
        self,
        reader: Reader,
        sagas: SagaQueries,
        registry: Registry,
        is_told: Callable[[Entry, datetime], bool] = all_known,
    ) -> None:
        """
        Args:
            is_told: of an entry, at a time of the database's; nothing is read from the first on that is not.
        """
        self._reader = reader
        self._is_told = is_told
        self._registry = registry
        self._masking = sagas.masking
        self._telling = Telling(registry)

    @property
    def types(self) -> frozenset[str]:
        """Of every event that some saga here may bring about."""
        return self._telling.types

    async def latest(self) -> Position:
        """Behind the last event that can be read now. Raises StorageUnavailable."""
        row = await self._reader.row(text(LATEST))
        return BEGINNING if row is None else Position(row.transaction, row.saga_id, row.version)

    async def start(self, since: datetime | None = None) -> Start:
        """Before every event that is kept, or before all that have happened since some time.

        Raises:
            CursorGone: some of what has happened since then was pruned.
            StorageUnavailable: the database cannot be used.
        """
        standing = await self._standing(BEGINNING)
        if since is None:
            return Start(BEGINNING, standing.pruned_sagas)
        # Backwards, as far as what is to be read again; margins are what an entry's time may be behind.
        row = await self._reader.row(text(NOT_BEFORE).bindparams(since=since - LONGEST_OPEN))
        if row is None or not row.transaction:  # what is of transaction 0 is in no order of time
            position = BEGINNING
        else:
            position = Position(row.transaction, row.saga_id, row.version)
        if _place(position) < _pruned(standing):
            raise CursorGone
        return Start(position, standing.pruned_sagas)

    async def end(self) -> Start:
        """Behind all that can be read now. Raises StorageUnavailable."""
        standing = await self._standing(BEGINNING)
        return Start(await self.latest(), standing.pruned_sagas)

    async def page(
        self,
        after: Position,
        wanted: FeedFilter,
        limit: int = DEFAULT_EVENTS,
        pruned_sagas: int | None = None,
    ) -> EventList:
        """Events behind a position, as many as wanted at most.

        Args:
            pruned_sagas: of the `Start` from which the position has come, where it is kept beside cursors
                that do not say it.

        Raises:
            CursorGone, CursorUnknown, FeedUnordered: the position is none from which one could go on.
            StorageUnavailable: the database cannot be used.
        """
        for _ in range(READS):
            found = await self._read(after, wanted, limit, pruned_sagas)
            if found.items or not found.more:
                break
            after = found.position
        return found.listed

    async def _read(self, after: Position, wanted: FeedFilter, limit: int, kept: int | None) -> _Found:
        seen = after.pruned_sagas if kept is None else kept
        begins = after == BEGINNING and seen is None
        at_first = (await self._standing(after)).pruned_sagas if begins else None
        scanned = SCANNED if wanted.types else limit + 1
        rows = await self._reader.rows(_page(after, wanted, scanned))
        # After the page: what was pruned before it was read is known now, and what is pruned later was in it.
        standing = await self._check(after, seen)
        said = None if kept is not None else at_first if begins else standing.pruned_sagas
        entries = list(takewhile(lambda each: self._is_told(each, standing.now), map(_entry, rows)))
        told = [each for entry in entries for each in self._told(entry, wanted)]
        behind = list(dropwhile(lambda each: each.entry.behind(each.part) <= after, told))
        chosen, left = behind[:limit], behind[limit:]
        if left:
            position = chosen[-1].entry.behind(chosen[-1].part)
        else:
            position = max(after, entries[-1].behind(ALL)) if entries else after
        more = bool(left) or len(entries) == scanned
        return _Found(await self._with_bodies(chosen, said), replace(position, pruned_sagas=said), more)

    def _told(self, entry: Entry, wanted: FeedFilter) -> Iterator[Told]:
        for each in self._telling.events(entry):
            if not wanted.types or each.type in wanted.types:
                yield each

    async def _check(self, after: Position, seen: int | None) -> Row[Any]:
        """What the database says of a position behind which nothing was missed.

        Raises:
            CursorGone, CursorUnknown, FeedUnordered: it is none from which one could go on.
        """
        row = await self._standing(after)
        here, pruned = _place(after), _pruned(row)
        misses = after != BEGINNING if seen is None else row.pruned_sagas != seen
        if here < pruned and misses:
            raise CursorGone
        is_known = row.transaction == after.transaction or here == pruned
        if after != BEGINNING and (not is_known or after.transaction >= row.readable_below):
            raise CursorUnknown
        return row

    async def _standing(self, after: Position) -> Row[Any]:
        """What the database says of a position. Raises FeedUnordered."""
        values = {"saga_id": after.saga_id, "version": after.version}
        [row] = await self._reader.rows(text(STANDING).bindparams(**values))
        if row.of_another_server:
            raise FeedUnordered
        return row

    async def _with_bodies(self, chosen: Sequence[Told], pruned: int | None) -> tuple[PublicEvent, ...]:
        needed = needing_bodies(chosen)
        bodies, unreadable = await self._announced(needed) if needed else ({}, {})
        return tuple(
            PublicEvent(
                cursor=replace(each.entry.behind(each.part), pruned_sagas=pruned).cursor,
                event_id=each.event_id,
                type=each.type,
                key=each.key,
                at=each.entry.at,
                saga_id=each.entry.saga_id,
                order_id=each.entry.order_id,
                definition=each.entry.definition,
                seq=each.entry.version,
                body=self._masking(body),
                unreadable=None if body is not None else unreadable.get(each.entry.saga_id, _NOT_TOLD),
            )
            for each in chosen
            for body in (each.body if each.body is not None else bodies.get(each.event_id),)
        )

    async def _announced(self, needed: Mapping[UUID, int]) -> tuple[dict[UUID, Any], dict[UUID, str]]:
        """The bodies of what sagas announced, by its id; and why a saga's cannot be told, by the saga's."""
        values = {"saga_ids": list(needed), "versions": list(needed.values())}
        rows = await self._reader.rows(text(HISTORIES).bindparams(**values))
        histories: dict[UUID, list[HistoryRow]] = {}
        for row in rows:
            entry = HistoryRow(row.version, row.at, row.kind, row.accepted, row.led_to)
            histories.setdefault(row.saga_id, []).append(entry)
        bodies: dict[UUID, Any] = {}
        unreadable: dict[UUID, str] = {}
        for row in await self._reader.rows(whole_sagas().where(sagas.c.saga_id.in_(list(needed)))):
            try:
                bodies |= self._bodies(saga_of(row, self._registry), histories.get(row.saga_id, []))
            except Unreadable as error:
                self._reader.note_unreadable("event", row.saga_id, str(error))
                unreadable[row.saga_id] = str(error)
        return bodies, unreadable

    def _bodies(self, saga: Saga, history: Sequence[HistoryRow]) -> dict[UUID, Any]:
        definition = self._registry.find(saga.definition, saga.definition_version)
        if definition is None:
            version = f"{saga.definition} version {saga.definition_version}"
            raise Unreadable(f"{version} is not installed here")
        try:
            folded = list(folded_entries(definition, saga, history))
            said = [message for each in folded for message in messages_at(*each) if message.kind == "event"]
        except Exception as error:  # a definition's functions are somebody's code (S25)
            raise Unreadable(f"its history cannot be read ({type(error).__name__})") from None
        return {message.message_id: message.body for message in said if message.message_id is not None}


def _place(position: Position) -> tuple[int, UUID, int]:
    return position.transaction, position.saga_id, position.version


def _pruned(standing: Row[Any]) -> tuple[int, UUID, int]:
    """The last place in the feed that something was pruned from."""
    saga_id = standing.pruned_saga_id or UUID(int=0)
    return standing.pruned_transaction or 0, saga_id, standing.pruned_version or 0


_NOT_TOLD: Final = "what it said is not in its history"


@dataclass(frozen=True, slots=True)
class _Found:
    """What one read has found, and how far it has looked."""

    items: tuple[PublicEvent, ...]
    position: Position
    more: bool

    @property
    def listed(self) -> EventList:
        return EventList(items=self.items, next_cursor=self.position.cursor, more=self.more)


def _page(after: Position, wanted: FeedFilter, limit: int) -> TextClause:
    here: dict[str, Any] = {"saga_id": after.saga_id, "version": after.version, "limit": limit}
    here["transaction"] = str(after.transaction)
    if wanted.order_id is None:
        return text(OF_ALL).bindparams(**here)
    return text(OF_ORDER).bindparams(**here, order_id=wanted.order_id)


def _entry(row: Row[Any]) -> Entry:
    accepted, led_to = (value if isinstance(value, dict) else {} for value in (row.accepted, row.led_to))
    return Entry(**{**row._asdict(), "accepted": accepted, "led_to": led_to})
