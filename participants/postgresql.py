"""The ledger on PostgreSQL: multi-row statements, new rows written once, in the commit's own round trip."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow
from pydantic_core import to_json

from messaging.arrays import array_literal
from messaging.postgresql import SqlTransaction
from messaging.sqlstates import WrittenMeanwhile
from participants.fence import State
from participants.ledger import Key, LedgerRow, StoredOutcome
from participants.retention import FINAL, Mark, Page

_COLUMNS: Final = {
    "saga_id": "uuid",
    "step": "text",
    "order_id": "uuid",
    "command": "text",
    "state": "text",
    "payload_hash": "bytea",
    "forward_type": "text",
    "forward_event_id": "uuid",
    "forward_body": "bytea",
    "compensation_type": "text",
    "compensation_event_id": "uuid",
    "compensation_body": "bytea",
    "details": "json",
    "request": "json",
    "verdict": "json",
    "intent_at": "timestamptz",
    "undo_intent_at": "timestamptz",
    "called_at": "timestamptz",
    "updated_at": "timestamptz",
}
_KEY: Final = frozenset({"saga_id", "step"})
_FIXED: Final = frozenset({"order_id", "command", "payload_hash"})
"""What never changes in a row."""

_ERASED: Final = "request"
"""The only column whose value goes away again; in all others nothing means nothing yet."""

# The parts of the statements are constants of this module, and {schema} one of ours: nothing in them comes
# from outside.
_LOCK: Final = (
    f"SELECT {', '.join(_COLUMNS)} FROM {{schema}}.ledger "  # noqa: S608
    "WHERE saga_id = ANY(%s) ORDER BY saga_id, step FOR UPDATE"
)
_LOOK: Final = (
    "SELECT count(*), clock_timestamp(), (SELECT mark FROM {schema}.retention) "
    "FROM {schema}.ledger WHERE saga_id = ANY(%s)"
)
_READ_MARK: Final = "SELECT mark, advanced_at FROM {schema}.retention"

_ADVANCE_MARK: Final = """
INSERT INTO {schema}.retention AS r (id, mark, advanced_at) VALUES (1, %s, %s)
ON CONFLICT (id) DO UPDATE SET mark = excluded.mark, advanced_at = excluded.advanced_at
WHERE excluded.mark > r.mark
"""

_PRUNE: Final = """
WITH behind AS (
    SELECT saga_id, step FROM {schema}.ledger
    WHERE (saga_id, step) > (%s, %s) AND saga_id < %s AND updated_at < %s
      AND state = ANY(%s) AND NOT (state = %s AND command = %s)
    ORDER BY saga_id, step LIMIT %s FOR UPDATE SKIP LOCKED)
DELETE FROM {schema}.ledger AS l USING behind AS b WHERE l.saga_id = b.saga_id AND l.step = b.step
RETURNING l.saga_id, l.step
"""
_FIRST_KEY: Final[Key] = (UUID(int=0), "")


@cache
def _insert(schema: str, columns: tuple[str, ...]) -> str:
    values = ", ".join(map(_value, columns))
    return f"INSERT INTO {schema}.ledger ({', '.join(columns)}) SELECT {values} FROM {_given(columns)}"  # noqa: S608


@cache
def _update(schema: str, columns: tuple[str, ...]) -> str:
    changes = ", ".join(f"{name} = {_value(name)}" for name in columns if name not in _KEY)
    return (
        f"UPDATE {schema}.ledger AS l SET {changes} FROM {_given(columns)} "  # noqa: S608
        "WHERE l.saga_id = n.saga_id AND l.step = n.step"
    )


def _given(columns: tuple[str, ...]) -> str:
    """The rows of a statement, one array a column."""
    arrays = ", ".join("%s::text[]" if _COLUMNS[n] == "json" else f"%s::{_COLUMNS[n]}[]" for n in columns)
    return f"unnest({arrays}) AS n ({', '.join(columns)})"


def _value(name: str) -> str:
    return f"n.{name}::json" if _COLUMNS[name] == "json" else f"n.{name}"


class UnknownState(Exception):
    """A row is at a state of a later release (S25): its command fails alone, and may reach such a replica."""


class SqlLedgerTransaction(SqlTransaction):
    """A `participants.ledger.LedgerTransaction` in the schema of one participant."""

    holding: str = ""
    """The command whose effect is held in this schema while it is done: such rows are not pruned."""

    low_water_mark: UUID | None = None
    """See `LedgerTransaction.low_water_mark`."""

    _now: datetime | None = None
    _locked: frozenset[Key] | set[Key] = frozenset()

    async def now(self) -> datetime:
        """The time read right after the locks, or now where there are none (S11)."""
        return self._now or await super().now()

    async def lock(self, saga_ids: Collection[UUID]) -> list[LedgerRow]:
        """See `LedgerTransaction.lock`. The time and the mark are read in the same round trip.

        The mark is read in a later statement than the rows: where a row is missing because it was pruned, the
        mark that let it go is seen.

        A statement that waits for a lock still sees the rows of the moment at which it began: a row that
        whoever held the lock has added is not among them. So they are counted once the locks are held.

        Raises:
            WrittenMeanwhile: there are more by then.
        """
        sagas = [sorted(saga_ids)]
        lock = (_LOCK.format(schema=self.schema), sagas)
        look = (_LOOK.format(schema=self.schema), sagas)
        found, [(standing, self._now, self.low_water_mark)] = await self.fetch_together(lock, look)
        if standing != len(found):
            raise WrittenMeanwhile(f"{self.schema}.ledger: a row was added while its saga was waited for")
        rows = [_row(values) for values in found]
        self._locked = {row.key for row in rows}
        return rows

    def save(self, rows: Sequence[LedgerRow]) -> None:
        """See `LedgerTransaction.save`.

        A new row is written once, with the commit, instead of being claimed first and filled later: "no row"
        is never acted upon twice all the same, see `commit`.
        """
        new = [row for row in rows if row.key not in self._locked]
        changed = [row for row in rows if row.key in self._locked]
        if new:
            columns, arrays = _arrays(new, lambda name, value: value is not None)
            self.write(_insert(self.schema, columns), arrays, expected_rows=len(new))
        if changed:
            columns, arrays = _arrays(changed, _may_have_changed)
            self.write(_update(self.schema, columns), arrays, expected_rows=len(changed))

    def advance_mark(self, mark: UUID, now: datetime) -> None:
        """See `LedgerTransaction.advance_mark`."""
        self.write(_ADVANCE_MARK.format(schema=self.schema), [mark, now])

    async def read_mark(self) -> Mark | None:
        """See `PruningTransaction.read_mark`."""
        rows = await self.fetch(_READ_MARK.format(schema=self.schema))
        return Mark(*rows[0]) if rows else None

    async def prune_ledger(self, mark: Mark, after: Key | None, limit: int) -> Page:
        """See `PruningTransaction.prune_ledger`."""
        bounds = (*(after or _FIRST_KEY), mark.below, mark.advanced_at)
        kept = ([state.value for state in FINAL], State.DONE.value, self.holding)
        gone = await self.fetch(_PRUNE.format(schema=self.schema), (*bounds, *kept, limit))
        return Page(len(gone), None if len(gone) < limit else max((row[0], row[1]) for row in gone))

    async def commit(self, confirmed: Sequence[UUID]) -> None:
        """See `SqlTransaction.commit`.

        Raises:
            WrittenMeanwhile: another transaction was first to write a row that was absent here.
        """
        try:
            await super().commit(confirmed)
        except psycopg.errors.UniqueViolation as clash:
            if clash.diag.constraint_name != "pk_ledger":
                raise
            raise WrittenMeanwhile(f"{self.schema}.ledger: {clash.diag.message_detail}") from clash


def _may_have_changed(name: str, value: object) -> bool:
    return name not in _FIXED and (value is not None or name == _ERASED)


def _arrays(
    rows: Sequence[LedgerRow], matters: Callable[[str, object], bool]
) -> tuple[tuple[str, ...], list[str]]:
    """The columns in which some value matters, and an array for each."""
    columns = zip(_COLUMNS, zip(*map(_values, rows), strict=True), strict=True)
    filled = [(name, values) for name, values in columns if any(matters(name, value) for value in values)]
    return tuple(name for name, _ in filled), [array_literal(values) for _, values in filled]


def _values(row: LedgerRow) -> tuple[Any, ...]:
    return (
        row.saga_id,
        row.step,
        row.order_id,
        row.command,
        row.state.value,
        row.payload_hash,
        *_outcome_values(row.forward),
        *_outcome_values(row.compensation),
        _json(row.details),
        _json(row.request),
        _json(row.verdict),
        row.intent_at,
        row.undo_intent_at,
        row.called_at,
        row.updated_at,
    )


def _outcome_values(outcome: StoredOutcome | None) -> tuple[Any, ...]:
    return (None, None, None) if outcome is None else (outcome.type, outcome.event_id, outcome.body)


def _json(value: Any) -> str | None:
    return None if value is None else to_json(value).decode()


def _row(values: TupleRow) -> LedgerRow:
    (
        saga_id, step, order_id, command, state, payload_hash,
        forward_type, forward_event_id, forward_body,
        compensation_type, compensation_event_id, compensation_body,
        details, request, verdict, intent_at, undo_intent_at, called_at, updated_at,
    ) = values  # fmt: skip
    return LedgerRow(
        saga_id=saga_id,
        step=step,
        order_id=order_id,
        command=command,
        state=_state(state),
        updated_at=updated_at,
        payload_hash=payload_hash,
        forward=_stored(forward_type, forward_event_id, forward_body),
        compensation=_stored(compensation_type, compensation_event_id, compensation_body),
        details=details,
        request=request,
        verdict=verdict,
        intent_at=intent_at,
        undo_intent_at=undo_intent_at,
        called_at=called_at,
    )


def _state(stored: str) -> State:
    try:
        return State(stored)
    except ValueError:
        raise UnknownState(f'its ledger row is at the unknown state "{stored}"') from None


def _stored(kind: str | None, event_id: UUID | None, body: bytes | None) -> StoredOutcome | None:
    if kind is None or event_id is None or body is None:
        return None
    return StoredOutcome(kind, event_id, body)
