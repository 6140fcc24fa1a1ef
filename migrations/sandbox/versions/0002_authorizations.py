"""Money that is set aside and captured later; the release before it goes on with charges as they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "sandbox_0002"
down_revision = "sandbox_0001"
branch_labels = None
depends_on = None

SCHEMA = "sandbox"


def upgrade() -> None:
    op.add_column("charges", sa.Column("authorization", sa.Text()), schema=SCHEMA)
    op.create_table(
        "authorizations",
        *_request(),
        sa.Column("amount", sa.BigInteger()),
        sa.Column("currency", sa.Text()),
        sa.Column("captured", sa.BigInteger(), nullable=False),
        sa.Column("released", sa.Boolean(), nullable=False),
        sa.Column("expired", sa.Boolean(), nullable=False),
        sa.Column("captures_answer_from_call", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_authorizations"),
        sa.CheckConstraint(
            "outcome IN ('authorized', 'declined', 'voided')", name="ck_authorizations_outcome"
        ),
        sa.CheckConstraint(
            "0 <= captured AND (captured = 0 OR captured <= amount)", name="ck_authorizations_captured"
        ),
        schema=SCHEMA,
    )
    op.create_index("ix_authorizations_order_id", "authorizations", ["order_id"], schema=SCHEMA)
    op.create_table(
        "releases",
        *_request(),
        sa.Column("authorization", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_releases"),
        sa.CheckConstraint("outcome = 'succeeded'", name="ck_releases_outcome"),
        schema=SCHEMA,
    )
    op.create_index("ix_releases_order_id", "releases", ["order_id"], schema=SCHEMA)


def _request() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text()),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("answers_from_call", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
