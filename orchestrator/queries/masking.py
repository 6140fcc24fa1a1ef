"""Masks what contracts and definitions mark as sensitive, such as addresses, wherever it turns up."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final, Literal

from pydantic_core import from_json

from contracts.sensitive import SENSITIVE_NAMES, masked_fields
from orchestrator.core.registry import Registry


class Masking:
    """Masks fields by their names."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def __call__(self, value: Any) -> Any:
        """A JSON value with every sensitive field masked, at any depth, and text that any encoder takes."""
        return masked_fields(value, self._names)

    def body(self, body: bytes) -> tuple[str, Any]:
        """How a message's body may be shown, and that: ``json``, ``text``, or ``withheld``.

        Text that is no JSON cannot be masked; it is withheld when it may hold a sensitive field.
        """
        try:
            return "json", self(from_json(body, allow_inf_nan=False))
        except ValueError:
            text = body.decode("utf-8", "replace")
        hidden = any(name in text for name in self._names)
        return ("withheld", None) if hidden else ("text", text)


masked: Final = Masking(SENSITIVE_NAMES)
"""By what this project's own contracts mark."""

masked_body: Final = masked.body


def masking_of(registry: Registry) -> Masking:
    """By what the models of all sagas mark: their inputs, commands, answers, signals and announcements."""
    return Masking(registry.sensitive)


def readable(body: bytes) -> tuple[Literal["json", "text", "base64"], Any]:
    """A message's body with nothing masked, and its form: for `orchestrator.disclosure` alone."""
    try:
        return "json", masked_fields(from_json(body, allow_inf_nan=False), ())
    except ValueError:
        pass
    try:
        return "text", body.decode()
    except UnicodeDecodeError:
        return "base64", b64encode(body).decode()
