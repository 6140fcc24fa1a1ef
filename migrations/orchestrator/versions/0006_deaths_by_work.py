"""Dead letters by the work that died, closed ones too: each new death asks whether it is known (D2)."""

from __future__ import annotations

from alembic import op

revision = "orchestrator_0006"
down_revision = "orchestrator_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("dead_letters_by_work", "dead_letters", ["work_key"], schema="orchestrator")
