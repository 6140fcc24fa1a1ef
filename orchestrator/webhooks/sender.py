"""Sends events to the receivers of webhooks: each in the order of the feed, at least once (S30).

A webhook is leased by one replica at a time. Its position moves once its receiver has taken the event, in a
transaction that checks the lease and the position: whoever has lost the lease moves nothing. Each webhook has
a task of its own, and there are as many at once as there may be webhooks: no receiver makes another one wait.
No transaction is open while something is sent; it would hold up the feed itself.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from pydantic_core import to_json

from messaging.clock import StorageClock
from messaging.identifiers import NewId
from messaging.measures import Kind, Measure, Reading
from messaging.unit_of_work import StorageUnavailable, UnitOfWork
from orchestrator.core.registry import Registry
from orchestrator.queries.feed import (
    LONGEST_OPEN,
    CursorGone,
    CursorUnknown,
    EventList,
    FeedFilter,
    FeedQueries,
    FeedUnordered,
)
from orchestrator.queries.feed_events import Entry, PublicEvent
from orchestrator.queries.feed_position import BEGINNING, position_of
from orchestrator.webhooks.delivery import Answered, Courier, WebhookMessage
from orchestrator.webhooks.storage import WebhookTransaction
from orchestrator.webhooks.webhook import (
    MOST_WEBHOOKS,
    Attempt,
    Pause,
    State,
    Webhook,
    delay_s,
    delivered,
    failed,
    gone,
    noted,
    paused,
)

log = structlog.get_logger(__name__)

PAGE: Final = 50
"""Events that are read at once, and so may be read again when a delivery fails."""

PING: Final = "WebhookPing"
"""The type of the trial event."""

FINISH_S: Final = 5.0
"""Seconds that deliveries under way get when the process stops."""

CONNECTIONS: Final = 3
"""To the database, that all webhooks of a process use at once: sagas go first."""

DELIVERIES: Final = Measure(
    "oms_webhook_deliveries_total",
    Kind.COUNTER,
    "Deliveries to receivers of webhooks: taken, or failed and to be tried again.",
    ("result",),
)

Change = Callable[[Webhook, datetime], Webhook]


def told_here(registry: Registry) -> Callable[[Entry, datetime], bool]:
    """Whether this process knows all events of an entry.

    What a newer definition's saga announced is left to replicas that know it, as its next steps are (S13).
    After an hour there is none, and such an entry is told as far as the feed tells it.
    """

    def is_told(entry: Entry, now: datetime) -> bool:
        known = registry.find(entry.definition, entry.definition_version) is not None
        return known or now - entry.at > LONGEST_OPEN

    return is_told


class WebhookSender:
    """The sender of one process."""

    def __init__(
        self,
        unit_of_work: UnitOfWork[WebhookTransaction],
        feed: FeedQueries,
        courier: Courier,
        new_id: NewId,
        rng: random.Random,
        give_up_after: timedelta,
        clock: StorageClock | None = None,
    ) -> None:
        """
        Args:
            courier: closed at the end of `stop`.
            give_up_after: how long a webhook's deliveries may fail in a row until it is paused.
            clock: what deliveries are dated by, and which secrets sign them; None has not been compared.
        """
        self.counts: Counter[str] = Counter(taken=0, failed=0)
        self._unit_of_work = unit_of_work
        self._feed = feed
        self._courier = courier
        self._new_id = new_id
        self._rng = rng
        self._give_up_after = give_up_after
        self._clock = clock or StorageClock()
        self._turns: dict[UUID, asyncio.Task[None]] = {}
        self._stopping = False
        self._connections = asyncio.Semaphore(CONNECTIONS)

    async def run_once(self) -> None:
        """Begin to send for every webhook that has something to send."""
        free = MOST_WEBHOOKS - len(self._turns)
        if free <= 0 or self._stopping:
            return
        latest, lease, busy = await self._feed.latest(), self._new_id(), list(self._turns)
        cursor = None if latest == BEGINNING else latest.cursor

        async def take(transaction: WebhookTransaction) -> list[Webhook]:
            return list(await transaction.lease(lease, cursor, busy, free))

        for webhook in await self._unit_of_work.run(take):
            self._begin(webhook, lease)

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._turns:
            await asyncio.wait(list(self._turns.values()))

    async def stop(self) -> None:
        """Finish deliveries under way, as far as time allows; what was not noted is sent again later."""
        self._stopping = True
        turns = list(self._turns.values())
        if turns:
            _, unfinished = await asyncio.wait(turns, timeout=FINISH_S)
            for turn in unfinished:
                turn.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        await self._courier.close()

    def readings(self) -> Iterator[Reading]:
        """What this process has delivered."""
        for result, count in self.counts.items():
            yield DELIVERIES.of(result), count

    def _begin(self, webhook: Webhook, lease: UUID) -> None:
        name = f"webhook {webhook.webhook_id}"
        turn = asyncio.create_task(self._turn(webhook, lease), name=name)
        self._turns[webhook.webhook_id] = turn
        turn.add_done_callback(lambda _: self._turns.pop(webhook.webhook_id, None))

    async def _turn(self, webhook: Webhook, lease: UUID) -> None:
        """Send what there is, until there is no more, or something is not taken.

        Where it cannot go on for a reason of ours, the lease is left to run out: that is the pause before
        anybody tries again.
        """
        try:
            await self._send_all(webhook, lease)
            await self._release(webhook, lease)
        except (StorageUnavailable, FeedUnordered) as error:
            problem = type(error).__name__
            log.warning("a webhook waits for the feed", webhook=str(webhook.webhook_id), problem=problem)
        except Exception as error:
            log.error("a webhook cannot be sent", webhook=str(webhook.webhook_id), exc_info=error)

    async def _send_all(self, taken: Webhook, lease: UUID) -> None:
        webhook: Webhook | None = taken
        if taken.ping_id is not None:
            webhook = await self._ping(taken, taken.ping_id, lease)
        while webhook is not None and webhook.state == State.ACTIVE and not self._stopping:
            try:
                page = await self._page(webhook)
            except CursorGone:
                await self._pause(webhook, lease, Pause.EVENTS_PRUNED)
                return
            except CursorUnknown:
                await self._pause(webhook, lease, Pause.POSITION_UNKNOWN)
                return
            webhook = await self._send_page(webhook, lease, page)
            if not page.more:
                return

    async def _page(self, webhook: Webhook) -> EventList:
        after = BEGINNING if webhook.cursor is None else position_of(webhook.cursor)
        wanted = FeedFilter(frozenset(webhook.types))
        async with self._connections:
            return await self._feed.page(after, wanted, PAGE, webhook.pruned_sagas)

    async def _send_page(self, webhook: Webhook, lease: UUID, page: EventList) -> Webhook | None:
        """The webhook behind the page; None where it is not to go on."""
        if not page.items:
            return await self._move(webhook, lease, page.next_cursor)
        behind = [*(event.cursor for event in page.items[:-1]), page.next_cursor]
        for event, cursor in zip(page.items, behind, strict=True):
            moved = await self._deliver(webhook, lease, event, cursor)
            if moved is None or moved.state != State.ACTIVE or self._stopping:
                return None
            webhook = moved
        return webhook

    async def _deliver(
        self, webhook: Webhook, lease: UUID, event: PublicEvent, cursor: str
    ) -> Webhook | None:
        """The webhook behind an event; None where that was not taken."""
        body = event.model_dump_json().encode()
        answered, took_ms = await self._sent(webhook, event.event_id, body)

        def change(current: Webhook, now: datetime) -> Webhook:
            attempt = Attempt(now, event.event_id, event.type, answered.failure, took_ms)
            if answered.failure is None:
                return delivered(current, cursor, attempt)
            if current.state != State.ACTIVE:
                return noted(current, attempt)
            if answered.is_gone:
                return gone(current, attempt)
            pause_s = delay_s(current.failures + 1, self._rng, answered.again_after_s)
            return failed(current, attempt, pause_s, self._give_up_after)

        self.counts["taken" if answered.failure is None else "failed"] += 1
        after = await self._noted(webhook, lease, change, cursor)
        if answered.failure is None:
            return after
        about = {"webhook": str(webhook.webhook_id), "event_id": str(event.event_id)}
        log.warning("a webhook's receiver has not taken an event", **about, problem=answered.failure)
        if after is not None and after.state == State.PAUSED:
            log.error("a webhook is paused", webhook=str(webhook.webhook_id), reason=str(after.pause))
        return None

    async def _ping(self, webhook: Webhook, ping_id: UUID, lease: UUID) -> Webhook | None:
        """Send the trial event; whatever comes of it, the webhook goes on as it was."""
        body = to_json({"event_id": ping_id, "type": PING})
        answered, took_ms = await self._sent(webhook, ping_id, body)

        def change(current: Webhook, now: datetime) -> Webhook:
            attempt = Attempt(now, ping_id, PING, answered.failure, took_ms)
            waits = current.ping_id if current.ping_id != ping_id else None
            return replace(noted(current, attempt), ping_id=waits)

        return await self._noted(webhook, lease, change, webhook.cursor)

    async def _sent(self, webhook: Webhook, message_id: UUID, body: bytes) -> tuple[Answered, int]:
        """What came of it, and after how many milliseconds."""
        now, elapsed = self._clock.now(), asyncio.get_running_loop().time
        began = elapsed()
        secrets = webhook.secrets_at(now)
        message = WebhookMessage(webhook.url, str(message_id), int(now.timestamp()), body, secrets)
        return await self._courier.bring(message), round(1000 * (elapsed() - began))

    async def _move(self, webhook: Webhook, lease: UUID, cursor: str) -> Webhook | None:
        """Nothing that it wants is before this."""
        if cursor in (webhook.cursor, BEGINNING.cursor):
            return webhook

        def change(current: Webhook, _: datetime) -> Webhook:
            return replace(current, cursor=cursor)

        return await self._noted(webhook, lease, change, cursor)

    async def _pause(self, webhook: Webhook, lease: UUID, why: Pause) -> None:
        def change(current: Webhook, now: datetime) -> Webhook:
            return paused(current, why, now) if current.state == State.ACTIVE else current

        log.error("a webhook is paused", webhook=str(webhook.webhook_id), reason=str(why))
        await self._noted(webhook, lease, change, webhook.cursor)

    async def _noted(
        self, webhook: Webhook, lease: UUID, change: Change, cursor: str | None
    ) -> Webhook | None:
        """The webhook after a change; None where it is not ours any more, or stands somewhere else by now.

        Args:
            cursor: where it stands after the change: where it does, an earlier run was committed (S17).
        """

        async def work(transaction: WebhookTransaction) -> Webhook | None:
            current = await transaction.lock_leased(webhook.webhook_id, lease)
            if current is None:
                return None
            if current.cursor != webhook.cursor:
                return current if current.cursor == cursor else None
            now = await transaction.now()
            after = change(current, now)
            transaction.save_leased(after, now)
            return after

        async with self._connections:
            return await self._unit_of_work.run(work)

    async def _release(self, webhook: Webhook, lease: UUID) -> None:
        async def work(transaction: WebhookTransaction) -> None:
            transaction.release(webhook.webhook_id, lease, await transaction.now())

        await self._unit_of_work.run(work)
