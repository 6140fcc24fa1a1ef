"""The sandbox as an HTTP server: mountable in another application, or served alone."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Table
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from contracts.limits import MAX_BODY_BYTES
from contracts.media_types import JSON, require
from contracts.problems import PROBLEM_JSON, ProblemError
from oms.sandbox.operations import LISTINGS, POSTINGS, Posting, idempotency_key_of, listing_of
from oms.sandbox.service import Sandbox
from participants.provider_http import Reply

Endpoint = Callable[[Request], Awaitable[Response]]


def create_sandbox(sandbox: Sandbox) -> FastAPI:
    """The application; its database engine belongs to whoever made ``sandbox``."""
    app = FastAPI(
        title="OMS sandbox",
        summary="A payment gateway and a carrier to play against.",
        exception_handlers={HTTPException: _as_problem, Exception: _as_server_error},
    )
    for path, posting in POSTINGS.items():
        app.add_api_route(
            path,
            _posting(sandbox, posting),
            methods=["POST"],
            summary=posting.summary,
            openapi_extra=_described(posting),
        )
    for path, table in LISTINGS.items():
        app.add_api_route(
            path,
            _listing(sandbox, table),
            methods=["GET"],
            summary=f"List {table.name} by order_id or key",
            openapi_extra={"parameters": _QUERY},
        )
    return app


def _posting(sandbox: Sandbox, posting: Posting[Any]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        async def client_left() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        try:
            key = idempotency_key_of(request.headers.get("idempotency-key"))
            body = posting.parse(await _json_body(request))
            return _response(await posting.perform(sandbox, key, body, client_left))
        except ProblemError as refused:
            return _refused(refused)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    return endpoint


def _listing(sandbox: Sandbox, table: Table) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            return _response(await sandbox.list(table, listing_of(request.query_params.multi_items())))
        except ProblemError as refused:
            return _refused(refused)

    return endpoint


async def _json_body(request: Request) -> bytes:
    """The body as it came, read no further than `MAX_BODY_BYTES`. Raises ProblemError."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise ProblemError(413, "too_large", f"A body may have at most {MAX_BODY_BYTES} bytes.")
    if body:
        require(JSON, request.headers)
    return bytes(body)


def _response(reply: Reply) -> Response:
    body = json.dumps(reply.body, separators=(",", ":")).encode()
    return Response(body, reply.status, media_type="application/json")


def _refused(refused: ProblemError) -> Response:
    headers = dict(refused.headers)
    if refused.status == 503:
        headers.setdefault("Retry-After", "1")
    return Response(refused.body(), refused.status, headers, media_type=PROBLEM_JSON)


async def _as_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    return _refused(
        ProblemError(status, f"http_{status}", "There is nothing like this here.", headers=error.headers)
    )


async def _as_server_error(_: Request, __: Exception) -> Response:
    return _refused(ProblemError(500, "internal", "The sandbox failed; its log says why."))


def _described(posting: Posting[Any]) -> dict[str, Any]:
    """The body and the header for the generated API description: the endpoint itself reads them raw."""
    key = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": {"type": "string"}}
    schema = posting.body.model_json_schema()
    return {
        "parameters": [key],
        "requestBody": {"content": {"application/json": {"schema": _inlined(schema)}}},
    }


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """References resolved, so that the schema can stand inside another document."""
    definitions = schema.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return resolved(definitions[part["$ref"].rpartition("/")[2]])
            return {name: resolved(value) for name, value in part.items()}
        return [resolved(value) for value in part] if isinstance(part, list) else part

    inlined: dict[str, Any] = resolved(schema)
    return inlined


_QUERY = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "schema": {"type": "array", "items": {"type": "string"}} if repeated else {"type": "string"},
    }
    for name, repeated in (("order_id", True), ("key", True), ("limit", False), ("cursor", False))
]
