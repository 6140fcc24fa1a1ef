"""Jobs on many dead letters at once, with a row for each of them (D5)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "orchestrator_0003"
down_revision = "orchestrator_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("filter", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("rate_per_second", sa.Float(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("refusals", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.Column("position", sa.Uuid(), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('replay', 'discard')", name="job_kind_known"),
        sa.CheckConstraint("state IN ('running', 'cancelled', 'finished', 'failed')", name="job_state_known"),
        sa.CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="job_ended_has_time"),
        sa.CheckConstraint(
            "succeeded >= 0 AND refused >= 0 AND succeeded + refused <= total", name="job_adds_up"
        ),
        sa.PrimaryKeyConstraint("job_id"),
        schema="orchestrator",
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index(
        "jobs_running",
        "jobs",
        ["job_id"],
        unique=False,
        schema="orchestrator",
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "job_items",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("dead_letter_id", sa.Uuid(), nullable=False),
        sa.Column("seen_version", sa.Integer(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("explanation", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("result IN ('pending', 'succeeded', 'refused')", name="job_item_result_known"),
        sa.CheckConstraint("(result = 'pending') = (at IS NULL)", name="job_item_done_has_time"),
        sa.PrimaryKeyConstraint("job_id", "dead_letter_id"),
        schema="orchestrator",
    )
    op.create_index(
        "job_items_refused",
        "job_items",
        ["job_id", "dead_letter_id"],
        unique=False,
        schema="orchestrator",
        postgresql_where=sa.text("result = 'refused'"),
    )
