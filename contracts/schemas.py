"""JSON Schemas of the models (draft 2020-12), without the titles that repeat the fields' names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

DIALECT: Final = GenerateJsonSchema.schema_dialect
"""The draft that the schemas are written in."""

_MODE: Final[JsonSchemaMode] = "validation"


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema_of(model: type[BaseModel], identity: str) -> dict[str, Any]:
    """One model's schema, complete in itself.

    Args:
        identity: a URI by which others may refer to it.
    """
    schema = model.model_json_schema(schema_generator=_Untitled, mode=_MODE)
    return {"$schema": DIALECT, "$id": identity, **schema}


def schemas_in(place: str, models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """All schemas of these models by name, as parts of a larger document.

    Args:
        place: how they refer to each other there, with ``{model}`` for the name.
    """
    asked = [(model, _MODE) for model in models]
    _, schemas = models_json_schema(asked, schema_generator=_Untitled, ref_template=place)
    return dict(sorted(schemas["$defs"].items()))
