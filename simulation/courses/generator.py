"""Courses made from a seed: steps, groups, for-eachs and waits in any order that a definition may have."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from orchestrator.core.definition import (
    Announcement,
    Compensation,
    ForEach,
    Group,
    Labels,
    OnDeadline,
    Results,
    SagaDefinition,
    Stage,
    Step,
    StepKind,
    StepPolicy,
    Wait,
    steps_of,
)
from simulation.cast import NEW_POLICY, Edition
from simulation.courses.trades import COMMANDS, NAMES, TRADES, Approval, Began, Over, Passed

MOST_ITEMS: Final = 4


class Job(BaseModel):
    """What starts a random course: how many items each of its for-eachs has, and which waits it needs."""

    model_config = ConfigDict(frozen=True)

    customer: str
    counts: Mapping[str, int] = {}
    needs: Mapping[str, bool] = {}


def definition_of(rng: random.Random, name: str, letter: str, edition: Edition) -> SagaDefinition:
    """A sound definition.

    Args:
        letter: what the names of its pieces begin with, so that two definitions share none.
        edition: once it is edited, the functions of the definition say something else.
    """
    made = _Course(rng, letter, edition)
    course = made.course()
    examples = tuple(_example(course, number) for number in (2, 0))
    partly = any(isinstance(stage, ForEach) and stage.step.kind is StepKind.PIVOT for stage in course)
    return SagaDefinition(
        name=name,
        version=1,
        course=course,
        input=Job,
        examples=examples,
        labels=Labels(completed=_how_it_ended, may_complete_as=("completed", "partly_completed"))
        if partly
        else Labels(),
        announces={
            "started": Announcement(Began, lambda job, results: {"customer": job.customer}),
            "completed": Announcement(Over, lambda job, results: {"seen": digest(results)}),
        },
    )


def second_version_of(definition: SagaDefinition) -> SagaDefinition:
    """The same with another patience, and other words for failures."""
    return replace(definition, version=2, course=tuple(map(_renewed, definition.course)))


def with_policy(stage: Stage, policy: StepPolicy) -> Stage:
    """A stage whose steps are all waited for like this."""
    match stage:
        case Step():
            return replace(stage, policy=policy)
        case Group():
            return replace(stage, steps=tuple(replace(step, policy=policy) for step in stage.steps))
        case ForEach():
            return replace(stage, step=replace(stage.step, policy=policy))
        case _:
            return stage


def _renewed(stage: Stage) -> Stage:
    renewed = with_policy(stage, NEW_POLICY)
    if isinstance(renewed, Step) and renewed.rejection is not None:
        return replace(renewed, failure_code="not_any_more")
    return renewed


def job_of(rng: random.Random, definition: SagaDefinition, customer: str) -> Job:
    """An input for a definition of this module."""
    each = [stage.name for stage in definition.course if isinstance(stage, ForEach)]
    counts = {name: rng.choice((0, 1, 2, 2, 3, MOST_ITEMS)) for name in each}
    return Job(customer=customer, counts=counts, needs={n: rng.random() < 0.7 for n in definition.waits})


def digest(results: Results) -> str:
    """A few letters that differ where the results do."""
    said = json.dumps(results, sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _example(course: Sequence[Stage], count: int) -> Job:
    counts = {stage.name: count for stage in course if isinstance(stage, ForEach)}
    needs = {stage.name: count > 0 for stage in course if isinstance(stage, Wait)}
    return Job(customer="example", counts=counts, needs=needs)


def _how_it_ended(job: Job, results: Results) -> str:
    outcomes = [
        each["outcome"] for branches in results.values() if isinstance(branches, tuple) for each in branches
    ]
    return "completed" if all(outcome == "succeeded" for outcome in outcomes) else "partly_completed"


@dataclass
class _Course:
    """One course in the making."""

    rng: random.Random
    letter: str
    edition: Edition
    made: int = 0
    each: list[str] = field(default_factory=list)
    """The for-eachs so far, by their names."""

    def course(self) -> tuple[Stage, ...]:
        stages: list[Stage] = [self._before() for _ in range(self.rng.randrange(1, 4))]
        if self.rng.random() < 0.75:
            stages.append(self._pivot())
            stages += [self._after() for _ in range(self.rng.randrange(0, 3))]
        if not any(steps_of(stage) for stage in stages):
            stages.insert(0, self._step(StepKind.COMPENSATABLE))
        return tuple(stages)

    def _before(self) -> Stage:
        kind = self.rng.choice(("step", "step", "group", "group", "each", "each", "wait"))
        return self._wait(may_turn=True) if kind == "wait" else self._work(kind, StepKind.COMPENSATABLE)

    def _pivot(self) -> Stage:
        return self._work(self.rng.choice(("step", "each")), StepKind.PIVOT)

    def _after(self) -> Stage:
        kind = self.rng.choice(("step", "group", "each", "each", "wait"))
        return self._wait(may_turn=False) if kind == "wait" else self._work(kind, StepKind.RETRIABLE)

    def _work(self, shape: str, kind: StepKind) -> Stage:
        if shape == "step":
            return self._step(kind)
        if shape == "group":
            return Group(tuple(self._step(kind) for _ in range(self.rng.choice((2, 2, 3)))))
        name = self._name("each")
        over = self._items(name)
        self.each.append(name)
        return ForEach(name, over, self._step(kind, of_each=True))

    def _step(self, kind: StepKind, *, of_each: bool = False) -> Step:
        trade = TRADES[self.rng.choice(NAMES)]
        assert trade.compensation is not None
        assert trade.undone is not None
        name = self._name("")
        undoable = kind is StepKind.COMPENSATABLE
        return Step(
            name=name,
            participant=trade.participant,
            kind=kind,
            command=COMMANDS[trade.participant],
            success=trade.success,
            policy=self._policy(),
            arguments=_arguments_of_branch if of_each else _arguments,
            rejection=None if kind is StepKind.RETRIABLE else trade.rejection,
            compensation=Compensation(trade.compensation, trade.undone) if undoable else None,
            milestone=f"{name}_done" if self.rng.random() < 0.5 else None,
            keeps=("reference", "pieces") if self.rng.random() < 0.7 else (),
            announces=Announcement(Passed, _seen) if self.rng.random() < 0.3 else None,
        )

    def _policy(self) -> StepPolicy:
        return StepPolicy(
            deadline_s=self.rng.choice((25.0, 40.0, 50.0)),
            grace_s=4,
            resend_after_s=self.rng.choice((2.0, 3.0, 8.0)),
            resend_cap_s=20,
            stuck_after_attempts=4,
        )

    def _items(self, name: str) -> Callable[[Job, Results], list[Any]]:
        """From the input, or from what became of the branches of an earlier for-each."""
        edition = self.edition
        earlier = self.rng.choice((None, *self.each)) if self.each else None

        def over(job: Job, results: Results) -> list[Any]:
            if earlier is None:
                items: list[Any] = [f"{name}/{number}" for number in range(job.counts.get(name, 0))]
            else:
                items = [f"{each['item']}+" for each in results.get(earlier, ())]
            return [*reversed(items), "one more"][:MOST_ITEMS] if edition.edited else items

        return over

    def _wait(self, *, may_turn: bool) -> Wait:
        rng, name, edition = self.rng, self._name("wait"), self.edition
        for_signal = rng.random() < 0.85
        turns = may_turn and rng.random() < 0.5
        needed = rng.random() < 0.4
        refuses = for_signal and may_turn and rng.random() < 0.5
        return Wait(
            name=name,
            deadline_s=rng.choice((6.0, 15.0, 30.0)),
            signal=Approval if for_signal else None,
            on_deadline=OnDeadline.TURN if turns else OnDeadline.GO_ON,
            when=(lambda job, results: job.needs.get(name, False) is not edition.edited) if needed else None,
            refuses=_refusal if refuses else None,
            milestone=f"{name}_over" if rng.random() < 0.5 else None,
            waiting=f"{name}_waits" if rng.random() < 0.5 else None,
        )

    def _name(self, kind: str) -> str:
        self.made += 1
        return f"{self.letter}{self.made}{'_' + kind if kind else ''}"


def _refusal(body: Mapping[str, Any]) -> str | None:
    return None if body["yes"] else "said_no"


def _arguments(job: Job, results: Results) -> Mapping[str, Any]:
    return {"seen": digest(results)}


def _arguments_of_branch(job: Job, results: Results, item: Any) -> Mapping[str, Any]:
    return {"seen": digest(results), "item": json.dumps(item)}


def _seen(job: Job, results: Results) -> Mapping[str, Any]:
    return {"seen": digest(results)}
