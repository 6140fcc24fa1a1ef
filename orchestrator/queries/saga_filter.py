"""Which sagas are wanted, as conditions for which there are indexes."""

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
    Select,
    Text,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    text,
)

from messaging.identifiers import CLOCKS_AGREE_WITHIN, first_id_at
from orchestrator.core.registry import Registry
from orchestrator.core.state import ENDED, Status
from orchestrator.tables import sagas

ANY, NONE = "any", "none"
"""Of the incident filter: at least one, or none at all."""


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


def selections(base: Select[Any], wanted: SagaFilter, registry: Registry) -> Iterator[Select[Any]]:
    """One selection for the active sagas and one a result of ended ones: each has an index of its own."""
    base = base.where(*_conditions(wanted))
    statuses = tuple(dict.fromkeys(wanted.statuses))
    active = [status for status in statuses if status not in ENDED]
    if not statuses:
        yield base
    if active:
        yield base.where(sagas.c.ended_as.is_(None), sagas.c.status.in_(active))
    for status in statuses:
        for result in registry.ends_as(status) if status in ENDED else ():
            yield base.where(sagas.c.ended_as == result, sagas.c.status == status)


def _conditions(wanted: SagaFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.steps:
        # An ended saga awaits no step, and the active ones have an index.
        first = or_(sagas.c.step.in_(wanted.steps), _STEP_OF_BRANCH.in_(wanted.steps))
        yield and_(sagas.c.ended_as.is_(None), or_(first, _beside(wanted.steps)))
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


_STEP_OF_BRANCH: Final = func.split_part(sagas.c.step, "[", 1)
"""``ship`` of ``ship[2]``."""

_AWAITED_BESIDE: Final = (
    "(CASE json_typeof(sagas.state -> 'awaited') WHEN 'array' THEN EXISTS ("
    "SELECT FROM json_array_elements(sagas.state -> 'awaited') AS piece WHERE piece ->> 'step' "
    "= ANY(:wanted_steps) OR split_part(piece ->> 'step', '[', 1) = ANY(:wanted_steps)) ELSE false END)"
)
"""The column has the first piece that is awaited; where there are several, all stand in the state."""


def _beside(steps: tuple[str, ...]) -> ColumnElement[bool]:
    wanted = bindparam("wanted_steps", list(steps), type_=ARRAY(Text))
    found: ColumnElement[bool] = text(_AWAITED_BESIDE).bindparams(wanted)  # type: ignore[assignment]
    return found


SOME_INCIDENT: Final = literal_column("sagas.incident_kinds <> '{}'::text[]", Boolean)
NO_INCIDENT: Final = literal_column("sagas.incident_kinds = '{}'::text[]", Boolean)
"""Literal, because the planner must see that the first is the condition of an index."""


def _incident_conditions(incidents: tuple[str, ...]) -> Iterator[ColumnElement[bool]]:
    kinds = [kind for kind in incidents if kind not in (ANY, NONE)]
    if ANY in incidents:
        yield SOME_INCIDENT
    if NONE in incidents:
        yield NO_INCIDENT
    if kinds:
        yield and_(SOME_INCIDENT, sagas.c.incident_kinds.overlap(kinds))
