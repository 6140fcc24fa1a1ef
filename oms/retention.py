"""Retention of an installation, on its own database; messages are left in the outbox to the relay."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from messaging.outbox import Outbox
from messaging.postgresql import SqlUnitOfWork
from messaging.transport import Confirm, Message
from oms.archive import Archive
from oms.definitions import registry
from oms.embedded.installation import ids_of, own_database
from oms.settings import Settings
from orchestrator.retention.postgresql import ArchivingTransaction, RetentionTransaction
from orchestrator.retention.pruning import Retention

PATIENCE_S: Final = 30.0
"""Seconds of database trouble after which a run gives up; it can be repeated."""


@asynccontextmanager
async def retention_of(
    settings: Settings, folder: Path, archive: Archive | None = None
) -> AsyncIterator[Retention]:
    """Retention on the orchestrator's database. Raises what `own_database` raises.

    Args:
        archive: gets every row before it is removed.
    """
    async with own_database(settings, folder) as database:
        rng = random.SystemRandom()
        outbox = Outbox(LeftToTheRelay())
        new_id, told = await ids_of(database, rng), registry(settings).participants
        if archive is None:
            plain = SqlUnitOfWork(database, RetentionTransaction, outbox, rng, PATIENCE_S)
            yield Retention(plain, new_id, told)
        else:
            giving = SqlUnitOfWork(database, ArchivingTransaction, outbox, rng, PATIENCE_S)
            yield Retention(giving, new_id, told, archive.write)


class LeftToTheRelay:
    """A publisher for a program without a way to the broker: the orchestrator's relay sends what it wrote."""

    room: Final = 0

    def publish(self, messages: Sequence[Message], confirm: Confirm) -> None:
        """Do nothing: the rows' lease runs out, and the relay takes them (M2)."""

    async def close(self) -> None:
        """Nothing to give back."""
