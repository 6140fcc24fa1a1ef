"""Jobs act on sagas, too, and keep what their action says (D5)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "orchestrator_0013"
down_revision = "orchestrator_0012"
branch_labels = None
depends_on = None

widened = ("jobs.job_kind_known",)


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column("details", postgresql.JSON(astext_type=sa.Text()), nullable=True),
        schema="orchestrator",
    )
    op.drop_constraint("job_kind_known", "jobs", schema="orchestrator")
    op.create_check_constraint(
        "job_kind_known",
        "jobs",
        "kind IN ('replay', 'discard', 'retry', 'cancel', 'resolve')",
        schema="orchestrator",
    )
