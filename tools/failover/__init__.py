"""Several servers of a kind, of which one is lost under load: `make failover`."""

from __future__ import annotations

from typing import Final

PATIENCE: Final = {"OMS_RETRY_DELAYS_S": "0.2,0.5", "OMS_RESEND_AFTER_S": "1", "OMS_STEP_DEADLINE_S": "180"}
"""Of the services: what is lost is soon sent again, and no order is given up because a server was away."""
