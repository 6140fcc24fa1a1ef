"""The outbox from the side of memory: publish after the commit, remember what may be deleted (M1).

The rows themselves are the storage's (`messaging.postgresql`); what a crash or a refusal leaves behind
is the relay's (`messaging.relay`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from messaging.installation import Identity
from messaging.tracing import UNTRACED, Tracing
from messaging.transport import Message, Publisher, Receipt

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """Somebody's right to publish a row: the one that it was given when it had been claimed so often."""

    message_id: UUID
    attempts: int


class Outbox:
    """Publishes committed messages at once and keeps the ids of the confirmed until their rows are gone."""

    def __init__(self, publisher: Publisher, tracing: Tracing = UNTRACED) -> None:
        self.tracing = tracing
        self.identity = Identity()
        """Whose messages leave by here; the service learns it at its start (M4)."""
        self._publisher = publisher
        self._confirmed: list[UUID] = []
        self._unaccepted: list[Lease] = []
        self._on_their_way = 0
        self._heard = asyncio.Event()
        self.receipts: Counter[Receipt] = Counter()
        """How many messages got which receipt since the start."""
        self.relayed = 0
        """How many messages the relay has published again since the start."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Send what has just been committed. What is not confirmed stays in the table for the relay."""
        if messages:
            self._on_their_way += len(messages)
            self._publisher.publish(self.identity.marked(messages), self.confirm)

    def note_relayed(self, number: int) -> None:
        """Take note that the relay has published so many messages; `confirm` is told of each."""
        self._on_their_way += number
        self.relayed += number

    async def none_on_their_way(self) -> None:
        """Wait until there is a receipt for everything that was published."""
        while self._on_their_way:
            self._heard.clear()
            await self._heard.wait()

    def confirm(self, message_id: UUID, receipt: Receipt, attempts: int = 0) -> None:
        """Take note of a receipt; ``attempts`` says how often a relay has claimed the row.

        What went out with its commit and got no receipt is left to the end of its first lease: while the
        broker is away that is every message, and each would cost a write.
        """
        self._on_their_way -= 1
        self._heard.set()
        self.receipts[receipt] += 1
        if receipt is Receipt.CONFIRMED:
            self._confirmed.append(message_id)
            return
        if receipt is not Receipt.UNKNOWN and not self._unaccepted:  # one line a sweep, not one a message
            log.error("message not accepted by the broker", message_id=str(message_id), receipt=receipt.value)
        if receipt is not Receipt.UNKNOWN or attempts:
            self._unaccepted.append(Lease(message_id, attempts))

    @property
    def has_confirmed(self) -> bool:
        """Whether there are rows to delete."""
        return bool(self._confirmed)

    def take_confirmed(self) -> list[UUID]:
        """The ids whose rows the next transaction deletes; to be given back if it does not commit."""
        taken, self._confirmed = self._confirmed, []
        return taken

    def give_back(self, message_ids: Sequence[UUID]) -> None:
        """The transaction that was to delete these rows did not commit."""
        self._confirmed[:0] = message_ids

    def take_unaccepted(self) -> list[Lease]:
        """The leases of rows whose messages the broker has not taken: nobody has them on their way."""
        taken, self._unaccepted = self._unaccepted, []
        return taken
