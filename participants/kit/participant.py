"""A participant as its author declares it: its name, its tables, and one class a kind of step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from sqlalchemy import MetaData

from contracts.commands import COMMANDS, Command
from contracts.envelope import Direction
from contracts.events import (
    OUTCOMES,
    CompensationOutcome,
    Effect,
    OutcomeEvent,
    Rejection,
    StepRefused,
    StepSettled,
)
from contracts.works import problems_of
from participants.commands import Work as KindOfWork
from participants.commands import Works

C = TypeVar("C", bound=type)

RESERVED: Final = frozenset(
    {"orchestrator", "inventory", "payment", "shipping", "sandbox", "audit", "public", "information_schema"}
)
"""Names of schemas, queues and variables that are taken."""

_NAME: Final = re.compile(r"(?!pg_)[a-z][a-z0-9_]{0,39}")
_KEY: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
_OWN_TABLES: Final = frozenset({"ledger", "retention", "outbox", "schema_version", "own_schema_version"})


class InvalidParticipant(Exception):
    """A participant that must not run; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class DeclaredStep:
    """A kind of step: what its author wrote, and what that says of its commands and answers."""

    effects: Any
    work: KindOfWork


@dataclass
class Participant:
    """Somebody's participant, whose effects stand in its own database.

    The kit does the rest: each command once (P1, P2), its undoing (P3-P5), pruning (P7), verdicts (S19), the
    outbox, retries and dead letters.

    Attributes:
        name: of its queue and of its schema; small letters, digits and underscores.
        tables: its own tables, in the schema of its name, if it has any.
        migrations: the folder of Alembic revisions that make them; needed where there are tables.
        takes_batches: whether its queue asks for commands in batches; to be switched on when all of its
            replicas run a release of the kit that takes them apart (M5).
    """

    name: str
    tables: MetaData | None = None
    migrations: Path | None = None
    takes_batches: bool = False
    _steps: dict[str, DeclaredStep] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise InvalidParticipant(f"participant {str(self.name)[:60]!r}: " + "; ".join(problems))

    def step(self, command: type[Command], undo: type[Command] | None = None) -> Callable[[C], C]:
        """Declares a class to be the effects of a kind of step.

        ``async do(self, work, command)`` has the effect and returns its answer: the success, or a rejection,
        after which nothing that it wrote stands. ``async undo(self, work, command, done)`` takes back what
        ``done``, the success, tells of. Which events these are is taken from the types that they say they
        return.

        Args:
            command: asks for the effect.
            undo: asks for its undoing; None where it cannot be undone.

        Raises:
            InvalidParticipant: the class does not fit.
        """

        def declare(cls: C) -> C:
            where = f"participant {self.name!r}: {cls.__name__}"
            work = _work_of(cls, command, undo, where)
            problems = [*_command_problems(self.name, command, undo), *_event_problems(work)]
            problems += [
                f"{name} is done by {self._steps[name].effects}" for name in {work.name} & {*self._steps}
            ]
            if problems:
                raise InvalidParticipant(f"{where}: " + "; ".join(problems))
            self._steps[work.name] = DeclaredStep(cls(), work)
            return cls

        return declare

    @property
    def works(self) -> Works:
        """All that it can do."""
        return Works(each.work for each in self._steps.values())

    @property
    def steps(self) -> tuple[DeclaredStep, ...]:
        """The kinds of steps in the order in which they were declared."""
        return tuple(self._steps.values())

    def declared(self, command: str) -> DeclaredStep:
        """The step of a forward command's type. Raises KeyError."""
        return self._steps[command]

    @property
    def outcomes(self) -> dict[str, type[OutcomeEvent]]:
        """Every event that it may answer with, by its type."""
        own = {event.__name__: event for each in self.steps for event in _events(each.work)}
        return {**own, StepRefused.__name__: StepRefused, StepSettled.__name__: StepSettled}

    def _problems(self) -> Iterator[str]:
        if _NAME.fullmatch(str(self.name)) is None:
            yield "its name must be a small letter and up to 39 more, digits or underscores; not pg_..."
        elif self.name in RESERVED:
            yield "its name is taken"
        tables = self.tables.sorted_tables if self.tables is not None else []
        for table in tables:
            if table.schema != self.name:
                yield f"its table {table.name} must be in its schema: MetaData(schema={self.name!r})"
            if table.name in _OWN_TABLES:
                yield f"its table {table.name} has the name of one of the kit's"
        if tables and self.migrations is None:
            yield "it has tables, so it needs the folder of the migrations that make them"
        if self.migrations is not None and not Path(self.migrations).is_dir():
            yield f"there is no folder {self.migrations}"


def _work_of(cls: type, command: type[Command], undo: type[Command] | None, where: str) -> KindOfWork:
    """What the types that its methods return say."""
    answers = _returned(cls, "do", where)
    rejections = [each for each in answers if issubclass(each, Rejection)]
    successes = [each for each in answers if each not in rejections]
    if len(successes) != 1 or len(rejections) > 1 or issubclass(successes[0], CompensationOutcome):
        raise InvalidParticipant(
            f"{where}.do must return one success, or one and a Rejection; see its annotation"
        )
    if undo is None:
        if hasattr(cls, "undo"):
            raise InvalidParticipant(f"{where} has undo, but its step is declared without the command for it")
        return KindOfWork(command, successes[0], rejections[0] if rejections else None)
    undone = _returned(cls, "undo", where)
    if len(undone) != 1 or not issubclass(undone[0], CompensationOutcome):
        raise InvalidParticipant(f"{where}.undo must return one CompensationOutcome; see its annotation")
    return KindOfWork(command, successes[0], rejections[0] if rejections else None, undo, undone[0])


def _returned(cls: type, method: str, where: str) -> list[type[OutcomeEvent]]:
    function = getattr(cls, method, None)
    if function is None:
        raise InvalidParticipant(f"{where} has no method {method}")
    try:
        said = get_type_hints(function).get("return")
    except Exception as error:
        raise InvalidParticipant(f"{where}.{method}: its annotations cannot be read: {error}") from None
    kinds = get_args(said) if get_origin(said) in (Union, UnionType) else (said,)
    if not all(isinstance(kind, type) and issubclass(kind, OutcomeEvent) for kind in kinds):
        raise InvalidParticipant(
            f"{where}.{method} must say which events it returns, such as SeatTaken | NoSeat"
        )
    return list(kinds)


def _command_problems(name: str, *commands: Any) -> Iterator[str]:
    for each in commands:
        if each is None:
            continue
        if not (isinstance(each, type) and issubclass(each, Command)):
            yield f"{each!r} is no Command"
        elif each.participant != name:
            yield f"{each.__name__} is not its command: it must say participant = {name!r}"
        elif each.__name__ in COMMANDS:
            yield f"there is a command {each.__name__} already"


def _event_problems(work: KindOfWork) -> Iterator[str]:
    for event in _events(work):
        key = getattr(event, "key", None)
        if not isinstance(key, str) or _KEY.fullmatch(key) is None or len(key) > 200:
            yield f"{event.__name__} needs a routing key such as key = 'registrar.seat_taken'"
        if event.__name__ in OUTCOMES:
            yield f"there is an event {event.__name__} already"
    if work.undone is not None:
        identity = {"saga_id": UUID(int=1), "order_id": UUID(int=1), "step": "step"}
        nothing = {**identity, "direction": Direction.COMPENSATING, "effect": Effect.NOTHING}
        for problem in problems_of(work.undone, nothing):
            told = f"{work.undone.__name__} also tells that there was nothing to undo"
            yield f"{told}, so its fields need defaults: {problem}"


def _events(work: KindOfWork) -> Iterator[type[OutcomeEvent]]:
    yield from (each for each in (work.success, work.rejection, work.undone) if each is not None)
