"""Reads of sagas: one with its history, and the operator's list."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, Text, cast, func, select

from contracts.findable import Findable
from orchestrator.codec import Unreadable, check_fits, read_saga
from orchestrator.core.registry import Registry
from orchestrator.core.state import ENDED, IncidentKind, Saga, Status
from orchestrator.core.values import replace
from orchestrator.queries.masking import masking_of
from orchestrator.queries.paging import KEY, Page, numbered, read_page
from orchestrator.queries.pieces import input_of, step_views, wait_views
from orchestrator.queries.reader import Reader
from orchestrator.queries.views import (
    FailureView,
    HistoryList,
    HistoryView,
    IncidentView,
    SagaDetail,
    SagaFailure,
    SagaList,
    SagaStanding,
    SagaSummary,
    SagaView,
)
from orchestrator.selection import SagaFilter, conditions
from orchestrator.tables import history, orders, saga_metadata, saga_references, sagas

MAX_HISTORY: Final = 1000
"""Entries of one saga's history that are read at once, and of the latest that are shown with the saga."""

_MOST_ENTRIES: Final = 2**31 - 1
"""Versions are no larger than the database's integers."""

SAGA_COLUMNS: Final = (
    sagas.c.saga_id,
    sagas.c.order_id,
    sagas.c.definition,
    sagas.c.definition_version,
    sagas.c.status,
    sagas.c.order_status,
    sagas.c.direction,
    sagas.c.version,
    sagas.c.due_at,
    sagas.c.created_at,
    sagas.c.updated_at,
    sagas.c.ended_at,
)

WHOLE_SAGA: Final = (
    *SAGA_COLUMNS,
    sagas.c.incident_kinds,
    cast(sagas.c.state, Text).label("state"),
    orders.c.customer_id,
    cast(orders.c.document, Text).label("document"),
)
"""Columns from which `saga_of` makes a saga."""


REFERENCE: Final = (
    select(saga_references.c.reference)
    .where(saga_references.c.saga_id == sagas.c.saga_id)
    .limit(1)
    .scalar_subquery()
    .label("reference")
)
METADATA: Final = (
    select(func.json_object_agg(saga_metadata.c.key, saga_metadata.c.value))
    .where(saga_metadata.c.saga_id == sagas.c.saga_id)
    .scalar_subquery()
    .label("metadata")
)
"""What a saga is found by (S26); null where it was given nothing."""


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """An entry of a saga's history as it is stored."""

    version: int
    at: datetime
    kind: str
    accepted: Mapping[str, Any]
    led_to: Mapping[str, Any]


class SagaQueries:
    """Sagas, for people and programs with the right to see them."""

    def __init__(self, reader: Reader, registry: Registry) -> None:
        self._reader = reader
        self._registry = registry
        self.masking = masking_of(registry)
        """What is hidden of sagas."""

    async def saga(self, saga_id: UUID) -> Saga | None:
        """A saga as it stands. Raises StorageUnavailable and Unreadable."""
        row = await self._row(saga_id)
        return self._saga_of(row) if row is not None else None

    async def started(self, saga_id: UUID) -> SagaView | None:
        """A saga as whoever started it sees it, whatever can be read of it. Raises StorageUnavailable."""
        row = await self._row(saga_id)
        if row is None:
            return None
        try:
            return self.view_of(self._saga_of(row))
        except Unreadable as error:
            return _remains_of(row, str(error))

    async def definition_of(self, saga_id: UUID) -> str | None:
        """The name of a saga's definition; None where there is no such saga. Raises StorageUnavailable."""
        row = await self._reader.row(select(sagas.c.definition).where(sagas.c.saga_id == saga_id))
        return row.definition if row is not None else None

    def view_of(self, saga: Saga) -> SagaView:
        """A saga as whoever started it sees it."""
        definition = self._registry.find(saga.definition, saga.definition_version)
        return SagaView(
            **dict(self.standing_of(saga)),
            input=input_of(saga, self.masking),
            waits=tuple(wait_views(definition, saga, self.masking)),
        )

    def standing_of(self, saga: Saga) -> SagaStanding:
        """Where a saga stands, as whoever started it sees it."""
        return SagaStanding(
            saga_id=saga.saga_id,
            subject_id=saga.subject_id,
            definition=saga.definition,
            definition_version=saga.definition_version,
            status=saga.status,
            label=saga.label,
            failure=FailureView.model_validate(saga.failure) if saga.failure else None,
            cancel_requested_at=saga.cancel_requested_at,
            created_at=saga.created_at,
            updated_at=saga.updated_at,
            ended_at=saga.ended_at,
        )

    async def _row(self, saga_id: UUID) -> Row[Any] | None:
        return await self._reader.row(whole_sagas().where(sagas.c.saga_id == saga_id))

    def _saga_of(self, row: Row[Any]) -> Saga:
        try:
            saga = saga_of(row, self._registry)
            check_fits(saga, self._registry.find(saga.definition, saga.definition_version))
        except Unreadable as error:
            self._reader.note_unreadable("saga", row.saga_id, str(error))
            raise
        return saga

    async def summary(self, saga_id: UUID) -> SagaSummary | None:
        """What the columns say of a saga, also of one that cannot be read. Raises StorageUnavailable."""
        row = await self._reader.row(_summaries().where(sagas.c.saga_id == saga_id))
        return _summary(row) if row is not None else None

    async def entries(self, saga_id: UUID, after: int = 0) -> list[HistoryRow]:
        """The first `MAX_HISTORY` entries behind version ``after``, oldest first."""
        behind = _entries_of(saga_id).where(history.c.version > after)
        statement = behind.order_by(history.c.version).limit(MAX_HISTORY)
        return [_entry(row) for row in await self._reader.rows(statement)]

    async def history(self, saga_id: UUID, page: Page) -> HistoryList | None:
        """One page of a history, the latest entries first; None where there is no such saga.

        Raises InvalidCursor and StorageUnavailable.
        """
        key = page.before(_HISTORY)
        before = _MOST_ENTRIES if key is None else min(key.int, _MOST_ENTRIES)
        rows = await self._latest(saga_id, before, page.limit + 1)
        found = await self.summary(saga_id)
        if found is None:
            return None
        items = tuple(self._history_view(row, found) for row in rows[: page.limit])
        return HistoryList(
            items=items, next_cursor=history_cursor(items[-1].seq) if len(rows) > page.limit else None
        )

    async def _latest(self, saga_id: UUID, before: int, limit: int) -> list[HistoryRow]:
        """Entries before a version, the latest first."""
        earlier = _entries_of(saga_id).where(history.c.version < before)
        statement = earlier.order_by(history.c.version.desc()).limit(limit)
        return [_entry(row) for row in await self._reader.rows(statement)]

    async def detail(self, saga_id: UUID, allowed: Callable[[Saga], tuple[str, ...]]) -> SagaDetail | None:
        """A saga with all that is known of it; ``allowed`` tells what may be done to it."""
        row = await self._row(saga_id)
        if row is None:
            return None
        try:
            saga = self._saga_of(row)
        except Unreadable as error:
            return await self._remains(saga_id, row.customer_id, str(error))
        latest = await self._latest(saga_id, saga.version + 1, MAX_HISTORY)
        incidents = incidents_of(saga, row.incident_kinds)
        return self._detail(saga, row.customer_id, latest[::-1], allowed(saga), incidents)

    async def page(self, wanted: SagaFilter, page: Page) -> SagaList:
        """Sagas, newest first. Raises InvalidCursor and StorageUnavailable."""
        items, following = await read_page(self._reader, list(_branches(wanted)), page, "s", _summary)
        return SagaList(items=items, next_cursor=following)

    async def _remains(self, saga_id: UUID, owner: str, reason: str) -> SagaDetail | None:
        """What is left of a saga that cannot be read, and an incident that says why."""
        found = await self.summary(saga_id)
        if found is None:
            return None
        entries = (await self._latest(saga_id, found.version + 1, MAX_HISTORY))[::-1]
        return SagaDetail(
            **found.model_dump(exclude={"incident_kinds", "label"}),
            owner=owner,
            incidents=(unreadable_incident(found, found.step, reason),),
            failure=None,
            cancel_requested_at=None,
            steps=(),
            allowed_actions=(),
            history=tuple(self._history_view(entry, found) for entry in entries),
            history_omitted=entries[0].version - 1 if entries else 0,
        )

    def _detail(
        self,
        saga: Saga,
        owner: str,
        entries: list[HistoryRow],
        allowed: tuple[str, ...],
        incidents: tuple[IncidentView, ...],
    ) -> SagaDetail:
        definition = self._registry.find(saga.definition, saga.definition_version)
        return SagaDetail(
            saga_id=saga.saga_id,
            order_id=saga.subject_id,
            definition=saga.definition,
            definition_version=saga.definition_version,
            owner=owner,
            **_found_as(saga.input),
            input=input_of(saga, self.masking),
            status=saga.status,
            order_status=saga.label,
            step=saga.awaited[0].step if saga.awaited else None,
            awaits=tuple(awaited.step for awaited in saga.awaited),
            direction=saga.direction,
            version=saga.version,
            incidents=incidents,
            due_at=saga.due_at,
            failure=SagaFailure.model_validate(saga.failure) if saga.failure else None,
            cancel_requested_at=saga.cancel_requested_at,
            created_at=saga.created_at,
            updated_at=saga.updated_at,
            ended_at=saga.ended_at,
            steps=tuple(step_views(definition, saga, self.masking)),
            waits=tuple(wait_views(definition, saga, self.masking)),
            allowed_actions=allowed,
            history=tuple(self._history_view(entry, saga) for entry in entries),
            history_omitted=entries[0].version - 1 if entries else 0,
        )

    def _history_view(self, entry: HistoryRow, saga: Saga | SagaSummary) -> HistoryView:
        """An entry; of one that cannot be read, that there is one (S25)."""
        try:
            return HistoryView(
                seq=entry.version,
                at=entry.at,
                kind=entry.kind,
                accepted=self.masking(entry.accepted),
                **entry.led_to,
            )
        except (ValueError, TypeError):
            return HistoryView(
                seq=entry.version,
                at=entry.at,
                kind="unreadable",
                accepted={},
                status=saga.status,
                order_status=saga.label,
                step=None,
                direction=saga.direction,
                sent=(),
            )


def _found_as(given: Any) -> dict[str, Any]:
    """What a saga is found by, as its input says it (S26)."""
    if not isinstance(given, Findable):
        return {}
    return {"reference": given.reference, "metadata": given.metadata}


async def every_entry(sagas: SagaQueries, saga_id: UUID, after: int = 0) -> list[HistoryRow]:
    """All entries behind version ``after``, oldest first. Raises StorageUnavailable."""
    found = some = await sagas.entries(saga_id, after)
    while len(some) == MAX_HISTORY:
        some = await sagas.entries(saga_id, some[-1].version)
        found = [*found, *some]
    return found


_TURNED: Final = frozenset({Status.COMPENSATING, Status.COMPENSATED})


def saga_then(saga: Saga, entry: HistoryRow) -> Saga:
    """The saga as it was from outside right after an entry of its history.

    Why and when a saga turned round never changes after it has (S8), so the present saga knows it.
    """
    status = Status(entry.led_to["status"])
    turned, ended = status in _TURNED, status in ENDED
    return replace(
        saga,
        status=status,
        label=entry.led_to["order_status"],
        failure=saga.failure if turned else None,
        cancel_requested_at=saga.cancel_requested_at if turned else None,
        updated_at=entry.at,
        ended_at=saga.ended_at if ended else None,
    )


def seen_from_outside(entry: HistoryRow) -> tuple[str, bool]:
    """What of an entry whoever started the saga can see: entries that agree in it look the same (S8)."""
    return str(entry.led_to["order_status"]), entry.led_to["status"] == Status.COMPENSATING


_HISTORY: Final = "h"


def history_cursor(seq: int) -> str:
    """The cursor of the entries before this one, for `SagaQueries.history`."""
    return numbered(_HISTORY, seq)


def _entry(row: Row[Any]) -> HistoryRow:
    return HistoryRow(row.version, row.at, row.kind, row.accepted, row.led_to)


def _entries_of(saga_id: UUID) -> Select[Any]:
    entry = history.c
    return select(entry.version, entry.at, entry.kind, entry.accepted, entry.led_to).where(
        history.c.saga_id == saga_id
    )


def whole_sagas() -> Select[Any]:
    """Sagas with their orders' documents: rows for `saga_of`."""
    return select(*WHOLE_SAGA).join_from(sagas, orders, orders.c.order_id == sagas.c.order_id)


def saga_of(row: Row[Any], registry: Registry) -> Saga:
    """The saga of a row with the columns of `WHOLE_SAGA`. Raises Unreadable."""
    columns = {_FIELDS.get(column.name, column.name): getattr(row, column.name) for column in SAGA_COLUMNS}
    return read_saga(columns, row.state, row.document, registry)


_FIELDS: Final = {"order_id": "subject_id", "order_status": "label"}
"""Columns that are called as they were when every saga was an order's."""


def _branches(wanted: SagaFilter) -> Iterator[Select[Any]]:
    """One selection for the active sagas and one a status of ended ones: each has an index of its own.

    What their definitions call their ends does not matter: the definition may be gone.
    """
    base = _summaries().where(*conditions(wanted))
    statuses = tuple(dict.fromkeys(wanted.statuses))
    active = [status for status in statuses if status not in ENDED]
    if not statuses:
        yield base
    if active:
        yield base.where(sagas.c.ended_as.is_(None), sagas.c.status.in_(active))
    for status in statuses:
        if status in ENDED:
            yield base.where(sagas.c.ended_as.is_not(None), sagas.c.status == status)


def _summaries() -> Select[Any]:
    return select(
        *SAGA_COLUMNS, sagas.c.step, sagas.c.incident_kinds, REFERENCE, METADATA, sagas.c.saga_id.label(KEY)
    )


def _summary(row: Row[Any]) -> SagaSummary:
    return SagaSummary.model_validate(row._asdict())


def _remains_of(row: Row[Any], reason: str) -> SagaView:
    """What is left of a saga that cannot be read (S25), for whoever started it."""
    names = SagaView.model_fields.keys() & row._mapping.keys()
    return SagaView(
        **{name: getattr(row, name) for name in names},
        subject_id=row.order_id,
        label=row.order_status,
        input=None,
        waits=(),
        failure=None,
        cancel_requested_at=None,
        unreadable=reason,
    )


SET_ASIDE: Final = (
    "Nothing could be made of what came last, such as an answer: its definition failed on it. The log says "
    "how. It is tried again with the next re-send, and can be cancelled where that is possible"
)


def incidents_of(saga: Saga, kinds: Collection[str]) -> tuple[IncidentView, ...]:
    """The incidents of a saga that can be read; one that was set aside all the same has another (S25).

    Args:
        kinds: as they stand in the saga's row.
    """
    own = tuple(map(IncidentView.model_validate, saga.incidents))
    if IncidentKind.UNREADABLE not in kinds:
        return own
    step = saga.awaited[0].step if saga.awaited else None
    return (*own, unreadable_incident(saga, step, SET_ASIDE))


def unreadable_incident(found: Saga | SagaSummary, step: str | None, reason: str) -> IncidentView:
    """What a person is told of a saga that cannot be read (S25)."""
    kind = IncidentKind.UNREADABLE
    return IncidentView(
        kind=kind, step=step or "", direction=found.direction, since=found.updated_at, message=reason
    )
