"""One saga with everything that is known of it, and what can be done about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from contracts.commands import Verdict
from contracts.currencies import format_amount
from contracts.envelope import Direction
from contracts.orders import AcceptedOrder
from contracts.problems import ProblemError
from contracts.returns import AcceptedReturn
from messaging.identifiers import time_of
from messaging.unit_of_work import StorageUnavailable
from orchestrator.codec import Unreadable
from orchestrator.core import rules
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.inputs import (
    Actor,
    CancelRequested,
    ResolveRequested,
    RetryRequested,
    SignalReceived,
)
from orchestrator.core.state import ENDED, Saga
from orchestrator.explanation import Explanation
from orchestrator.http.admin.requests import Action, Reasoned, Resolution, Retry
from orchestrator.http.answers import id_in_path, not_found
from orchestrator.http.console.deeds import Deed, Deeds
from orchestrator.http.console.desk import Desk, Tried
from orchestrator.http.console.flow import flow
from orchestrator.http.console.forms import checked, chosen
from orchestrator.http.console.rendering import redirect
from orchestrator.http.console.session import Session
from orchestrator.http.console.signal_forms import body_of, forms_of, sentence_of
from orchestrator.http.console.timeline import timeline
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.signals import definition_of, signal_body, signal_model
from orchestrator.operations import details_of
from orchestrator.queries.messages import Told
from orchestrator.queries.orders import order_definitions, order_view
from orchestrator.queries.paging import Page
from orchestrator.queries.pieces import schema_of
from orchestrator.queries.sagas import history_cursor
from orchestrator.queries.views import OrderView, ReturnList, SagaDetail

log = structlog.get_logger(__name__)

A = TypeVar("A", bound=Reasoned)

MESSAGES_SHOWN: Final = 200
"""Messages of one saga that a page shows."""

RETURNS_SHOWN: Final = 20
"""Returns of one order that its page lists."""

ACTIONS: Final = ("retry", "cancel", "resolve")

SENT: Final = "Sent once more, with a full deadline."
CANCELLED: Final = "It is being undone."
CANCELLED_BEFORE: Final = "It was being undone already; nothing has changed."
RESOLVED: Final = "The verdict is on its way to the participant, who answers."
SIGNALLED: Final = "The signal was taken."
SIGNALLED_BEFORE: Final = "The same signal was taken before; nothing has changed."


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a participant's own ledger says, or why it is not at hand."""

    participant: str
    steps: list[dict[str, Any]]
    trouble: str | None = None


class SagaPage:
    """What operators see and do about one saga."""

    def __init__(self, desk: Desk, dependencies: Dependencies) -> None:
        self._desk = desk
        self._deeds = Deeds(dependencies.queries.audit_log, desk.notes)
        self._dependencies = dependencies
        self._operations = dependencies.operations
        self._queries = dependencies.queries
        self._orders = order_definitions(dependencies.registry)

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        one = "/console/sagas/{saga_id}"
        yield self._desk.page(one, self._show)
        for action in ACTIONS:
            yield from self._desk.action(f"{one}/{action}", getattr(self, f"_{action}"), self._again)
            yield self._desk.page(f"{one}/{action}", self._back)
        yield from self._desk.action(f"{one}/signals/{{name}}", self._signal, self._again)
        yield self._desk.page(f"{one}/signals/{{name}}", self._back)

    async def _show(self, request: Request, session: Session) -> Response:
        return await self._shown(_id(request), session, said_before=self._desk.notes.of(request, session))

    async def _back(self, request: Request, _: Session) -> Response:
        """Where an action's answer is asked for without the action, as browsers do that load a page anew."""
        return redirect(_page_of(_id(request)))

    async def _again(self, request: Request, session: Session, tried: Tried) -> Response:
        return await self._shown(_id(request), session, tried=tried)

    async def _retry(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        asked, actor = self._asked(Retry, session, {name: each for name, each in form.items() if each})
        saga_id, version = _id(request), asked.version(request)

        async def act() -> str:
            await self._operations.retry(saga_id, actor, version, asked.step)
            return SENT

        return await self._done(request, session, RetryRequested(actor, asked.step), version, act)

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

    async def _signal(self, request: Request, session: Session, form: dict[str, str]) -> Response:
        """A signal is taken once, whatever else changes meanwhile, so its form is for no version (S23)."""
        _, actor = self._asked(Reasoned, session, form)
        saga_id, name = _id(request), request.path_params["name"]
        saga = await self._queries.sagas.saga(saga_id)
        if saga is None:
            raise not_found("saga")
        model = signal_model(definition_of(saga, self._definition(saga)), name)
        try:
            body = signal_body(model, body_of(schema_of(model), form))
        except ProblemError as wrong:
            raise sentence_of(wrong) from None
        done = await self._operations.signal(saga_id, SignalReceived(actor=actor, wait=name, body=body))
        said = SIGNALLED if done.changed else SIGNALLED_BEFORE
        return self._deeds.told(request, session, _page_of(saga_id), said)

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

    async def _shown(
        self,
        saga_id: UUID,
        session: Session,
        *,
        said_before: str | None = None,
        tried: Tried | None = None,
    ) -> Response:
        detail = await self._queries.sagas.detail(saga_id, self._operations.allowed)
        explanation = await self._dependencies.explainer.explain(saga_id)
        if detail is None or explanation is None:
            raise not_found("saga")
        saga = await self._read(saga_id)
        order = await self._order(detail, saga)
        drawn = await self._drawn(saga, detail, explanation) if saga is not None else _NOT_DRAWN
        omitted = detail.history_omitted
        return self._desk.show(
            "saga.html",
            session,
            status=tried.status if tried else 200,
            saga=detail,
            order=order,
            total=_total(order) if order is not None else "",
            returns=await self._returns(order),
            returned_order=await self._returned_order(saga),
            explanation=explanation,
            ledgers=await self._ledgers(detail),
            older_history=history_cursor(detail.history[0].seq) if omitted else None,
            signal_forms=forms_of(detail.waits),
            verdicts=list(Verdict),
            ended=detail.status in ENDED,
            said_before=said_before,
            tried=tried,
            unreadable=saga is None,
            **drawn,
        )

    async def _drawn(self, saga: Saga, detail: SagaDetail, explanation: Explanation) -> dict[str, Any]:
        """What only a saga that can be read shows (S25)."""
        told = await self._told(saga.saga_id)
        messages = told.messages if told is not None else ()
        awaited = [each for each in (explanation.awaited, *explanation.also_awaited) if each is not None]
        definition = self._definition(saga)
        return {
            "timeline": timeline(saga, detail, awaited, explanation.now, told),
            "flow": flow(definition, detail) if definition is not None else None,
            "messages": messages[-MESSAGES_SHOWN:],
            "older_messages": max(0, len(messages) - MESSAGES_SHOWN),
            "awaited": awaited,
            "last_sent": _last_sent(saga),
            "judged": _judged(definition, saga),
        }

    async def _read(self, saga_id: UUID) -> Saga | None:
        try:
            return await self._queries.sagas.saga(saga_id)
        except Unreadable:
            return None

    async def _order(self, detail: SagaDetail, saga: Saga | None) -> OrderView | None:
        """The order that a saga is about, if it is about one, whatever can be read of it."""
        if saga is not None and isinstance(saga.input, AcceptedOrder):
            return order_view(saga)
        return (
            await self._queries.orders.order(detail.order_id) if detail.definition in self._orders else None
        )

    async def _returns(self, order: OrderView | None) -> ReturnList | None:
        """The latest returns of an order."""
        if order is None:
            return None
        return await self._queries.returns.of_order(order.order_id, Page(RETURNS_SHOWN))

    async def _returned_order(self, saga: Saga | None) -> OrderView | None:
        """The order that a return is of, as long as it is kept."""
        if saga is None or not isinstance(saga.input, AcceptedReturn):
            return None
        return await self._queries.orders.order(saga.input.order_id)

    def _definition(self, saga: Saga) -> SagaDefinition | None:
        return self._dependencies.registry.find(saga.definition, saga.definition_version)

    async def _told(self, saga_id: UUID) -> Told | None:
        """What a saga's history tells; None where it does not."""
        try:
            return await self._queries.messages.told(saga_id)
        except Unreadable:
            return None

    async def _ledgers(self, detail: SagaDetail) -> list[Ledger]:
        """What those say who take part in sagas of this definition; all, where it is not known here."""
        found = self._dependencies.registry.find(detail.definition, detail.definition_version)
        known = dict.fromkeys(step.participant for step in found.steps) if found is not None else None
        at_hand = self._dependencies.ledgers
        names = [name for name in at_hand if known is None or name in known]
        ledgers = await asyncio.gather(*(self._ledger(name, detail.saga_id) for name in names))
        missing = {
            path.removeprefix("/participants/"): f"not at hand here: {variable} is not set"
            for path, variable in self._dependencies.missing_participants.items()
            if path.startswith("/participants/")
        }
        others = missing if known is None else [name for name in known if name not in at_hand]
        return [*ledgers, *(Ledger(name, [], missing.get(name, "not at hand here")) for name in others)]

    async def _ledger(self, name: str, saga_id: UUID) -> Ledger:
        try:
            view = await self._dependencies.ledgers[name](saga_id)
        except StorageUnavailable as error:
            return Ledger(name, [], str(error))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.error("a ledger cannot be read", participant=name, saga_id=str(saga_id), exc_info=error)
            return Ledger(name, [], "what is stored there of this saga cannot be read")
        masked = self._queries.sagas.masking
        return Ledger(name, masked(view.model_dump(mode="json", exclude_none=True)["steps"]))


_NOT_DRAWN: Final[dict[str, Any]] = {
    "timeline": None,
    "flow": None,
    "messages": (),
    "older_messages": 0,
    "awaited": (),
    "last_sent": None,
    "judged": [],
}


def _judged(definition: SagaDefinition | None, saga: Saga) -> list[tuple[str, Direction]]:
    """The pieces of work that a person may judge now (S19)."""
    if definition is None:
        return []
    directions = ((piece.name, rules.resolvable(definition, saga, piece.name)) for piece in saga.steps)
    return [(name, direction) for name, direction in directions if direction is not None]


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
