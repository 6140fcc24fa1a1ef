"""Forms for signals, made from the schema of what a wait waits for; what is filled in, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from contracts.problems import ProblemError
from orchestrator.http.console.rendering import words
from orchestrator.queries.views import WaitView

PREFIX: Final = "field."
"""Begins the names of a form's fields that belong to the signal's body."""

WHOLE: Final = "body"
"""The one field of a form whose schema names no fields: the body as JSON."""

LONG_TEXT: Final = 200
"""Characters from which a text gets more than one line."""

_DEEPEST: Final = 10


class Control(Enum):
    """How a field is filled in."""

    TEXT = "text"
    LINES = "lines"
    NUMBER = "number"
    CHOICE = "choice"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the values that a field may have: as JSON, and as people read it."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of a form.

    Attributes:
        key: its name in the form.
        hint: what the schema says of it.
    """

    name: str
    key: str
    label: str
    control: Control
    required: bool
    hint: str = ""
    choices: tuple[Choice, ...] = ()
    step: str = "any"


@dataclass(frozen=True, slots=True)
class SignalForm:
    """The form for one wait that is open."""

    wait: WaitView
    fields: tuple[FormField, ...]


def forms_of(waits: Sequence[WaitView]) -> tuple[SignalForm, ...]:
    """A form for each wait for which a signal would be taken now."""
    return tuple(SignalForm(wait, tuple(fields_of(wait.signal_schema or {}))) for wait in waits if wait.open)


def fields_of(schema: Mapping[str, Any]) -> Iterator[FormField]:
    """The fields of what a schema describes."""
    properties, required = schema.get("properties"), schema.get("required", ())
    if not isinstance(properties, dict) or not properties:
        yield FormField(WHOLE, WHOLE, "Body, as JSON", Control.JSON, required=False)
        return
    for name, described in properties.items():
        yield _field(name, described, schema, required=name in required)


def body_of(schema: Mapping[str, Any], form: Mapping[str, str]) -> bytes:
    """The body that a form says; fields that were left empty are not in it.

    Raises:
        ProblemError: 422 naming a field that is no JSON where it must be.
    """
    fields = list(fields_of(schema))
    if [field.key for field in fields] == [WHOLE]:
        return form.get(WHOLE, "").encode() or b"{}"
    body = {field.name: _value(field, form[field.key]) for field in fields if form.get(field.key)}
    return json.dumps(body).encode()


def sentence_of(problem: ProblemError) -> ProblemError:
    """The same problem, which says in its sentence which fields are wrong."""
    found = problem.problem.errors
    if not found:
        return problem
    told = "; ".join(f"{_spoken(each.pointer)}: {each.detail.rstrip('.')}" for each in found)
    detail = f"This cannot be used: {told}. Nothing was done."
    return ProblemError(problem.status, problem.problem.code, detail)


def _spoken(pointer: str) -> str:
    return words(pointer.strip("/").replace("/", " ")).capitalize() or "It"


def _field(name: str, described: Any, root: Mapping[str, Any], *, required: bool) -> FormField:
    schema = _resolved(described, root)
    control, choices = _control(schema)
    return FormField(
        name=name,
        key=f"{PREFIX}{name}",
        label=words(str(schema.get("title") or name)),
        control=control,
        required=required,
        hint=str(schema.get("description") or _hint(schema)),
        choices=choices,
        step="1" if schema.get("type") == "integer" else "any",
    )


def _control(schema: Mapping[str, Any]) -> tuple[Control, tuple[Choice, ...]]:
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if schema.get("type") == "boolean" and values is None:
        return Control.CHOICE, (Choice("true", "yes"), Choice("false", "no"))
    if values is not None:
        return Control.CHOICE, tuple(Choice(json.dumps(each), words(each)) for each in values)
    if schema.get("type") in ("integer", "number"):
        return Control.NUMBER, ()
    if schema.get("type") == "string":
        return (Control.LINES if schema.get("maxLength", 0) >= LONG_TEXT else Control.TEXT), ()
    return Control.JSON, ()


def _hint(schema: Mapping[str, Any]) -> str:
    told = (("format", "as {}"), ("minimum", "at least {}"), ("maximum", "at most {}"))
    return ", ".join(text.format(schema[name]) for name, text in told if name in schema)


def _resolved(described: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with what it refers to; of an alternative to null, the other alternative."""
    schema = described if isinstance(described, dict) else {}
    for _ in range(_DEEPEST):
        alternatives = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
        if "$ref" in schema:
            found = root.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2], {})
        elif len(alternatives) == 1:
            found = alternatives[0]
        else:
            break
        said = {name: value for name, value in schema.items() if name not in ("$ref", "anyOf")}
        schema = {**found, **said}
    return schema


def _value(field: FormField, text: str) -> Any:
    if field.control in (Control.TEXT, Control.LINES):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if field.control is Control.NUMBER:
            return text  # the model says what is wrong with it
        detail = f"This cannot be used: {field.label}: it is no JSON. Nothing was done."
        raise ProblemError(422, "invalid", detail) from None
