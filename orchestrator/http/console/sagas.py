"""The list of sagas, and one saga with everything that is known of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from contracts.commands import Verdict
from contracts.currencies import format_amount
from contracts.envelope import Direction
from messaging.unit_of_work import StorageUnavailable
from orchestrator.codec import Unreadable
from orchestrator.core import rules
from orchestrator.core.inputs import Actor, ResolveRequested
from orchestrator.core.state import ENDED, IncidentKind, Saga, Status
from orchestrator.http.admin.requests import Action, Resolution, SagaListQuery
from orchestrator.http.answers import id_in_path, not_found
from orchestrator.http.console.desk import Desk, filled_in, following, said
from orchestrator.http.console.flow import flow
from orchestrator.http.console.forms import checked, chosen, query_of
from orchestrator.http.console.rendering import redirect
from orchestrator.http.console.session import Session
from orchestrator.http.console.timeline import time_of, timeline
from orchestrator.http.dependencies import Dependencies
from orchestrator.queries.masking import masked
from orchestrator.queries.orders import order_view
from orchestrator.queries.views import OrderView, SagaMessageView

log = structlog.get_logger(__name__)

Operation = Callable[[UUID, Actor, int], Awaitable[object]]
Act = Callable[[UUID], Awaitable[None]]


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

DONE: Final[Mapping[str, str]] = {
    "retry": "Sent once more, with a full deadline.",
    "cancel": "It is being undone.",
    "resolve": "The verdict is on its way to the participant, who answers.",
}
"""What is said after an action."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a participant's own ledger says, or why it is not at hand."""

    participant: str
    steps: list[dict[str, Any]]
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An action that was refused: what was filled in, and why not."""

    action: str
    form: Mapping[str, str]
    status: int
    sentence: str


class SagaPages:
    """What operators see and do about sagas."""

    def __init__(self, desk: Desk, dependencies: Dependencies) -> None:
        self._desk = desk
        self._dependencies = dependencies
        self._operations = dependencies.operations
        self._queries = dependencies.queries

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        yield self._desk.page("/console/sagas", self._list)
        yield self._desk.page("/console/find", self._find)
        yield self._desk.page("/console/sagas/{saga_id}", self._show)
        for action in DONE:
            yield self._desk.action(f"/console/sagas/{{saga_id}}/{action}", getattr(self, f"_{action}"))

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
        said_before = DONE.get(request.query_params.get("done", ""))
        return await self._shown(id_in_path(request, "saga_id", "saga"), session, said_before=said_before)

    async def _retry(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        return await self._plain("retry", self._operations.retry, request, session, form)

    async def _cancel(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        return await self._plain("cancel", self._operations.cancel, request, session, form)

    async def _resolve(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        async def act(saga_id: UUID) -> None:
            asked = checked(Resolution, chosen(form, Resolution.model_fields))
            actor = Actor(session.principal.name, asked.reason)
            verdict = ResolveRequested(actor, asked.step, asked.verdict, asked.reference, asked.amount)
            await self._operations.resolve(saga_id, verdict, asked.version(request))

        return await self._acted("resolve", request, session, form, act)

    async def _plain(
        self, action: str, operation: Operation, request: Request, session: Session, form: dict[str, str]
    ) -> Response:
        """An action that takes a reason and a version, nothing more."""

        async def act(saga_id: UUID) -> None:
            asked = checked(Action, chosen(form, Action.model_fields))
            await operation(saga_id, Actor(session.principal.name, asked.reason), asked.version(request))

        return await self._acted(action, request, session, form, act)

    async def _acted(
        self, action: str, request: Request, session: Session, form: dict[str, str], act: Act
    ) -> Response:
        """Act and show the saga; where that is refused, the saga as it stands and why."""
        saga_id = id_in_path(request, "saga_id", "saga")
        try:
            await act(saga_id)
        except Exception as error:
            attempt = Attempt(action, form, *said(error))
            return await self._shown(saga_id, session, attempt=attempt)
        return redirect(f"/console/sagas/{saga_id}?done={action}")

    async def _shown(
        self,
        saga_id: UUID,
        session: Session,
        *,
        said_before: str | None = None,
        attempt: Attempt | None = None,
    ) -> Response:
        try:
            saga = await self._queries.sagas.saga(saga_id)
        except Unreadable:
            return await self._show_remains(saga_id, session, attempt)
        detail = await self._queries.sagas.detail(saga_id, self._operations.allowed)
        explanation = await self._dependencies.explainer.explain(saga_id)
        if saga is None or detail is None or explanation is None:
            raise not_found("saga")
        messages = await self._messages(saga_id)
        definition = self._dependencies.registry.find(saga.definition, saga.definition_version)
        order = order_view(saga)
        return self._desk.show(
            "saga.html",
            session,
            status=attempt.status if attempt else 200,
            saga=detail,
            order=order,
            total=_total(order),
            explanation=explanation,
            timeline=timeline(saga, detail, explanation.awaited, explanation.now),
            flow=flow(definition, detail) if definition is not None else None,
            ledgers=await self._ledgers(saga_id),
            messages=messages,
            last_sent=_last_sent(saga),
            judged=self._judged(saga),
            verdicts=list(Verdict),
            ended=detail.status in ENDED,
            said_before=said_before,
            attempt=attempt,
            unreadable=False,
        )

    async def _show_remains(self, saga_id: UUID, session: Session, attempt: Attempt | None) -> Response:
        """What is left of a saga that cannot be read (S25): columns, history, what participants say."""
        detail = await self._queries.sagas.detail(saga_id, self._operations.allowed)
        explanation = await self._dependencies.explainer.explain(saga_id)
        order = await self._queries.orders.order(detail.order_id) if detail is not None else None
        if detail is None or explanation is None or order is None:
            raise not_found("saga")
        return self._desk.show(
            "saga.html",
            session,
            status=attempt.status if attempt else 200,
            saga=detail,
            order=order,
            total=_total(order),
            explanation=explanation,
            ledgers=await self._ledgers(saga_id),
            timeline=None,
            flow=None,
            messages=(),
            last_sent=None,
            judged=[],
            verdicts=list(Verdict),
            ended=detail.status in ENDED,
            said_before=None,
            attempt=attempt,
            unreadable=True,
        )

    async def _messages(self, saga_id: UUID) -> tuple[SagaMessageView, ...]:
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


def _total(order: OrderView) -> str:
    if order.total is None or order.currency is None:
        return "cannot be read"
    return format_amount(order.total, order.currency)


def _last_sent(saga: Saga) -> datetime | None:
    """When the latest copy of an awaited command was written."""
    copies = [each.sending.message_id for each in saga.awaited if each.sending.message_id]
    return max(map(time_of, copies)) if copies else None
