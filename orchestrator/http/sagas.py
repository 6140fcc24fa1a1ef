"""Sagas of every installed definition over HTTP: start, see, follow, cancel, signal (S23, S24).

`/orders` is another face of the same (see `orchestrator.http.reception`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Final
from uuid import UUID

import structlog
from fastapi import Query
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from contracts.json_bodies import json_bytes_of
from contracts.limits import IDENTIFIER
from contracts.problems import ProblemError, parsed
from orchestrator.core.definition import SagaDefinition, SignalledBy
from orchestrator.core.inputs import Actor, SignalReceived
from orchestrator.http import headers
from orchestrator.http.access import Permission
from orchestrator.http.admission import Admission
from orchestrator.http.answers import answer, id_in_path, not_found
from orchestrator.http.definition_schemas import DefinitionSchemas
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.events import Turns
from orchestrator.http.faces import SagaFace
from orchestrator.http.fields import Reason
from orchestrator.http.openapi import BEARER, Description, id_parameter, problems, success, takes, takes_json
from orchestrator.http.ownership import Ownership, Right
from orchestrator.http.reception import (
    LAST_EVENT_ID,
    SUBMISSION_HEADERS,
    Cancellation,
    Reception,
    discreet,
    followed,
    submitted,
)
from orchestrator.http.routing import DirectRoute, Endpoint
from orchestrator.http.signals import definition_failed, definition_of, signal_body, signal_model
from orchestrator.intake import Submission
from orchestrator.operations import NotAllowed
from orchestrator.queries.orders import is_of_orders
from orchestrator.queries.views import SagaStanding, SagaView

log = structlog.get_logger(__name__)


class SignalQuery(BaseModel):
    """What may be said beside a signal."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = Field("sent over the API", description="Why; it is kept in the audit log")


class SagaEndpoints:
    """What those do who start sagas."""

    def __init__(self, dependencies: Dependencies, turns: Turns) -> None:
        self._access = dependencies.access
        self._sagas = dependencies.queries.sagas
        self._operations = dependencies.operations
        self._registry = dependencies.registry
        self._new_id = dependencies.new_id
        self._reception = Reception(dependencies, SagaFace(dependencies.queries), turns)
        self._ownership = Ownership(dependencies.access, dependencies.registry)

    def starting(self, name: str) -> Endpoint:
        """The endpoint that starts sagas of one definition."""

        async def start(request: Request) -> Response:
            principal = await self._ownership.may_start(request, name)
            key, trace = headers.idempotency_key(request.headers), self._reception.trace(request)
            headers.preferred_wait_s(request.headers)  # what is wrong with it is said before the body is read
            given = await input_of(request, self._registry.latest(name))
            submission = self._submission(name, given, principal.name, key, trace)
            admission = Admission(partial(self._ownership.may_start, request, name))
            return await self._reception.submit(request, submission, admission)

        return start

    async def not_installed(self, request: Request) -> Response:
        """Nothing of this name can be started here."""
        await self._ownership.somebody(request)
        names = ", ".join(sorted(self._registry.started_here)) or "none"
        raise ProblemError(404, "unknown_definition", f"Sagas that can be started here: {names}.")

    async def show(self, request: Request) -> Response:
        """A saga as it stands."""
        saga_id, *_ = await self._admitted(request, Right.SEE)
        return answer(await self._reception.found(saga_id))

    async def events(self, request: Request) -> Response:
        """A saga's progress as it happens, from the beginning or from where the client was.

        A client that has seen the final event is told by 204 that it need not come back.
        """
        saga_id, definition, _ = await self._admitted(request, Right.SEE)
        admission = Admission(partial(self._ownership.may, request, definition, Right.SEE))
        return await self._reception.follow(request, saga_id, admission)

    async def cancel(self, request: Request) -> Response:
        """Undo what a saga has done, as long as it can be undone (S9). Repeating it is fine."""
        saga_id, _, caller = await self._admitted(request, Right.ACT)
        return await self._reception.cancel(request, saga_id, caller)

    async def signal(self, request: Request, said: Annotated[SignalQuery, Query()]) -> Response:
        """Tell a saga what it waits for, or will wait for: once; a repeat is answered the same (S23)."""
        saga_id, _, caller = await self._admitted(request, Right.ACT)
        saga = await self._sagas.saga(saga_id)
        if saga is None:
            raise not_found("saga")
        definition = definition_of(saga, self._registry.find(saga.definition, saga.definition_version))
        name = request.path_params["name"]
        model = signal_model(definition, name)
        if definition.waits[name].signalled_by is SignalledBy.OPERATORS:
            caller = (await self._access.admit(request, Permission.OPERATE)).name
        body = signal_body(model, await json_bytes_of(request))
        signal = SignalReceived(actor=Actor(caller, said.reason), wait=name, body=body)
        try:
            done = await self._operations.signal(saga_id, signal)
        except NotAllowed as refused:
            raise discreet(refused) from None
        return answer(self._sagas.view_of(done.saga), 202)

    def _submission(
        self, name: str, given: BaseModel, caller: str, key: str | None, trace: str | None
    ) -> Submission:
        """An order belongs to its customer, whatever it came by; any other saga to who started it (S24)."""
        saga_id = self._new_id()
        customer = getattr(given, "customer_id", None)
        if isinstance(customer, str) and is_of_orders(self._registry.latest(name)):
            return Submission(name, given, customer, self._new_id(), saga_id, key, trace)
        # No customer's id has a slash: their keys and these never meet. Of what follows an earlier saga
        # they count within that one (S28).
        follows = self._registry.latest(name).follows
        within = caller if follows is None else follows.subject(given)
        return Submission(name, given, caller, saga_id, saga_id, key, trace, f"{name}/{within}")

    async def _admitted(self, request: Request, right: Right) -> tuple[UUID, str, str]:
        """The saga in the path, its definition, and by what name its caller is known. Raises ProblemError."""
        caller = await self._ownership.somebody(request)
        saga_id = id_in_path(request, "saga_id", "saga")
        definition = await self._sagas.definition_of(saga_id)
        if definition is None:
            raise not_found("saga")
        return saga_id, definition, self._ownership.admitted(caller, definition, right).name


async def input_of(request: Request, definition: SagaDefinition) -> BaseModel:
    """What a saga is to be started with.

    Raises:
        ProblemError: 400 when it is no JSON, 415 when it does not say that it is, 422 naming what is wrong,
            500 when the model itself failed.
    """
    body = await json_bytes_of(request)
    try:
        return parsed(definition.asked, body)
    except ProblemError:
        raise
    except Exception as error:
        log.error("an input could not be checked", definition=definition.name, exc_info=error)
        raise definition_failed(f"what checks {definition.asked.__name__} failed on it") from None


_ALWAYS: Final = (401, 403, 500, 503)
_MAYBE_TOKEN: Final[Description] = {"security": [{BEARER.scheme_name: []}, {}]}
"""Whether one is needed depends on the definition and on how this process was started."""


def saga_routes(dependencies: Dependencies, turns: Turns) -> Iterator[APIRoute]:
    """All routes under `/sagas`, one for each definition that sagas are started of."""
    endpoints = SagaEndpoints(dependencies, turns)
    common: dict[str, Any] = {"tags": ["sagas"], "response_class": Response}
    started = dependencies.registry.started_here
    schemas = {name: DefinitionSchemas(each) for name, each in started.items()}
    for name, known in sorted(schemas.items()):
        definition = dependencies.registry.latest(name)
        yield DirectRoute(
            f"/sagas/{name}",
            endpoints.starting(name),
            methods=["POST"],
            status_code=202,
            summary=f"Start {name}",
            description=f"Version {definition.version} of it. Also while the broker is down.",
            responses=submitted(SagaView) | problems(400, 409, 413, 415, 422, 429, *_ALWAYS),
            openapi_extra={
                **takes_json(known.input, known.components),
                "parameters": SUBMISSION_HEADERS,
                **_MAYBE_TOKEN,
            },
            **common,
        )
    yield DirectRoute(
        "/sagas/{definition}", endpoints.not_installed, methods=["POST"], include_in_schema=False, **common
    )
    one = id_parameter("saga_id")
    yield DirectRoute(
        "/sagas/{saga_id}",
        endpoints.show,
        methods=["GET"],
        summary="See a saga",
        responses=success(200, SagaView, "The saga") | problems(404, *_ALWAYS),
        openapi_extra={"parameters": [one], **_MAYBE_TOKEN},
        **common,
    )
    yield DirectRoute(
        "/sagas/{saga_id}/events",
        endpoints.events,
        methods=["GET"],
        summary="Follow a saga (server-sent events)",
        responses=followed("saga", SagaStanding) | problems(400, 404, 409, *_ALWAYS),
        openapi_extra={"parameters": [one, LAST_EVENT_ID], **_MAYBE_TOKEN},
        **common,
    )
    yield DirectRoute(
        "/sagas/{saga_id}/cancel",
        endpoints.cancel,
        methods=["POST"],
        status_code=202,
        summary="Cancel a saga",
        responses=success(202, SagaView, "It is being undone, or is undone already")
        | problems(400, 404, 409, 413, 415, 422, *_ALWAYS),
        openapi_extra={**takes(Cancellation, required=False), "parameters": [one], **_MAYBE_TOKEN},
        **common,
    )
    yield _signal_route(endpoints, schemas, common)


def _signal_route(
    endpoints: SagaEndpoints, schemas: dict[str, DefinitionSchemas], common: dict[str, Any]
) -> APIRoute:
    definitions = {name: schema for known in schemas.values() for name, schema in known.components.items()}
    signals = [schema for known in schemas.values() for schema in known.signals.values()]
    names = sorted({name for known in schemas.values() for name in known.signals})
    wait = {
        "name": "name",
        "in": "path",
        "required": True,
        "description": f"The wait's name: {', '.join(names)}" if names else "The wait's name",
        "schema": {"type": "string", "pattern": IDENTIFIER},
    }
    return APIRoute(
        "/sagas/{saga_id}/signals/{name}",
        endpoints.signal,
        methods=["POST"],
        status_code=202,
        summary="Signal a saga",
        responses=success(202, SagaView, "It was taken, now or before")
        | problems(400, 404, 409, 413, 415, 422, *_ALWAYS),
        openapi_extra={
            **takes_json({"anyOf": signals} if signals else {"type": "object"}, definitions),
            "parameters": [id_parameter("saga_id"), wait],
            **_MAYBE_TOKEN,
        },
        **common,
    )
