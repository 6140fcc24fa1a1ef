"""What the API's description says of installed definitions: the schemas of their inputs and signals."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from orchestrator.core.definition import SagaDefinition

_SCHEMAS: Final = "#/components/schemas/"

Schema = dict[str, Any]


class DefinitionSchemas:
    """Schemas of one definition's models, under names of its own: two may call a model the same."""

    def __init__(self, definition: SagaDefinition) -> None:
        self._definition = definition
        self._signals = {
            name: wait.signal for name, wait in definition.waits.items() if wait.signal is not None
        }
        self._references: dict[type[BaseModel], Schema] = {}
        self.components: dict[str, Schema] = {}
        """By their names in the document."""
        self._make({definition.asked, *self._signals.values()})

    @property
    def input(self) -> Schema:
        """A reference to the schema of what starts a saga."""
        return self._references[self._definition.asked]

    @property
    def signals(self) -> dict[str, Schema]:
        """References to the schemas of its signals, by their waits."""
        return {name: self._references[model] for name, model in self._signals.items()}

    def _make(self, models: set[type[BaseModel]]) -> None:
        named = sorted(models, key=lambda model: (model.__name__, model.__module__))
        prefix = f"{self._definition.name}."
        try:
            found, document = models_json_schema(
                [(model, "validation") for model in named], ref_template=f"{_SCHEMAS}{prefix}{{model}}"
            )
        except Exception:  # a model is somebody's code: without a schema it is told as any object
            self._references = {model: {"type": "object", "title": model.__name__} for model in named}
            return
        self._references = {model: found[model, "validation"] for model in named}
        self.components = {f"{prefix}{name}": schema for name, schema in document["$defs"].items()}
