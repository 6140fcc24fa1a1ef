"""Publishes what a crash or a refusal left in the outbox (M2), by a lease and on a channel of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from messaging.obstructions import Destination, Obstructions
from messaging.outbox import Lease, Outbox
from messaging.transport import Message, Publisher, Receipt
from messaging.unit_of_work import UnitOfWork

FIRST_LEASE_S: Final = 10.0
"""A row belongs for so many seconds to the process that wrote it."""

LEASE_S: Final = 30.0
"""Seconds for which a relay holds the rows it has claimed; they are over only when it has died meanwhile."""

REFUSED_PAUSE_S: Final = 1.0
"""Seconds until a row may be claimed again that the broker has not taken; grows with its attempts."""

REFUSED_PAUSE_CAP_S: Final = 5.0
BATCH: Final = 200
FINISH_WITHIN_S: Final = 5.0
"""Seconds that the broker gets for its confirms, and the database for their rows, when a process ends."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A row of the outbox that is ours to publish; ``attempts`` counts its claims, this one included."""

    message: Message
    attempts: int

    @property
    def destination(self) -> Destination:
        """Where it goes."""
        return self.message.exchange, self.message.routing_key


class RelayTransaction(Protocol):
    """What the relay needs of a service's transaction."""

    async def claim_outbox(self, limit: int, obstructed: Sequence[Destination] = ()) -> Sequence[Claim]:
        """Lease the oldest rows whose lease has run out, skipping rows that others hold.

        Those to ``obstructed`` destinations are left alone.
        """

    async def probe_outbox(self, destination: Destination) -> Sequence[Claim]:
        """Lease one row to this destination: the one untried for longest, if its lease has run out."""

    async def release_outbox(self, leases: Sequence[Lease]) -> None:
        """Let rows be claimed again after a short pause, where the lease is still the one named."""


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


class Relay:
    """One service's outbox relay; any number may run."""

    def __init__(
        self,
        unit_of_work: UnitOfWork[RelayTransaction],
        outbox: Outbox,
        publisher: Publisher,
        clock: Callable[[], float] = _loop_time,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._outbox = outbox
        self._publisher = publisher
        self._in_flight: dict[UUID, Claim] = {}
        self._obstructions = Obstructions(clock)

    async def run_once(self) -> int:
        """Claim and publish one batch; returns how many were published. Receipts come later.

        No more rows are claimed than are taken just now: while the broker is away they would only wait for
        the end of their lease, and for longer each time. Of rows to a destination that takes nothing, a full
        queue as a rule, one is claimed now and then, to see whether it does again; then all follow.
        """
        limit = min(BATCH, self._publisher.room)
        if limit == 0:
            return 0
        obstructed, probed = self._obstructions.all, self._obstructions.take_due()

        async def work(transaction: RelayTransaction) -> list[Claim]:
            claims = list(await transaction.claim_outbox(limit, obstructed))
            for destination in probed:
                claims += await transaction.probe_outbox(destination)
            return claims

        return self._publish(await self._unit_of_work.run(work))

    async def sweep_once(self) -> bool:
        """Delete confirmed rows when no batch came along to do it; says whether there were any.

        Those of confirmed messages are deleted, and what the broker has not taken may soon be claimed again.
        Should that not commit, the latter wait for the end of their lease.
        """
        leases = self._outbox.take_unaccepted()
        if not leases and not self._outbox.has_confirmed:
            return False
        await self._unit_of_work.run(lambda transaction: transaction.release_outbox(leases))
        return True

    async def finish(self, within_s: float = FINISH_WITHIN_S) -> None:
        """At the end of a process: wait for the broker's word, and delete the rows of what is confirmed.

        What stays behind after so many seconds each is published once more by the relay of another process.
        """
        for work in (self._outbox.none_on_their_way, self.sweep_once):
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await work()

    def _publish(self, claims: Sequence[Claim]) -> int:
        """Publish what is not on its way already."""
        fresh = [claim for claim in claims if claim.message.message_id not in self._in_flight]
        self._in_flight.update((claim.message.message_id, claim) for claim in fresh)
        self._outbox.note_relayed(len(fresh))
        if fresh:
            messages = [claim.message for claim in fresh]
            self._publisher.publish(self._outbox.identity.marked(messages), self._confirm)
        return len(fresh)

    def _confirm(self, message_id: UUID, receipt: Receipt) -> None:
        claim = self._in_flight.pop(message_id)
        self._outbox.confirm(message_id, receipt, claim.attempts)
        if receipt is Receipt.CONFIRMED:
            self._obstructions.took(claim.destination)
        elif receipt is not Receipt.UNKNOWN:
            self._obstructions.did_not_take(claim.destination, receipt)
