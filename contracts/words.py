"""Words that are stored, of which a later release may know more than this one (S25).

A database outlives the release that works on it: a later one may have written a role, a status or a kind that
nobody knows here, before it was taken back or while the replicas are replaced. Such a word is shown as it is.
It is equal to none of ours, so it permits nothing, and whatever else is stored is read as ever.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias, TypeVar

from pydantic import Field

W = TypeVar("W", bound=StrEnum)

Word: TypeAlias = Annotated[W | str, Field(union_mode="left_to_right")]
"""A field of a view for one of these words, or for one that is not known here."""


def word_of(known: type[W], stored: str) -> W | str:
    """A stored word; one that is not known here stays the plain text that it is."""
    try:
        return known(stored)
    except ValueError:
        return stored


def said_of(known: type[StrEnum], word: str, what: str) -> str:
    """A word for a person: ``unknown role "auditor"`` where it is not known here."""
    return str(word) if word in set(known) else f'unknown {what} "{word}"'
