"""Tables, row locks and commits in memory, as PostgreSQL has them at read committed.

A transaction keeps its changes to itself until it commits, all at once. A row that another one has locked or
is about to write is waited for, in order of arrival; a circle of waiting is broken by failing the one that
would close it. What a statement sees is what is committed at that moment.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from psycopg import OperationalError, errors

Key = tuple[str, Any]
"""A row: its table and its primary key. Entries of unique indexes are locked in the same way."""

MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit did to one row; ``before`` or ``after`` is None where there was or is none."""

    table: str
    key: Any
    before: Any
    after: Any


class Disturbances(Protocol):
    """What may happen to a transaction on its way: delays, errors, the end of its process."""

    async def at_statement(self) -> None:
        """Before a statement is executed."""

    async def at_commit(self) -> None:
        """Before the commit is executed."""

    def lost_in_commit(self, commit: Callable[[], None]) -> bool:
        """Whether the connection is lost while the server, which will get it done, is still at it."""

    async def after_commit(self) -> None:
        """Once the commit is durable and before the caller knows."""

    def ended(self, session: Session) -> None:
        """Its process is done with a transaction."""


class Undisturbed:
    """Nothing happens."""

    async def at_statement(self) -> None:
        """See `Disturbances.at_statement`."""

    async def at_commit(self) -> None:
        """See `Disturbances.at_commit`."""

    def lost_in_commit(self, commit: Callable[[], None]) -> bool:
        """See `Disturbances.lost_in_commit`."""
        return False

    async def after_commit(self) -> None:
        """See `Disturbances.after_commit`."""

    def ended(self, session: Session) -> None:
        """See `Disturbances.ended`."""


@dataclass(slots=True, eq=False)
class _Waiter:
    session: Session
    granted: asyncio.Future[None]


class Database:
    """The committed rows of one service, and who has locked which."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        on_commit: Callable[[list[Change]], None] | None = None,
        on_deadlock: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            clock: the database's own time.
            on_commit: called with every commit's changes, at the moment at which they become visible.
            on_deadlock: called when a circle of waiting is broken.
        """
        self.clock = clock
        self._on_commit = on_commit
        self._on_deadlock = on_deadlock
        self._tables: defaultdict[str, dict[Any, Any]] = defaultdict(dict)
        self._owners: dict[Key, Session] = {}
        self._waiting: dict[Key, deque[_Waiter]] = {}
        self._open: dict[Session, None] = {}
        self._numbers: dict[str, int] = {}

    def table(self, name: str) -> dict[Any, Any]:
        """The committed rows of one table, by primary key. Not to be changed."""
        return self._tables[name]

    def next_number(self, table: str) -> int:
        """The next value of a table's identity column."""
        self._numbers[table] = self._numbers.get(table, 0) + 1
        return self._numbers[table]

    def restart(self) -> None:
        """End every open transaction, as a restart of the server does."""
        for session in list(self._open):
            session.break_off()

    @property
    def somebody_waits(self) -> bool:
        """Whether a transaction waits for a lock."""
        return any(self._waiting.values())

    def enter(self, session: Session) -> None:
        """A transaction begins."""
        self._open[session] = None

    async def grant(self, session: Session, key: Key) -> None:
        """Lock a row for a session, waiting for its turn.

        Raises:
            DeadlockDetected: the wait would never end.
        """
        if self.grant_at_once(session, key):
            return
        if self._would_deadlock(session, key):
            self._on_deadlock()
            raise errors.DeadlockDetected("deadlock detected")
        waiter = _Waiter(session, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(key, deque()).append(waiter)
        session.waits_for = key
        try:
            await waiter.granted
        finally:
            session.waits_for = None
            self._leave_queue(key, waiter)

    def grant_at_once(self, session: Session, key: Key) -> bool:
        """Lock a row if it is free, or locked by this session already."""
        owner = self._owners.setdefault(key, session)
        if owner is not session:
            return False
        session.locked[key] = None
        return True

    def is_about_to_change(self, table: str, key: Any) -> bool:
        """Whether an open transaction has written a row."""
        owner = self._owners.get((table, key))
        return owner is not None and (table, key) in owner.changed

    def leave(self, session: Session) -> None:
        """A transaction has ended: its locks go to those who wait."""
        self._open.pop(session, None)
        for key in session.locked:
            self._pass_on(key)
        session.locked.clear()

    def write(self, session: Session) -> None:
        """Make a session's changes visible, all at once."""
        changes = []
        for (name, key), after in session.changed.items():
            rows = self.table(name)
            before = rows.get(key)
            if after is None:
                rows.pop(key, None)
            else:
                rows[key] = after
            changes.append(Change(name, key, before, after))
        if changes and self._on_commit is not None:
            self._on_commit(changes)

    def _pass_on(self, key: Key) -> None:
        del self._owners[key]
        queue = self._waiting.get(key)
        while queue:
            waiter = queue.popleft()
            if not waiter.granted.done():
                self._owners[key] = waiter.session
                waiter.session.locked[key] = None
                waiter.session.waits_for = None
                waiter.granted.set_result(None)
                return

    def _leave_queue(self, key: Key, waiter: _Waiter) -> None:
        queue = self._waiting.get(key)
        if queue is not None and waiter in queue:
            queue.remove(waiter)

    def _would_deadlock(self, session: Session, key: Key) -> bool:
        wanted: Key | None = key
        while wanted is not None:
            owner = self._owners.get(wanted)
            if owner is session:
                return True
            wanted = owner.waits_for if owner is not None else None
        return False

    def forget_waiting(self, session: Session, error: Exception | None = None) -> None:
        """Nobody is to grant a session anything any more; it is told so where there is an error."""
        if session.waits_for is None:
            return
        for waiter in list(self._waiting.get(session.waits_for, ())):
            if waiter.session is session:
                self._leave_queue(session.waits_for, waiter)
                if error is not None and not waiter.granted.done():
                    waiter.granted.set_exception(error)


@dataclass(slots=True, eq=False)
class Session:
    """One transaction's locks and uncommitted changes."""

    database: Database
    locked: dict[Key, None] = field(default_factory=dict)
    changed: dict[Key, Any] = field(default_factory=dict)
    waits_for: Key | None = None
    ended: bool = False
    broken: bool = False

    def __post_init__(self) -> None:
        self.database.enter(self)

    def check_open(self) -> None:
        """Raises OperationalError when the server has ended this transaction."""
        if self.broken:
            raise _lost()
        if self.ended:
            raise AssertionError("the transaction has ended")

    def get(self, table: str, key: Any) -> Any:
        """A row as this transaction sees it now; None without one."""
        if self.changed:
            found = self.changed.get((table, key), MISSING)
            if found is not MISSING:
                return found
        return self.database.table(table).get(key)

    def all(self, table: str) -> Iterator[tuple[Any, Any]]:
        """Every row of a table as this transaction sees it now."""
        if not self.changed:
            yield from self.database.table(table).items()
            return
        for key, row in self.database.table(table).items():
            own = self.changed.get((table, key), row)
            if own is not None:
                yield key, own
        committed = self.database.table(table)
        for (name, key), row in self.changed.items():
            if name == table and row is not None and key not in committed:
                yield key, row

    async def lock(self, table: str, key: Any) -> None:
        """Lock a row, or the place where one may come to be."""
        await self.database.grant(self, (table, key))
        self.check_open()

    def lock_if_free(self, table: str, key: Any) -> bool:
        """Lock a row unless somebody else holds it (SKIP LOCKED)."""
        return self.database.grant_at_once(self, (table, key))

    async def lock_existing(self, table: str, keys: Iterable[Any]) -> dict[Any, Any]:
        """Lock those of the rows that exist, in the order given; they are as they stand when locked."""
        existing = [key for key in keys if self.get(table, key) is not None]
        found = {}
        for key in existing:
            await self.lock(table, key)
            row = self.get(table, key)
            if row is not None:
                found[key] = row
        return found

    async def insert(self, table: str, key: Any, row: Any, constraint: str) -> None:
        """Add a row; raises UniqueViolation when there is one already.

        One that is about to be written is waited for; one that is merely locked is in the way as it is.
        """
        if self.get(table, key) is None or self.database.is_about_to_change(table, key):
            await self.lock(table, key)
        if self.get(table, key) is not None:
            raise errors.UniqueViolation(f'duplicate key value violates unique constraint "{constraint}"')
        self.changed[table, key] = row

    def put(self, table: str, key: Any, row: Any) -> None:
        """Write a locked row; None removes it."""
        assert (table, key) in self.locked, "a row is written under its lock"
        self.changed[table, key] = row

    def commit(self) -> None:
        """Make everything visible and let go of all locks."""
        self.check_open()
        self.finish()

    def finish(self) -> None:
        """The same at the server, whether there is still a connection or not."""
        if not self.ended:
            self.ended = True
            self.database.write(self)
            self.database.leave(self)

    def roll_back(self) -> None:
        """Forget everything and let go of all locks."""
        if not self.ended:
            self.ended = True
            self.database.forget_waiting(self)
            self.database.leave(self)

    def lose(self) -> None:
        """The process loses its connection. The server does not know yet: it keeps the locks."""
        self.broken = True
        self.database.forget_waiting(self, _lost())

    def break_off(self) -> None:
        """The server ends this transaction; its process notices with the next statement."""
        self.lose()
        self.roll_back()


def _lost() -> OperationalError:
    return OperationalError("the connection is lost")
