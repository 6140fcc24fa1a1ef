"""Orders over HTTP: submit, see, list, follow, cancel. `submit` is the hot path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Query
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from contracts.limits import CustomerId
from contracts.orders import Order
from contracts.problems import ProblemError
from orchestrator.core.inputs import Actor
from orchestrator.core.state import END_STATUSES, OrderStatus
from orchestrator.http import headers
from orchestrator.http.access import Access, Permission
from orchestrator.http.answers import answer, id_in_path, not_found
from orchestrator.http.bodies import json_of, json_or_nothing_of
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.events import READERS, EventStream, Progress
from orchestrator.http.fields import Cursor, Reason
from orchestrator.http.openapi import (
    NEEDS_TOKEN,
    Description,
    Responses,
    header,
    id_parameter,
    problems,
    success,
    takes,
)
from orchestrator.http.routing import DirectRoute
from orchestrator.intake import Accepted, KeyReused, Submission
from orchestrator.operations import NotAllowed, UnknownHere
from orchestrator.progress import Interest, TooManyWatches
from orchestrator.queries.orders import OrderFilter, order_view
from orchestrator.queries.paging import DEFAULT_LIMIT, MAX_LIMIT, Page
from orchestrator.queries.views import OrderList, OrderView

MAX_FILTER_VALUES: Final = 20


class OrderListQuery(BaseModel):
    """Filters of the list of orders; a repeated one means "or"."""

    model_config = ConfigDict(extra="forbid")

    customer_id: Annotated[list[CustomerId], Field(max_length=MAX_FILTER_VALUES)] = []
    status: Annotated[list[OrderStatus], Field(max_length=MAX_FILTER_VALUES)] = []
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Cursor | None = None


class Cancellation(BaseModel):
    """Why a customer cancels."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = "cancelled by the customer"


class OrderEndpoints:
    """What customers do with their orders."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._access: Access = dependencies.access
        self._intake = dependencies.intake
        self._operations = dependencies.operations
        self._queries = dependencies.queries
        self._listener = dependencies.listener
        self._new_id = dependencies.new_id
        self._tracing = dependencies.tracing
        self._turns = asyncio.Semaphore(READERS)

    async def submit(self, request: Request) -> Response:
        """Accept an order and start its saga; also while the broker is down (S14)."""
        await self._access.admit(request, Permission.ORDERS)
        key = headers.idempotency_key(request.headers)
        wait_s = headers.preferred_wait_s(request.headers)
        trace = self._tracing.current() or headers.traceparent(request.headers)
        order = await json_of(request, Order)
        accepted = await self._intake.submit(Submission(order, self._new_id(), self._new_id(), key, trace))
        if isinstance(accepted, KeyReused):
            raise ProblemError(
                422, "idempotency_key_reused", "This Idempotency-Key stands for another order already."
            )
        return await self._accepted(accepted, wait_s)

    async def show(self, request: Request) -> Response:
        """An order as it stands."""
        await self._access.admit(request, Permission.ORDERS)
        return answer(await self._order(id_in_path(request, "order_id", "order")))

    async def page(self, request: Request, wanted: Annotated[OrderListQuery, Query()]) -> Response:
        """Orders, newest first."""
        await self._access.admit(request, Permission.ORDERS)
        chosen = OrderFilter(tuple(wanted.customer_id), tuple(wanted.status))
        return answer(await self._queries.orders.page(chosen, Page(wanted.limit, wanted.cursor)))

    async def events(self, request: Request) -> Response:
        """An order's progress as it happens, from the beginning or from where the client was.

        A client that has seen the final event is told by 204 that it need not come back.
        """
        await self._access.admit(request, Permission.ORDERS)
        order_id = id_in_path(request, "order_id", "order")
        after = headers.last_event_id(request.headers)
        progress = Progress(self._queries, self._turns, order_id, await self._saga_id(order_id), after)
        first = await progress.events()
        if progress.ended and not first:
            return Response(status_code=204)
        return EventStream(self._listener, order_id, progress, first)

    async def cancel(self, request: Request) -> Response:
        """Undo an order, as long as it has not been handed to the carrier (S9). Repeating it is fine."""
        principal = await self._access.admit(request, Permission.ORDERS)
        order_id = id_in_path(request, "order_id", "order")
        asked = await json_or_nothing_of(request, Cancellation) or Cancellation()
        saga_id = await self._saga_id(order_id)
        try:
            done = await self._operations.cancel(saga_id, Actor(principal.name, asked.reason))
        except UnknownHere:
            raise
        except NotAllowed as refused:
            # What operators may do is none of the customer's business.
            raise NotAllowed(refused.code, str(refused)) from None
        return answer(order_view(done.saga), 202)

    async def _accepted(self, accepted: Accepted, wait_s: int | None) -> Response:
        said = {"Location": f"/orders/{accepted.order_id}"}
        if accepted.replayed:
            said["Idempotency-Replayed"] = "true"
        order = order_view(accepted.saga) if accepted.saga else await self._order(accepted.order_id)
        if wait_s is not None:
            said["Preference-Applied"] = f"wait={wait_s}"
            order = await self._ended(order, wait_s)
        done = accepted.replayed or (wait_s is not None and order.status in END_STATUSES)
        return answer(order, 200 if done else 202, said)

    async def _ended(self, order: OrderView, wait_s: float) -> OrderView:
        """The order once it has ended, or as it is after so many seconds."""
        clock = asyncio.get_running_loop()
        until = clock.time() + wait_s
        try:
            with self._listener.watch(order.order_id, Interest.THE_END) as watch:
                while order.status not in END_STATUSES and not self._listener.stopping:
                    order = await self._order(order.order_id)
                    left_s = until - clock.time()
                    if order.status in END_STATUSES or left_s <= 0:
                        break
                    await watch.changed(left_s)
        except TooManyWatches:
            pass  # a preference is no demand
        return order

    async def _order(self, order_id: UUID) -> OrderView:
        order = await self._queries.orders.order(order_id)
        if order is None:
            raise not_found("order")
        return order

    async def _saga_id(self, order_id: UUID) -> UUID:
        saga_id = await self._queries.orders.saga_id_of(order_id)
        if saga_id is None:
            raise not_found("order")
        return saga_id


def order_routes(dependencies: Dependencies) -> Iterator[APIRoute]:
    """All routes under `/orders`."""
    endpoints, access = OrderEndpoints(dependencies), dependencies.access
    common: dict[str, Any] = {"tags": ["orders"], "response_class": Response}
    token = {} if access.orders_are_open else NEEDS_TOKEN
    always = (500, 503) if access.orders_are_open else (401, 403, 500, 503)
    yield DirectRoute(
        "/orders",
        endpoints.submit,
        methods=["POST"],
        status_code=202,
        summary="Submit an order",
        responses=_SUBMITTED | problems(400, 413, 415, 422, 429, *always),
        openapi_extra={**takes(Order), "parameters": _SUBMISSION_HEADERS, **token},
        **common,
    )
    yield APIRoute(
        "/orders",
        endpoints.page,
        methods=["GET"],
        summary="List orders",
        responses=success(200, OrderList, "One page") | problems(400, 422, *always),
        openapi_extra=token,
        **common,
    )
    yield DirectRoute(
        "/orders/{order_id}",
        endpoints.show,
        methods=["GET"],
        summary="See an order",
        responses=success(200, OrderView, "The order") | problems(404, *always),
        openapi_extra={"parameters": [id_parameter("order_id")], **token},
        **common,
    )
    yield DirectRoute(
        "/orders/{order_id}/events",
        endpoints.events,
        methods=["GET"],
        summary="Follow an order (server-sent events)",
        responses=_FOLLOWED | problems(400, 404, 409, *always),
        openapi_extra={"parameters": [id_parameter("order_id"), _LAST_EVENT_ID], **token},
        **common,
    )
    yield DirectRoute(
        "/orders/{order_id}/cancel",
        endpoints.cancel,
        methods=["POST"],
        status_code=202,
        summary="Cancel an order",
        responses=success(202, OrderView, "It is being undone, or is undone already")
        | problems(400, 404, 409, 413, 415, 422, *always),
        openapi_extra={
            **takes(Cancellation, required=False),
            "parameters": [id_parameter("order_id")],
            **token,
        },
        **common,
    )


_TEXT: Final[Description] = {"schema": {"type": "string"}}
_ANSWER_HEADERS: Final[dict[str, Description]] = {
    "Location": {**_TEXT, "required": True},
    "Preference-Applied": _TEXT,
}
_SUBMITTED: Final[Responses] = success(202, OrderView, "Accepted", _ANSWER_HEADERS) | success(
    200,
    OrderView,
    "It has ended within the preferred wait, or it had been accepted under this key before",
    {**_ANSWER_HEADERS, "Idempotency-Replayed": {"schema": {"const": "true"}}},
)
_SUBMISSION_HEADERS: Final = [
    header(
        "Idempotency-Key",
        "1 to 255 visible ASCII characters, bare or in quotes; a repeat gives the same order",
        {"type": "string", "pattern": headers.KEY_PATTERN},
    ),
    header(
        "Prefer",
        f"wait=N: answer when the order has ended, or after N seconds ({headers.MAX_WAIT_S} at most)",
        {"type": "string"},
    ),
]
_LAST_EVENT_ID: Final = header(
    "Last-Event-ID",
    "The last event that was seen; what follows it is sent",
    {"type": "string", "pattern": headers.LAST_EVENT_ID_PATTERN},
)
_FOLLOWED: Final[Responses] = {
    200: {
        "description": "Events `order.<status>` with the order as data; ends after the final one",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "The final event has been seen: there is nothing more to come"},
}
