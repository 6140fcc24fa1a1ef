"""Saga definitions as data, and the validator that refuses a bad one at start-up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from contracts.commands import Command
from contracts.events import CompensationOutcome, OutcomeEvent, Rejection, StepRefused, StepSettled
from contracts.orders import AcceptedOrder
from orchestrator.core.soundness import (
    function_problems,
    name_problems,
    version_problems,
    word_problems,
    work_problems,
)
from orchestrator.core.state import OrderStatus


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


class InvalidDefinition(Exception):
    """A saga definition that must not run; the message says what is wrong with it."""


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


Arguments = Callable[[AcceptedOrder], Mapping[str, Any]]


def no_arguments(order: AcceptedOrder) -> Mapping[str, Any]:
    """For commands whose participant knows everything from its own ledger."""
    return {}


@dataclass(frozen=True, slots=True)
class Compensation:
    """How a step is undone: the command, and the event that says it is."""

    command: type[Command]
    outcome: type[CompensationOutcome]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a saga.

    Attributes:
        arguments: fields of the command, taken from the order.
        failure_code: what the customer is told when the step is rejected; None takes the event's own code.
        milestone: the order's status once the step has succeeded, while others follow; None leaves it.
        holds: what the step keeps from others while it is not undone, in a person's words (S7).
        keeps: fields of the success event that the saga remembers as the step's result.
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
    milestone: OrderStatus | None = None
    holds: Callable[[AcceptedOrder], str] | None = None
    keeps: tuple[str, ...] = ()

    def held(self, order: AcceptedOrder) -> str:
        """What the step keeps from others while it is not undone, in a person's words (S7)."""
        return self.holds(order) if self.holds else self.name

    def events(self) -> Iterator[type[OutcomeEvent]]:
        """The outcomes that only this step's participant gives."""
        yield self.success
        if self.rejection is not None:
            yield self.rejection
        if self.compensation is not None:
            yield self.compensation.outcome


@dataclass(frozen=True)
class SagaDefinition:
    """A kind of saga at one version: its steps in order.

    Attributes:
        starts_sagas: False while a new version is being deployed: known everywhere before the first saga
            starts on it (S13).
    """

    name: str
    version: int
    steps: tuple[Step, ...]
    starts_sagas: bool = True
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", {step.name: at for at, step in enumerate(self.steps)})

    def __contains__(self, step_name: object) -> bool:
        return step_name in self._index

    def __getitem__(self, step_name: str) -> Step:
        return self.steps[self._index[step_name]]

    def has_all(self, step_names: Iterable[str]) -> bool:
        """Whether all these are steps of it; else a saga began on something else of its name and version."""
        return all(name in self._index for name in step_names)

    def index(self, step_name: str) -> int:
        """Where a step stands, from 0."""
        return self._index[step_name]

    @cached_property
    def point_of_no_return(self) -> int:
        """Where the first step stands that cannot be undone; past the last one when all can (S6, S9)."""
        undoable = [step.kind is StepKind.COMPENSATABLE for step in self.steps]
        return undoable.index(False) if False in undoable else len(undoable)

    @cached_property
    def outcome_keys(self) -> frozenset[str]:
        """Routing keys of every event that can answer a command of this saga."""
        own = {event.key for step in self.steps for event in step.events()}
        return frozenset(own | {StepRefused.key, StepSettled.key})


def validate(definition: SagaDefinition) -> None:
    """Raises InvalidDefinition, listing everything that is wrong, unless the definition may run."""
    problems = list(_problems(definition))
    if problems:
        name = f"saga definition {definition.name!r} version {definition.version}"
        raise InvalidDefinition(f"{name}: " + "; ".join(problems))


def _problems(definition: Any) -> Iterator[str]:
    yield from name_problems(definition.name)
    yield from version_problems(definition.version)
    if not isinstance(definition.starts_sagas, bool):
        yield "starts_sagas is neither True nor False"
    if not isinstance(definition.steps, tuple) or not all(isinstance(s, Step) for s in definition.steps):
        yield "its steps are no tuple of Step"
        return
    names = [step.name for step in definition.steps]
    if not names:
        yield "it has no steps"
    for name in sorted({str(name) for name in names if names.count(name) > 1}):
        yield f"step {name!r} is there more than once"
    if sum(step.kind is StepKind.PIVOT for step in definition.steps) > 1:
        yield "it has more than one pivot"
    yield from _order_problems(definition.steps)
    for step in definition.steps:
        yield from (f"step {step.name!r}: {problem}" for problem in _step_problems(step))


def _order_problems(steps: Iterable[Step]) -> Iterator[str]:
    """Compensatable steps come first, then the pivot, then retriable steps; or the way back is cut off."""
    final: Step | None = None
    for step in steps:
        if final is not None and step.kind is StepKind.COMPENSATABLE:
            yield f"compensatable step {step.name!r} comes after {final.name!r}, which cannot be undone"
        if final is not None and step.kind is StepKind.PIVOT and final.kind is StepKind.RETRIABLE:
            yield f"pivot {step.name!r} comes after {final.name!r}, which cannot be undone"
        if step.kind is not StepKind.COMPENSATABLE:
            final = final or step


def _step_problems(step: Any) -> Iterator[str]:
    yield from name_problems(step.name)
    if isinstance(step.policy, StepPolicy):
        yield from step.policy.problems()
    else:
        yield f"its policy is {type(step.policy).__name__}, not a StepPolicy"
    if not isinstance(step.kind, StepKind):
        yield f"its kind {step.kind!r} is no StepKind"
    yield from work_problems(step)
    if step.kind is StepKind.COMPENSATABLE and step.compensation is None:
        yield "it is compensatable but has no compensation"
    if step.kind is not StepKind.COMPENSATABLE and step.compensation is not None:
        yield f"it is {step.kind} but has a compensation"
    if step.kind is StepKind.RETRIABLE and step.rejection is not None:
        yield "it is retriable but can be rejected"
    yield from word_problems(step)
    yield from function_problems(step)


class Registry:
    """The saga definitions that this process knows, every version of each (S13)."""

    def __init__(self, definitions: Iterable[SagaDefinition]) -> None:
        self._definitions: dict[tuple[str, int], SagaDefinition] = {}
        self._latest: dict[str, SagaDefinition] = {}
        for definition in definitions:
            self._register(definition)

    def _register(self, definition: SagaDefinition) -> None:
        validate(definition)
        key = (definition.name, definition.version)
        if key in self._definitions:
            raise InvalidDefinition(f"saga definition {key[0]!r} version {key[1]} is registered twice")
        self._definitions[key] = definition
        latest = self._latest.get(definition.name)
        if definition.starts_sagas and (latest is None or latest.version < definition.version):
            self._latest[definition.name] = definition

    def find(self, name: str, version: int) -> SagaDefinition | None:
        """The definition a saga instance runs, or None where this process does not know it (S13)."""
        return self._definitions.get((name, version))

    def latest(self, name: str) -> SagaDefinition:
        """The version that new sagas start on. Raises KeyError when there is none."""
        return self._latest[name]

    @property
    def known(self) -> tuple[tuple[str, int], ...]:
        """Every (name, version) known here, sorted."""
        return tuple(sorted(self._definitions))

    @property
    def outcome_keys(self) -> frozenset[str]:
        """Routing keys that the outcome queue must be bound to."""
        return frozenset().union(*(definition.outcome_keys for definition in self._definitions.values()))

    @property
    def participants(self) -> tuple[str, ...]:
        """Every participant that some step addresses, sorted."""
        return tuple(sorted({step.participant for each in self._definitions.values() for step in each.steps}))
