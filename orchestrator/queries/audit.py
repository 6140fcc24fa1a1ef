"""Reads of the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from orchestrator.queries.paging import KEY, Page, read_page, shown
from orchestrator.queries.reader import Reader
from orchestrator.queries.views import AuditList, AuditView
from orchestrator.tables import audit_log


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted; several values of one filter mean "or", an empty filter means all.

    Attributes:
        subjects: such as ``saga:<id>`` and ``dead_letter:<id>``.
    """

    actors: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


class AuditQueries:
    """The audit log, for people with the right to see it."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def page(self, wanted: AuditFilter, page: Page) -> AuditList:
        """Entries, newest first. Raises InvalidCursor and StorageUnavailable."""
        log = audit_log.c
        statement = select(audit_log, log.audit_id.label(KEY))
        filters = ((log.actor, wanted.actors), (log.action, wanted.actions), (log.subject, wanted.subjects))
        for column, values in filters:
            if values:
                statement = statement.where(column.in_(values))
        view = shown(self._reader, AuditView, _view)
        items, following = await read_page(self._reader, [statement], page, "a", view)
        return AuditList(items=items, next_cursor=following)

    async def moved_on(self, subject: str, version: int) -> AuditView | None:
        """The entry of whoever took a subject on from this version; None where that was no person.

        Raises StorageUnavailable.
        """
        log = audit_log.c
        before, after = (part["version"].as_integer() for part in (log.before, log.after))
        statement = select(audit_log).where(log.subject == subject, before == version, after != version)
        row = await self._reader.row(statement.order_by(log.audit_id.desc()).limit(1))
        return _view(row) if row is not None else None


def _view(row: Row[Any]) -> AuditView:
    return AuditView.model_validate(row._asdict())
