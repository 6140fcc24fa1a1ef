"""The courses, and how many seats are free in each."""

from __future__ import annotations

import sqlalchemy as sa

from oms.kit.migrations import op

revision = "courses_0001"
down_revision = None


def upgrade() -> None:
    """Make the table, and some courses to try it with."""
    courses = op.create_table(
        "courses",
        sa.Column("course", sa.Text, primary_key=True),
        sa.Column("free", sa.Integer, nullable=False),
        sa.CheckConstraint("free >= 0", name="never_overbooked"),
        schema="registrar",
    )
    seats = {"algebra": 30, "botany": 12, "chess": 1}
    op.bulk_insert(courses, [{"course": course, "free": free} for course, free in seats.items()])
