"""A provider for tests: it keeps books in memory, one effect a key, and goes wrong when it is told to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from participants.provider_plan import Declined, Took
from participants.provider_terms import (
    CallUnderWay,
    ProviderMisuse,
    ProviderTraits,
    ProviderUnavailable,
    Voided,
    VoidNotOffered,
)


class Trouble(StrEnum):
    """What may become of a call."""

    SILENT = "nothing happens, and there is no answer"
    UNHEARD = "it takes effect, and the answer is lost"
    LATE = "there is no answer, and it takes effect when `FakeProvider.arrive` says so"
    BUSY = "an earlier call with the key is still at work"
    REFUSED = "the request itself is refused: asking again changes nothing"


@dataclass(frozen=True, slots=True)
class Entry:
    """What took effect under a key."""

    key: str
    subject: str
    reference: str


class FakeProvider:
    """A provider's books; a test's client asks them.

    Attributes:
        traits: what this provider promises.
        offers_close: whether it can close a key.
        calls: the key of every `do`, in order.
    """

    def __init__(self, traits: ProviderTraits | None = None, *, offers_close: bool = True) -> None:
        self.traits = traits or ProviderTraits()
        self.offers_close = offers_close
        self.calls: list[str] = []
        self._answers: dict[str, Entry | Declined | Voided] = {}
        self._next: deque[Trouble | Declined] = deque()
        self._on_the_way: list[Callable[[], Any]] = []

    def next(self, *what: Trouble | Declined) -> None:
        """What becomes of the next calls, one after the other; those after them go well."""
        self._next.extend(what)

    def arrive(self) -> None:
        """What was called late takes effect now, where its key has not been closed meanwhile."""
        for call in self._on_the_way:
            call()
        self._on_the_way.clear()

    @property
    def effects(self) -> tuple[Entry, ...]:
        """Everything that took effect."""
        return tuple(each for each in self._answers.values() if isinstance(each, Entry))

    async def do(self, key: str, subject: object = "") -> Took | Declined:
        """Have an effect under a key, or tell again what came of it."""
        self.calls.append(key)
        what = self._next.popleft() if self._next else None
        if what is Trouble.SILENT:
            raise ProviderUnavailable("no answer")
        if what is Trouble.BUSY:
            raise CallUnderWay("an earlier call is at work")
        if what is Trouble.REFUSED:
            raise ProviderMisuse("the request is refused")
        if what is Trouble.LATE:
            self._on_the_way.append(lambda: self._enter(key, subject, None))
            raise ProviderUnavailable("no answer in time")
        answer = self._enter(key, subject, what if isinstance(what, Declined) else None)
        if what is Trouble.UNHEARD:
            raise ProviderUnavailable("the answer was lost")
        if isinstance(answer, Voided):
            raise ProviderMisuse("this key is closed")
        return Took(answer.reference) if isinstance(answer, Entry) else answer

    async def close(self, key: str) -> Took | Declined | Voided | VoidNotOffered:
        """See to it that nothing happens under a key any more, or tell what has."""
        if not self.offers_close:
            return VoidNotOffered()
        answer = self._answers.setdefault(key, Voided())
        return Took(answer.reference) if isinstance(answer, Entry) else answer

    async def find(self, key: str) -> Took | Declined | Voided | None:
        """What is known of a key."""
        answer = self._answers.get(key)
        return Took(answer.reference) if isinstance(answer, Entry) else answer

    async def of(self, subject: object) -> tuple[Entry, ...]:
        """Everything that took effect for a subject."""
        return tuple(each for each in self.effects if each.subject == str(subject))

    def _enter(self, key: str, subject: object, declined: Declined | None) -> Entry | Declined | Voided:
        entry = Entry(key, str(subject), f"effect-{len(self._answers) + 1}")
        return self._answers.setdefault(key, declined or entry)
