"""The low-water mark (P7)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "shipping_0002"
down_revision = "shipping_0001"
branch_labels = None
depends_on = None

SCHEMA = "shipping"


def upgrade() -> None:
    op.create_table(
        "retention",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("mark", sa.Uuid(), nullable=False),
        sa.Column("advanced_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_retention"),
        sa.CheckConstraint("id = 1", name="ck_retention_single"),
        schema=SCHEMA,
    )
