"""The step ledger: one row per (saga, step), and the storage port that keeps it.

It replaces an inbox of message ids and gives more: what was done, what was answered, and what is
needed to undo it, written in the transaction of the effect and its outcome.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from contracts.envelope import Direction
from messaging.unit_of_work import Transaction
from participants.fence import State

Key = tuple[UUID, str]
"""(saga, step)."""


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """An outcome event as it was sent first, to be sent again byte by byte (P2)."""

    type: str
    event_id: UUID
    body: bytes


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """What is known of one step of one saga. Times are the storage's."""

    saga_id: UUID
    step: str
    order_id: UUID
    command: str
    """Type of the forward command that this work belongs to; `UNASKED` where only a verdict is known."""
    state: State
    updated_at: datetime
    payload_hash: bytes | None = None
    """Of the forward command's business fields; None while none has come."""
    forward: StoredOutcome | None = None
    compensation: StoredOutcome | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    """The participant's own notes: lines held, amount and reference of a charge. Nothing sensitive."""
    request: Mapping[str, Any] | None = None
    """What a call needs to be repeated with; sensitive, gone once the call has its answer (P6)."""
    verdict: Mapping[str, Any] | None = None
    """The person's verdict that was accepted (S19)."""
    intent_at: datetime | None = None
    """When the provider was first called for the effect: its key lives from then on (P6)."""
    undo_intent_at: datetime | None = None
    """The same for the effect's reversal."""
    called_at: datetime | None = None
    """When the provider was last called for either (P10)."""

    @property
    def key(self) -> Key:
        """The row's identity; locks are taken in this order (S18)."""
        return self.saga_id, self.step

    @property
    def noted(self) -> Mapping[str, Any]:
        """All that is known of the command's fields."""
        return {**self.details, **(self.request or {})}

    def outcome(self, direction: Direction) -> StoredOutcome | None:
        """What was answered to the command of this direction."""
        return self.forward if direction is Direction.FORWARD else self.compensation


UNASKED = "SettleStep"
"""`LedgerRow.command` of a row made by a verdict on a step of which no command was ever seen."""


class LedgerTransaction(Transaction, Protocol):
    """A transaction over a participant's ledger."""

    @property
    def low_water_mark(self) -> UUID | None:
        """The mark once `lock` had its rows; what is absent behind it may have been pruned (P7)."""

    async def lock(self, saga_ids: Collection[UUID]) -> Sequence[LedgerRow]:
        """All rows of these sagas, locked in the order of their keys.

        What it returns holds until the commit: a row that is absent here and comes into being meanwhile
        makes the commit fail as transient, so that the unit of work is run again and sees it.
        """

    def advance_mark(self, mark: UUID, now: datetime) -> None:
        """Take a low-water mark, unless a higher one stands already (P7)."""

    def save(self, rows: Sequence[LedgerRow]) -> None:
        """Write new and changed rows of sagas that this transaction has locked."""


class Ledger:
    """The locked rows of one transaction: what commands of a batch see and change one after the other."""

    def __init__(self, rows: Iterable[LedgerRow], low_water_mark: UUID | None = None) -> None:
        self.low_water_mark = low_water_mark
        self._sagas: dict[UUID, dict[str, LedgerRow]] = {}
        self._changed: dict[Key, LedgerRow] = {}
        for row in rows:
            self._sagas.setdefault(row.saga_id, {})[row.step] = row

    def get(self, saga_id: UUID, step: str) -> LedgerRow | None:
        """The row as it stands now."""
        rows = self._sagas.get(saga_id)
        return None if rows is None else rows.get(step)

    def of_saga(self, saga_id: UUID) -> tuple[LedgerRow, ...]:
        """All rows of one saga as they stand now."""
        return tuple(self._sagas.get(saga_id, {}).values())

    def put(self, row: LedgerRow) -> None:
        """Note a new or changed row."""
        self._sagas.setdefault(row.saga_id, {})[row.step] = row
        self._changed[row.key] = row

    @property
    def changed(self) -> list[LedgerRow]:
        """What is to be saved, in the order of the keys."""
        return [self._changed[key] for key in sorted(self._changed)]
