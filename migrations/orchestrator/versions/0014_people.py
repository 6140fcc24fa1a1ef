"""People who sign in at a provider of the company's own, and which of their sessions are good."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0014"
down_revision = "orchestrator_0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "people",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("session_round", sa.Integer(), nullable=False),
        sa.Column("signed_in_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="person_role_known"),
        sa.PrimaryKeyConstraint("person_id"),
        schema="orchestrator",
    )
    op.create_index("people_by_subject", "people", ["issuer", "subject"], unique=True, schema="orchestrator")
