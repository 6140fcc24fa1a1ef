"""Entries of histories know the transaction that wrote them, so that all events can be read in order (S29).

Entries that stand are of transaction 0 and come first. That default is a constant, which PostgreSQL keeps
beside the table instead of writing it into each row; the real one, which is not, holds for rows that follow.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0021"
down_revision = "orchestrator_0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orchestrator.history ADD COLUMN transaction_id xid8 NOT NULL DEFAULT '0'::xid8")
    op.execute(
        "ALTER TABLE orchestrator.history ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id()"
    )
    op.execute(
        "ALTER TABLE orchestrator.retention ADD COLUMN pruned_transaction_id xid8 NOT NULL DEFAULT '0'::xid8"
    )
    for column in (
        sa.Column("pruned_saga_id", sa.Uuid()),
        sa.Column("pruned_version", sa.Integer(), nullable=False, server_default="0"),
    ):
        op.add_column("retention", column, schema="orchestrator")
