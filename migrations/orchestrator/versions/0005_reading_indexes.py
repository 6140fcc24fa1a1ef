"""Lists of dead letters and of the audit log by each of their filters, however much there is."""

from __future__ import annotations

from alembic import op

revision = "orchestrator_0005"
down_revision = "orchestrator_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, table, columns in (
        ("dead_letters_by_kind", "dead_letters", ["status", "queue", "error_type", "dead_letter_id"]),
        ("dead_letters_by_queue", "dead_letters", ["queue", "dead_letter_id"]),
        ("dead_letters_by_error", "dead_letters", ["error_type", "dead_letter_id"]),
        ("dead_letters_by_step", "dead_letters", ["step", "dead_letter_id"]),
        ("audit_log_by_actor", "audit_log", ["actor", "audit_id"]),
        ("audit_log_by_action", "audit_log", ["action", "audit_id"]),
        ("audit_log_by_subject", "audit_log", ["subject", "audit_id"]),
    ):
        op.create_index(name, table, columns, schema="orchestrator")
