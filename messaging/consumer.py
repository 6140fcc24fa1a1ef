"""Takes messages from a queue to a handler, a batch in one transaction.

**What lives here.** `Consumer`, the loop of every service that is driven by messages; `Hops`, what becomes
of a message that could not be served; the two protocols by which a service plugs in what it does.

**How it works.** Receive whatever has arrived, hand it to the handler within one unit of work, commit,
acknowledge, and only then publish: what the batch sends is in the outbox of the same transaction (M1). A
message that a handler cannot serve is *named* by it and leaves by a retry queue or for the dead letters, in
that transaction too. When the batch as a whole fails, it is run again message by message, so that only the
culprit fails.

**What must never happen.** An acknowledgement before the commit: a crash would lose the message (S2). One
that waits for the broker's confirms: two full queues would stall each other for ever. A message that nobody
can understand and that comes again and again (S16). A message that was taken and is neither served nor sent
onwards: it is kept, and served by the next run.

Rules: S2, S16, M1, P9, D1.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

import structlog
from structlog.contextvars import bound_contextvars

from contracts.failures import ERROR_MESSAGE
from contracts.routing import dead_letter_queue
from contracts.sensitive import SENSITIVE_NAMES
from messaging.background import finished
from messaging.errors import Poison
from messaging.identifiers import NewId
from messaging.installation import Identity
from messaging.log_context import ids_of
from messaging.measures import MESSAGES, Distribution
from messaging.retries import RetryPolicy, after_failure, postpone
from messaging.tracing import UNTRACED, Tracing
from messaging.transport import Delivery, Message, Subscription
from messaging.unit_of_work import Transaction, UnitOfWork

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=Transaction)
T_contra = TypeVar("T_contra", bound=Transaction, contravariant=True)


@dataclass(frozen=True, slots=True)
class Failed:
    """A delivery that its handler could not serve, and why.

    Attributes:
        about: what else than the message the error may speak of.
    """

    delivery: Delivery
    error: Exception
    about: Mapping[str, Any] | None = None


def sorted_out(identity: Identity, deliveries: Sequence[Delivery]) -> tuple[list[Delivery], list[Failed]]:
    """What may be served, and what is refused: another installation's (M4), or of no sound batch (M5)."""
    ours: list[Delivery] = []
    refused: list[Failed] = []
    for delivery in deliveries:
        if delivery.flaw is not None:
            refused.append(Failed(delivery, Poison("bad_batch", delivery.flaw)))
        elif (refusal := identity.refusal(delivery)) is not None:
            refused.append(Failed(delivery, refusal))
        else:
            ours.append(delivery)
    return ours, refused


class Handler(Protocol[T_contra]):
    """Serves a batch of deliveries within a transaction."""

    def __call__(
        self, transaction: T_contra, deliveries: Sequence[Delivery], /
    ) -> Awaitable[Sequence[Failed]]:
        """Serve what can be served and name what cannot, for instance what cannot be decoded.

        Raising anything means that the batch as a whole failed: it is run again message by message.
        """


class FailurePolicy(Protocol):
    """What becomes of deliveries that could not be served."""

    async def after_failures(self, transaction: Transaction, failures: Sequence[Failed]) -> None:
        """Do, within the transaction, what must be done before they are acknowledged."""


@dataclass(frozen=True, slots=True)
class Hops:
    """Makes the messages that take failed deliveries onwards.

    Attributes:
        sensitive: names of fields whose values no failure repeats.
    """

    policy: RetryPolicy
    new_id: NewId
    app_id: str
    sensitive: Collection[str] = SENSITIVE_NAMES

    async def after_failures(self, transaction: Transaction, failures: Sequence[Failed]) -> None:
        """Send each failed delivery to a retry queue or to the dead letters, through the outbox (M1)."""
        if not failures:
            return
        now = await transaction.now()
        ids = await self._ids_of(transaction, [failed.delivery for failed in failures])
        hops: list[Message] = []
        for failed, hop_id in zip(failures, ids, strict=True):
            if hop_id is None:
                continue
            words = (self.sensitive, failed.about)
            hop = after_failure(failed.delivery, failed.error, self.policy, hop_id, now, self.app_id, *words)
            gave_up = hop.routing_key == dead_letter_queue(failed.delivery.queue)
            log.log(
                logging.WARNING if gave_up else logging.INFO,
                "message gave up" if gave_up else "message failed, trying again later",
                queue=failed.delivery.queue,
                type=failed.delivery.type,
                error=f"{type(failed.error).__name__}: {hop.headers[ERROR_MESSAGE]}",
                goes_to=hop.routing_key,
                **ids_of(failed.delivery),
            )
            hops.append(hop)
        transaction.send(hops)

    async def postpone(self, transaction: Transaction, deliveries: Sequence[Delivery]) -> None:
        """Send deliveries that were not worked on to the longest retry queue, no attempt used up (P9)."""
        if not deliveries:
            return
        now = await transaction.now()
        ids = await self._ids_of(transaction, deliveries)
        transaction.send(
            [
                postpone(delivery, self.policy, hop_id, now, self.app_id)
                for delivery, hop_id in zip(deliveries, ids, strict=True)
                if hop_id is not None
            ]
        )

    async def _ids_of(
        self, transaction: Transaction, deliveries: Sequence[Delivery]
    ) -> Sequence[UUID | None]:
        """The id of each one's hop, the same however often the work is run; None where it is sent already.

        An earlier run may have committed without being told so (S17).
        """
        again = [delivery.hop_id for delivery in deliveries if delivery.hop_id is not None]
        sent = await transaction.outbox_holds(again) if again else ()
        for delivery in deliveries:
            delivery.hop_id = delivery.hop_id or self.new_id()
        return [None if delivery.hop_id in sent else delivery.hop_id for delivery in deliveries]


class Consumer(Generic[T]):
    """Takes batches from one subscription to one handler."""

    def __init__(
        self,
        subscription: Subscription,
        unit_of_work: UnitOfWork[T],
        handler: Handler[T],
        failure_policy: FailurePolicy,
        batch_limit: int = 200,
        tracing: Tracing = UNTRACED,
        identity: Identity | None = None,
    ) -> None:
        """
        Args:
            identity: what is another installation's is not served (M4); None serves everybody.
        """
        self._subscription = subscription
        self._unit_of_work = unit_of_work
        self._handler = handler
        self._failure_policy = failure_policy
        self._batch_limit = batch_limit
        self._tracing = tracing
        self._identity = identity or Identity()
        self._unserved: list[Delivery] = []
        self.turns = 0
        """Batches that have been served since the start."""
        self.batches = Distribution(MESSAGES)
        """Sizes of the batches since the start."""

    @property
    def turns_needed(self) -> int:
        """Batches until all that has arrived by now is served; 0 where nothing has."""
        return bool(self._unserved) + ceil(self._subscription.arrived / self._batch_limit)

    async def run_once(self) -> int:
        """Wait for deliveries and serve one batch; returns its size.

        What could be neither served nor sent onwards is served again by the next call: left alone it would
        be nobody's for as long as the channel lives, and in the end nothing more would be delivered.
        """
        if not self._unserved:
            self._unserved = await self._subscription.receive(self._batch_limit)
            self.batches.add(len(self._unserved))
            self._tracing.began(self._unserved)
        deliveries = list(self._unserved)
        await finished(self._serve(deliveries))
        self.turns += 1
        return len(deliveries)

    async def _serve(self, deliveries: Sequence[Delivery]) -> None:
        """One transaction for all; if that fails, one for each (S2)."""
        try:
            await self._unit_of_work.run(self._handling(deliveries))
        except Exception as error:
            if len(deliveries) == 1:
                await self._unit_of_work.run(self._failing(Failed(deliveries[0], error)))
            else:
                for delivery in deliveries:
                    with bound_contextvars(**ids_of(delivery)):
                        await self._serve([delivery])
                return
        self._subscription.acknowledge(deliveries)
        self._tracing.ended(deliveries)
        del self._unserved[: len(deliveries)]

    def _handling(self, deliveries: Sequence[Delivery]) -> Callable[[T], Awaitable[None]]:
        async def work(transaction: T) -> None:
            ours, failures = sorted_out(self._identity, deliveries)
            failures += await self._handler(transaction, ours) if ours else ()
            for failed in failures:
                self._tracing.failed(failed.delivery, failed.error)
            await self._failure_policy.after_failures(transaction, failures)

        return work

    def _failing(self, failed: Failed) -> Callable[[T], Awaitable[None]]:
        async def work(transaction: T) -> None:
            self._tracing.failed(failed.delivery, failed.error)
            await self._failure_policy.after_failures(transaction, [failed])

        return work
