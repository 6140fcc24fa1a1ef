"""The sagas of one definition, newest first, however many others there are."""

from __future__ import annotations

from alembic import op

revision = "orchestrator_0020"
down_revision = "orchestrator_0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("sagas_by_definition", "sagas", ["definition", "saga_id"], schema="orchestrator")
