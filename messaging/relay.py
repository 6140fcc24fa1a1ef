"""Publishes what a crash or a refusal left in the outbox (M2), by a lease and on a channel of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol
from uuid import UUID

from messaging.outbox import Outbox
from messaging.transport import Message, Publisher, Receipt
from messaging.unit_of_work import UnitOfWork

FIRST_LEASE_S: Final = 10.0
"""A row belongs for so many seconds to the process that wrote it."""

LEASE_S: Final = 30.0
"""Seconds for which a relay holds the rows it has claimed; grows with a row's attempts."""

LEASE_CAP_S: Final = 300.0
BATCH: Final = 200
FINISH_WITHIN_S: Final = 5.0
"""Seconds that the broker gets for its confirms, and the database for their rows, when a process ends."""


class RelayTransaction(Protocol):
    """What the relay needs of a service's transaction."""

    async def claim_outbox(self, limit: int) -> Sequence[Message]:
        """Lease the oldest rows whose lease has run out, skipping rows that others hold."""


class Relay:
    """One service's outbox relay; any number may run."""

    def __init__(
        self, unit_of_work: UnitOfWork[RelayTransaction], outbox: Outbox, publisher: Publisher
    ) -> None:
        self._unit_of_work = unit_of_work
        self._outbox = outbox
        self._publisher = publisher
        self._in_flight: set[UUID] = set()

    async def run_once(self) -> int:
        """Claim and publish one batch; returns how many were published. Receipts come later.

        No more rows are claimed than are taken just now: while the broker is away they would only wait for
        the end of their lease, and for longer each time.
        """
        limit = min(BATCH, self._publisher.room)
        if limit == 0:
            return 0
        claimed = await self._unit_of_work.run(lambda transaction: transaction.claim_outbox(limit))
        fresh = [message for message in claimed if message.message_id not in self._in_flight]
        self._in_flight.update(message.message_id for message in fresh)
        self._outbox.note_relayed(len(fresh))
        if fresh:
            self._publisher.publish(self._outbox.identity.marked(fresh), self._settle)
        return len(fresh)

    async def sweep_once(self) -> bool:
        """Delete the rows of confirmed messages when no batch came along to do it; says whether it did."""
        if not self._outbox.has_confirmed:
            return False
        await self._unit_of_work.run(_nothing)
        return True

    async def finish(self, within_s: float = FINISH_WITHIN_S) -> None:
        """At the end of a process: wait for the broker's word, and delete the rows of what is confirmed.

        What stays behind after so many seconds each is published once more by the relay of another process.
        """
        for work in (self._outbox.settled, self.sweep_once):
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await work()

    def _settle(self, message_id: UUID, receipt: Receipt) -> None:
        self._in_flight.discard(message_id)
        self._outbox.settle(message_id, receipt)


async def _nothing(transaction: RelayTransaction) -> None:
    """An empty unit of work: it deletes the confirmed rows on its way."""
