"""The low-water mark, and one adjustment a product for what was pruned (P7)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "inventory_0002"
down_revision = "inventory_0001"
branch_labels = None
depends_on = None

SCHEMA = "inventory"


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
    op.add_column("stock_movements", sa.Column("folded", sa.BigInteger()), schema=SCHEMA)
    op.create_index(
        "ix_stock_movements_folded",
        "stock_movements",
        ["sku"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("folded IS NOT NULL"),
    )
