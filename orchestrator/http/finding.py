"""Filters by what those who start sagas call them: `reference=` and `metadata.KEY=` (S26)."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.findable import MAX_METADATA, MerchantReference, MetadataKey, MetadataValue
from orchestrator.selection import FoundBy

MAX_FILTER_VALUES: Final = 20

_PREFIX: Final = "metadata."

Values = Annotated[list[MetadataValue], Field(min_length=1, max_length=MAX_FILTER_VALUES)]


class FindingQuery(BaseModel):
    """By reference and metadata; several values of one filter mean "or", several keys mean "and"."""

    model_config = ConfigDict(extra="forbid")

    reference: Annotated[
        list[MerchantReference],
        Field(max_length=MAX_FILTER_VALUES, description="What its owner calls it"),
    ] = []
    metadata: Annotated[
        dict[MetadataKey, Values],
        Field(max_length=MAX_METADATA, description="In a query: `metadata.KEY=VALUE`, may be repeated"),
    ] = {}

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, given: Any) -> Any:
        """``metadata.KEY`` and, of a form with one field for it, ``metadata`` as ``KEY=VALUE``."""
        if not isinstance(given, dict):
            return given
        rest = {name: value for name, value in given.items() if not str(name).startswith(_PREFIX)}
        typed = rest.get("metadata")
        found: dict[str, Any] = {}
        if isinstance(typed, str) and "=" in typed:
            key, _, value = typed.partition("=")
            found[key.strip()] = [value.strip()]
        elif isinstance(typed, dict):
            found |= {key: _listed(value) for key, value in typed.items()}
        elif typed is not None:
            return given
        for name in given.keys() - rest.keys():
            key = name.removeprefix(_PREFIX)
            found[key] = [*found.get(key, []), *_listed(given[name])]
        return {**rest, "metadata": found} if found else rest

    @property
    def found_by(self) -> FoundBy:
        """The filter."""
        metadata = tuple((key, tuple(values)) for key, values in sorted(self.metadata.items()))
        return FoundBy(tuple(self.reference), metadata)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value
