"""All entries of histories in the order of the feed (S29); built while orders go on, however many there are.

Who is interrupted begins anew.
"""

from __future__ import annotations

from alembic import op

revision = "orchestrator_0022"
down_revision = "orchestrator_0021"
branch_labels = None
depends_on = None
beside_writers = True


def upgrade() -> None:
    # What a build that was interrupted has left is of no use.
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS orchestrator.history_by_transaction")
    op.execute(
        "CREATE INDEX CONCURRENTLY history_by_transaction"
        " ON orchestrator.history (transaction_id, saga_id, version)"
    )
