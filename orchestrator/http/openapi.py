"""The parts of the API's description (OpenAPI) that its routes share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from fastapi import FastAPI
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from contracts.problems import PROBLEM_JSON, Problem

Description = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]

BEARER: Final = HTTPBearer(
    scheme_name="token", description="A token that permits what is asked for", auto_error=False
)
"""Says that a token is needed; `orchestrator.http.access` is what looks at it."""

_SCHEMAS: Final = "#/components/schemas/{model}"

_PROBLEMS: Final[Mapping[int, str]] = {
    400: "Malformed JSON, header or cursor",
    401: "No valid token",
    403: "The token does not permit this",
    404: "There is no such thing",
    408: "The request did not come in time",
    409: "Not allowed now; `code` says why, `allowed_actions` what is allowed instead",
    410: "What follows this cursor is not kept any more, or not known here; `code` says which",
    412: "It has changed since the version that was expected",
    413: "The body is too large",
    415: "The body is not said to be application/json",
    422: "Fields are not as they must be; `errors` names them",
    428: "`expected_version` or `If-Match` is missing",
    429: "Too many submissions are waiting",
    431: "The head of the request is too large",
    500: "Something went wrong here",
    503: "Something that is needed cannot be used just now",
}

_CHALLENGE: Final = '^Bearer( error="invalid_token", error_description="[^"]*")?$'
"""Of a signed token it says why it is not good (RFC 6750)."""

_HEADERS: Final[Mapping[int, Description]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string", "pattern": _CHALLENGE}, "required": True}},
    429: {"Retry-After": {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": True}},
    503: {"Retry-After": {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": True}},
}


def problems(*statuses: int) -> Responses:
    """Responses that are problems."""
    return {status: _problem(status) for status in statuses}


def success(
    status: int,
    model: type[BaseModel],
    description: str,
    headers: Mapping[str, Description] | None = None,
) -> Responses:
    """A response that is a view."""
    return {status: {"model": model, "description": description, "headers": dict(headers or {})}}


def event_stream(kinds: str, id_pattern: str, model: type[BaseModel]) -> Description:
    """The content of a stream of views. The schema is that of one event, as OpenAPI 3.1 is read.

    Args:
        kinds: pattern of the events' names.
        id_pattern: of their ids.
    """
    reference, definitions = _schema(model, "serialization")
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": reference}
    named = {"id": {"type": "string", "pattern": id_pattern}, "event": {"type": "string", "pattern": kinds}}
    properties = {**named, "data": data}
    event = {"type": "object", "properties": properties, "required": list(properties), "$defs": definitions}
    return {"text/event-stream": {"schema": event}}


def takes(model: type[BaseModel], *, required: bool = True) -> Description:
    """A JSON body that the route reads itself: only then is it known who asks."""
    reference, definitions = _schema(model, "validation")
    return takes_json(reference, definitions, required=required)


def takes_json(
    schema: Description, definitions: Mapping[str, Description], *, required: bool = True
) -> Description:
    """A JSON body of this schema.

    Args:
        definitions: schemas that it refers to, by their names in the document; `described` puts them there.
    """
    content = {"application/json": {"schema": {**schema, "$defs": definitions}}}
    return {"requestBody": {"required": required, "content": content}}


def header(name: str, description: str, schema: Description) -> Description:
    """A request header, as an element of ``parameters``."""
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def id_parameter(name: str) -> Description:
    """An id in the path; what is no UUID is simply not found."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


def describe(app: FastAPI) -> None:
    """Complete the application's document with what the framework cannot say."""
    plain = app.openapi

    def described() -> Description:
        if app.openapi_schema is None:
            document = deepcopy(plain())
            schemas = document["components"]["schemas"]
            schemas.update(_schema(Problem, "serialization")[1])
            for operation in _operations(document):
                _complete(operation)
                schemas.update(_taken_out_of(operation))
            for name in _OF_THE_FRAMEWORK:
                schemas.pop(name, None)
            _link(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


_OF_THE_FRAMEWORK: Final = ("HTTPValidationError", "ValidationError")
"""Schemas of an answer that no route here gives."""


def _operations(document: Description) -> Iterator[Description]:
    for path in document["paths"].values():
        yield from path.values()


def _complete(operation: Description) -> None:
    """What is true of every operation, also of those that only name their problems or say nothing of them."""
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", {}):
        responses["422"] = _problem(422)
    for status in (408, 431, 500, 503):
        responses.setdefault(str(status), _problem(status))
    for status, response in responses.items():
        if int(status) >= 400 and "content" not in response:
            responses[status] = _problem(int(status))


def _taken_out_of(operation: Description) -> Description:
    """The definitions that its bodies brought along, sent and received."""
    taken: Description = {}
    for body in (operation.get("requestBody", {}), *operation["responses"].values()):
        for content in body.get("content", {}).values():
            taken |= content.get("schema", {}).pop("$defs", {})
    return taken


def _link(document: Description) -> None:
    """Say of every answer that names a thing by its id which operations take that id."""
    takers: dict[str, list[str]] = defaultdict(list)
    for operation in _operations(document):
        names = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"]
        if len(names) == 1:
            takers[names[0]].append(operation["operationId"])
    schemas = document["components"]["schemas"]
    for operation in _operations(document):
        for status, response in operation["responses"].items():
            schema = response.get("content", {}).get("application/json", {}).get("schema", {})
            if status.startswith("2") and "$ref" in schema:
                response["links"] = _links(schema, schemas, takers)


def _links(schema: Description, schemas: Description, takers: Mapping[str, Sequence[str]]) -> Description:
    view, pointer = _properties(schema, schemas), "#"
    if "items" in view:
        view, pointer = _properties(view["items"].get("items", {}), schemas), "#/items/0"
    return {
        operation: {"operationId": operation, "parameters": {name: f"$response.body{pointer}/{name}"}}
        for name in view
        for operation in takers.get(name, ())
    }


def _properties(schema: Description, schemas: Description) -> Description:
    properties: Description = schemas[schema["$ref"].rpartition("/")[2]].get("properties", {})
    return properties


def _schema(model: type[BaseModel], mode: JsonSchemaMode) -> tuple[Description, Description]:
    """A reference to a model's schema, and the schemas that stand behind it by their names."""
    references, document = models_json_schema([(model, mode)], ref_template=_SCHEMAS)
    return references[model, mode], document["$defs"]


def _problem(status: int) -> Description:
    return {
        "description": _PROBLEMS[status],
        "content": {PROBLEM_JSON: {"schema": {"$ref": _SCHEMAS.format(model=Problem.__name__)}}},
        "headers": _HEADERS.get(status, {}),
    }
