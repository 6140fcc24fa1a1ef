"""Rows as triggers saw them, as JSON, turned into the values of which checkers know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from messaging.transport import Message
from orchestrator.codec import load_input, load_saga
from orchestrator.core.state import Saga
from orchestrator.storage import AuditEntry, DeadLetter, DeadLetterStatus, HistoryEntry
from participants.fence import State
from participants.ledger import LedgerRow, StoredOutcome
from simulation.storage.orchestrator import AUDIT, DEAD_LETTERS, HISTORY, SAGAS, DeadLetterRow
from simulation.storage.participants import LEDGER, MOVEMENTS, STOCK, STOCK_AT, Movement, StockRow
from simulation.storage.transaction import OUTBOX, OutboxRow

Row = Mapping[str, Any]

ORDERS: Final = "orders"
_SAGA_COLUMNS: Final = {
    "saga_id": "saga_id",
    "order_id": "subject_id",
    "definition": "definition",
    "definition_version": "definition_version",
    "status": "status",
    "order_status": "label",
    "direction": "direction",
    "version": "version",
    "due_at": "due_at",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "ended_at": "ended_at",
}
"""What each column is called in a saga."""


def saga(row: Row, given: Any) -> Saga:
    """A saga, given its input."""
    return load_saga({field: row[name] for name, field in _SAGA_COLUMNS.items()}, row["state"], given)


def _entry(row: Row) -> HistoryEntry:
    accepted = load_input(row["kind"], row["accepted"])
    return HistoryEntry(UUID(row["saga_id"]), row["version"], _moment(row["at"]), accepted, row["led_to"])


def _ledger(row: Row) -> LedgerRow:
    return LedgerRow(
        saga_id=UUID(row["saga_id"]),
        step=row["step"],
        order_id=UUID(row["order_id"]),
        command=row["command"],
        state=State(row["state"]),
        updated_at=_moment(row["updated_at"]),
        payload_hash=_bytes(row["payload_hash"]),
        forward=_outcome(row, "forward"),
        compensation=_outcome(row, "compensation"),
        details=row["details"],
        request=row["request"],
        verdict=row["verdict"],
        intent_at=_moment(row["intent_at"]),
        undo_intent_at=_moment(row["undo_intent_at"]),
        called_at=_moment(row["called_at"]),
    )


def _outcome(row: Row, which: str) -> StoredOutcome | None:
    if row[f"{which}_type"] is None:
        return None
    body = _bytes(row[f"{which}_body"])
    assert body is not None
    return StoredOutcome(row[f"{which}_type"], UUID(row[f"{which}_event_id"]), body)


def _stock(row: Row) -> StockRow:
    return StockRow(row["on_hand"], row["reserved"])


def _movement(row: Row) -> Movement:
    return Movement(
        row["sku"], row["quantity"], _id(row["saga_id"]), row["folded"], _moment(row["recorded_at"])
    )


def _outbox(row: Row) -> OutboxRow:
    message = Message(
        message_id=UUID(row["message_id"]),
        type=row["type"],
        exchange=row["exchange"],
        routing_key=row["routing_key"],
        body=_bytes(row["body"]) or b"",
        correlation_id=_id(row["correlation_id"]),
        app_id=row["app_id"],
        timestamp=_moment(row["created_at"]),
        mandatory=row["mandatory"],
        headers=row["headers"],
    )
    return OutboxRow(message, _moment(row["claimed_until"]), row["attempts"])


def _dead_letter(row: Row) -> DeadLetterRow:
    values = {field.name: row[field.name] for field in fields(DeadLetter) if field.name in row}
    for name in ("dead_letter_id", "saga_id"):
        values[name] = _id(row[name])
    for name in ("first_failed_at", "last_failed_at", "created_at"):
        values[name] = _moment(row[name])
    latest = row["death_ids"][-1]
    values |= {"status": DeadLetterStatus(row["status"]), "body": _bytes(row["body"]), "death_id": latest}
    return DeadLetterRow(DeadLetter(**values), tuple(row["death_ids"]))


def _action(row: Row) -> AuditEntry:
    views = row["before"], row["after"]
    told = (row["actor"], row["action"], row["subject"], row["reason"])
    return AuditEntry(UUID(row["audit_id"]), _moment(row["at"]), *told, *views)


def _moment(text: str | None) -> Any:
    return None if text is None else datetime.fromisoformat(text)


def _id(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text[2:])


VALUES: Final[Mapping[str, Callable[[Row], Any]]] = {
    HISTORY: _entry,
    LEDGER: _ledger,
    STOCK: _stock,
    STOCK_AT: _stock,
    MOVEMENTS: _movement,
    OUTBOX: _outbox,
    DEAD_LETTERS: _dead_letter,
    AUDIT: _action,
}
"""How a row of a table becomes a value; a saga needs its order as well."""

KEYS: Final[Mapping[str, Callable[[Row], Any]]] = {
    SAGAS: lambda row: UUID(row["saga_id"]),
    HISTORY: lambda row: (UUID(row["saga_id"]), row["version"]),
    LEDGER: lambda row: (UUID(row["saga_id"]), row["step"]),
    STOCK: lambda row: row["sku"],
    STOCK_AT: lambda row: (row["sku"], row["location"]),
    MOVEMENTS: lambda row: row["movement_id"],
    OUTBOX: lambda row: UUID(row["message_id"]),
    DEAD_LETTERS: lambda row: UUID(row["dead_letter_id"]),
    AUDIT: lambda row: UUID(row["audit_id"]),
}
"""The primary key of a table's row."""
