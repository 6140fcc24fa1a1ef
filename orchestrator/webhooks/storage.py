"""Webhooks on PostgreSQL: each is sent by whoever holds its lease, and moved by nobody else (S30)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import TupleRow
from pydantic_core import to_json

from contracts.words import word_of
from orchestrator.postgresql import PostgresTransaction
from orchestrator.webhooks.webhook import Pause, State, Webhook

LEASE_S: Final = 30.0
"""Seconds after which a webhook whose sender says nothing is another replica's to send."""

_COLUMNS: Final = tuple(each.name for each in fields(Webhook))
_LISTED: Final = ", ".join(_COLUMNS)
_CHANGING: Final = tuple(name for name in _COLUMNS if name != "webhook_id")
_VALUES: Final = {"attempts": "%s::json"}

SELECT: Final = f"SELECT {_LISTED} FROM orchestrator.webhooks"  # noqa: S608

INSERT: Final = f"""
INSERT INTO orchestrator.webhooks ({_LISTED}, leased_until)
VALUES ({", ".join(_VALUES.get(name, "%s") for name in _COLUMNS)}, to_timestamp(0))
"""  # noqa: S608

UPDATE: Final = f"""
UPDATE orchestrator.webhooks SET {", ".join(f"{name} = {_VALUES.get(name, '%s')}" for name in _CHANGING)}
WHERE webhook_id = %s
"""  # noqa: S608

DUE: Final = """
leased_until <= %s AND (state <> 'removed' AND ping_id IS NOT NULL
                        OR state = 'active' AND next_at <= %s AND cursor IS DISTINCT FROM %s)
"""

LEASE: Final = f"""
UPDATE orchestrator.webhooks SET lease = %s, leased_until = %s::timestamptz + make_interval(secs => %s)
WHERE webhook_id IN (
    SELECT webhook_id FROM orchestrator.webhooks
    WHERE webhook_id <> ALL(%s) AND (lease = %s OR {DUE})
    ORDER BY next_at, webhook_id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING {_LISTED}
"""  # noqa: S608

RENEW: Final = """
UPDATE orchestrator.webhooks SET leased_until = %s::timestamptz + make_interval(secs => %s)
WHERE webhook_id = %s
"""

RELEASE: Final = "UPDATE orchestrator.webhooks SET leased_until = %s WHERE webhook_id = %s AND lease = %s"

HOLD: Final = "SELECT pg_advisory_xact_lock(hashtextextended('oms webhooks', 0))"


class WebhookTransaction(PostgresTransaction):
    """A transaction on the orchestrator's schema, webhooks included."""

    async def hold_webhooks(self) -> None:
        """Whoever adds another one waits for the end of this transaction."""
        await self.fetch(HOLD)

    async def urls(self) -> set[str]:
        """Of every webhook that is not removed."""
        rows = await self.fetch("SELECT url FROM orchestrator.webhooks WHERE state <> 'removed'")
        return {row[0] for row in rows}

    def add(self, webhook: Webhook) -> None:
        """Write a new one."""
        self.write(INSERT, _values(webhook, _COLUMNS), 1)

    async def lock(self, webhook_id: UUID) -> Webhook | None:
        """One that is not removed, locked until the end of this transaction."""
        found = await self.fetch(
            f"{SELECT} WHERE webhook_id = %s AND state <> 'removed' FOR UPDATE", [webhook_id]
        )
        return webhook_of(found[0]) if found else None

    async def read(self, webhook_id: UUID) -> Webhook | None:
        """One, not locked, also where it is removed."""
        found = await self.fetch(f"{SELECT} WHERE webhook_id = %s", [webhook_id])
        return webhook_of(found[0]) if found else None

    def save(self, webhook: Webhook) -> None:
        """Write what has become of one that is locked."""
        self.write(UPDATE, [*_values(webhook, _CHANGING), webhook.webhook_id], 1)

    async def lease(
        self, lease: UUID, latest: str | None, others: Collection[UUID], limit: int
    ) -> Sequence[Webhook]:
        """Take those for which there may be something to send, and that nobody sends.

        Args:
            latest: the cursor behind all that can be sent now: whoever is there has nothing to wait for.
            others: not these.
        """
        now = await self.now()
        due = [lease, now, now, latest]
        rows = await self.fetch(LEASE, [lease, now, LEASE_S, list(others), *due, limit])
        return [webhook_of(row) for row in rows]

    async def lock_leased(self, webhook_id: UUID, lease: UUID) -> Webhook | None:
        """One that is ours to send, locked; None where it is another's, or removed."""
        query = f"{SELECT} WHERE webhook_id = %s AND lease = %s AND state <> 'removed' FOR UPDATE"
        found = await self.fetch(query, [webhook_id, lease])
        return webhook_of(found[0]) if found else None

    def save_leased(self, webhook: Webhook, now: datetime) -> None:
        """Write what has become of one that `lock_leased` gave, and keep it for as long again."""
        self.save(webhook)
        self.write(RENEW, [now, LEASE_S, webhook.webhook_id], 1)

    def release(self, webhook_id: UUID, lease: UUID, now: datetime) -> None:
        """Let anybody send it."""
        self.write(RELEASE, [now, webhook_id, lease])


def webhook_of(row: TupleRow) -> Webhook:
    """The webhook of a row of `SELECT`."""
    columns = dict(zip(_COLUMNS, row, strict=True))
    pause = columns["pause"]
    known = {
        "types": tuple(columns["types"]),
        "state": word_of(State, columns["state"]),
        "pause": word_of(Pause, pause) if pause is not None else None,
        "attempts": tuple(columns["attempts"]),
    }
    return Webhook(**{**columns, **known})


def _values(webhook: Webhook, columns: Sequence[str]) -> list[object]:
    values = {name: getattr(webhook, name) for name in columns}
    pause = str(webhook.pause) if webhook.pause is not None else None
    shaped = {"types": list(webhook.types), "state": str(webhook.state), "pause": pause}
    return list({**values, **shaped, "attempts": to_json(webhook.attempts).decode()}.values())
