"""Shows every fact to every checker and keeps their objections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from simulation.cast import ORDERS, Cast
from simulation.checkers.knowledge import Knowledge
from simulation.facts import Fact

Objections = Iterable[tuple[str, str]]
"""Which saga (or order, or product) is concerned, and what is wrong."""

Reaction = Callable[[Any], Objections]


@dataclass(frozen=True, slots=True)
class Objection:
    """A rule is broken."""

    rule: str
    about: str
    message: str
    at_s: float

    def __str__(self) -> str:
        return f"{self.rule} at {self.at_s:.3f} s, {self.about}: {self.message}"


class Checker:
    """Watches over one rule."""

    rule: ClassVar[str]

    def __init__(self, known: Knowledge) -> None:
        """
        Args:
            known: everything so far, the fact at hand included.
        """
        self.known = known

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """What to do about which kind of fact."""
        return {}

    def at_the_end(self) -> Objections:
        """What is wrong once everything should have ended."""
        return ()


class Inspection:
    """All checkers over one world."""

    def __init__(self, checkers: Iterable[type[Checker]], cast: Cast = ORDERS) -> None:
        self.known = Knowledge(cast)
        self._checkers: Sequence[Checker] = [checker(self.known) for checker in checkers]
        self._reactions: dict[type, list[tuple[str, Reaction]]] = {}
        for checker in self._checkers:
            for kind, reaction in checker.reactions.items():
                self._reactions.setdefault(kind, []).append((checker.rule, reaction))

    def look_at(self, at_s: float, fact: Fact) -> Iterator[Objection]:
        """What is wrong after this fact."""
        self.known.learn(at_s, fact)
        for rule, reaction in self._reactions.get(type(fact), ()):
            for about, message in reaction(fact):
                yield Objection(rule, about, message, at_s)

    def at_the_end(self) -> Iterator[Objection]:
        """What is wrong at the end."""
        for checker in self._checkers:
            for about, message in checker.at_the_end():
                yield Objection(checker.rule, about, message, self.known.at_s)
