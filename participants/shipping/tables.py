"""Shipping's tables: the ledger and the outbox are all it needs; the parcel is with the carrier."""

from __future__ import annotations

from typing import Final

from contracts.routing import SHIPPING
from participants.tables import participant_metadata

METADATA: Final = participant_metadata(SHIPPING)
