"""A payment gateway and a carrier to play against: honest about money, and failing on demand.

`Sandbox` keeps the books; `create_sandbox` puts it behind HTTP; `SandboxExchange` lets the clients
of the same process talk to it directly. For trying things out only.
"""

from __future__ import annotations

from oms.sandbox.app import create_sandbox
from oms.sandbox.direct import SandboxExchange
from oms.sandbox.service import Sandbox
from oms.sandbox.triggers import CARRIER_TRIGGERS, PARCEL_TRIGGERS, PAYMENT_TRIGGERS

__all__ = [
    "CARRIER_TRIGGERS",
    "PARCEL_TRIGGERS",
    "PAYMENT_TRIGGERS",
    "Sandbox",
    "SandboxExchange",
    "create_sandbox",
]
