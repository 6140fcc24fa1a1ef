"""Authorizations that can be set aside anew once expired; the release before it goes on without them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "sandbox_0003"
down_revision = "sandbox_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "authorizations",
        sa.Column("renewable", sa.Boolean(), nullable=False, server_default=sa.false()),
        schema="sandbox",
    )
