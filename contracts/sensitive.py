"""What the contracts mark as sensitive (payment method, address), and how it is kept out of sight.

A sensitive field is masked by its name. Text that somebody else wrote, such as a provider's error, has no
fields: from it the values are taken out that the message in question has in its sensitive fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from contracts.commands import COMMANDS
from contracts.events import EVENTS
from contracts.orders import Order

MASK: Final = "***"

SHORTEST_HIDDEN: Final = 3
"""Characters. What is shorter, such as a country, tells nothing and would tear holes into every text."""


def sensitive_names(models: Iterable[type[BaseModel]]) -> frozenset[str]:
    """The names of all fields that these models, and those within them, mark as sensitive."""
    found, seen, left = set[str](), set[type[BaseModel]](), list(models)
    while left:
        model = left.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, field in model.model_fields.items():
            if _is_marked(field) or any(map(_is_marked, _metadata_in(field.annotation))):
                found |= {name, *filter(None, (field.alias, field.serialization_alias))}
            left += _models_in(field.annotation)
    return frozenset(found)


def _is_marked(field: object) -> bool:
    extra = field.json_schema_extra if isinstance(field, FieldInfo) else None
    return isinstance(extra, dict) and bool(extra.get("sensitive"))


def _metadata_in(annotation: Any) -> Iterator[object]:
    """What is said of the parts of a type, as in ``list[Annotated[str, ...]]``."""
    if get_origin(annotation) is Annotated:
        yield from get_args(annotation)[1:]
    for part in get_args(annotation):
        yield from _metadata_in(part)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


SENSITIVE_NAMES: Final = sensitive_names((Order, *COMMANDS.values(), *EVENTS.values()))
"""Names of all sensitive fields of this project's own contracts; nothing else in them has such a name."""


def masked_fields(document: Any, names: Collection[str] = SENSITIVE_NAMES) -> Any:
    """A copy of a JSON value with every sensitive field masked, at any depth; any encoder takes its text."""
    if isinstance(document, Mapping):
        return {
            _encodable(str(name)): MASK if name in names else masked_fields(each, names)
            for name, each in document.items()
        }
    if isinstance(document, list | tuple):
        return [masked_fields(each, names) for each in document]
    return _encodable(document) if isinstance(document, str) else document


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def without_sensitive(text: str, document: Any, names: Collection[str] = SENSITIVE_NAMES) -> str:
    """A text without the values that a document holds in its sensitive fields, in whatever case.

    Args:
        document: what the text is about: JSON as bytes, or as values.
        names: of the fields that are sensitive in it.
    """
    if not text:
        return text
    values = {value for value in _sensitive_values(_read(document), names) if len(value) >= SHORTEST_HIDDEN}
    if not values:
        return text
    longest_first = sorted({form for value in values for form in _forms(value)}, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), MASK, text, flags=re.IGNORECASE)


def _read(document: Any) -> Any:
    if not isinstance(document, bytes):
        return document
    try:
        return json.loads(document)
    except (ValueError, RecursionError):
        return None


def _forms(value: str) -> Iterator[str]:
    """A value as it is, and as it stands within JSON and within a representation."""
    yield value
    yield json.dumps(value)[1:-1]
    yield repr(value)[1:-1]


def _sensitive_values(document: Any, names: Collection[str]) -> Iterator[str]:
    match document:
        case dict():
            for name, value in document.items():
                yield from _texts(value) if name in names else _sensitive_values(value, names)
        case list() | tuple():
            for value in document:
                yield from _sensitive_values(value, names)


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case int() | float() if not isinstance(value, bool):
            yield str(value)
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list() | tuple():
            for each in value:
                yield from _texts(each)
