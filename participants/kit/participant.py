"""A participant as its author declares it: its name, its tables, and one class a kind of step."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, Self, TypeVar

from sqlalchemy import MetaData

from contracts.commands import COMMANDS, Command
from contracts.events import OUTCOMES, OutcomeEvent, StepRefused, StepSettled
from contracts.sensitive import SENSITIVE_NAMES, sensitive_names
from participants.commands import Offer, Works
from participants.kit.declaring import (
    InvalidParticipant,
    check_bench,
    command_problems,
    event_problems,
    events_of,
    own_work,
    provider_work,
)
from participants.kit.methods import problem_of_plain
from participants.kit.postgresql import SqlKitTransaction
from participants.kit.work import Work
from participants.provider_terms import ProviderLimits
from participants.retention import WALKS, Walk

C = TypeVar("C", bound=type)

Connect = Callable[[ProviderLimits], Any]
"""Makes the client of a provider; what is made is closed by its ``close`` at the end, where it has one."""

RESERVED: Final = frozenset(
    {"orchestrator", "inventory", "payment", "shipping", "sandbox", "audit", "public", "information_schema"}
)
"""Names of schemas, queues and variables that are taken."""

_NAME: Final = re.compile(r"(?!pg_)[a-z][a-z0-9_]{0,39}")
_OWN_TABLES: Final = frozenset({"ledger", "retention", "outbox", "schema_version", "own_schema_version"})


class Bench(Protocol):
    """What the commands of one batch decide upon together, one after the other, in memory."""

    @classmethod
    async def opened(cls, transaction: Any, works: Sequence[Work]) -> Self:
        """Lock and read at once whatever these commands may need, always in the same order (S18)."""

    async def save(self, transaction: Any, works: Sequence[Work]) -> None:
        """Write what has changed."""


@dataclass(frozen=True, slots=True)
class DeclaredStep:
    """A kind of step: what its author wrote, and what that says of its commands and answers.

    Attributes:
        effects: the author's object; of a step at a provider the class, made with the provider's client.
        bench: what its batches decide upon; None where every command is on its own.
    """

    effects: Any
    work: Offer
    bench: type[Bench] | None = None
    at_provider: bool = False

    @property
    def commands(self) -> Iterator[tuple[type[Command], str]]:
        """Its commands, and what each asks for, in words."""
        by = self.effects if isinstance(self.effects, type) else type(self.effects)
        yield self.work.command, f"to do {self.work.name} ({by.__name__})"
        if self.work.compensation is not None:
            yield self.work.compensation, f"to undo {self.work.name} ({by.__name__})"


@dataclass
class Participant:
    """Somebody's participant: its effects stand in its own database, or at a provider.

    The kit does the rest: each command once (P1, P2), its undoing (P3-P5), intents and finding out (P6),
    pruning (P7), the circuit breaker (P9), verdicts (S19), the outbox, retries and dead letters.

    Attributes:
        name: of its queue and of its schema; small letters, digits and underscores.
        tables: its own tables, in the schema of its name, if it has any.
        migrations: the folder of Alembic revisions that make them; needed where there are tables.
        provider: makes the client of the provider that its provider steps call.
        transaction: its transactions, where benches want more of them than `SqlKitTransaction` offers.
        takes_batches: whether its queue asks for commands in batches; to be switched on when all of its
            replicas run a release of the kit that takes them apart (M5).
    """

    name: str
    tables: MetaData | None = None
    migrations: Path | None = None
    provider: Connect | None = None
    transaction: type[SqlKitTransaction] = SqlKitTransaction
    takes_batches: bool = False
    _steps: dict[str, DeclaredStep] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise InvalidParticipant(f"participant {str(self.name)[:60]!r}: " + "; ".join(problems))

    def step(
        self, command: type[Command], undo: type[Command] | None = None, bench: type[Bench] | None = None
    ) -> Callable[[C], C]:
        """Declares a class to be the effects of a kind of step, in the participant's own database.

        ``async do(self, work, command)`` has the effect and returns its answer: the success, or a rejection,
        after which nothing that it wrote stands. ``async undo(self, work, command, done)`` takes back what
        ``done``, the success, tells of. Which events these are is taken from the types that they say they
        return.

        With a bench the commands of a batch are decided together: it is opened once for all, both methods
        get it before the work, change it only once they know that they succeed, and write nothing
        themselves; it is saved once at the end.

        Args:
            command: asks for the effect.
            undo: asks for its undoing; None where it cannot be undone.
            bench: what the commands of a batch decide upon.

        Raises:
            InvalidParticipant: the class does not fit.
        """

        def declare(cls: C) -> C:
            where = self._where(cls)
            work = own_work(cls, command, undo, where)
            if bench is not None:
                check_bench(bench, where)
            self._enter(where, DeclaredStep(cls(), work, bench))
            return cls

        return declare

    def provider_step(self, command: type[Command], undo: type[Command] | None = None) -> Callable[[C], C]:
        """Declares a class to be the effects of a kind of step at a provider (P6).

        It is made with the provider's client, and asks it with ``errand.key``, which is the same however
        often it asks. Its methods say what the client answered: an object with a ``reference`` for what took
        effect, one with ``code`` and ``message`` for a refusal, None for nothing found; they raise
        `ProviderUnavailable` or `ProviderMisuse` where there is no answer.

        - ``async call(errand, command)``: do it; ``async close(errand)``, where the provider can: see to it
          that nothing happens under the key any more, `Voided`, or say what has.
        - ``async find(errand)``: what is known of the key. ``async recall(errand)``: all that took effect
          for the subject, each with its ``key``, however old; or what `find` would say.
        - ``success(errand, took)``: the event that tells of it. ``rejection``: the class of the event that
          tells of a refusal; without it the provider never refuses.
        - With ``undo``: ``async undo(errand, done)``, ``async find_undo(errand)``, ``async
          recall_undo(errand)`` and ``undone(errand, took)`` are the same of the effect's reversal.
        - ``keeps``: names of the command's fields that stay in the ledger, as ``errand.kept``; by default
          those that are not marked as sensitive. All others are gone once the provider has answered.
          ``without``: those that no call needs and that are not stored at all, with what stands for them.
        - ``is_nothing(errand)``, where some of its work comes to nothing, as a charge of 0 does: whether this
          does. Then the provider is not asked: neither to do it nor to undo it nor what came of it; it counts
          as done at once, with the reference ``nothing``.
        - ``check(command, held)``, where earlier steps of the saga must permit it: is asked before the first
          call, with what the saga holds here, and raises `PermanentFailure` where they do not.
        - ``traits``: what the provider promises; by default what its client says it does.

        Raises:
            InvalidParticipant: the class does not fit.
        """

        def declare(cls: C) -> C:
            where = self._where(cls)
            work = provider_work(cls, command, undo, where)
            self._enter(where, DeclaredStep(cls, work, at_provider=True))
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

    @property
    def at_provider(self) -> tuple[DeclaredStep, ...]:
        """Those of them whose effects are at a provider."""
        return tuple(each for each in self._steps.values() if each.at_provider)

    @property
    def walks(self) -> Mapping[str, Walk]:
        """What is removed behind the low-water mark (P7)."""
        return WALKS

    @property
    def sensitive(self) -> frozenset[str]:
        """The names of all fields that its commands and events mark as sensitive."""
        commands = [command for each in self.steps for command, _ in each.commands]
        return SENSITIVE_NAMES | sensitive_names([*commands, *self.outcomes.values()])

    def declared(self, command: str) -> DeclaredStep:
        """The step of a forward command's type. Raises KeyError."""
        return self._steps[command]

    @property
    def outcomes(self) -> dict[str, type[OutcomeEvent]]:
        """Every event that it may answer with, by its type."""
        own = {event.__name__: event for each in self.steps for event in events_of(each.work)}
        return {**own, StepRefused.__name__: StepRefused, StepSettled.__name__: StepSettled}

    def _where(self, cls: type) -> str:
        return f"participant {self.name!r}: {cls.__name__}"

    def _enter(self, where: str, step: DeclaredStep) -> None:
        problems = [*self._claimed(step.work), *event_problems(step.work)]
        if not problems:
            problems += _said_twice((*self.steps, step))
        if problems:
            raise InvalidParticipant(f"{where}: " + "; ".join(problems))
        self._steps[step.work.name] = step

    def _claimed(self, work: Offer) -> Iterator[str]:
        """Names of commands and events that are somebody else's."""
        commands = [each for each in (work.command, work.compensation) if each is not None]
        yield from command_problems(self.name, *commands)
        yield from (
            f"there is a command {each.__name__} already" for each in commands if _is_in(COMMANDS, each)
        )
        events = [each for each in events_of(work) if _is_in(OUTCOMES, each)]
        yield from (f"there is an event {each.__name__} already" for each in events)

    def _is_taken(self, name: str) -> bool:
        return name in RESERVED

    def _problems(self) -> Iterator[str]:
        if _NAME.fullmatch(str(self.name)) is None:
            yield "its name must be a small letter and up to 39 more, digits or underscores; not pg_..."
        elif self._is_taken(self.name):
            yield "its name is taken"
        tables = self.tables.sorted_tables if self.tables is not None else []
        for table in tables:
            if table.schema != self.name:
                yield f"its table {table.name} must be in its schema: MetaData(schema={self.name!r})"
            if table.name in _OWN_TABLES:
                yield f"its table {table.name} has the name of one of the kit's"
        if tables and self.migrations is None:
            yield "it has tables, so it needs the folder of the migrations that make them"
        if (problem := problem_of_plain(self.provider)) is not None:
            yield f"what makes its provider's client {problem}: write def, without async"
        if self.migrations is not None and not Path(self.migrations).is_dir():
            yield f"there is no folder {self.migrations}"


@dataclass
class HouseParticipant(Participant):
    """One of our own three: its name, commands and events are those that nobody else may have.

    Its schema has one history, so its tables are none of the kit's business.
    """

    pruning: Mapping[str, Walk] = field(default_factory=lambda: WALKS)

    @property
    def walks(self) -> Mapping[str, Walk]:
        """See `Participant.walks`."""
        return self.pruning

    def _is_taken(self, name: str) -> bool:
        return False

    def _claimed(self, work: Offer) -> Iterator[str]:
        return iter(())


def _said_twice(steps: Sequence[DeclaredStep]) -> Iterator[str]:
    """Names that mean two things in one participant: only one of them would ever be understood."""
    asked: dict[str, str] = {}
    for command, what in (each for step in steps for each in step.commands):
        if command.__name__ in asked:
            twice = f"{asked[command.__name__]} and {what}"
            yield f"{command.__name__} asks {twice}: each needs a command of its own"
        asked[command.__name__] = what
    events: dict[str, type[OutcomeEvent]] = {}
    for event in (each for step in steps for each in events_of(step.work)):
        if events.setdefault(event.__name__, event) is not event:
            yield f"two different events are both called {event.__name__}"


def _is_in(known: Collection[str], kind: object) -> bool:
    return getattr(kind, "__name__", "") in known
