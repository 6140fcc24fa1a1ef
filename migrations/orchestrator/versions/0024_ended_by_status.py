"""Ended sagas by their status, whatever their definitions call their ends, known here or not.

Built while orders go on, however many there are. Who is interrupted begins anew.
"""

from __future__ import annotations

from alembic import op

revision = "orchestrator_0024"
down_revision = "orchestrator_0023"
branch_labels = None
depends_on = None
beside_writers = True


def upgrade() -> None:
    # What a build that was interrupted has left is of no use.
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS orchestrator.sagas_ended_by_status")
    op.execute(
        "CREATE INDEX CONCURRENTLY sagas_ended_by_status"
        " ON orchestrator.sagas (status, saga_id) WHERE ended_as IS NOT NULL"
    )
