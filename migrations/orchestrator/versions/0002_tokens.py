"""Tokens of people and programs that look and act."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0002"
down_revision = "orchestrator_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="token_role_known"),
        sa.PrimaryKeyConstraint("token_id"),
        schema="orchestrator",
    )
    op.create_index("tokens_by_digest", "tokens", ["digest"], unique=True, schema="orchestrator")
    op.create_index(
        "tokens_one_of_a_name",
        "tokens",
        ["name"],
        unique=True,
        schema="orchestrator",
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
