"""What the participants of random courses can do: eight trades, each with its commands and answers."""

from __future__ import annotations

import sys
import types
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from contracts.commands import Command
from contracts.events import CompensationOutcome, Event, OutcomeEvent, Rejection
from contracts.works import KindOfWork
from orchestrator.core.definition import SignalBody

NAMES: Final = ("baker", "carter", "dyer", "fuller", "glover", "hatter", "joiner", "mason")


class Work(Command):
    """Do something. ``seen`` is a digest of what the saga knew when it asked."""

    seen: str
    item: str | None = None


class Unwork(Command):
    """Undo it."""


class Worked(OutcomeEvent):
    """It is done."""

    reference: str
    pieces: int = 1


class Declined(Rejection):
    """It was not done."""


class Unworked(CompensationOutcome):
    """It is not done any more."""


class Began(Event):
    """A course has begun."""

    key = "course.began"
    customer: str


class Passed(Event):
    """A stage of a course is behind it."""

    key = "course.passed"
    seen: str


class Over(Event):
    """A course has ended."""

    key = "course.over"
    seen: str


class Approval(SignalBody):
    """Somebody outside says yes or no."""

    yes: bool = True
    by: str


B = TypeVar("B", bound=BaseModel)


def _named(base: type[B], name: str, **said: Any) -> type[B]:
    """A kind of its own, found again where it is looked up by its name."""
    made: type[B] = types.new_class(name, (base,), {}, lambda body: body.update(__module__=__name__, **said))
    setattr(sys.modules[__name__], name, made)
    return made


def _trade(name: str) -> KindOfWork:
    title = name.title()
    return KindOfWork(
        name,
        _named(Worked, f"{title}Worked", key=f"{name}.worked"),
        _named(Declined, f"{title}Declined", key=f"{name}.declined"),
        _named(Unwork, f"{title}Unwork", participant=name),
        _named(Unworked, f"{title}Unworked", key=f"{name}.unworked"),
    )


COMMANDS: Final[dict[str, type[Command]]] = {
    name: _named(Work, f"{name.title()}Work", participant=name) for name in NAMES
}
"""What each of them is asked for, by its name."""

TRADES: Final[dict[str, KindOfWork]] = {name: _trade(name) for name in NAMES}
"""How each of them answers, by its name."""
