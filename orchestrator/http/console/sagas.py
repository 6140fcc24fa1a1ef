"""Lists of sagas, of those that wait for a person too; and a saga's history and messages, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from contracts.commands import Verdict
from contracts.currencies import format_amount
from orchestrator.core.state import IncidentKind, Status
from orchestrator.http.admin.requests import ListQuery, SagaListQuery
from orchestrator.http.answers import id_in_path, not_found
from orchestrator.http.console.desk import Desk, filled_in, following
from orchestrator.http.console.forms import query_of
from orchestrator.http.console.rendering import redirect
from orchestrator.http.console.saga import MESSAGES_SHOWN
from orchestrator.http.console.session import Session
from orchestrator.http.dependencies import Dependencies


@dataclass(frozen=True, slots=True)
class Preset:
    """A list that people want again and again."""

    label: str
    query: str


PRESETS: Final = (
    Preset("All", ""),
    Preset("Stuck", "incident=any"),
    Preset("Overdue", "incident=overdue"),
    Preset("Running", "status=running"),
    Preset("Compensating", "status=compensating"),
    Preset("Completed", "status=completed"),
    Preset("Compensated", "status=compensated"),
)


class SagaPages:
    """What operators see of many sagas, and of one that has a long past."""

    def __init__(self, desk: Desk, dependencies: Dependencies) -> None:
        self._desk = desk
        self._registry = dependencies.registry
        self._queries = dependencies.queries

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        yield self._desk.page("/console/sagas", self._list)
        yield self._desk.page("/console/waiting", self._waiting)
        yield self._desk.page("/console/find", self._find)
        one = "/console/sagas/{saga_id}"
        yield self._desk.page(f"{one}/history", self._history)
        yield self._desk.page(f"{one}/messages", self._messages)

    async def _list(self, request: Request, session: Session) -> Response:
        wanted = query_of(request, SagaListQuery)
        found = await self._queries.sagas.page(wanted.wanted, wanted.page)
        pieces = {
            name for each in self._registry for name in (*(step.name for step in each.steps), *each.waits)
        }
        return self._desk.show(
            "sagas.html",
            session,
            sagas=found.items,
            more=following(request, found.next_cursor),
            presets=PRESETS,
            query=request.url.query,
            given=filled_in(request),
            statuses=list(Status),
            incidents=["any", "none", *IncidentKind],
            steps=sorted(pieces),
            verdicts=list(Verdict),
            definitions=sorted({each.name for each in self._registry}),
        )

    async def _waiting(self, request: Request, session: Session) -> Response:
        """Orders on hold, and whatever else takes an operator's word, oldest first."""
        found = await self._queries.waiting.page()
        totals = {
            each.saga_id: format_amount(each.total, each.currency)
            for each in found.items
            if each.total is not None and each.currency is not None
        }
        return self._desk.show("waiting.html", session, waiting=found.items, totals=totals, more=found.more)

    async def _find(self, request: Request, session: Session) -> Response:
        """A saga by its own id or its order's."""
        try:
            wanted = UUID(request.query_params.get("id", "").strip())
        except ValueError:
            raise not_found("id: an id has 32 hexadecimal digits, so this is no saga") from None
        saga_id = await self._queries.orders.saga_id_of(wanted) or wanted
        return redirect(f"/console/sagas/{saga_id}")

    async def _history(self, request: Request, session: Session) -> Response:
        """The history from its latest entry to its oldest, page by page."""
        saga_id, wanted = _id(request), query_of(request, ListQuery)
        found = await self._queries.sagas.history(saga_id, wanted.page)
        if found is None:
            raise not_found("saga")
        entries, more = found.items, following(request, found.next_cursor)
        values: dict[str, Any] = {"saga_id": saga_id, "history_entries": entries, "more": more}
        return self._desk.show("history.html", session, **values)

    async def _messages(self, request: Request, session: Session) -> Response:
        """The messages from the latest to the oldest, page by page."""
        saga_id, wanted = _id(request), query_of(request, MessageListQuery)
        found = await self._queries.messages.shown(saga_id)
        if found is None:
            raise not_found("saga")
        ends = len(found.items) if wanted.before is None else min(wanted.before, len(found.items))
        begins = max(0, ends - MESSAGES_SHOWN)
        return self._desk.show(
            "messages.html",
            session,
            saga_id=saga_id,
            messages=found.items[begins:ends],
            more=f"before={begins}" if begins else None,
        )


class MessageListQuery(BaseModel):
    """Which part of a saga's messages: those before this one of them, counted from the oldest."""

    model_config = ConfigDict(extra="forbid")

    before: Annotated[int, Field(ge=0, lt=2**31)] | None = None


def _id(request: Request) -> UUID:
    return id_in_path(request, "saga_id", "saga")
