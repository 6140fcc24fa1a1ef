"""The tables that every participant has in its own schema: ledger, low-water mark, outbox, installation."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSON

from messaging.postgresql import installation_table, outbox_table

_NAMES: Final = {
    "pk": "pk_%(table_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}


def participant_metadata(schema: str) -> MetaData:
    """The tables of one participant, its ledger and its outbox among them."""
    metadata = MetaData(schema=schema, naming_convention=_NAMES)
    ledger_table(metadata)
    retention_table(metadata)
    outbox_table(metadata)
    installation_table(metadata)
    return metadata


def ledger_table(metadata: MetaData) -> Table:
    """One row per (saga, step), until it is pruned (P7): its state, and the outcomes as they were sent.

    ``request`` is what a provider was asked and may hold sensitive fields: it stands only as long as
    the call may have to be repeated (P6). ``details`` is what the participant itself needs to undo or
    complete the step. No index but the primary key, and room on each page, so that updates stay cheap.
    """
    return Table(
        "ledger",
        metadata,
        Column("saga_id", Uuid, primary_key=True),
        Column("step", Text, primary_key=True),
        Column("order_id", Uuid, nullable=False),
        Column("command", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("payload_hash", LargeBinary),
        Column("forward_type", Text),
        Column("forward_event_id", Uuid),
        Column("forward_body", LargeBinary),
        Column("compensation_type", Text),
        Column("compensation_event_id", Uuid),
        Column("compensation_body", LargeBinary),
        Column("details", JSON, nullable=False),
        Column("request", JSON),
        Column("verdict", JSON),
        Column("intent_at", DateTime(timezone=True)),
        Column("undo_intent_at", DateTime(timezone=True)),
        Column("called_at", DateTime(timezone=True)),
        Column("updated_at", DateTime(timezone=True), nullable=False),
        CheckConstraint(
            "state IN ('intent', 'done', 'rejected', 'undoing', 'reversing', 'undone', 'tombstone',"
            " 'consumed', 'settled')",
            name="state",
        ),
        CheckConstraint(
            "num_nulls(forward_type, forward_event_id, forward_body) IN (0, 3)"
            " AND (forward_type IS NOT NULL OR state NOT IN ('done', 'rejected', 'reversing', 'consumed'))",
            name="forward_outcome",
        ),
        CheckConstraint(
            "num_nulls(compensation_type, compensation_event_id, compensation_body) IN (0, 3)"
            " AND (compensation_type IS NOT NULL OR state <> 'undone')",
            name="compensation_outcome",
        ),
        CheckConstraint("request IS NULL OR state IN ('intent', 'undoing')", name="request"),
        CheckConstraint("intent_at IS NOT NULL OR state NOT IN ('intent', 'undoing')", name="intent"),
        postgresql_with={"fillfactor": "70"},
    )


def retention_table(metadata: MetaData) -> Table:
    """The low-water mark in a single row (P7); no row while none has been handed out.

    A saga whose id is below ``mark`` has ended for good. ``advanced_at`` is when the mark came to be.
    """
    return Table(
        "retention",
        metadata,
        Column("id", SmallInteger, primary_key=True, autoincrement=False),
        Column("mark", Uuid, nullable=False),
        Column("advanced_at", DateTime(timezone=True), nullable=False),
        CheckConstraint("id = 1", name="single"),
    )
