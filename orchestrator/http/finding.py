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
        """``metadata.KEY`` and, of a form with one field for both, ``metadata`` as ``KEY=VALUE``."""
        if not isinstance(given, dict):
            return given
        rest = {name: value for name, value in given.items() if not str(name).startswith(_PREFIX)}
        typed = rest.get("metadata", {})
        if not isinstance(typed, dict) and not all(map(_is_pair, _listed(typed))):
            return given
        stated = list(typed.items()) if isinstance(typed, dict) else list(map(_pair, _listed(typed)))
        stated += [(str(name).removeprefix(_PREFIX), given[name]) for name in given if name not in rest]
        found: dict[str, list[Any]] = {}
        for key, values in stated:
            found.setdefault(key, []).extend(_listed(values))
        return {**rest, "metadata": found} if found else rest

    @property
    def found_by(self) -> FoundBy:
        """The filter."""
        metadata = tuple((key, tuple(values)) for key, values in sorted(self.metadata.items()))
        return FoundBy(tuple(self.reference), metadata)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_pair(typed: Any) -> bool:
    return isinstance(typed, str) and "=" in typed


def _pair(typed: str) -> tuple[str, Any]:
    key, _, value = typed.partition("=")
    return key.strip(), value.strip()
