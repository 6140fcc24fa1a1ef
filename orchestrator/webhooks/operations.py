"""What people do with webhooks: add, pause, resume, set back, rotate, try, remove; each audited (D6, S30)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from messaging.identifiers import NewId
from messaging.unit_of_work import UnitOfWork
from orchestrator.core.inputs import Actor
from orchestrator.operations import NotAllowed, NotFound, StaleVersion
from orchestrator.storage import AuditEntry
from orchestrator.webhooks.addresses import Reach, receiver_url
from orchestrator.webhooks.storage import WebhookTransaction
from orchestrator.webhooks.webhook import (
    MOST_WEBHOOKS,
    SECRET_BYTES,
    Pause,
    State,
    Webhook,
    paused,
    removed,
    resumed,
    rotated,
    secret_of,
    set_back,
)

MOST_OVERLAP: Final = timedelta(days=7)
"""For how long an old secret may sign beside the new one."""

DEFAULT_OVERLAP: Final = timedelta(days=1)

Change = Callable[[Webhook, datetime], Webhook]


@dataclass(frozen=True, slots=True)
class Wish:
    """A webhook as somebody wants it.

    Attributes:
        types: of the events; empty for all.
        cursor: where it begins; None before all that is kept.
        pruned_sagas: how many sagas had been pruned when that was found out.
    """

    url: str
    types: tuple[str, ...]
    cursor: str | None
    pruned_sagas: int


class WebhookOperations:
    """Actions of people on webhooks. All raise StorageUnavailable."""

    def __init__(
        self,
        unit_of_work: UnitOfWork[WebhookTransaction],
        new_id: NewId,
        random_bytes: Callable[[int], bytes],
        reach: Reach,
    ) -> None:
        """
        Args:
            random_bytes: so many that nobody can guess, as `secrets.token_bytes` makes them.
        """
        self._unit_of_work = unit_of_work
        self._new_id = new_id
        self._random_bytes = random_bytes
        self.reach = reach

    async def add(self, wish: Wish, actor: Actor) -> Webhook:
        """A new webhook, with the secret that nobody is shown again.

        Raises:
            UnusableUrl: nothing is sent to this URL.
            NotAllowed: there is one of this URL, or there are too many.
        """
        receiver_url(wish.url, self.reach)
        webhook_id, audit_id, secret = self._new_id(), self._new_id(), self._secret()

        async def work(transaction: WebhookTransaction) -> Webhook:
            await transaction.hold_webhooks()
            earlier = await transaction.read(webhook_id)
            if earlier is not None:  # an earlier run is committed, perhaps while this one waited (S17)
                return earlier
            _check(await transaction.urls(), wish.url)
            now = await transaction.now()
            made = Webhook(
                webhook_id=webhook_id,
                url=wish.url,
                types=wish.types,
                state=State.ACTIVE,
                pause=None,
                cursor=wish.cursor,
                pruned_sagas=wish.pruned_sagas,
                secret=secret,
                old_secret=None,
                old_until=None,
                version=1,
                created_at=now,
                created_by=actor.name,
                updated_at=now,
                next_at=now,
            )
            transaction.add(made)
            transaction.add_audit([_entry(audit_id, now, actor, "webhook.add", None, made)])
            return made

        return await self._unit_of_work.run(work)

    async def pause(self, webhook_id: UUID, actor: Actor, version: int) -> Webhook:
        """Send nothing until somebody says so."""

        def change(webhook: Webhook, now: datetime) -> Webhook:
            if webhook.state != State.ACTIVE:
                raise NotAllowed("not_active", "it is paused already", ("resume", "replay", "remove"))
            return paused(webhook, Pause.BY_HAND, now)

        return await self._changed(webhook_id, actor, version, "webhook.pause", change)

    async def resume(self, webhook_id: UUID, actor: Actor, version: int) -> Webhook:
        """Send again, from where it stands; one that waits after a failure tries at once."""
        return await self._changed(webhook_id, actor, version, "webhook.resume", resumed)

    async def replay(
        self, webhook_id: UUID, actor: Actor, version: int, cursor: str | None, pruned_sagas: int
    ) -> Webhook:
        """Send from another place on; also what was sent before."""

        def change(webhook: Webhook, now: datetime) -> Webhook:
            return set_back(webhook, cursor, pruned_sagas, now)

        return await self._changed(webhook_id, actor, version, "webhook.replay", change)

    async def rotate(self, webhook_id: UUID, actor: Actor, version: int, overlap: timedelta) -> Webhook:
        """Give it a new secret, which nobody is shown again; the old one signs, too, during the overlap."""
        secret = self._secret()

        def change(webhook: Webhook, now: datetime) -> Webhook:
            return rotated(webhook, secret, overlap, now)

        return await self._changed(webhook_id, actor, version, "webhook.rotate", change)

    async def ping(self, webhook_id: UUID, actor: Actor, version: int) -> Webhook:
        """Have a trial event sent, whether it is paused or not."""
        ping_id = self._new_id()

        def change(webhook: Webhook, now: datetime) -> Webhook:
            return replace(webhook, ping_id=ping_id, version=webhook.version + 1, updated_at=now)

        return await self._changed(webhook_id, actor, version, "webhook.test", change)

    async def remove(self, webhook_id: UUID, actor: Actor, version: int) -> Webhook:
        """Send nothing any more, and forget the secrets."""
        return await self._changed(webhook_id, actor, version, "webhook.remove", removed)

    async def _changed(
        self, webhook_id: UUID, actor: Actor, version: int, action: str, change: Change
    ) -> Webhook:
        """The webhook after a change.

        Raises:
            NotFound: there is none of this id, or it is removed.
            StaleVersion: it is not at this version any more.
            NotAllowed: as ``change`` says.
        """
        audit_id = self._new_id()

        async def work(transaction: WebhookTransaction) -> Webhook:
            before = await transaction.lock(webhook_id)
            if await transaction.audit_entry(audit_id) is not None:  # an earlier run is committed (S17)
                before = await transaction.read(webhook_id)
                assert before is not None
                return before
            if before is None:
                raise NotFound(f"there is no webhook {webhook_id}")
            if before.version != version:
                raise StaleVersion(before.version)
            now = await transaction.now()
            after = change(before, now)
            transaction.save(after)
            transaction.add_audit([_entry(audit_id, now, actor, action, before, after)])
            return after

        return await self._unit_of_work.run(work)

    def _secret(self) -> str:
        return secret_of(self._random_bytes(SECRET_BYTES))


def _check(urls: set[str], url: str) -> None:
    if url in urls:
        raise NotAllowed("url_in_use", "there is a webhook of this URL; it may want several types")
    if len(urls) >= MOST_WEBHOOKS:
        raise NotAllowed("too_many_webhooks", f"there may be {MOST_WEBHOOKS} webhooks at most")


def _entry(
    audit_id: UUID, now: datetime, actor: Actor, action: str, before: Webhook | None, after: Webhook
) -> AuditEntry:
    was = before.audited if before is not None else {}
    subject = f"webhook:{after.webhook_id}"
    return AuditEntry(audit_id, now, actor.name, action, subject, actor.reason, was, after.audited)
