"""How much of everything there is now, for monitoring: counts over partial indexes, bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Row, ScalarSelect, Select, func, literal, select, text, union_all

from contracts.routing import ORCHESTRATOR, OUTCOMES_QUEUE, command_queue
from messaging.measures import OUTBOX, OUTBOX_AGE, Reading
from orchestrator.core.state import IncidentKind, Status
from orchestrator.jobs.job import JobState
from orchestrator.measures import (
    ACTIVE,
    DEAD_LETTERS,
    FEED_HELD,
    JOBS_RUNNING,
    OPEN_INCIDENTS,
    OVERDUE,
    WITH_INCIDENT,
)
from orchestrator.queries import retention
from orchestrator.queries.dead_letters import kinds_of
from orchestrator.queries.feed import HELD_BACK
from orchestrator.queries.reader import Reader
from orchestrator.selection import SOME_INCIDENT
from orchestrator.storage import DeadLetterStatus
from orchestrator.tables import dead_letters, jobs, outbox, sagas

COUNTED_TO: Final = 100_000
"""Counts stop here, so that a look at a system in trouble does not add to it."""

KIND_COUNTED_TO: Final = 10_000
"""Counting the dead letters of one status, queue and error stops here."""

OTHER: Final = "other"
"""The label of queues that are none of ours: what a stranger names is no label."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """Counts now, each at most `COUNTED_TO`; ages in seconds, 0 where there is nothing.

    Attributes:
        overdue_s: for how long the saga that waits longest to be looked at has been due.
        outbox_age_s: age of the oldest message that has not been confirmed.
    """

    running: int
    compensating: int
    with_incident: int
    open_dead_letters: int
    outbox: int
    outbox_age_s: float
    overdue_s: float
    jobs_running: int = 0

    def readings(self) -> Iterator[Reading]:
        """The same as metrics."""
        yield ACTIVE.of(Status.RUNNING.value), self.running
        yield ACTIVE.of(Status.COMPENSATING.value), self.compensating
        yield WITH_INCIDENT.of(), self.with_incident
        yield OVERDUE.of(), self.overdue_s
        yield JOBS_RUNNING.of(), self.jobs_running
        yield OUTBOX.of(ORCHESTRATOR), self.outbox
        yield OUTBOX_AGE.of(ORCHESTRATOR), self.outbox_age_s


class GaugeQueries:
    """Counts of what is open."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def read(self, counted_to: int = COUNTED_TO) -> Gauges:
        """One round trip; counts stop at ``counted_to``. Raises StorageUnavailable."""
        [row] = await self._reader.rows(_statement(counted_to))
        return Gauges(
            running=row.running,
            compensating=row.compensating,
            with_incident=row.with_incident,
            open_dead_letters=row.open_dead_letters,
            outbox=row.outbox,
            outbox_age_s=_age_s(row.now, row.outbox_since),
            overdue_s=_age_s(row.now, row.due_since),
            jobs_running=row.jobs_running,
        )

    async def readings(self, participants: Iterable[str]) -> AsyncIterator[Reading]:
        """Everything as metrics, incidents by kind, dead letters by queue. Raises StorageUnavailable.

        Args:
            participants: whose queues have a label of their own.
        """
        queues = frozenset({OUTCOMES_QUEUE, *map(command_queue, participants)})
        for reading in (await self.read()).readings():
            yield reading
        found = {row.kind: row.number for row in await self._reader.rows(_INCIDENTS)}
        for kind in IncidentKind:
            yield OPEN_INCIDENTS.of(kind.value), found.get(kind.value, 0)
        letters: Counter[tuple[str, str]] = Counter(
            {(queue, status.value): 0 for queue in queues for status in _OPEN}
        )
        kinds = await self._reader.rows(kinds_of(_OPEN))
        for row in await self._reader.rows(_counted(kinds)) if kinds else ():
            letters[row.queue if row.queue in queues else OTHER, row.status] += row.number
        for labels, count in letters.items():
            yield DEAD_LETTERS.of(*labels), count
        held = await self._reader.row(text(HELD_BACK))
        yield FEED_HELD.of(), held.seconds if held is not None else 0.0
        for reading in retention.readings(await self._reader.rows(retention.STATEMENT)):
            yield reading


def _age_s(now: datetime, since: datetime | None) -> float:
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0


def _count(counted_to: int, rows: Select[Any]) -> ScalarSelect[int]:
    return select(func.count()).select_from(rows.limit(counted_to).subquery()).scalar_subquery()


def _statement(counted_to: int) -> Select[Any]:
    """Every count goes along the order of an index, so that it reads no more than it counts."""
    one, saga, dead = select(literal(1)), sagas.c, dead_letters.c
    active = one.where(saga.ended_as.is_(None)).order_by(saga.saga_id)
    stuck = one.select_from(sagas).where(SOME_INCIDENT).order_by(saga.saga_id)
    unsettled = [
        _count(counted_to, one.where(dead.status == status).order_by(dead.dead_letter_id)) for status in _OPEN
    ]
    waiting = one.select_from(outbox).order_by(outbox.c.message_id)
    running = one.where(jobs.c.state == JobState.RUNNING)
    return select(
        func.clock_timestamp().label("now"),
        _count(counted_to, active.where(saga.status == Status.RUNNING)).label("running"),
        _count(counted_to, active.where(saga.status == Status.COMPENSATING)).label("compensating"),
        _count(counted_to, stuck).label("with_incident"),
        sum(unsettled[1:], start=unsettled[0]).label("open_dead_letters"),
        _count(counted_to, waiting).label("outbox"),
        _count(counted_to, running).label("jobs_running"),
        _first(outbox.c.created_at, outbox.c.message_id).label("outbox_since"),
        _first(saga.due_at, saga.due_at).label("due_since"),
    )


def _first(column: Column[datetime], order: Column[Any]) -> ScalarSelect[datetime]:
    """Of the row that comes first, rows without a place in the order aside."""
    return select(column).where(order.is_not(None)).order_by(order).limit(1).scalar_subquery()


_OPEN: Final = (DeadLetterStatus.OPEN, DeadLetterStatus.REPLAYING)

_kinds = (
    select(func.unnest(sagas.c.incident_kinds).label("kind"))
    .where(SOME_INCIDENT)
    .limit(COUNTED_TO)
    .subquery()
)
_INCIDENTS: Final = select(_kinds.c.kind, func.count().label("number")).group_by(_kinds.c.kind)


def _counted(kinds: Sequence[Row[Any]]) -> Select[Any]:
    """The dead letters of each kind, at most `KIND_COUNTED_TO`, along an index."""
    dead = dead_letters.c
    branches = [
        select(dead.status, dead.queue)
        .where(dead.status == kind.status, dead.queue == kind.queue, dead.error_type == kind.error_type)
        .order_by(dead.dead_letter_id.desc())
        .limit(KIND_COUNTED_TO)
        .subquery()
        for kind in kinds
    ]
    found = union_all(*map(select, branches)).subquery().c
    return select(found.status, found.queue, func.count().label("number")).group_by(found.status, found.queue)
