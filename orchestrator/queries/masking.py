"""Masks what the contracts mark as sensitive, wherever it turns up: payment methods, addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import from_json

from contracts.commands import COMMANDS
from contracts.events import EVENTS
from contracts.orders import Order

MASK: Final = "***"


def _sensitive(models: Iterator[type[BaseModel]]) -> Iterator[str]:
    for model in models:
        for name, field in model.model_fields.items():
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("sensitive"):
                yield name


SENSITIVE_NAMES: Final = frozenset(_sensitive(iter((Order, *COMMANDS.values(), *EVENTS.values()))))
"""Names of all sensitive fields; nothing else in the contracts has such a name."""


def masked(value: Any) -> Any:
    """A JSON value with every sensitive field masked, at any depth, and text that any encoder takes."""
    if isinstance(value, Mapping):
        return {
            masked(str(name)): MASK if name in SENSITIVE_NAMES else masked(each)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(each) for each in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def masked_body(body: bytes) -> tuple[str, Any]:
    """How a message's body may be shown, and that: ``json``, ``text``, or ``withheld``.

    Text that is no JSON cannot be masked; it is withheld when it may hold a sensitive field.
    """
    try:
        return "json", masked(from_json(body, allow_inf_nan=False))
    except ValueError:
        text = body.decode("utf-8", "replace")
    hidden = any(name in text for name in SENSITIVE_NAMES)
    return ("withheld", None) if hidden else ("text", text)
