"""Sound examples of any model: its own where it has one, else values made from its schema.

A model says its own as pydantic has it: ``ConfigDict(json_schema_extra={"examples": [...]})``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from contracts.examples import EXAMPLES

M = TypeVar("M", bound=BaseModel)

_FORMATS: Final = {
    "uuid": "019aa7b2-0000-7000-8000-000000000001",
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00",
    "duration": "PT1M",
    "email": "somebody@example.com",
    "uri": "https://example.com/",
}
_DEEPEST: Final = 20


class NoSample(Exception):
    """No sound example could be made of a model: it needs one of its own."""


def sample(model: type[M]) -> M:
    """One sound instance, always the same. Raises NoSample."""
    known = EXAMPLES.get(model.__name__)
    if isinstance(known, model):
        return known
    schema = model.model_json_schema()
    for document in [*schema.get("examples", ()), _value(schema, schema, 0)]:
        try:
            return model.model_validate(document)
        except ValidationError:
            continue
    raise NoSample(f"{model.__name__} needs an example of its own")


def _value(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return _value(root["$defs"][schema["$ref"].rpartition("/")[2]], root, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _value(schema[key][0], root, depth + 1)
    make = _OF_TYPE.get(str(schema.get("type")))
    return make(schema, root, depth) if make else {}


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    required = schema.get("required", ())
    return {name: _value(schema["properties"][name], root, depth + 1) for name in required}


def _array(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if "prefixItems" in schema:
        return [_value(each, root, depth + 1) for each in schema["prefixItems"]]
    return [_value(schema.get("items", {}), root, depth + 1)] * max(1, schema.get("minItems", 1))


def _string(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    text = "sample".ljust(schema.get("minLength", 0), "x")
    return text[: schema.get("maxLength", len(text))]


def _number(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    least = max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
    step = schema.get("multipleOf", 1)
    return min(-(-least // step) * step, schema.get("maximum", least * step + step))


_OF_TYPE: Final[dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], int], Any]]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _number,
    "number": _number,
    "boolean": lambda schema, root, depth: True,
    "null": lambda schema, root, depth: None,
}
