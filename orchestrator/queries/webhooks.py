"""Webhooks as people and monitoring see them: where each stands, and what failed. Never a secret."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import Row, func, select, text

from messaging.measures import Kind, Measure, Reading
from orchestrator.queries.feed import BELOW_THE_OLDEST_OPEN
from orchestrator.queries.feed_position import BEGINNING, Position, position_of
from orchestrator.queries.paging import InvalidCursor
from orchestrator.queries.reader import Reader
from orchestrator.queries.views import Time, View
from orchestrator.tables import webhooks
from orchestrator.webhooks.webhook import Pause, State

WEBHOOKS: Final = Measure(
    "oms_webhooks",
    Kind.GAUGE,
    "Webhooks: active; failing, whose receiver did not take the last event; paused by hand; given_up.",
    ("state",),
)
LAG: Final = Measure(
    "oms_webhook_lag_seconds",
    Kind.GAUGE,
    "How old the oldest event is that an active webhook's receiver has not taken yet.",
    ("webhook",),
)
MEASURES: Final = (WEBHOOKS, LAG)

STANDINGS: Final = ("active", "failing", "paused", "given_up")

_SAID: Final[Mapping[str, str]] = {
    Pause.BY_HAND: "somebody has paused it",
    Pause.FAILING: "its receiver has taken nothing for too long",
    Pause.GONE: "its receiver answers that it wants nothing more",
    Pause.EVENTS_PRUNED: "events that its receiver has not got were pruned",
    Pause.POSITION_UNKNOWN: "its place is not in the database, which was restored or has failed over",
}

# Each along the index of the feed.
_WAITING: Final = f"""
SELECT w.number, (
    SELECT h.at FROM orchestrator.history h
    WHERE (h.transaction_id, h.saga_id, h.version) > (CAST(w.transaction AS xid8), w.saga_id, w.version)
      AND {BELOW_THE_OLDEST_OPEN}
    ORDER BY h.transaction_id, h.saga_id, h.version LIMIT 1) AS since
FROM unnest(CAST(:transactions AS text[]), CAST(:saga_ids AS uuid[]), CAST(:versions AS int[]))
    WITH ORDINALITY AS w (transaction, saga_id, version, number)
"""  # noqa: S608 (constants of this module)


class AttemptView(View):
    """One delivery, tried."""

    at: Time
    event_id: UUID
    type: str
    failure: str | None = Field(description="Null where the receiver took it")
    took_ms: int


class WebhookView(View):
    """A webhook and how it fares."""

    webhook_id: UUID
    url: str
    types: tuple[str, ...] = Field(description="Of the events that are sent; empty for all")
    state: str
    pause: str | None = Field(description="Why it is paused, for programs")
    why: str | None = Field(description="Why it is paused, in a sentence")
    version: int
    cursor: str | None = Field(description="Behind the last event that was taken; null before all of them")
    behind_s: float = Field(description="How old the oldest event is that was not looked at; 0 for none")
    delivered: int
    delivered_at: Time | None
    failures: int = Field(description="In a row, since the last event that was taken")
    failing_since: Time | None
    next_at: Time | None = Field(description="When it is tried again, where the last try failed")
    old_secret_until: Time | None = Field(description="Until then the secret of before signs as well")
    trial_waits: bool = Field(description="Whether a trial event is still to be sent")
    attempts: tuple[AttemptView, ...] = Field(description="The latest ones, the last of them first")
    created_at: Time
    created_by: str
    updated_at: Time


class WebhookList(View):
    """All webhooks, the oldest first."""

    items: tuple[WebhookView, ...]


def standing(webhook: WebhookView) -> str:
    """One of `STANDINGS`, or a state that is not known here."""
    if webhook.state == State.PAUSED:
        return "paused" if webhook.pause == Pause.BY_HAND else "given_up"
    return "failing" if webhook.state == State.ACTIVE and webhook.failures else webhook.state


class WebhookQueries:
    """Reads webhooks. All raise StorageUnavailable."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def all(self) -> WebhookList:
        """Every one that is not removed; their number is bounded."""
        return WebhookList(items=tuple(await self._views()))

    async def one(self, webhook_id: UUID) -> WebhookView | None:
        """One, also where it is removed."""
        statement = _SHOWN.where(webhooks.c.webhook_id == webhook_id)
        found = await self._shown(await self._reader.rows(statement))
        return found[0] if found else None

    async def readings(self) -> AsyncIterator[Reading]:
        """The same as metrics."""
        found = await self._views()
        counts = Counter(map(standing, found))
        for state in STANDINGS:
            yield WEBHOOKS.of(state), counts[state]
        for each in found:
            if each.state == State.ACTIVE:
                yield LAG.of(str(each.webhook_id)), each.behind_s

    async def _views(self) -> list[WebhookView]:
        statement = _SHOWN.where(webhooks.c.state != State.REMOVED).order_by(webhooks.c.webhook_id)
        return await self._shown(await self._reader.rows(statement))

    async def _shown(self, rows: Sequence[Row[Any]]) -> list[WebhookView]:
        positions = [_position(row.cursor) for row in rows]
        values = {
            "transactions": [str(each.transaction) for each in positions],
            "saga_ids": [each.saga_id for each in positions],
            "versions": [each.version for each in positions],
        }
        waiting = await self._reader.rows(text(_WAITING).bindparams(**values)) if rows else ()
        since = {each.number: each.since for each in waiting}
        return [_view(row, since.get(number)) for number, row in enumerate(rows, 1)]


_COLUMNS: Final = [column for column in webhooks.c if column.name not in ("secret", "old_secret")]
_SHOWN: Final = select(
    *_COLUMNS, webhooks.c.old_secret.is_not(None).label("has_old"), func.clock_timestamp().label("now")
)


def _position(cursor: str | None) -> Position:
    try:
        return BEGINNING if cursor is None else position_of(cursor)
    except InvalidCursor:
        return BEGINNING


def _view(row: Row[Any], since: datetime | None) -> WebhookView:
    has_old = row.has_old and row.old_until is not None and row.old_until > row.now
    is_tried_again = row.failures > 0 and row.state == State.ACTIVE
    named = {name: getattr(row, name) for name in WebhookView.model_fields if hasattr(row, name)}
    given = {
        "why": _SAID.get(row.pause, f"it is paused: {row.pause}") if row.pause is not None else None,
        "behind_s": max(0.0, (row.now - since).total_seconds()) if since is not None else 0.0,
        "next_at": row.next_at if is_tried_again else None,
        "old_secret_until": row.old_until if has_old else None,
        "trial_waits": row.ping_id is not None,
        "attempts": [AttemptView.model_validate(each) for each in reversed(row.attempts)],
    }
    return WebhookView.model_validate({**named, **given})
