"""The tables of every participant of the kit: ledger, outbox, low-water mark, installation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "kit_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    schema = context.config.attributes["service"]
    op.create_table(
        "ledger",
        sa.Column("saga_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("payload_hash", sa.LargeBinary()),
        sa.Column("forward_type", sa.Text()),
        sa.Column("forward_event_id", sa.Uuid()),
        sa.Column("forward_body", sa.LargeBinary()),
        sa.Column("compensation_type", sa.Text()),
        sa.Column("compensation_event_id", sa.Uuid()),
        sa.Column("compensation_body", sa.LargeBinary()),
        sa.Column("details", postgresql.JSON(), nullable=False),
        sa.Column("request", postgresql.JSON()),
        sa.Column("verdict", postgresql.JSON()),
        sa.Column("intent_at", sa.DateTime(timezone=True)),
        sa.Column("undo_intent_at", sa.DateTime(timezone=True)),
        sa.Column("called_at", sa.DateTime(timezone=True)),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("saga_id", "step", name="pk_ledger"),
        sa.CheckConstraint(
            "state IN ('intent', 'done', 'rejected', 'undoing', 'reversing', 'undone', 'tombstone',"
            " 'consumed', 'settled')",
            name="ck_ledger_state",
        ),
        sa.CheckConstraint(
            "num_nulls(forward_type, forward_event_id, forward_body) IN (0, 3)"
            " AND (forward_type IS NOT NULL OR state NOT IN ('done', 'rejected', 'reversing', 'consumed'))",
            name="ck_ledger_forward_outcome",
        ),
        sa.CheckConstraint(
            "num_nulls(compensation_type, compensation_event_id, compensation_body) IN (0, 3)"
            " AND (compensation_type IS NOT NULL OR state <> 'undone')",
            name="ck_ledger_compensation_outcome",
        ),
        sa.CheckConstraint("request IS NULL OR state IN ('intent', 'undoing')", name="ck_ledger_request"),
        sa.CheckConstraint(
            "intent_at IS NOT NULL OR state NOT IN ('intent', 'undoing')", name="ck_ledger_intent"
        ),
        schema=schema,
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "outbox",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("mandatory", sa.Boolean(), nullable=False),
        sa.Column("correlation_id", sa.Uuid()),
        sa.Column("app_id", sa.Text(), nullable=False),
        sa.Column("headers", postgresql.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("message_id", name="pk_outbox"),
        schema=schema,
    )
    op.create_table(
        "retention",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("mark", sa.Uuid(), nullable=False),
        sa.Column("advanced_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_retention"),
        sa.CheckConstraint("id = 1", name="ck_retention_single"),
        schema=schema,
    )
    op.create_table(
        "installation",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("installation_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_installation"),
        sa.CheckConstraint("id = 1", name="ck_installation_single"),
        schema=schema,
    )
