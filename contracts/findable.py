"""By what those who start sagas find them again: their own reference, and short strings of their choice."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from pydantic_core import PydanticCustomError

from contracts.limits import PRINTABLE

MAX_METADATA: Final = 20
"""Strings that one saga may be given."""

METADATA_KEY: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"

MerchantReference = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=PRINTABLE)]
MetadataKey = Annotated[str, StringConstraints(pattern=METADATA_KEY)]
MetadataValue = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]


def _not_too_many(metadata: dict[str, str]) -> dict[str, str]:
    """Checked after each entry, and said in words; a bound of pydantic's own would speak of a dictionary."""
    if len(metadata) > MAX_METADATA:
        raise PydanticCustomError("too_long", "metadata may have at most 20 entries")
    return metadata


Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    AfterValidator(_not_too_many),
    Field(json_schema_extra={"maxProperties": MAX_METADATA, "additionalProperties": False}),
]


def absent(value: Any) -> bool:
    """Whether a field says nothing: it is not written then, and older documents stay as they were."""
    return not value


class Findable(BaseModel):
    """Base of inputs whose sagas are found by what their owner calls them (S26).

    Attributes:
        reference: the owner's own name for it, such as an order number; unique among the owner's sagas of
            one definition.
        metadata: short strings by key, that lists are filtered by.
    """

    reference: Annotated[
        MerchantReference | None,
        Field(
            exclude_if=absent,
            description="Your own name for it, such as an order number; no second one may have it",
        ),
    ] = None
    metadata: Annotated[
        Metadata,
        Field(exclude_if=absent, description="Short strings by key, by which lists are filtered"),
    ] = {}
