"""Which servers tests and tools take: those that the environment names, else private ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tools.servers.rabbitmq.broker import PrivateBroker, private_broker
from tools.servers.rabbitmq.installation import in_unpacked_system
from tools.servers.rabbitmq.node import RabbitNode

BROKER_VARIABLE: Final = "OMS_TEST_BROKER_URL"
DATABASE_VARIABLE: Final = "OMS_TEST_DATABASE_URL"
ROOT_VARIABLE: Final = "OMS_TEST_RABBITMQ_ROOT"
"""A system that debootstrap has unpacked, for brokers of a test's own; temporary folders must lie in it."""

PROJECT: Final = Path(__file__).parents[2]

NOT_FLUSHED: Final = {"fsync": "off"}
"""Of a PostgreSQL that outlives killed processes all the same, and drops a database in no time."""


def new_broker(folder: Path) -> PrivateBroker:
    """A broker of one's own, to be started, killed and restarted at will."""
    return broker_of(os.environ.get(ROOT_VARIABLE), folder)


def broker_of(root: str | None, folder: Path) -> PrivateBroker:
    """The same, of the system unpacked in `root`, where `folder` must lie, or of this machine."""
    if root:
        return RabbitNode(in_unpacked_system(Path(root)), folder)
    return private_broker(folder, cache=PROJECT / ".oms/servers")
