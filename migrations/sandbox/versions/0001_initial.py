"""The books of the sandbox provider."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "sandbox_0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "sandbox"


def upgrade() -> None:
    op.create_table(
        "charges",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text()),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("answers_from_call", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("amount", sa.BigInteger()),
        sa.Column("currency", sa.Text()),
        sa.Column("refunded", sa.BigInteger(), nullable=False),
        sa.Column("refunds_answer_from_call", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_charges"),
        sa.CheckConstraint("outcome IN ('succeeded', 'declined', 'voided')", name="ck_charges_outcome"),
        sa.CheckConstraint(
            "0 <= refunded AND (refunded = 0 OR refunded <= amount)", name="ck_charges_refunded"
        ),
        schema=SCHEMA,
    )
    op.create_index("ix_charges_order_id", "charges", ["order_id"], schema=SCHEMA)
    op.create_table(
        "refunds",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text()),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("answers_from_call", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("charge", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_refunds"),
        sa.CheckConstraint("outcome = 'succeeded'", name="ck_refunds_outcome"),
        schema=SCHEMA,
    )
    op.create_index("ix_refunds_order_id", "refunds", ["order_id"], schema=SCHEMA)
    op.create_table(
        "shipments",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text()),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("answers_from_call", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_shipments"),
        sa.CheckConstraint("outcome IN ('shipped', 'rejected', 'voided')", name="ck_shipments_outcome"),
        schema=SCHEMA,
    )
    op.create_index("ix_shipments_order_id", "shipments", ["order_id"], schema=SCHEMA)
