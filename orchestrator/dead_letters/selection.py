"""Which dead letters are meant: one filter for lists, groups and jobs, so that all mean the same (D5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, exists, or_

from messaging.identifiers import CLOCKS_AGREE_WITHIN, first_id_at
from orchestrator.core.state import Status
from orchestrator.storage import DeadLetterStatus
from orchestrator.tables import dead_letters, sagas

STILL_OPEN: Final = (DeadLetterStatus.OPEN, DeadLetterStatus.REPLAYING)
"""What a person can still act on."""


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters of one queue with one kind of error."""

    queue: str
    error_type: str


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters are wanted; several values of one filter mean "or", an empty filter means all.

    Attributes:
        saga_statuses: of the saga that they belong to, as it is now.
        created_after: collected at this moment or later.
        created_before: collected earlier than this moment.
    """

    statuses: tuple[DeadLetterStatus, ...] = ()
    queues: tuple[str, ...] = ()
    error_types: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    saga_ids: tuple[UUID, ...] = ()
    saga_statuses: tuple[Status, ...] = ()
    groups: tuple[Group, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The filter as the API writes it, without what it leaves open."""
        given: dict[str, Any] = {
            "status": [status.value for status in self.statuses],
            "queue": list(self.queues),
            "error_type": list(self.error_types),
            "step": list(self.steps),
            "saga_id": [str(saga_id) for saga_id in self.saga_ids],
            "saga_status": [status.value for status in self.saga_statuses],
            "group": [{"queue": each.queue, "error_type": each.error_type} for each in self.groups],
            "created_after": self.created_after.isoformat() if self.created_after else None,
            "created_before": self.created_before.isoformat() if self.created_before else None,
        }
        return {name: value for name, value in given.items() if value}


def conditions(wanted: DeadLetterFilter) -> Iterator[ColumnElement[bool]]:
    """What must hold of a row, its status apart: lists read each status from its own part of an index."""
    dead = dead_letters.c
    lists = (
        (dead.queue, wanted.queues),
        (dead.error_type, wanted.error_types),
        (dead.step, wanted.steps),
        (dead.saga_id, wanted.saga_ids),
    )
    yield from (column.in_(values) for column, values in lists if values)
    if wanted.saga_statuses:
        yield exists().where(sagas.c.saga_id == dead.saga_id, sagas.c.status.in_(wanted.saga_statuses))
    if wanted.groups:
        yield or_(
            *((dead.queue == each.queue) & (dead.error_type == each.error_type) for each in wanted.groups)
        )
    if wanted.created_after is not None:
        yield dead.created_at >= wanted.created_after
        yield dead.dead_letter_id >= first_id_at(wanted.created_after - CLOCKS_AGREE_WITHIN)
    if wanted.created_before is not None:
        yield dead.created_at < wanted.created_before
        yield dead.dead_letter_id < first_id_at(wanted.created_before + CLOCKS_AGREE_WITHIN)
