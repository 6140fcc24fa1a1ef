"""The order of the feed after the database has moved to another server (S29)."""

from __future__ import annotations

import structlog
from sqlalchemy import text

from migrations.run import engine_of

log = structlog.get_logger(__name__)

_NUMBERED_BY_ANOTHER_SERVER = """
SELECT EXISTS (SELECT FROM orchestrator.history
               WHERE transaction_id >= pg_snapshot_xmax(pg_current_snapshot()))
    OR EXISTS (SELECT FROM orchestrator.retention
               WHERE pruned_transaction_id >= pg_snapshot_xmax(pg_current_snapshot()))
"""


def set_in_order(url: str) -> int:
    """Let entries of histories that another server has numbered come first, each saga's in its own order.

    A dump brings along the numbers of transactions, and a server counts its own: they may be far ahead.
    Readers are told that their cursors are of no use any more. Nobody can write meanwhile.

    Returns:
        How many entries were set in order; 0 where nothing has to be.
    """
    with engine_of(url).begin() as connection:
        if not connection.scalar(text(_NUMBERED_BY_ANOTHER_SERVER)):
            return 0
        connection.execute(text("LOCK TABLE orchestrator.history IN SHARE ROW EXCLUSIVE MODE"))
        changed = connection.execute(
            text("UPDATE orchestrator.history SET transaction_id = '0' WHERE transaction_id <> '0'")
        )
        connection.execute(
            text(
                "UPDATE orchestrator.retention"
                " SET pruned_transaction_id = '0', pruned_saga_id = NULL, pruned_version = 0"
            )
        )
        log.warning("events were numbered by another server: set in order", entries=changed.rowcount)
        return changed.rowcount
