"""Returns over HTTP: ask for one, list those of an order. All else is done to them as to any saga (S28)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Security
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from contracts.json_bodies import json_of
from contracts.returns import Return, ReturnOfOrder
from orchestrator.http import headers
from orchestrator.http.access import Access, Permission
from orchestrator.http.admission import Admission
from orchestrator.http.answers import answer, id_in_path, not_found
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.events import Turns
from orchestrator.http.faces import ReturnFace
from orchestrator.http.fields import Cursor
from orchestrator.http.openapi import BEARER, id_parameter, problems, success, takes
from orchestrator.http.reception import SUBMISSION_HEADERS, Reception, submitted
from orchestrator.http.routing import DirectRoute
from orchestrator.intake import Submission
from orchestrator.queries.paging import DEFAULT_LIMIT, MAX_LIMIT, Page
from orchestrator.queries.views import ReturnList, ReturnView
from orchestrator.sagas.order_return import NAME


class ReturnListQuery(BaseModel):
    """Which part of the list of an order's returns is wanted."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Cursor | None = None


class ReturnEndpoints:
    """What customers do about goods that come back."""

    def __init__(self, dependencies: Dependencies, turns: Turns) -> None:
        self._access: Access = dependencies.access
        self._queries = dependencies.queries
        self._new_id = dependencies.new_id
        self._reception = Reception(dependencies, ReturnFace(dependencies.queries), turns)

    async def submit(self, request: Request) -> Response:
        """Accept the return of goods of an order and start its saga; also while the broker is down."""
        principal = await self._access.admit(request, Permission.ORDERS)
        key, trace = headers.idempotency_key(request.headers), self._reception.trace(request)
        headers.preferred_wait_s(request.headers)  # what is wrong with it is said before the body is read
        order_id = id_in_path(request, "order_id", "order")
        asked = await json_of(request, ReturnOfOrder)
        given, saga_id = Return(order_id=order_id, lines=asked.lines, reason=asked.reason), self._new_id()
        scope = f"{NAME}/{order_id}"
        submission = Submission(NAME, given, principal.name, saga_id, saga_id, key, trace, scope)
        admission = Admission(partial(self._access.admit, request, Permission.ORDERS))
        return await self._reception.submit(request, submission, admission)

    async def page(self, request: Request, wanted: Annotated[ReturnListQuery, Query()]) -> Response:
        """The returns of an order, newest first."""
        await self._access.admit(request, Permission.ORDERS)
        order_id: UUID = id_in_path(request, "order_id", "order")
        if await self._queries.orders.saga_id_of(order_id) is None:
            raise not_found("order")
        return answer(await self._queries.returns.of_order(order_id, Page(wanted.limit, wanted.cursor)))


def return_routes(dependencies: Dependencies, turns: Turns) -> Iterator[APIRoute]:
    """All routes under `/orders/{order_id}/returns`; none where no return can be started here."""
    if NAME not in dependencies.registry.started_here:
        return
    endpoints, access = ReturnEndpoints(dependencies, turns), dependencies.access
    token = [] if access.orders_are_open else [Security(BEARER)]
    common: dict[str, Any] = {"tags": ["orders"], "response_class": Response, "dependencies": token}
    always = (500, 503) if access.orders_are_open else (401, 403, 500, 503)
    of_order = [id_parameter("order_id")]
    yield DirectRoute(
        "/orders/{order_id}/returns",
        endpoints.submit,
        methods=["POST"],
        status_code=202,
        summary="Return goods of an order",
        description="Its goods are then waited for; what they are worth is refunded once they are there.",
        responses=submitted(ReturnView) | problems(400, 404, 409, 413, 415, 422, 429, *always),
        openapi_extra={**takes(ReturnOfOrder), "parameters": [*of_order, *SUBMISSION_HEADERS]},
        **common,
    )
    yield APIRoute(
        "/orders/{order_id}/returns",
        endpoints.page,
        methods=["GET"],
        summary="List the returns of an order",
        responses=success(200, ReturnList, "One page") | problems(400, 404, 422, *always),
        openapi_extra={"parameters": of_order},
        **common,
    )
