"""Tests of a saga and of a participant: the saga walked through by hand, the participant on a stage, and its
provider played by one that can be told to be silent, to decline, to fail, and to answer late."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from messaging.outbox import Outbox
from messaging.postgresql import SqlUnitOfWork, create_engine
from messaging.transport import Confirm, Message
from migrations.run import histories_of_kit, migrate_async
from oms.embedded.postgresql import EmbeddedPostgres
from orchestrator.walk import NotAwaited, Walk
from participants.kit.fake import FakeProvider, Trouble
from participants.kit.memory import MemoryUnitOfWork
from participants.kit.participant import Participant
from participants.kit.postgresql import transaction_in
from participants.kit.stage import Stage, StagedSaga

__all__ = [
    "FakeProvider",
    "NotAwaited",
    "Stage",
    "StagedSaga",
    "Trouble",
    "Walk",
    "in_memory",
    "on_postgresql",
]


@asynccontextmanager
async def in_memory(participant: Participant, provider: Any = None) -> AsyncIterator[Stage]:
    """The participant with its tables in memory, made from its MetaData: quick, as far as SQLite goes.

    What is PostgreSQL's own (its types, ``ON CONFLICT``, locks) wants `on_postgresql`.

    Args:
        provider: the client that its provider steps are made with, such as one over a `FakeProvider`.
    """
    unit_of_work = MemoryUnitOfWork(participant)
    try:
        yield Stage(participant, unit_of_work, provider)
    finally:
        unit_of_work.close()


@asynccontextmanager
async def on_postgresql(
    participant: Participant, provider: Any = None, url: str | None = None
) -> AsyncIterator[Stage]:
    """The participant on a real PostgreSQL, its tables made by its migrations.

    Args:
        provider: see `in_memory`.
        url: ``postgresql+psycopg://...`` of a database; None starts a server for the time of the block.
    """
    async with AsyncExitStack() as exits:
        url = url or await _server(exits)
        for history in histories_of_kit(participant.name, participant.migrations):
            await migrate_async(history, url)
        engine = create_engine(url, 2)
        exits.push_async_callback(engine.dispose)
        outbox, rng = Outbox(_Nowhere()), random.SystemRandom()
        transaction = transaction_in(participant.name, participant.transaction)
        yield Stage(participant, SqlUnitOfWork(engine, transaction, outbox, rng, patience_s=10), provider)


async def _server(exits: AsyncExitStack) -> str:
    folder = Path(tempfile.mkdtemp(prefix="oms-kit-"))
    exits.callback(shutil.rmtree, folder, ignore_errors=True)
    return (await exits.enter_async_context(EmbeddedPostgres(folder / "postgres"))).url


class _Nowhere:
    """There is no broker: what was sent stays in the outbox."""

    room: Final = 0

    def publish(self, messages: Sequence[Message], confirm: Confirm) -> None:
        """Send nothing."""

    async def close(self) -> None:
        """Nothing to give back."""
