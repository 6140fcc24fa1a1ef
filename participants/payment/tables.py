"""Payment's tables: beside the ledger, how much of each payment returns have claimed."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Table, Text

from contracts.routing import PAYMENT
from participants.tables import participant_metadata

METADATA: Final = participant_metadata(PAYMENT)

REFUND_CLAIMS: Final = Table(
    "refund_claims",
    METADATA,
    Column("charge", Text, primary_key=True),
    Column("charged", BigInteger, nullable=False),
    Column("claimed", BigInteger, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("0 <= claimed AND claimed <= charged", name="never_more_than_charged"),
)
"""One row for each payment of which anything was claimed, in minor units; kept for good.

The database itself refuses to give back more than was taken (S28).
"""
