"""What of a model would not be read as it was written, whoever reads it and whenever: told before it is used.

It is found in the schema that pydantic makes of a model and of all models within it. Where a field says
itself how it is written, its author has thought of it; samples of messages are read back all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeGuard

from pydantic import BaseModel

from contracts.one_line import kind_and_line
from contracts.samples import NoSample, sample
from contracts.wire import misread

Schema = Mapping[str, Any]

_NO_SCHEMAS: Final = frozenset(
    {"metadata", "default", "config", "cls", "function", "fields", "computed_fields"}
)
"""Parts of a schema that are none themselves; fields are gone through by their names."""

_WITH_FIELDS: Final = frozenset({"model", "dataclass", "typed-dict"})
_WRAPPINGS: Final = frozenset({"default", "function-before", "function-after", "function-wrap"})
_REQUIRED: Final = object()


def document_problems(*models: object) -> Iterator[str]:
    """What is wrong with models of what is stored: sets, and aliases by which alone it is read.

    What is no model is left to others, here and below.
    """
    yield from (problem for model in models if _is_model(model) for problem in _of_document(model))


def message_problems(*models: object) -> Iterator[str]:
    """The same of models of messages, and what is left out of a message and then missed."""
    yield from (problem for model in models if _is_model(model) for problem in _of_message(model))


def _is_model(given: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(given, type) and issubclass(given, BaseModel)


@cache
def _of_document(model: type[BaseModel]) -> tuple[str, ...]:
    return _told(model, _in_any)


@cache
def _of_message(model: type[BaseModel]) -> tuple[str, ...]:
    problems = _told(model, _in_messages)
    if problems:
        return problems
    try:
        return tuple(f"{model.__name__}: {problem}" for problem in misread(sample(model)))
    except NoSample:
        return ()


@dataclass(frozen=True, slots=True)
class _Field:
    """A field, its model's name and configuration, and the schemas that others refer to by name."""

    model: str
    name: str
    schema: Schema
    rules: Schema
    named: Mapping[str, Schema]

    def __str__(self) -> str:
        return f"{self.model}.{self.name}"

    @property
    def values(self) -> Schema:
        """The schema of its values, a default included."""
        found: Schema = self.schema["return_schema"] if self.is_computed else self.schema["schema"]
        return found

    @property
    def is_computed(self) -> bool:
        """Whether it is written and never read."""
        return "property_name" in self.schema


def _told(model: type[BaseModel], problems_of: Callable[[_Field], Iterator[str]]) -> tuple[str, ...]:
    try:
        model.model_rebuild()
    except Exception as error:
        return (f"{model.__name__} is no whole model: {kind_and_line(error)}",)
    fields = _fields_in(model.__pydantic_core_schema__, model.__name__, {}, {})
    return tuple(dict.fromkeys(problem for field in fields for problem in problems_of(field)))


# -- what is wrong with a field -----------------------------------------------------------------------------


def _in_any(field: _Field) -> Iterator[str]:
    if _has_set(field.values, field.named):
        yield f"{field} is a set, which each process writes in another order: use a tuple"
    if field.is_computed:
        return
    name, read_by = _written_as(field), _read_by(field)
    if name not in read_by:
        others = " or ".join(map(repr, sorted(read_by))) or "a path"
        rule = f"say ConfigDict(validate_by_name=True) in {field.model}, or drop the alias"
        yield f"{field} is written as {name!r} and read as {others} alone: {rule}"


def _in_messages(field: _Field) -> Iterator[str]:
    yield from _in_any(field)
    if field.is_computed or field.schema.get("required") is False:
        return
    default = _default_of(field.values)
    if _may_be_none(field.values, field.named):
        then = "missed" if default is _REQUIRED else f"read as {default!r:.40}"
        if default is not None:
            left_out = f"{field} may be None, which is left out of a message and then {then}"
            yield f"{left_out}: its default must be None"
    elif default is _REQUIRED and _may_be_left_out(field.schema):
        yield f"{field} may be left out of a message and is then missed: give it a default"


def _may_be_left_out(schema: Schema) -> bool:
    return bool(schema.get("serialization_exclude") or schema.get("serialization_exclude_if"))


def _written_as(field: _Field) -> str:
    by_alias = field.rules.get("serialize_by_alias")
    return str(field.schema.get("serialization_alias", field.name)) if by_alias else field.name


def _read_by(field: _Field) -> set[str]:
    """The names by which alone it is read; paths into its document are none."""
    alias = field.schema.get("validation_alias")
    if alias is None:
        return {field.name}
    found = {field.name} if field.rules.get("validate_by_name") else set()
    if field.rules.get("validate_by_alias", True):
        choices = alias if isinstance(alias, list) and isinstance(alias[0], list) else [alias]
        paths = [each if isinstance(each, list) else [each] for each in choices]
        found |= {str(path[0]) for path in paths if len(path) == 1}
    return found


def _default_of(schema: Schema) -> object:
    while schema["type"] in _WRAPPINGS:
        if schema["type"] != "default":
            schema = schema["schema"]
        elif "default" in schema:
            return schema["default"]
        else:
            return None if schema.get("default_factory_takes_data") else schema["default_factory"]()
    return _REQUIRED


def _may_be_none(schema: Schema, named: Mapping[str, Schema]) -> bool:
    kind = schema["type"]
    if kind == "definition-ref":
        return _may_be_none(named[schema["schema_ref"]], named)
    if kind in _WRAPPINGS:
        return _may_be_none(schema["schema"], named)
    if kind == "union":
        choices = [each[0] if isinstance(each, tuple) else each for each in schema["choices"]]
        return any(_may_be_none(each, named) for each in choices)
    return kind in ("nullable", "none") or (kind == "literal" and None in schema["expected"])


def _has_set(schema: Schema, named: Mapping[str, Schema], within: frozenset[str] = frozenset()) -> bool:
    """Whether its values are sets or hold some; models within it are gone through by themselves."""
    if schema.get("type") == "definition-ref":
        name = schema["schema_ref"]
        return name not in within and _has_set(named.get(name, {}), named, within | {name})
    if schema.get("type") in _WITH_FIELDS:
        return False
    if schema.get("type") in ("set", "frozenset") and _own_writing(schema) is None:
        return True
    return any(_has_set(part, named, within) for part in _parts(schema))


# -- going through a schema ---------------------------------------------------------------------------------


def _fields_in(schema: Schema, model: str, rules: Schema, named: dict[str, Schema]) -> Iterator[_Field]:
    """Every field of a model, and of the models within it."""
    named.update({each["ref"]: each for each in schema.get("definitions", ())})
    if schema.get("type") in _WITH_FIELDS:
        model, rules = getattr(schema.get("cls"), "__name__", model), schema.get("config") or {}
    for name, field in _named_fields(schema):
        yield _Field(model, name, field, rules, named)
        yield from _fields_in(field, model, rules, named)
    for part in _parts(schema):
        yield from _fields_in(part, model, rules, named)


def _named_fields(schema: Schema) -> Iterator[tuple[str, Schema]]:
    fields = schema.get("fields", ())
    if isinstance(fields, Mapping):
        yield from fields.items()
    elif schema.get("type") == "dataclass-args":
        yield from ((each["name"], each) for each in fields)
    yield from ((each["property_name"], each) for each in schema.get("computed_fields", ()))
    if schema.get("root_model"):
        yield "root", {"schema": schema["schema"]}


def _parts(schema: Schema) -> Iterator[Schema]:
    """What a schema is made of, in the form that is written."""
    own = _own_writing(schema)
    if own is not None:
        yield own
        return
    for name, value in schema.items():
        if name not in _NO_SCHEMAS or (name == "fields" and schema.get("type") == "named-tuple"):
            yield from _schemas_in(value)


def _schemas_in(value: object) -> Iterator[Schema]:
    if isinstance(value, Mapping):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _schemas_in(each)


def _own_writing(schema: Schema) -> Schema | None:
    """How a value is written where it says so itself."""
    own = schema.get("serialization")
    return own if isinstance(own, Mapping) and str(own.get("type")).startswith("function") else None
