"""Where a saga stands is told in its definition's own words: any label, not only those of orders (S8)."""

from __future__ import annotations

from alembic import op

revision = "orchestrator_0011"
down_revision = "orchestrator_0010"
branch_labels = None
depends_on = None

widened = ("sagas.order_status_known",)


def upgrade() -> None:
    op.drop_constraint("order_status_known", "sagas", schema="orchestrator")
    op.create_check_constraint(
        "order_status_known", "sagas", "order_status ~ '^[a-z][a-z0-9_]{0,63}$'", schema="orchestrator"
    )
