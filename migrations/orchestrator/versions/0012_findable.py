"""Sagas are found by their owner's reference, unique for an owner, and by metadata (S26)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0012"
down_revision = "orchestrator_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "saga_references",
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("saga_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("definition", "owner", "reference"),
        schema="orchestrator",
    )
    op.create_table(
        "saga_metadata",
        sa.Column("saga_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("saga_id", "key"),
        schema="orchestrator",
    )
    for name, table, columns in (
        ("saga_references_by_reference", "saga_references", ["reference", "saga_id"]),
        ("saga_references_by_saga", "saga_references", ["saga_id"]),
        ("saga_metadata_by_value", "saga_metadata", ["key", "value", "saga_id"]),
    ):
        op.create_index(name, table, columns, schema="orchestrator")
