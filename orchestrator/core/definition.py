"""Saga definitions as data: a course of stages, each of steps that are awaited together.

A course says what is asked for and in which order; how it is gone through is in `course`. A bad definition is
refused at the start, with everything that is wrong with it in one message (`soundness`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from contracts.commands import Command
from contracts.events import (
    CompensationOutcome,
    Event,
    OutcomeEvent,
    Rejection,
    StepRefused,
    StepSettled,
)
from contracts.models import Model
from orchestrator.core.following import Follows


class StepKind(StrEnum):
    """What can be done about a step that does not go well."""

    COMPENSATABLE = "compensatable"
    """It can be undone."""
    PIVOT = "pivot"
    """The point of no return: once done, the saga only goes forward (S6)."""
    RETRIABLE = "retriable"
    """It cannot fail for good; it is asked for until it is done."""


LONGEST_S: Final = 365 * 24 * 3600
"""Longest time that a policy may ask for, in seconds: a year, far within what a clock can add."""


@dataclass(frozen=True, slots=True)
class StepPolicy:
    """How long a step is waited for, and how often it is asked for again (S4, S7).

    Attributes:
        deadline_s: seconds after which an unanswered step is overdue.
        grace_s: seconds to wait after the last re-send before the outcome counts as unknown.
        resend_after_s: seconds before the first re-send; doubles each time.
        resend_cap_s: longest wait between re-sends, in seconds.
        stuck_after_attempts: sends of a compensation after which an incident is opened.
    """

    deadline_s: float = 300
    grace_s: float = 30
    resend_after_s: float = 5
    resend_cap_s: float = 60
    stuck_after_attempts: int = 5

    def problems(self) -> Iterator[str]:
        """What is wrong with the numbers, if anything."""
        for each in fields(self):
            value = getattr(self, each.name)
            if type(value) not in (int, float) or not 0 < value <= LONGEST_S:
                yield f"{each.name} must be above 0 and at most {LONGEST_S:,}"


Results = Mapping[str, Any]
"""What a saga remembers of its successes: by a step's name the fields that it keeps, by a wait's the body of
its signal, by a for-each's name one mapping a branch, with ``item`` and ``outcome`` beside what it keeps."""

Arguments = Callable[..., Mapping[str, Any]]
"""Takes the input and the results, in a for-each the branch's item too. Pure: a re-send builds the same."""


def no_arguments(*given: Any) -> Mapping[str, Any]:
    """For commands whose participant knows everything from its own ledger."""
    return {}


@dataclass(frozen=True, slots=True)
class Compensation:
    """How a step is undone: the command, and the event that says it is."""

    command: type[Command]
    outcome: type[CompensationOutcome]


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event by which a saga tells the world where it stands.

    Attributes:
        fields: the event's own fields, from the input and the results. Where the event has a ``code`` and a
            ``message``, they are the failure's.
    """

    event: type[Event]
    fields: Arguments = no_arguments


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a saga.

    Attributes:
        arguments: fields of the command, taken from the input and the results before it.
        failure_code: what the customer is told when the step is rejected; None takes the event's own code.
        milestone: the saga's label once the step has succeeded, while others follow; None leaves it.
        holds: what the step keeps from others while it is not undone, in a person's words (S7).
        keeps: fields of the success event that the saga remembers as the step's result.
        announces: told when the step has succeeded.
    """

    name: str
    participant: str
    kind: StepKind
    command: type[Command]
    success: type[OutcomeEvent]
    policy: StepPolicy
    arguments: Arguments = no_arguments
    rejection: type[Rejection] | None = None
    failure_code: str | None = None
    compensation: Compensation | None = None
    milestone: str | None = None
    holds: Callable[[Any], str] | None = None
    keeps: tuple[str, ...] = ()
    announces: Announcement | None = None

    def held(self, given: Any) -> str:
        """What the step keeps from others while it is not undone, in a person's words (S7)."""
        return self.holds(given) if self.holds else self.name

    def events(self) -> Iterator[type[OutcomeEvent]]:
        """The outcomes that only this step's participant gives."""
        yield self.success
        if self.rejection is not None:
            yield self.rejection
        if self.compensation is not None:
            yield self.compensation.outcome


@dataclass(frozen=True, slots=True)
class Group:
    """Steps asked for side by side; the course goes on when all have succeeded (S20)."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class ForEach:
    """One branch of a step for each item of what ``over`` gives when the stage begins; none: skipped (S22).

    Attributes:
        name: of the results, one a branch; the branches are called after the step, as in ``ship[2]``.
        over: takes the input and the results, gives plain values as JSON has them, at most `MAX_BRANCHES`.
    """

    name: str
    over: Callable[[Any, Results], Sequence[Any]]
    step: Step


class OnDeadline(StrEnum):
    """What becomes of a saga whose wait has run out of time."""

    TURN = "turn"
    """It turns round, as after a rejection."""
    GO_ON = "go_on"
    """It goes on without a signal."""


class SignalBody(Model):
    """Base of what comes from outside for a wait."""


class SignalledBy(StrEnum):
    """Who may say what a wait waits for."""

    CALLERS = "callers"
    """Whoever may cancel the saga."""
    OPERATORS = "operators"
    """A person who may act on any saga, and never the one who started it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Waits for something from outside, or only for time; burns nothing meanwhile (S23).

    Attributes:
        deadline_s: seconds after which it is over.
        signal: what is waited for; None waits for time alone.
        when: whether there is anything to wait for, from the input and the results; None: always.
        refuses: of a signal's body, why it says no: then the saga turns round. None where it says yes.
        fits: of the input and a signal's body, why that is none for this saga: then it is refused, and the
            saga goes on waiting. None where it is one.
        milestone: the saga's label once it has been waited for; None leaves it.
        waiting: the saga's label while it waits; None leaves it.
        signalled_by: whose word it is.
    """

    name: str
    deadline_s: float
    signal: type[Model] | None = None
    on_deadline: OnDeadline = OnDeadline.TURN
    when: Callable[[Any, Results], bool] | None = None
    refuses: Callable[[Mapping[str, Any]], str | None] | None = None
    milestone: str | None = None
    waiting: str | None = None
    signalled_by: SignalledBy = SignalledBy.CALLERS
    fits: Callable[[Any, Mapping[str, Any]], str | None] | None = None


Stage = Step | Group | ForEach | Wait
"""What is awaited together."""

MAX_BRANCHES: Final = 100
MAX_PIECES: Final = 200
"""Pieces of work that one saga may have, branches included."""
MAX_RESULTS: Final = 100_000
"""Characters that one saga may remember of its successes, and of what its branches are about."""

BRANCH: Final = re.compile(r"\[[1-9]\d{0,2}\]$")
"""What a branch's name ends with, after its step's."""


def step_name(piece: str) -> str:
    """The step of a piece of work, for those who have no definition at hand: ``ship`` for ``ship[2]``."""
    return BRANCH.sub("", piece) if piece[-1:] == "]" else piece


def steps_of(stage: Stage) -> tuple[Step, ...]:
    """The steps that a stage is made of, the one of a for-each once."""
    match stage:
        case Step():
            return (stage,)
        case Group():
            given: Any = stage.steps
            return given if isinstance(given, tuple) else ()
        case ForEach():
            return (stage.step,)
        case _:
            return ()


def _parts(course: Any) -> Iterator[tuple[Step | Wait, int]]:
    """Steps and waits with the number of their stage; what is neither is told by `soundness`."""
    for at, stage in enumerate(course if isinstance(course, tuple) else ()):
        parts: tuple[Any, ...] = (stage,) if isinstance(stage, Wait) else steps_of(stage)
        for part in parts:
            if isinstance(part, Step | Wait) and isinstance(part.name, str):
                yield part, at


@dataclass(frozen=True, slots=True)
class Labels:
    """The customer's words for where a saga stands and how it ended, beside the milestones of its steps.

    Attributes:
        completed: may depend on the input and the results; then ``may_complete_as`` lists what it may say.
        rejected_as: other words for some rejections, by the code of the failure.
    """

    started: str = "pending"
    completed: str | Callable[[Any, Results], str] = "completed"
    rejected: str = "rejected"
    cancelled: str = "cancelled"
    may_complete_as: tuple[str, ...] = ()
    rejected_as: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def completes_as(self) -> tuple[str, ...]:
        """Every label with which a saga may complete."""
        return self.may_complete_as if callable(self.completed) else (self.completed,)

    @property
    def undone_as(self) -> tuple[str, ...]:
        """Every label with which sagas end that were undone."""
        return tuple(dict.fromkeys((self.rejected, *self.rejected_as.values(), self.cancelled)))


@dataclass(frozen=True)
class SagaDefinition:
    """A kind of saga at one version: the document that starts it, and its course, stage by stage.

    Attributes:
        input: the model of the document that starts a saga; its rules are the edge's (S24).
        accepted: the model by which that document is read ever after, without the edge's rules (S25); None:
            the same.
        examples: inputs on which the functions of the definition are tried at the start, one at least.
        announces: by `trial.MOMENTS` what the world is told then; by a label of `Labels.may_complete_as`,
            what it is told instead where the saga completes so.
        follows: how its sagas follow earlier ones; None where they stand for themselves (S28).
        starts_sagas: False while a new version is being deployed: known everywhere before the first saga
            starts on it (S13).
    """

    name: str
    version: int
    course: tuple[Stage, ...]
    input: type[Model]
    examples: tuple[Model, ...]
    accepted: type[Model] | None = None
    labels: Labels = Labels()
    announces: Mapping[str, Announcement] = field(default_factory=lambda: MappingProxyType({}))
    starts_sagas: bool = True
    follows: Follows | None = None
    _steps: dict[str, Step] = field(init=False, repr=False, compare=False)
    _stages: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = list(_parts(self.course))
        steps = {part.name: part for part, _ in places if isinstance(part, Step)}
        object.__setattr__(self, "_steps", steps)
        object.__setattr__(self, "_stages", {part.name: at for part, at in places})

    @property
    def asked(self) -> type[Model]:
        """What those say who start a saga."""
        return self.follows.asked if self.follows is not None else self.input

    def __contains__(self, piece: object) -> bool:
        return isinstance(piece, str) and self._named(piece) in self._steps

    def __getitem__(self, piece: str) -> Step:
        """The step of a piece of work: ``ship`` for ``ship[2]``. Raises KeyError."""
        step = self._steps.get(piece)
        return step if step is not None else self._steps[self._named(piece)]

    def _named(self, piece: str) -> str:
        name = step_name(piece)
        if name == piece:
            return piece
        step = self._steps.get(name)
        return name if step is not None and isinstance(self.course[self._stages[name]], ForEach) else piece

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every step in the order of the course, the one of a for-each once."""
        return tuple(self._steps.values())

    @cached_property
    def first_pieces(self) -> tuple[str, ...]:
        """The pieces that a saga has from its start: all but the branches, which are worked out later."""
        names: list[str] = []
        for stage in self.course:
            if isinstance(stage, Wait):
                names.append(stage.name)
            elif not isinstance(stage, ForEach):
                names += [step.name for step in steps_of(stage)]
        return tuple(names)

    @cached_property
    def waits(self) -> Mapping[str, Wait]:
        """The waits by their names."""
        return {stage.name: stage for stage in self.course if isinstance(stage, Wait)}

    @cached_property
    def for_eaches(self) -> Mapping[str, int]:
        """Where the stage of each for-each stands, from 0, by its name."""
        return {stage.name: at for at, stage in enumerate(self.course) if isinstance(stage, ForEach)}

    def has_all(self, pieces: Iterable[str]) -> bool:
        """Whether all these are pieces of it; else a saga began on something else of its name and version."""
        return all(self._named(piece) in self._stages for piece in pieces)

    def stage_index(self, piece: str) -> int:
        """Where the stage of a piece stands, from 0. Raises KeyError."""
        at = self._stages.get(piece)
        return at if at is not None else self._stages[self._named(piece)]

    def stage_of(self, piece: str) -> Stage:
        """The stage of a piece. Raises KeyError."""
        return self.course[self.stage_index(piece)]

    @cached_property
    def point_of_no_return(self) -> int:
        """Which stage is the first that cannot be undone; past the last one when all can (S6, S9)."""
        for at, stage in enumerate(self.course):
            if any(step.kind is not StepKind.COMPENSATABLE for step in steps_of(stage)):
                return at
        return len(self.course)

    @cached_property
    def events(self) -> Mapping[str, type[OutcomeEvent]]:
        """Every event that can answer a command of this saga, by its type."""
        own = {event.__name__: event for step in self.steps for event in step.events()}
        return {**own, StepRefused.__name__: StepRefused, StepSettled.__name__: StepSettled}

    @property
    def commands(self) -> Iterator[type[Command]]:
        """Every command that a saga of it may ask for, verdicts aside."""
        for step in self.steps:
            yield step.command
            if step.compensation is not None:
                yield step.compensation.command

    @property
    def outcome_keys(self) -> frozenset[str]:
        """Their routing keys."""
        return frozenset(event.key for event in self.events.values())
