"""Transactions that write entries of histories, held open and committed in whatever order a test chooses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self
from uuid import UUID

import psycopg

from messaging.connecting import connect
from messaging.round_trip import Connection
from orchestrator.postgresql import INSERT_HISTORY

LED_TO: Final = json.dumps(
    {"status": "running", "order_status": "reserved", "step": None, "direction": "forward", "sent": []}
)


class Writer:
    """One transaction; use it in ``async with``, which takes back what was not committed."""

    def __init__(self, url: str, statement: str = INSERT_HISTORY) -> None:
        self._url = url
        self._statement = statement
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        self._connection = await connect(self._url)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._connection is not None
        await self._connection.close()

    async def fetch(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a statement of this transaction."""
        assert self._connection is not None
        cursor: psycopg.AsyncCursor[Any] = await self._connection.execute(query.encode(), parameters)
        return await cursor.fetchall()

    async def begin(self) -> int:
        """Get a number, as a transaction does when it locks its first row."""
        [(number,)] = await self.fetch("SELECT pg_current_xact_id()::text::bigint")
        return int(number)

    async def lock(self, saga_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Lock sagas in the order of their ids; how long the history of each is then."""
        await self.fetch(
            "SELECT saga_id FROM orchestrator.sagas WHERE saga_id = ANY(%s) ORDER BY saga_id FOR UPDATE",
            [list(saga_ids)],
        )
        rows = await self.fetch(
            "SELECT saga_id, max(version) FROM orchestrator.history WHERE saga_id = ANY(%s) GROUP BY saga_id",
            [list(saga_ids)],
        )
        return dict(rows)

    async def write(self, *entries: tuple[UUID, int]) -> None:
        """Write answers as entries of these sagas and versions, by the statement that the store uses."""
        assert self._connection is not None
        size = len(entries)
        answer = {"event": "PaymentSuccessfulEvent", "step": "charge", "direction": "forward"}
        columns = [
            [saga_id for saga_id, _ in entries],
            [version for _, version in entries],
            [datetime.now(UTC)] * size,
            ["outcome_received"] * size,
            [json.dumps(answer)] * size,
            [LED_TO] * size,
        ]
        await self._connection.execute(self._statement.encode(), columns)

    async def commit(self) -> None:
        """Commit."""
        assert self._connection is not None
        await self._connection.commit()

    async def roll_back(self) -> None:
        """Take back what was written."""
        assert self._connection is not None
        await self._connection.rollback()
