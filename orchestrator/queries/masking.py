"""Masks what the contracts mark as sensitive, wherever it turns up: payment methods, addresses."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Literal

from pydantic_core import from_json

from contracts.sensitive import MASK, SENSITIVE_NAMES


def masked(value: Any) -> Any:
    """A JSON value with every sensitive field masked, at any depth, and text that any encoder takes."""
    return _copied(value, SENSITIVE_NAMES)


def _copied(value: Any, hidden: frozenset[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            _encodable(str(name)): MASK if name in hidden else _copied(each, hidden)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_copied(each, hidden) for each in value]
    return _encodable(value) if isinstance(value, str) else value


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def readable(body: bytes) -> tuple[Literal["json", "text", "base64"], Any]:
    """A message's body with nothing masked, and its form: for `orchestrator.disclosure` alone."""
    try:
        return "json", _copied(from_json(body, allow_inf_nan=False), frozenset())
    except ValueError:
        pass
    try:
        return "text", body.decode()
    except UnicodeDecodeError:
        return "base64", b64encode(body).decode()


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
