"""Stock has a location: what is at one that has a name; all that was counted before is at `default` (S31)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "inventory_0005"
down_revision = "inventory_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stock_at",
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("on_hand", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sku", "location", name="pk_stock_at"),
        sa.CheckConstraint("0 <= reserved AND reserved <= on_hand", name="ck_stock_at_never_oversold"),
        sa.CheckConstraint("location <> 'default'", name="ck_stock_at_has_a_name"),
        schema="inventory",
        postgresql_with={"fillfactor": "50"},
    )
