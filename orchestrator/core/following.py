"""Sagas that follow an earlier one: they start on what is made of what is asked and of that one (S28)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from contracts.models import Model


@dataclass(frozen=True, slots=True)
class Earlier:
    """The saga that is followed, as it stands under its lock.

    Attributes:
        subject_id: what it is about, such as an order.
        given: the document that started it.
        results: what it remembers of its successes, by step; of a branch, as of ``ship[2]``, with ``item``
            and ``outcome`` beside it.
    """

    saga_id: UUID
    subject_id: UUID
    label: str
    given: Any
    results: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Follower:
    """Another saga that follows the same one, has not been undone, and never will be where it has ended.

    Attributes:
        given: what it started on.
    """

    saga_id: UUID
    given: Any


class NotFollowed(Exception):
    """What is asked of the earlier saga cannot be; nothing is stored.

    Attributes:
        code: for programs.
        details: more for programs, such as the id of what stands in the way.
    """

    def __init__(self, code: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.code = code
        self.details: Mapping[str, str] = details


@dataclass(frozen=True, slots=True)
class Follows:
    """How the sagas of a definition follow those of another one.

    Attributes:
        definition: the name of the other one.
        asked: the model of what is asked; the definition's ``input`` is what is made of it.
        key: of the metadata under which each input has the id of what the earlier saga is about (S26).
        subject: of what is asked, that id.
        make: the input, of what is asked, the earlier saga and every other one that follows it. It is called
            while the earlier saga is locked, so what it finds there stands. Raises NotFollowed.
    """

    definition: str
    asked: type[Model]
    key: str
    subject: Callable[[Any], UUID]
    make: Callable[[Any, Earlier, Sequence[Follower]], Model]
