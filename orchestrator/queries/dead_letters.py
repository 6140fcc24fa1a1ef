"""Reads of dead letters: list, groups, one with its masked body."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, func, null, select

from orchestrator.dead_letters.selection import STILL_OPEN, DeadLetterFilter, conditions
from orchestrator.queries.masking import masked, masked_body
from orchestrator.queries.paging import KEY, Page, read_page
from orchestrator.queries.reader import Reader
from orchestrator.queries.views import (
    DeadLetterDetail,
    DeadLetterGroup,
    DeadLetterGroups,
    DeadLetterList,
    DeadLetterSummary,
)
from orchestrator.tables import dead_letters

MAX_GROUPS: Final = 200

_IN_A_LIST: Final = tuple(dead_letters.c[name] for name in DeadLetterSummary.model_fields)


class DeadLetterQueries:
    """Dead letters, for people with the right to see them."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def detail(self, dead_letter_id: UUID) -> DeadLetterDetail | None:
        """One dead letter with headers and body, sensitive fields masked. Raises StorageUnavailable."""
        statement = select(dead_letters).where(dead_letters.c.dead_letter_id == dead_letter_id)
        row = await self._reader.row(statement)
        return _detail(row) if row is not None else None

    async def page(self, wanted: DeadLetterFilter, page: Page) -> DeadLetterList:
        """Dead letters, newest first. Raises InvalidCursor and StorageUnavailable."""
        branches = list(_branches(wanted))
        items, following = await read_page(self._reader, branches, page, "d", _summary)
        return DeadLetterList(items=items, next_cursor=following)

    async def groups(self, wanted: DeadLetterFilter) -> DeadLetterGroups:
        """Counts by queue and error, the largest first; of open ones unless statuses are given."""
        statuses = wanted.statuses or STILL_OPEN
        dead = dead_letters.c
        statement = (
            select(
                dead.queue,
                dead.error_type,
                func.count().label("count"),
                func.sum(dead.deaths).label("deaths"),
                func.count().filter(dead.permanent).label("permanent"),
                func.array_remove(func.array_agg(dead.step.distinct()), null()).label("steps"),
                func.min(dead.first_failed_at).label("first_failed_at"),
                func.max(dead.last_failed_at).label("last_failed_at"),
            )
            .where(dead.status.in_(statuses), *conditions(wanted))
            .group_by(dead.queue, dead.error_type)
            .order_by(func.count().desc(), dead.queue, dead.error_type)
            .limit(MAX_GROUPS)
        )
        rows = await self._reader.rows(statement)
        return DeadLetterGroups(items=tuple(DeadLetterGroup.model_validate(row._asdict()) for row in rows))

    async def open_of(self, saga_id: UUID) -> tuple[DeadLetterSummary, ...]:
        """The open dead letters of one saga. Raises StorageUnavailable."""
        found = await self.page(DeadLetterFilter(statuses=STILL_OPEN, saga_ids=(saga_id,)), Page())
        return found.items


def _branches(wanted: DeadLetterFilter) -> Iterator[Select[Any]]:
    base = select(*_IN_A_LIST, dead_letters.c.dead_letter_id.label(KEY)).where(*conditions(wanted))
    if not wanted.statuses:
        yield base
    for status in dict.fromkeys(wanted.statuses):
        yield base.where(dead_letters.c.status == status)


def _summary(row: Row[Any]) -> DeadLetterSummary:
    return DeadLetterSummary.model_validate(row._asdict())


def _detail(row: Row[Any]) -> DeadLetterDetail:
    form, body = masked_body(bytes(row.body))
    return DeadLetterDetail(
        **_summary(row).model_dump(),
        exchange=row.exchange,
        routing_key=row.routing_key,
        message_id=row.message_id,
        error_stack=row.error_stack,
        headers=masked(row.headers),
        body_form=form,
        body=body,
        body_bytes=len(row.body),
        body_truncated=row.body_truncated,
    )
