"""Orders over HTTP: submit, see, list, follow, cancel. `submit` is the hot path."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Security
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from contracts.json_bodies import json_of
from contracts.limits import CustomerId
from contracts.orders import Order
from orchestrator.http import headers
from orchestrator.http.access import Access, Permission
from orchestrator.http.admission import Admission
from orchestrator.http.answers import answer, id_in_path, not_found
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.events import Turns
from orchestrator.http.faces import OrderFace
from orchestrator.http.fields import Cursor
from orchestrator.http.finding import MAX_FILTER_VALUES, FindingQuery
from orchestrator.http.openapi import BEARER, id_parameter, problems, success, takes
from orchestrator.http.reception import (
    LAST_EVENT_ID,
    SUBMISSION_HEADERS,
    Cancellation,
    Reception,
    followed,
    submitted,
)
from orchestrator.http.routing import DirectRoute
from orchestrator.intake import Submission
from orchestrator.queries.orders import OrderFilter
from orchestrator.queries.paging import DEFAULT_LIMIT, MAX_LIMIT, Page
from orchestrator.queries.views import OrderList, OrderView
from orchestrator.sagas.order_fulfillment import NAME, OrderStatus


class OrderListQuery(FindingQuery, BaseModel):
    """Filters of the list of orders; a repeated one means "or"."""

    customer_id: Annotated[list[CustomerId], Field(max_length=MAX_FILTER_VALUES)] = []
    status: Annotated[list[OrderStatus], Field(max_length=MAX_FILTER_VALUES)] = []
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Cursor | None = None


class OrderEndpoints:
    """What customers do with their orders."""

    def __init__(self, dependencies: Dependencies, turns: Turns) -> None:
        self._access: Access = dependencies.access
        self._orders = dependencies.queries.orders
        self._new_id = dependencies.new_id
        self._input = order_input(dependencies)
        self._reception = Reception(dependencies, OrderFace(dependencies.queries), turns)

    async def submit(self, request: Request) -> Response:
        """Accept an order and start its saga; also while the broker is down (S14)."""
        await self._access.admit(request, Permission.ORDERS)
        key, trace = headers.idempotency_key(request.headers), self._reception.trace(request)
        headers.preferred_wait_s(request.headers)  # what is wrong with it is said before the body is read
        order = await json_of(request, self._input)
        submission = Submission(NAME, order, order.customer_id, self._new_id(), self._new_id(), key, trace)
        return await self._reception.submit(request, submission, self._admission(request))

    async def show(self, request: Request) -> Response:
        """An order as it stands."""
        return answer(await self._reception.found(await self._admitted(request)))

    async def page(self, request: Request, wanted: Annotated[OrderListQuery, Query()]) -> Response:
        """Orders, newest first."""
        await self._access.admit(request, Permission.ORDERS)
        chosen = OrderFilter(tuple(wanted.customer_id), tuple(wanted.status), wanted.found_by)
        return answer(await self._orders.page(chosen, Page(wanted.limit, wanted.cursor)))

    async def events(self, request: Request) -> Response:
        """An order's progress as it happens, from the beginning or from where the client was.

        A client that has seen the final event is told by 204 that it need not come back.
        """
        order_id = await self._admitted(request)
        return await self._reception.follow(request, order_id, self._admission(request))

    async def cancel(self, request: Request) -> Response:
        """Undo an order, as long as it has not been handed to the carrier (S9). Repeating it is fine."""
        principal = await self._access.admit(request, Permission.ORDERS)
        saga_id = await self._orders.saga_id_of(id_in_path(request, "order_id", "order"))
        if saga_id is None:
            raise not_found("order")
        return await self._reception.cancel(request, saga_id, principal.name)

    def _admission(self, request: Request) -> Admission:
        return Admission(partial(self._access.admit, request, Permission.ORDERS))

    async def _admitted(self, request: Request) -> UUID:
        await self._access.admit(request, Permission.ORDERS)
        return id_in_path(request, "order_id", "order")


def order_input(dependencies: Dependencies) -> type[Order]:
    """What an order may say here: as the definition has it that new orders start on."""
    definition = dependencies.registry.started_here.get(NAME)
    return definition.input if definition is not None and issubclass(definition.input, Order) else Order


def order_routes(dependencies: Dependencies, turns: Turns) -> Iterator[APIRoute]:
    """All routes under `/orders`."""
    endpoints, access = OrderEndpoints(dependencies, turns), dependencies.access
    token = [] if access.orders_are_open else [Security(BEARER)]
    common: dict[str, Any] = {"tags": ["orders"], "response_class": Response, "dependencies": token}
    always = (500, 503) if access.orders_are_open else (401, 403, 500, 503)
    yield DirectRoute(
        "/orders",
        endpoints.submit,
        methods=["POST"],
        status_code=202,
        summary="Submit an order",
        responses=submitted(OrderView) | problems(400, 409, 413, 415, 422, 429, *always),
        openapi_extra={**takes(order_input(dependencies)), "parameters": SUBMISSION_HEADERS},
        **common,
    )
    yield APIRoute(
        "/orders",
        endpoints.page,
        methods=["GET"],
        summary="List orders",
        responses=success(200, OrderList, "One page") | problems(400, 422, *always),
        **common,
    )
    yield DirectRoute(
        "/orders/{order_id}",
        endpoints.show,
        methods=["GET"],
        summary="See an order",
        responses=success(200, OrderView, "The order") | problems(404, *always),
        openapi_extra={"parameters": [id_parameter("order_id")]},
        **common,
    )
    yield DirectRoute(
        "/orders/{order_id}/events",
        endpoints.events,
        methods=["GET"],
        summary="Follow an order (server-sent events)",
        responses=followed("order", OrderView) | problems(400, 404, 409, *always),
        openapi_extra={"parameters": [id_parameter("order_id"), LAST_EVENT_ID]},
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
        },
        **common,
    )
