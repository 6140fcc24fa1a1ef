"""Orders, sagas with their history, outbox, dead letters, audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "orchestrator_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("audit_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.Column("after", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("audit_id"),
        schema="orchestrator",
    )
    op.create_table(
        "dead_letters",
        sa.Column("dead_letter_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("work_key", sa.Text(), nullable=False),
        sa.Column("death_ids", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("saga_id", sa.Uuid(), nullable=True),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("direction", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("error_type", sa.Text(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("error_stack", sa.Text(), nullable=False),
        sa.Column("permanent", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("headers", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("body_truncated", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('open', 'replaying', 'resolved', 'discarded')", name="dead_letter_status_known"
        ),
        sa.PrimaryKeyConstraint("dead_letter_id"),
        schema="orchestrator",
    )
    op.create_table(
        "history",
        sa.Column("saga_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("accepted", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.Column("led_to", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("saga_id", "version"),
        schema="orchestrator",
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "key"),
        schema="orchestrator",
    )
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("saga_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("document", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("order_id"),
        schema="orchestrator",
    )
    op.create_table(
        "outbox",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("mandatory", sa.Boolean(), nullable=False),
        sa.Column("correlation_id", sa.Uuid(), nullable=True),
        sa.Column("app_id", sa.Text(), nullable=False),
        sa.Column("headers", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("message_id"),
        schema="orchestrator",
    )
    op.create_table(
        "sagas",
        sa.Column("saga_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("definition_version", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("order_status", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("incident_kinds", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_as", sa.Text(), nullable=True),
        sa.Column("state", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "(status IN ('completed', 'compensated')) = (ended_at IS NOT NULL)", name="ended_has_time"
        ),
        sa.CheckConstraint("direction IN ('forward', 'compensating')", name="direction_known"),
        sa.CheckConstraint(
            "order_status IN ('pending', 'reserved', 'paid', 'shipped',"
            " 'completed', 'rejected', 'cancelled')",
            name="order_status_known",
        ),
        sa.CheckConstraint(
            "status IN ('running', 'compensating', 'completed', 'compensated')", name="status_known"
        ),
        sa.CheckConstraint("(ended_at IS NOT NULL) = (ended_as IS NOT NULL)", name="ended_has_result"),
        sa.PrimaryKeyConstraint("saga_id"),
        schema="orchestrator",
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index(
        "dead_letters_by_saga",
        "dead_letters",
        ["saga_id"],
        unique=False,
        schema="orchestrator",
        postgresql_where=sa.text("saga_id IS NOT NULL"),
    )
    op.create_index(
        "dead_letters_by_status",
        "dead_letters",
        ["status", "dead_letter_id"],
        unique=False,
        schema="orchestrator",
    )
    op.create_index(
        "dead_letters_one_open",
        "dead_letters",
        ["work_key"],
        unique=True,
        schema="orchestrator",
        postgresql_where=sa.text("status IN ('open', 'replaying')"),
    )
    op.create_index(
        "orders_by_customer", "orders", ["customer_id", "order_id"], unique=False, schema="orchestrator"
    )
    op.create_index(
        "sagas_active",
        "sagas",
        ["saga_id"],
        unique=False,
        schema="orchestrator",
        postgresql_where=sa.text("ended_as IS NULL"),
    )
    op.create_index("sagas_by_order", "sagas", ["order_id"], unique=False, schema="orchestrator")
    op.create_index(
        "sagas_due",
        "sagas",
        ["due_at"],
        unique=False,
        schema="orchestrator",
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "sagas_ended",
        "sagas",
        ["ended_as", "saga_id"],
        unique=False,
        schema="orchestrator",
        postgresql_where=sa.text("ended_as IS NOT NULL"),
    )
    op.create_index(
        "sagas_with_incident",
        "sagas",
        ["saga_id"],
        unique=False,
        schema="orchestrator",
        postgresql_where=sa.text("incident_kinds <> '{}'::text[]"),
    )
