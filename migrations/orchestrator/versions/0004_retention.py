"""The low-water mark, and how much has been pruned (P7)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0004"
down_revision = "orchestrator_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retention",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("mark", sa.Uuid(), nullable=False),
        sa.Column("advanced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("pruned_sagas", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pruned_idempotency_keys", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pruned_dead_letters", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("id = 1", name="retention_single"),
        sa.PrimaryKeyConstraint("id"),
        schema="orchestrator",
    )
