"""Masks what contracts and definitions mark as sensitive, such as addresses, wherever it turns up."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic_core import from_json

from contracts.sensitive import MASK, SENSITIVE_NAMES, sensitive_names
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.registry import Registry


class Masking:
    """Masks fields by their names."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def __call__(self, value: Any) -> Any:
        """A JSON value with every sensitive field masked, at any depth, and text that any encoder takes."""
        return _copied(value, self._names)

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
    models = [model for definition in registry for model in _models_of(definition)]
    return Masking(SENSITIVE_NAMES | sensitive_names(models))


def _models_of(definition: SagaDefinition) -> Iterator[type[BaseModel]]:
    yield definition.input
    yield definition.asked
    if definition.accepted is not None:
        yield definition.accepted
    for step in definition.steps:
        yield step.command
        yield from step.events()
        if step.compensation is not None:
            yield step.compensation.command
        if step.announces is not None:
            yield step.announces.event
    yield from (wait.signal for wait in definition.waits.values() if wait.signal is not None)
    yield from (each.event for each in definition.announces.values())


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
