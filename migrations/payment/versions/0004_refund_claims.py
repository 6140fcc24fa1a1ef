"""How much of each payment returns have claimed: never more than was taken (S28)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "payment_0004"
down_revision = "payment_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "refund_claims",
        sa.Column("charge", sa.Text(), nullable=False),
        sa.Column("charged", sa.BigInteger(), nullable=False),
        sa.Column("claimed", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("charge", name="pk_refund_claims"),
        sa.CheckConstraint(
            "0 <= claimed AND claimed <= charged", name="ck_refund_claims_never_more_than_charged"
        ),
        schema="payment",
    )
