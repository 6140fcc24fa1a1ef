"""Reads of dead letters: list, groups, one with its masked body."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, func, null, select, true, tuple_, union_all

from orchestrator.dead_letters.selection import STILL_OPEN, DeadLetterFilter, conditions
from orchestrator.queries.masking import Masking, masked
from orchestrator.queries.paging import KEY, Page, read_page, shown
from orchestrator.queries.reader import Reader
from orchestrator.queries.views import (
    DeadLetterDetail,
    DeadLetterGroup,
    DeadLetterGroups,
    DeadLetterList,
    DeadLetterSummary,
)
from orchestrator.storage import DeadLetterStatus
from orchestrator.tables import dead_letters

KINDS_LOOKED_AT: Final = 200
"""Of so many kinds (a status, a queue, an error) the groups are made."""

GROUP_COUNTED_TO: Final = 10_000
"""Counting the dead letters of one kind stops here."""

_IN_A_LIST: Final = tuple(dead_letters.c[name] for name in DeadLetterSummary.model_fields)


class DeadLetterQueries:
    """Dead letters, for people with the right to see them."""

    def __init__(self, reader: Reader, masking: Masking = masked) -> None:
        self._reader = reader
        self._masking = masking

    async def detail(self, dead_letter_id: UUID) -> DeadLetterDetail | None:
        """One dead letter with headers and body, sensitive fields masked. Raises StorageUnavailable."""
        statement = select(dead_letters).where(dead_letters.c.dead_letter_id == dead_letter_id)
        row = await self._reader.row(statement)
        view = partial(_detail, masking=self._masking)
        return shown(self._reader, DeadLetterDetail, view, self._masking)(row) if row is not None else None

    async def page(self, wanted: DeadLetterFilter, page: Page) -> DeadLetterList:
        """Dead letters, newest first. Raises InvalidCursor and StorageUnavailable."""
        branches = list(_branches(wanted))
        view = shown(self._reader, DeadLetterSummary, _summary, self._masking)
        items, following = await read_page(self._reader, branches, page, "d", view)
        return DeadLetterList(items=items, next_cursor=following)

    async def groups(self, wanted: DeadLetterFilter) -> DeadLetterGroups:
        """Counts by queue and error, the largest first; of open ones unless statuses are given.

        Of each group the newest `GROUP_COUNTED_TO` of a status are read, and no others.
        """
        kinds = await self._reader.rows(kinds_of(wanted.statuses or STILL_OPEN))
        rows = await self._reader.rows(_groups(kinds[:KINDS_LOOKED_AT], wanted)) if kinds else ()
        groups = tuple(DeadLetterGroup.model_validate(row._asdict()) for row in rows)
        return DeadLetterGroups(items=groups, more=len(kinds) > KINDS_LOOKED_AT)

    async def open_of(self, saga_id: UUID) -> DeadLetterList:
        """The newest open dead letters of one saga. Raises StorageUnavailable."""
        return await self.page(DeadLetterFilter(statuses=STILL_OPEN, saga_ids=(saga_id,)), Page())


def kinds_of(statuses: Sequence[DeadLetterStatus]) -> Select[Any]:
    """Every status with every queue and error in it: one look into an index for each of them."""
    dead = dead_letters.c
    kind = (dead.status, dead.queue, dead.error_type)
    first = select(*kind).order_by(*kind).limit(1).subquery()
    kinds = select(first).cte("kinds", recursive=True)
    behind = tuple_(*kind) > tuple_(*kinds.c)
    following = select(*kind).where(behind).order_by(*kind).limit(1).lateral("following")
    every = kinds.union_all(select(following).select_from(kinds.join(following, true())))
    return select(every).where(every.c.status.in_(statuses)).limit(KINDS_LOOKED_AT + 1)


def _groups(kinds: Sequence[Row[Any]], wanted: DeadLetterFilter) -> Select[Any]:
    """Each kind by a selection of its own: what the planner knows of its size keeps it to the index."""
    dead = dead_letters.c
    columns = (dead.queue, dead.error_type, dead.deaths, dead.permanent, dead.step)
    branches = [
        select(*columns, dead.first_failed_at, dead.last_failed_at)
        .where(dead.status == kind.status, dead.queue == kind.queue, dead.error_type == kind.error_type)
        .where(*conditions(wanted))
        .order_by(dead.dead_letter_id.desc())
        .limit(GROUP_COUNTED_TO)
        .subquery()
        for kind in kinds
    ]
    newest = union_all(*map(select, branches)).subquery().c
    return (
        select(
            newest.queue,
            newest.error_type,
            func.count().label("count"),
            (func.count() >= GROUP_COUNTED_TO).label("at_least"),
            func.sum(newest.deaths).label("deaths"),
            func.count().filter(newest.permanent).label("permanent"),
            func.array_remove(func.array_agg(newest.step.distinct()), null()).label("steps"),
            func.min(newest.first_failed_at).label("first_failed_at"),
            func.max(newest.last_failed_at).label("last_failed_at"),
        )
        .group_by(newest.queue, newest.error_type)
        .order_by(func.count().desc(), newest.queue, newest.error_type)
    )


def _branches(wanted: DeadLetterFilter) -> Iterator[Select[Any]]:
    base = select(*_IN_A_LIST, dead_letters.c.dead_letter_id.label(KEY)).where(*conditions(wanted))
    if not wanted.statuses:
        yield base
    for status in dict.fromkeys(wanted.statuses):
        yield base.where(dead_letters.c.status == status)


def _summary(row: Row[Any]) -> DeadLetterSummary:
    return DeadLetterSummary.model_validate(row._asdict())


def _detail(row: Row[Any], masking: Masking) -> DeadLetterDetail:
    form, body = masking.body(bytes(row.body))
    return DeadLetterDetail(
        **_summary(row).model_dump(),
        exchange=row.exchange,
        routing_key=row.routing_key,
        message_id=row.message_id,
        error_stack=row.error_stack,
        headers=masking(row.headers),
        body_form=form,
        body=body,
        body_bytes=len(row.body),
        body_truncated=row.body_truncated,
    )
