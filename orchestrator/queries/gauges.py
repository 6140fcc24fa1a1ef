"""How much of everything there is now, for monitoring: counts over partial indexes, bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ScalarSelect, Select, func, literal, select

from contracts.routing import ORCHESTRATOR, OUTCOMES_QUEUE, command_queue
from messaging.measures import OUTBOX, OUTBOX_AGE, Reading
from orchestrator.core.state import IncidentKind, Status
from orchestrator.jobs.job import JobState
from orchestrator.measures import ACTIVE, DEAD_LETTERS, JOBS_RUNNING, OPEN_INCIDENTS, OVERDUE, WITH_INCIDENT
from orchestrator.queries.reader import Reader
from orchestrator.queries.sagas import SOME_INCIDENT
from orchestrator.storage import DeadLetterStatus
from orchestrator.tables import dead_letters, jobs, outbox, sagas

COUNTED_TO: Final = 100_000
"""Counts stop here, so that a look at a system in trouble does not add to it."""

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

    async def read(self) -> Gauges:
        """One round trip. Raises StorageUnavailable."""
        [row] = await self._reader.rows(_STATEMENT)
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
        for row in await self._reader.rows(_DEAD_LETTERS):
            letters[row.queue if row.queue in queues else OTHER, row.status] += row.number
        for labels, count in letters.items():
            yield DEAD_LETTERS.of(*labels), count


def _age_s(now: datetime, since: datetime | None) -> float:
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0


def _count(rows: Select[Any]) -> ScalarSelect[int]:
    return select(func.count()).select_from(rows.limit(COUNTED_TO).subquery()).scalar_subquery()


def _active(status: Status) -> ScalarSelect[int]:
    one = select(literal(1))
    return _count(one.where(sagas.c.ended_as.is_(None), sagas.c.status == status))


_ONE: Final = select(literal(1))
_OPEN: Final = (DeadLetterStatus.OPEN, DeadLetterStatus.REPLAYING)
_STATEMENT: Final = select(
    func.clock_timestamp().label("now"),
    _active(Status.RUNNING).label("running"),
    _active(Status.COMPENSATING).label("compensating"),
    _count(_ONE.select_from(sagas).where(SOME_INCIDENT)).label("with_incident"),
    _count(_ONE.where(dead_letters.c.status.in_(_OPEN))).label("open_dead_letters"),
    _count(_ONE.select_from(outbox)).label("outbox"),
    _count(_ONE.where(jobs.c.state == JobState.RUNNING)).label("jobs_running"),
    select(outbox.c.created_at)
    .order_by(outbox.c.message_id)
    .limit(1)
    .scalar_subquery()
    .label("outbox_since"),
    select(sagas.c.due_at)
    .where(sagas.c.due_at.is_not(None))
    .order_by(sagas.c.due_at)
    .limit(1)
    .scalar_subquery()
    .label("due_since"),
)

_kinds = (
    select(func.unnest(sagas.c.incident_kinds).label("kind"))
    .where(SOME_INCIDENT)
    .limit(COUNTED_TO)
    .subquery()
)
_INCIDENTS: Final = select(_kinds.c.kind, func.count().label("number")).group_by(_kinds.c.kind)

_unsettled = (
    select(dead_letters.c.queue, dead_letters.c.status)
    .where(dead_letters.c.status.in_(_OPEN))
    .limit(COUNTED_TO)
    .subquery()
)
_DEAD_LETTERS: Final = select(_unsettled, func.count().label("number")).group_by(*_unsettled.c)
