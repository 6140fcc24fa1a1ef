"""Webhooks: where events are sent, and how far each has come (S30)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "orchestrator_0023"
down_revision = "orchestrator_0022"
branch_labels = None
depends_on = None


def _moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", sa.Uuid(), primary_key=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("pause", sa.Text()),
        sa.Column("cursor", sa.Text()),
        sa.Column("pruned_sagas", sa.BigInteger(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("old_secret", sa.Text()),
        sa.Column("old_until", _moment()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("updated_at", _moment(), nullable=False),
        sa.Column("next_at", _moment(), nullable=False),
        sa.Column("failing_since", _moment()),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("delivered", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at", _moment()),
        sa.Column("ping_id", sa.Uuid()),
        sa.Column("attempts", postgresql.JSON(), nullable=False),
        sa.Column("lease", sa.Uuid()),
        sa.Column("leased_until", _moment(), nullable=False),
        sa.CheckConstraint("state IN ('active', 'paused', 'removed')", name="webhook_state_known"),
        sa.CheckConstraint("(state = 'paused') = (pause IS NOT NULL)", name="webhook_paused_has_reason"),
        sa.CheckConstraint("(state = 'removed') = (secret = '')", name="webhook_removed_has_no_secret"),
        schema="orchestrator",
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index(
        "webhooks_one_of_a_url",
        "webhooks",
        ["url"],
        unique=True,
        schema="orchestrator",
        postgresql_where=sa.text("state <> 'removed'"),
    )
