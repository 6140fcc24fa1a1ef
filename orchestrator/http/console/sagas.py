"""The list of sagas, and one saga with everything that is known of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import structlog
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from contracts.commands import Verdict
from contracts.currencies import format_amount
from contracts.envelope import Direction
from messaging.unit_of_work import StorageUnavailable
from orchestrator.codec import Unreadable
from orchestrator.core import rules
from orchestrator.core.inputs import Actor, CancelRequested, ResolveRequested, RetryRequested
from orchestrator.core.state import ENDED, IncidentKind, Saga, Status
from orchestrator.http.admin.requests import Action, ListQuery, Resolution, SagaListQuery
from orchestrator.http.answers import id_in_path, not_found
from orchestrator.http.console.deeds import Deed, Deeds
from orchestrator.http.console.desk import Desk, Tried, filled_in, following
from orchestrator.http.console.flow import flow
from orchestrator.http.console.forms import checked, chosen, query_of
from orchestrator.http.console.rendering import redirect
from orchestrator.http.console.session import Session
from orchestrator.http.console.timeline import time_of, timeline
from orchestrator.http.dependencies import Dependencies
from orchestrator.operations import details_of
from orchestrator.queries.masking import masked
from orchestrator.queries.orders import order_view
from orchestrator.queries.sagas import history_cursor
from orchestrator.queries.views import OrderView, SagaMessageView

log = structlog.get_logger(__name__)

A = TypeVar("A", bound=Action)

MESSAGES_SHOWN: Final = 200
"""Messages of one saga that a page shows."""


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

ACTIONS: Final = ("retry", "cancel", "resolve")

SENT: Final = "Sent once more, with a full deadline."
CANCELLED: Final = "It is being undone."
CANCELLED_BEFORE: Final = "It was being undone already; nothing has changed."
RESOLVED: Final = "The verdict is on its way to the participant, who answers."


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a participant's own ledger says, or why it is not at hand."""

    participant: str
    steps: list[dict[str, Any]]
    trouble: str | None = None


class SagaPages:
    """What operators see and do about sagas."""

    def __init__(self, desk: Desk, dependencies: Dependencies) -> None:
        self._desk = desk
        self._deeds = Deeds(dependencies.queries.audit_log, desk.notes)
        self._dependencies = dependencies
        self._operations = dependencies.operations
        self._queries = dependencies.queries

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        yield self._desk.page("/console/sagas", self._list)
        yield self._desk.page("/console/find", self._find)
        one = "/console/sagas/{saga_id}"
        yield self._desk.page(one, self._show)
        yield self._desk.page(f"{one}/history", self._history)
        yield self._desk.page(f"{one}/messages", self._messages)
        for action in ACTIONS:
            yield from self._desk.action(f"{one}/{action}", getattr(self, f"_{action}"), self._again)
            yield self._desk.page(f"{one}/{action}", self._back)

    async def _list(self, request: Request, session: Session) -> Response:
        wanted = query_of(request, SagaListQuery)
        found = await self._queries.sagas.page(wanted.wanted, wanted.page)
        steps = {
            step for name, version in self._dependencies.registry.known for step in self._steps(name, version)
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
            steps=sorted(steps),
        )

    async def _find(self, request: Request, session: Session) -> Response:
        """A saga by its own id or its order's."""
        try:
            wanted = UUID(request.query_params.get("id", "").strip())
        except ValueError:
            raise not_found("id: an id has 32 hexadecimal digits, so this is no saga") from None
        saga_id = await self._queries.orders.saga_id_of(wanted) or wanted
        return redirect(f"/console/sagas/{saga_id}")

    async def _show(self, request: Request, session: Session) -> Response:
        return await self._shown(_id(request), session, said_before=self._desk.notes.of(request, session))

    async def _back(self, request: Request, _: Session) -> Response:
        """Where an action's answer is asked for without the action, as browsers do that load a page anew."""
        return redirect(_page_of(_id(request)))

    async def _again(self, request: Request, session: Session, tried: Tried) -> Response:
        return await self._shown(_id(request), session, tried=tried)

    async def _retry(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        asked, actor = self._asked(Action, session, form)
        saga_id, version = _id(request), asked.version(request)

        async def act() -> str:
            await self._operations.retry(saga_id, actor, version)
            return SENT

        return await self._done(request, session, RetryRequested(actor), version, act)

    async def _cancel(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        asked, actor = self._asked(Action, session, form)
        saga_id, version = _id(request), asked.version(request)

        async def act() -> str:
            done = await self._operations.cancel(saga_id, actor, version)
            return CANCELLED if done.changed else CANCELLED_BEFORE

        return await self._done(request, session, CancelRequested(actor), version, act)

    async def _resolve(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        asked, actor = self._asked(Resolution, session, form)
        saga_id, version = _id(request), asked.version(request)
        verdict = ResolveRequested(actor, asked.step, asked.verdict, asked.reference, asked.amount)

        async def act() -> str:
            await self._operations.resolve(saga_id, verdict, version)
            return RESOLVED

        return await self._done(request, session, verdict, version, act)

    def _asked(self, model: type[A], session: Session, form: dict[str, str]) -> tuple[A, Actor]:
        asked = checked(model, chosen(form, model.model_fields))
        return asked, Actor(session.principal.name, asked.reason)

    async def _done(
        self,
        request: Request,
        session: Session,
        asked: RetryRequested | CancelRequested | ResolveRequested,
        version: int,
        act: Callable[[], Awaitable[str]],
    ) -> Response:
        saga_id, action = _id(request), request.url.path.rpartition("/")[2]
        deed = Deed(f"saga.{action}", f"saga:{saga_id}", asked.actor, version, details_of(asked))
        return await self._deeds.done(request, session, deed, act, _page_of(saga_id))

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

    async def _shown(
        self,
        saga_id: UUID,
        session: Session,
        *,
        said_before: str | None = None,
        tried: Tried | None = None,
    ) -> Response:
        try:
            saga = await self._queries.sagas.saga(saga_id)
        except Unreadable:
            return await self._show_remains(saga_id, session, tried)
        detail = await self._queries.sagas.detail(saga_id, self._operations.allowed)
        explanation = await self._dependencies.explainer.explain(saga_id)
        if saga is None or detail is None or explanation is None:
            raise not_found("saga")
        messages = await self._told(saga_id)
        definition = self._dependencies.registry.find(saga.definition, saga.definition_version)
        order = order_view(saga)
        return self._desk.show(
            "saga.html",
            session,
            status=tried.status if tried else 200,
            saga=detail,
            order=order,
            total=_total(order),
            explanation=explanation,
            timeline=timeline(saga, detail, explanation.awaited, explanation.now),
            flow=flow(definition, detail) if definition is not None else None,
            ledgers=await self._ledgers(saga_id),
            messages=messages[-MESSAGES_SHOWN:],
            older_messages=max(0, len(messages) - MESSAGES_SHOWN),
            older_history=history_cursor(detail.history[0].seq) if detail.history_omitted else None,
            last_sent=_last_sent(saga),
            judged=self._judged(saga),
            verdicts=list(Verdict),
            ended=detail.status in ENDED,
            said_before=said_before,
            tried=tried,
            unreadable=False,
        )

    async def _show_remains(self, saga_id: UUID, session: Session, tried: Tried | None) -> Response:
        """What is left of a saga that cannot be read (S25): columns, history, what participants say."""
        detail = await self._queries.sagas.detail(saga_id, self._operations.allowed)
        explanation = await self._dependencies.explainer.explain(saga_id)
        order = await self._queries.orders.order(detail.order_id) if detail is not None else None
        if detail is None or explanation is None or order is None:
            raise not_found("saga")
        return self._desk.show(
            "saga.html",
            session,
            status=tried.status if tried else 200,
            saga=detail,
            order=order,
            total=_total(order),
            explanation=explanation,
            ledgers=await self._ledgers(saga_id),
            timeline=None,
            flow=None,
            messages=(),
            older_messages=0,
            older_history=history_cursor(detail.history[0].seq) if detail.history_omitted else None,
            last_sent=None,
            judged=[],
            verdicts=list(Verdict),
            ended=detail.status in ENDED,
            said_before=None,
            tried=tried,
            unreadable=True,
        )

    async def _told(self, saga_id: UUID) -> tuple[SagaMessageView, ...]:
        """The messages of a saga; none where its history does not tell them."""
        try:
            messages = await self._queries.messages.shown(saga_id)
        except Unreadable:
            return ()
        return messages.items if messages is not None else ()

    def _judged(self, saga: Saga) -> list[tuple[str, Direction]]:
        """The pieces of work that a person may judge now (S19)."""
        definition = self._dependencies.registry.find(saga.definition, saga.definition_version)
        if definition is None:
            return []
        directions = ((step.name, rules.resolvable(definition, saga, step.name)) for step in definition.steps)
        return [(step, direction) for step, direction in directions if direction is not None]

    async def _ledgers(self, saga_id: UUID) -> list[Ledger]:
        at_hand = self._dependencies.ledgers
        found = await asyncio.gather(*(self._ledger(name, saga_id) for name in at_hand))
        missing = [
            Ledger(path.removeprefix("/participants/"), [], f"not at hand here: {variable} is not set")
            for path, variable in self._dependencies.missing_participants.items()
            if path.startswith("/participants/")
        ]
        return [*found, *missing]

    async def _ledger(self, name: str, saga_id: UUID) -> Ledger:
        try:
            view = await self._dependencies.ledgers[name](saga_id)
        except StorageUnavailable as error:
            return Ledger(name, [], str(error))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.error("a ledger cannot be read", participant=name, saga_id=str(saga_id), exc_info=error)
            return Ledger(name, [], "what is stored there of this saga cannot be read")
        return Ledger(name, masked(view.model_dump(mode="json", exclude_none=True)["steps"]))

    def _steps(self, name: str, version: int) -> Iterator[str]:
        definition = self._dependencies.registry.find(name, version)
        yield from (step.name for step in definition.steps) if definition is not None else ()


class MessageListQuery(BaseModel):
    """Which part of a saga's messages: those before this one of them, counted from the oldest."""

    model_config = ConfigDict(extra="forbid")

    before: Annotated[int, Field(ge=0, lt=2**31)] | None = None


def _id(request: Request) -> UUID:
    return id_in_path(request, "saga_id", "saga")


def _page_of(saga_id: UUID) -> str:
    return f"/console/sagas/{saga_id}"


def _total(order: OrderView) -> str:
    if order.total is None or order.currency is None:
        return "cannot be read"
    return format_amount(order.total, order.currency)


def _last_sent(saga: Saga) -> datetime | None:
    """When the latest copy of an awaited command was written."""
    copies = [each.sending.message_id for each in saga.awaited if each.sending.message_id]
    return max(map(time_of, copies)) if copies else None
