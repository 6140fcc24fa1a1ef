"""The metrics of every process put together, and the page that lists them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.routing import OUTCOMES_QUEUE, command_queue, dead_letter_queue
from messaging import measures as of_messages
from messaging.clock import CLOCK_AHEAD
from messaging.connecting import checked_out
from messaging.measures import OUTBOX, OUTBOX_AGE, Measure, Reading
from messaging.postgresql import quoted_name
from messaging.transport import BrokerUnavailable, Transport
from orchestrator import measures as of_sagas
from orchestrator import metrics as of_processes
from orchestrator.measures import QUEUE_CONSUMERS, QUEUE_READY
from orchestrator.metrics import Look
from orchestrator.queries import retention as of_retention
from orchestrator.queries import webhooks as of_webhooks
from orchestrator.webhooks.sender import DELIVERIES
from participants import measures as of_participants

MEASURES: Final[tuple[Measure, ...]] = (
    *of_sagas.MEASURES,
    *of_messages.MEASURES,
    CLOCK_AHEAD,
    *of_participants.MEASURES,
    *of_processes.MEASURES,
    *of_retention.MEASURES,
    *of_webhooks.MEASURES,
    DELIVERIES,
)
"""Every family of numbers of this project; `process_*` comes from the client library."""

PAGE: Final = "metrics.md"

COUNTED_TO: Final = 100_000
"""Outbox rows are counted so far and no further."""


def outbox_look(service: str, database: AsyncEngine) -> Look:
    """How full one service's outbox is, and how old. The service's name is that of its schema."""
    schema = quoted_name(service)
    query = text(
        f"SELECT (SELECT count(*) FROM (SELECT 1 FROM {schema}.outbox LIMIT {COUNTED_TO}) AS rows),"  # noqa: S608
        f" (SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM {schema}.outbox"
        " ORDER BY message_id LIMIT 1)"
    )

    async def look() -> AsyncIterator[Reading]:
        async with checked_out(database) as connection:
            [(number, age_s)] = await connection.execute(query)
        yield OUTBOX.of(service), number
        yield OUTBOX_AGE.of(service), max(0.0, age_s or 0.0)

    return look


def queue_look(transport: Transport, participants: Iterable[str]) -> Look:
    """What waits at the broker: in the queues of work and of dead letters."""
    working = [OUTCOMES_QUEUE, *map(command_queue, participants)]
    queues = [*working, *map(dead_letter_queue, working)]

    async def look() -> AsyncIterator[Reading]:
        for queue in queues:
            try:
                depth = await transport.depth(queue)
            except BrokerUnavailable:
                return
            yield QUEUE_READY.of(queue), depth.ready
            yield QUEUE_CONSUMERS.of(queue), depth.consumers

    return look


def write_page(folder: Path, measures: Sequence[Measure] = MEASURES) -> Path:
    """Write the list of all metrics; returns its path."""
    rows = [
        f"| `{measure.name}` | {measure.kind} | {', '.join(f'`{label}`' for label in measure.labels)} "
        f"| {measure.said} |"
        for measure in sorted(measures, key=lambda each: each.name)
    ]
    path = folder / PAGE
    path.write_text("\n".join([*_HEAD, *rows, ""]))
    return path


_HEAD: Final = (
    "# Metrics",
    "",
    "Generated from the code by `make documents`. `/metrics` is on the API, and on `OMS_HEALTH_PORT` of",
    "every other service; beside these it has the client library's `process_*`. No label is an identity.",
    "What a process counts itself starts at 0 with it. What is read from a database (`oms_sagas_active`,",
    "`oms_outbox_*`, ...) or the broker (`oms_queue_*`) is the same on every replica that tells it: take the",
    "maximum, not the sum.",
    "",
    "| name | kind | labels | meaning |",
    "| --- | --- | --- | --- |",
)
