"""What the contracts mark as sensitive (payment method, address), and how it is kept out of sight.

A sensitive field is masked by its name. Text that somebody else wrote, such as a provider's error, has no
fields: from it the values are taken out that the message in question has in its sensitive fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, Final

from pydantic import BaseModel

from contracts.commands import COMMANDS
from contracts.events import EVENTS
from contracts.orders import Order

MASK: Final = "***"

SHORTEST_HIDDEN: Final = 3
"""Characters. What is shorter, such as a country, tells nothing and would tear holes into every text."""


def _names() -> Iterator[str]:
    models: tuple[type[BaseModel], ...] = (Order, *COMMANDS.values(), *EVENTS.values())
    for model in models:
        for name, field in model.model_fields.items():
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("sensitive"):
                yield name


SENSITIVE_NAMES: Final = frozenset(_names())
"""Names of all sensitive fields; nothing else in the contracts has such a name."""


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
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list() | tuple():
            for each in value:
                yield from _texts(each)
