"""Which sagas are meant: one filter for lists and jobs, so that all mean the same (D5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    text,
)

from messaging.identifiers import CLOCKS_AGREE_WITHIN, first_id_at
from orchestrator.core.state import Status
from orchestrator.tables import saga_metadata, saga_references, sagas

ANY, NONE = "any", "none"
"""Of the incident filter: at least one, or none at all."""

STEP_OF_BRANCH: Final = func.split_part(sagas.c.step, "[", 1)
"""``ship`` of ``ship[2]``."""

SOME_INCIDENT: Final = literal_column("sagas.incident_kinds <> '{}'::text[]", Boolean)
NO_INCIDENT: Final = literal_column("sagas.incident_kinds = '{}'::text[]", Boolean)
"""Literal, because the planner must see that the first is the condition of an index."""

STILL_GOING: Final = (Status.RUNNING, Status.COMPENSATING)
"""What a job acts on, unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class FoundBy:
    """What its owner calls a saga, and the strings that it was given (S26); nothing: all.

    Attributes:
        metadata: key and values; each key must have one of its values.
    """

    references: tuple[str, ...] = ()
    metadata: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        """The filter as the API writes it, without what it leaves open."""
        given = {
            "reference": list(self.references),
            "metadata": {key: list(values) for key, values in self.metadata},
        }
        return {name: value for name, value in given.items() if value}

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """What must hold of a saga's row."""
        if self.references:
            named = select(saga_references.c.saga_id)
            yield sagas.c.saga_id.in_(named.where(saga_references.c.reference.in_(self.references)))
        marks = saga_metadata.c
        for key, values in self.metadata:
            yield sagas.c.saga_id.in_(select(marks.saga_id).where(marks.key == key, marks.value.in_(values)))


NOTHING: Final = FoundBy()


@dataclass(frozen=True, slots=True)
class SagaFilter:
    """Which sagas are wanted; several values of one filter mean "or", an empty filter means all.

    Attributes:
        incidents: kinds of open incidents, or `ANY`, or `NONE`.
        created_after: this moment or later.
        created_before: earlier than this moment.
    """

    statuses: tuple[Status, ...] = ()
    steps: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()
    order_ids: tuple[UUID, ...] = ()
    definitions: tuple[str, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    found_by: FoundBy = NOTHING

    @property
    def document(self) -> dict[str, Any]:
        """The filter as the API writes it, without what it leaves open."""
        given: dict[str, Any] = {
            "status": [status.value for status in self.statuses],
            "step": list(self.steps),
            "incident": [str(kind) for kind in self.incidents],
            "order_id": [str(order_id) for order_id in self.order_ids],
            "definition": list(self.definitions),
            "created_after": self.created_after.isoformat() if self.created_after else None,
            "created_before": self.created_before.isoformat() if self.created_before else None,
        }
        return {name: value for name, value in given.items() if value} | self.found_by.document


def conditions(wanted: SagaFilter) -> Iterator[ColumnElement[bool]]:
    """What must hold of a row, its status apart: lists read each status from its own index."""
    if wanted.steps:
        # An ended saga awaits no step, and the active ones have an index.
        first = or_(sagas.c.step.in_(wanted.steps), STEP_OF_BRANCH.in_(wanted.steps))
        yield and_(sagas.c.ended_as.is_(None), or_(first, _awaited_beside(wanted.steps)))
    if wanted.incidents:
        yield or_(*_incident_conditions(wanted.incidents))
    if wanted.order_ids:
        yield sagas.c.order_id.in_(wanted.order_ids)
    if wanted.definitions:
        yield sagas.c.definition.in_(wanted.definitions)
    if wanted.created_after is not None:
        yield sagas.c.created_at >= wanted.created_after
        yield sagas.c.saga_id >= first_id_at(wanted.created_after - CLOCKS_AGREE_WITHIN)
    if wanted.created_before is not None:
        yield sagas.c.created_at < wanted.created_before
        yield sagas.c.saga_id < first_id_at(wanted.created_before + CLOCKS_AGREE_WITHIN)
    yield from wanted.found_by.conditions()


def _awaited_beside(steps: tuple[str, ...]) -> ColumnElement[bool]:
    wanted = bindparam("wanted_steps", list(steps), type_=ARRAY(Text))
    found: ColumnElement[bool] = text(_AWAITED_BESIDE).bindparams(wanted)  # type: ignore[assignment]
    return found


_AWAITED_BESIDE: Final = (
    "(CASE json_typeof(sagas.state -> 'awaited') WHEN 'array' THEN EXISTS ("
    "SELECT FROM json_array_elements(sagas.state -> 'awaited') AS piece WHERE piece ->> 'step' "
    "= ANY(:wanted_steps) OR split_part(piece ->> 'step', '[', 1) = ANY(:wanted_steps)) ELSE false END)"
)
"""The column has the first piece that is awaited; where there are several, all stand in the state."""


def _incident_conditions(incidents: tuple[str, ...]) -> Iterator[ColumnElement[bool]]:
    kinds = [kind for kind in incidents if kind not in (ANY, NONE)]
    if ANY in incidents:
        yield SOME_INCIDENT
    if NONE in incidents:
        yield NO_INCIDENT
    if kinds:
        yield and_(SOME_INCIDENT, sagas.c.incident_kinds.overlap(kinds))
