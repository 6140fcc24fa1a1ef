"""The installation that the schema belongs to; `migrations.installation` writes the row (M4)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0010"
down_revision = "orchestrator_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("installation_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="installation_pkey"),
        sa.CheckConstraint("id = 1", name="ck_installation_single"),
        schema="orchestrator",
    )
