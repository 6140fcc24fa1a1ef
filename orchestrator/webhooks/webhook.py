"""A webhook: where events go, how far it has come, and what becomes of it by what its receiver answers (S30).

Nothing here knows a database or a network: each function takes the webhook as it is, and gives it as it is
after that.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

MOST_WEBHOOKS: Final = 50
"""Of one installation; each replica sends to as many at once, so that none waits for another's receiver."""

KEY_MARK: Final = "whsec_"
SECRET_BYTES: Final = 32

FIRST_DELAY_S: Final = 5.0
LONGEST_DELAY_S: Final = 3600.0
"""Bounds of the pause after a failed delivery: it doubles, and up to half of it is left to chance."""

KEPT_ATTEMPTS: Final = 10
"""Attempts that are shown of a webhook; older ones are counted alone."""


class State(StrEnum):
    """Whether events are sent."""

    ACTIVE = "active"
    PAUSED = "paused"
    REMOVED = "removed"


class Pause(StrEnum):
    """Why no events are sent."""

    BY_HAND = "by_hand"
    FAILING = "failing"
    GONE = "gone"
    EVENTS_PRUNED = "events_pruned"
    POSITION_UNKNOWN = "position_unknown"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery, tried.

    Attributes:
        failure: None where the receiver took it.
        took_ms: until its answer, or until there was none.
    """

    at: datetime
    event_id: UUID
    type: str
    failure: str | None
    took_ms: int

    @property
    def document(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "at": self.at.isoformat(),
            "event_id": str(self.event_id),
            "type": self.type,
            "failure": self.failure,
            "took_ms": self.took_ms,
        }


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as it is kept.

    Attributes:
        types: of the events that it wants; empty for all.
        cursor: behind what was acknowledged; None before all that is kept.
        pruned_sagas: how many sagas had been pruned when it was set to begin where it did.
        secret: signs what is sent.
        old_secret: signs it as well, until ``old_until``.
        version: counts what people did to it, and its pauses; not deliveries.
        failing_since: of the first failure behind the last success.
        next_at: not before is anything sent.
        ping_id: of a trial event that somebody asked for, and that is not sent yet.
        attempts: the latest last.
    """

    webhook_id: UUID
    url: str
    types: tuple[str, ...]
    state: State | str
    pause: Pause | str | None
    cursor: str | None
    pruned_sagas: int
    secret: str = field(repr=False)
    old_secret: str | None = field(repr=False)
    old_until: datetime | None
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    next_at: datetime
    failing_since: datetime | None = None
    failures: int = 0
    delivered: int = 0
    delivered_at: datetime | None = None
    ping_id: UUID | None = None
    attempts: tuple[Mapping[str, Any], ...] = ()

    def secrets_at(self, now: datetime) -> tuple[str, ...]:
        """What signs a delivery now, the newest first."""
        if self.old_secret is not None and self.old_until is not None and now < self.old_until:
            return self.secret, self.old_secret
        return (self.secret,)

    @property
    def audited(self) -> dict[str, Any]:
        """What the audit log says of it (D6): never a secret."""
        return {
            "url": self.url,
            "types": list(self.types),
            "state": str(self.state),
            "pause": str(self.pause) if self.pause is not None else None,
            "cursor": self.cursor,
            "version": self.version,
        }


def secret_of(random_bytes: bytes) -> str:
    """A secret in the form that the Standard Webhooks specification gives it."""
    return KEY_MARK + base64.b64encode(random_bytes).decode()


def noted(webhook: Webhook, attempt: Attempt) -> Webhook:
    """One more attempt is shown; it stands where it stood."""
    return replace(webhook, attempts=(*webhook.attempts, attempt.document)[-KEPT_ATTEMPTS:])


def delivered(webhook: Webhook, cursor: str, attempt: Attempt) -> Webhook:
    """Its receiver has taken an event: only now is the position behind it (S30)."""
    return replace(
        noted(webhook, attempt),
        cursor=cursor,
        failures=0,
        failing_since=None,
        delivered=webhook.delivered + 1,
        delivered_at=attempt.at,
        next_at=attempt.at,
    )


def failed(webhook: Webhook, attempt: Attempt, pause_s: float, give_up_after: timedelta) -> Webhook:
    """Its receiver has not taken an event: the same is tried later, or, after so long, when somebody says so.

    Args:
        pause_s: seconds until then, see `delay_s`.
        give_up_after: how long deliveries may fail in a row.
    """
    since = webhook.failing_since or attempt.at
    tried = replace(
        noted(webhook, attempt),
        failures=webhook.failures + 1,
        failing_since=since,
        next_at=attempt.at + timedelta(seconds=pause_s),
    )
    return paused(tried, Pause.FAILING, attempt.at) if attempt.at - since >= give_up_after else tried


def gone(webhook: Webhook, attempt: Attempt) -> Webhook:
    """Its receiver wants no more events, ever (410)."""
    since = webhook.failing_since or attempt.at
    told = replace(noted(webhook, attempt), failures=webhook.failures + 1, failing_since=since)
    return paused(told, Pause.GONE, attempt.at)


def paused(webhook: Webhook, why: Pause, now: datetime) -> Webhook:
    """Nothing is sent until somebody says so; the position stays."""
    return replace(webhook, state=State.PAUSED, pause=why, version=webhook.version + 1, updated_at=now)


def resumed(webhook: Webhook, now: datetime) -> Webhook:
    """Events are sent again, from where it stands, at once."""
    return replace(
        webhook,
        state=State.ACTIVE,
        pause=None,
        failures=0,
        failing_since=None,
        next_at=now,
        version=webhook.version + 1,
        updated_at=now,
    )


def set_back(webhook: Webhook, cursor: str | None, pruned_sagas: int, now: datetime) -> Webhook:
    """Events are sent from another place on, at once."""
    return replace(resumed(webhook, now), cursor=cursor, pruned_sagas=pruned_sagas)


def rotated(webhook: Webhook, secret: str, overlap: timedelta, now: datetime) -> Webhook:
    """A new secret signs; for a while the one of before does so, too."""
    return replace(
        webhook,
        secret=secret,
        old_secret=webhook.secret if overlap else None,
        old_until=now + overlap if overlap else None,
        version=webhook.version + 1,
        updated_at=now,
    )


def removed(webhook: Webhook, now: datetime) -> Webhook:
    """Nothing is sent any more; the secrets are forgotten."""
    return replace(
        webhook,
        state=State.REMOVED,
        pause=None,
        secret="",
        old_secret=None,
        old_until=None,
        ping_id=None,
        version=webhook.version + 1,
        updated_at=now,
    )


def delay_s(failures: int, rng: random.Random, asked_s: float | None = None) -> float:
    """Seconds until the next try after so many failures in a row.

    Args:
        asked_s: seconds that the receiver wants to be left alone; more than the longest pause counts as that.
    """
    longest: float = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures - 1, 20))
    return max(longest * rng.uniform(0.5, 1), min(asked_s or 0.0, LONGEST_DELAY_S))
