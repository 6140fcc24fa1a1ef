"""Payment's tables: the ledger and the outbox are all it needs; the money is at the gateway."""

from __future__ import annotations

from typing import Final

from contracts.routing import PAYMENT
from participants.tables import participant_metadata

METADATA: Final = participant_metadata(PAYMENT)
