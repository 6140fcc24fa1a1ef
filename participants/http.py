"""What every participant shows over HTTP: its ledger rows of one saga, without anything sensitive."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row, Table, bindparam, select
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request

from contracts.problems import ProblemError
from contracts.sensitive import SENSITIVE_NAMES, masked_fields
from messaging.connecting import checked_out
from messaging.sqlstates import is_transient
from messaging.unit_of_work import StorageUnavailable
from participants.tables import participant_metadata


class OutcomeView(BaseModel):
    """What was answered, as it was sent."""

    model_config = ConfigDict(frozen=True)

    type: str
    event_id: UUID
    body: dict[str, Any]


class LedgerRowView(BaseModel):
    """What the participant knows of one step of the saga."""

    model_config = ConfigDict(frozen=True)

    step: str
    command: str = Field(description="Type of the command that asked for it")
    state: str
    order_id: UUID
    details: dict[str, Any] = Field(description="What it keeps to undo or complete the step")
    forward: OutcomeView | None
    compensation: OutcomeView | None
    verdict: dict[str, Any] | None = Field(description="A person's verdict that was accepted")
    intent_at: datetime | None = Field(description="When the provider was first called")
    called_at: datetime | None = Field(description="When the provider was last called")
    updated_at: datetime
    unreadable: tuple[str, ...] = Field((), description="Columns whose documents cannot be read")


class LedgerView(BaseModel):
    """All that the participant knows of one saga."""

    model_config = ConfigDict(frozen=True)

    participant: str
    saga_id: UUID
    steps: tuple[LedgerRowView, ...]


class LedgerReader:
    """Reads a participant's ledger, without anything sensitive, over its own database."""

    def __init__(
        self, name: str, database: AsyncEngine, sensitive: Collection[str] = SENSITIVE_NAMES
    ) -> None:
        """
        Args:
            sensitive: names of fields that are masked.
        """
        ledger: Table = participant_metadata(name).tables[f"{name}.ledger"]
        columns = [column for column in ledger.c if column.name not in ("request", "payload_hash")]
        self._name = name
        self._database = database
        self._sensitive = sensitive
        of_saga = select(*columns).where(ledger.c.saga_id == bindparam("wanted"))
        self._of_saga = of_saga.order_by(ledger.c.step)

    async def read(self, saga_id: UUID) -> LedgerView:
        """All that the participant knows of a saga. Raises StorageUnavailable."""
        try:
            async with checked_out(self._database) as connection:
                rows = (await connection.execute(self._of_saga, {"wanted": saga_id})).all()
        except Exception as error:
            if is_transient(error):
                raise StorageUnavailable(f"the database of {self._name} cannot be used") from error
            raise
        steps = tuple(_view(row, self._sensitive) for row in rows)
        return LedgerView(participant=self._name, saga_id=saga_id, steps=steps)


def ledger_router(
    name: str,
    database: AsyncEngine,
    may_see: Callable[[Request], Awaitable[object]],
    sensitive: Collection[str] = SENSITIVE_NAMES,
) -> APIRouter:
    """`GET /participants/{name}/sagas/{saga_id}` over the participant's own database.

    Args:
        may_see: raises ProblemError where the request may not be made.
        sensitive: names of fields that are masked.
    """
    router = APIRouter(tags=["participants"])
    reader = LedgerReader(name, database, sensitive)

    @router.get(
        f"/participants/{name}/sagas/{{saga_id}}",
        summary=f"Show what {name} knows of a saga",
        responses=refusals(401, 403, 404),
        dependencies=[Depends(may_see)],
    )
    async def show_ledger(
        saga_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})],
    ) -> LedgerView:
        return await reader.read(_saga_id(saga_id))

    return router


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems that a route may answer, for its description; whoever mounts it says what a problem is."""
    return {status: {} for status in statuses}


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """A JSON body that the route reads itself (`contracts.json_bodies`), for its description."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def _saga_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ProblemError(404, "not_found", "There is no such saga.") from None


def _view(row: Row[Any], sensitive: Collection[str]) -> LedgerRowView:
    """What can be read of a row, and the names of what cannot (S25)."""
    unreadable: list[str] = []

    def read(name: str, reading: Callable[[], Any]) -> Any:
        try:
            return reading()
        except (ValueError, TypeError, KeyError, RecursionError):
            unreadable.append(name)
            return None

    done = (row.forward_type, row.forward_event_id, row.forward_body)
    undone = (row.compensation_type, row.compensation_event_id, row.compensation_body)
    forward = read("forward_body", lambda: _outcome(*done, sensitive))
    compensation = read("compensation_body", lambda: _outcome(*undone, sensitive))
    return LedgerRowView(
        step=row.step,
        command=row.command,
        state=row.state,
        order_id=row.order_id,
        details=read("details", lambda: masked_fields({**row.details}, sensitive)) or {},
        forward=forward,
        compensation=compensation,
        verdict=read("verdict", lambda: _verdict(row.verdict)),
        intent_at=row.intent_at,
        called_at=row.called_at,
        updated_at=row.updated_at,
        unreadable=tuple(unreadable),
    )


def _verdict(verdict: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if verdict is None else {**verdict["said"], "at": verdict["at"]}


def _outcome(
    kind: str | None, event_id: UUID | None, body: bytes | None, sensitive: Collection[str]
) -> OutcomeView | None:
    if kind is None or event_id is None or body is None:
        return None
    return OutcomeView(type=kind, event_id=event_id, body=masked_fields(json.loads(body), sensitive))
