"""What a saga definition must be, told before anything runs on it: its words and its course.

A definition is somebody's Python: any field may hold anything. Its functions are tried in `trial`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from contracts.commands import Command
from contracts.events import CompensationOutcome, Event, OutcomeEvent, Rejection
from contracts.findable import Findable
from contracts.legibility import document_problems, message_problems
from contracts.models import Model
from contracts.works import WORKS, KindOfWork
from orchestrator.core.definition import (
    LONGEST_S,
    MAX_PIECES,
    Announcement,
    Compensation,
    ForEach,
    Group,
    Labels,
    OnDeadline,
    SagaDefinition,
    SignalledBy,
    Step,
    StepKind,
    StepPolicy,
    Wait,
    steps_of,
)
from orchestrator.core.following import Follows
from orchestrator.core.trial import MOMENTS, NAME_RULE, called, name_problems, trial_problems

MAX_VERSION: Final = 32_767
"""What the column of versions holds."""


class InvalidDefinition(Exception):
    """A saga definition that must not run; the message says what is wrong with it."""


def validate(definition: SagaDefinition) -> None:
    """Raises InvalidDefinition, listing everything that is wrong, unless the definition may run."""
    problems = list(dict.fromkeys(_problems(definition)))
    if problems:
        name = f"saga definition {definition.name!r} version {definition.version}"
        raise InvalidDefinition(f"{name}: " + "; ".join(problems))


def _problems(definition: Any) -> Iterator[str]:
    yield from name_problems(definition.name)
    yield from version_problems(definition.version)
    if not isinstance(definition.starts_sagas, bool):
        yield "starts_sagas is neither True nor False"
    shape = [*_input_problems(definition), *_course_shape_problems(definition)]
    shape += [] if shape else _follows_problems(definition)
    yield from shape
    if shape:
        return
    yield from _name_problems_of(definition)
    yield from _order_problems(definition.course)
    words = [*_label_problems(definition), *_announcement_problems(definition)]
    yield from words
    parts = [
        f"step {step.name!r}: {problem}" for step in definition.steps for problem in _step_problems(step)
    ]
    parts += [
        f"wait {name!r}: {problem}"
        for name, each in definition.waits.items()
        for problem in _wait_problems(each)
    ]
    yield from parts
    if words or parts:
        return
    models = list(_model_problems(definition))
    yield from models
    if not models:
        yield from trial_problems(definition)


# -- shape and names ----------------------------------------------------------------------------------------


def version_problems(version: object) -> Iterator[str]:
    """A version is a number that its column holds."""
    if type(version) is not int or not 1 <= version <= MAX_VERSION:
        yield f"its version must be a whole number from 1 to {MAX_VERSION:,}"


def _input_problems(definition: Any) -> Iterator[str]:
    for what, model in (("input", definition.input), ("accepted", definition.accepted or definition.input)):
        if not (isinstance(model, type) and issubclass(model, Model)):
            yield f"its {what} is no pydantic model"
            return
    if not isinstance(definition.examples, tuple) or not definition.examples:
        yield "its examples must be a tuple of inputs, one at least: its functions are tried on them"
        return
    for number, example in enumerate(definition.examples, 1):
        if not isinstance(example, definition.input):
            yield f"example {number} is no {definition.input.__name__}"


def _course_shape_problems(definition: Any) -> Iterator[str]:
    if not isinstance(definition.course, tuple):
        yield "its course must be a tuple of stages"
        return
    for number, stage in enumerate(definition.course, 1):
        if not isinstance(stage, Step | Group | ForEach | Wait):
            yield f"stage {number} is {type(stage).__name__}, not a step, group, for-each or wait"
        elif isinstance(stage, Group) and not _is_pair_or_more(stage.steps):
            yield f"stage {number}: a group is a tuple of two steps or more"
        elif not all(isinstance(step, Step) for step in steps_of(stage)):
            yield f"stage {number} holds something that is no step"
    if not any(steps_of(stage) for stage in definition.course):
        yield "it has no steps"


def _follows_problems(definition: Any) -> Iterator[str]:
    follows = definition.follows
    if follows is None:
        return
    if not isinstance(follows, Follows):
        yield f"its follows is {type(follows).__name__}, not a Follows"
        return
    if not _is_kind(follows.asked, Model):
        yield "what is asked of the saga that it follows is no pydantic model"
    elif issubclass(follows.asked, Findable):
        yield "what is asked of the saga that it follows may have no reference: its input is made later"
    if not issubclass(definition.input, Findable):
        yield "its input is no Findable, so it would not be found by the saga that it follows"
    elif missing := [each for each in definition.examples if follows.key not in each.metadata]:
        yield f"example {missing[0]!r:.60} has no metadata {follows.key!r}, by which it would be found"


def _is_pair_or_more(steps: object) -> bool:
    return isinstance(steps, tuple) and len(steps) > 1


def _name_problems_of(definition: Any) -> Iterator[str]:
    names: list[Any] = []
    for stage in definition.course:
        names += [step.name for step in steps_of(stage)]
        names += [stage.name] if isinstance(stage, ForEach | Wait) else []
    for name in names:
        yield from (f"{name!r}: {problem}" for problem in name_problems(name))
    for name in sorted({str(name) for name in names if names.count(name) > 1}):
        yield f"the name {name!r} is there more than once"
    if len(definition.first_pieces) > MAX_PIECES:
        yield f"it has more than {MAX_PIECES} pieces of work"


def _order_problems(course: Sequence[Any]) -> Iterator[str]:
    """Compensatable steps come first, then the pivot, then retriable steps; or the way back is cut off."""
    final: Step | None = None
    pivots = 0
    for stage in course:
        kinds = {step.kind for step in steps_of(stage)}
        if isinstance(stage, Group) and StepKind.PIVOT in kinds:
            yield "a pivot stands alone in its stage, or is the step of a for-each"
        if isinstance(stage, Group) and len(kinds) > 1:
            yield f"the group of {', '.join(step.name for step in stage.steps)} mixes kinds of steps"
        for step in steps_of(stage):
            if final is not None and step.kind is StepKind.COMPENSATABLE:
                yield f"compensatable step {step.name!r} comes after {final.name!r}, which cannot be undone"
            if final is not None and step.kind is StepKind.PIVOT and final.kind is StepKind.RETRIABLE:
                yield f"pivot {step.name!r} comes after {final.name!r}, which cannot be undone"
            pivots += step.kind is StepKind.PIVOT
        final = final or next((s for s in steps_of(stage) if s.kind is not StepKind.COMPENSATABLE), None)
        if isinstance(stage, Wait) and final is not None and _may_turn(stage):
            behind = f"comes after {final.name!r}, which cannot be undone"
            yield f"wait {stage.name!r} may turn the saga round, but {behind}"
    if pivots > 1:
        yield "it has more than one pivot"


def _may_turn(wait: Wait) -> bool:
    return wait.on_deadline is OnDeadline.TURN or wait.refuses is not None


# -- words --------------------------------------------------------------------------------------------------


def _label_problems(definition: Any) -> Iterator[str]:
    labels = definition.labels
    if not isinstance(labels, Labels):
        yield "its labels are no Labels"
        return
    listed: object = labels.may_complete_as
    if not isinstance(listed, tuple):
        yield "may_complete_as must be a tuple of labels"
        return
    if callable(labels.completed) and not listed:
        yield "its label completed is a function, so may_complete_as must list what it may say"
        return
    otherwise: object = labels.rejected_as
    if not isinstance(otherwise, Mapping):
        yield "rejected_as must be a mapping from the codes of failures to labels"
        return
    ends = [*labels.completes_as, labels.rejected, *otherwise.values(), labels.cancelled]
    on_the_way = [("its label started", labels.started), *_way_stations(definition)]
    bad = [label for label in (*ends, *(each for _, each in on_the_way)) if list(name_problems(label))]
    yield from (f"label {str(label)!r}: {NAME_RULE}" for label in bad)
    if not bad:
        yield from (
            f"{what} {label} is an end, not a way station" for what, label in on_the_way if label in ends
        )


def _way_stations(definition: Any) -> Iterator[tuple[str, Any]]:
    for step in definition.steps:
        if step.milestone is not None:
            yield f"step {step.name!r}: its milestone", step.milestone
    for name, wait in definition.waits.items():
        for what, label in (("waiting", wait.waiting), ("milestone", wait.milestone)):
            if label is not None:
                yield f"wait {name!r}: its {what}", label


def _announcement_problems(definition: Any) -> Iterator[str]:
    moments = (*MOMENTS, *_further_ends(definition.labels))
    for moment, each in dict(definition.announces).items():
        if moment not in moments:
            yield f"it announces something when it is {moment!r}, which is none of {', '.join(moments)}"
        elif not _is_announcement(each):
            yield f"what it announces when it is {moment} is no Announcement of an Event"


def _further_ends(labels: object) -> tuple[str, ...]:
    """The labels with which it may complete, where they depend on the results."""
    listed: object = labels.may_complete_as if isinstance(labels, Labels) else ()
    return tuple(each for each in listed if each not in MOMENTS) if isinstance(listed, tuple) else ()


def _is_announcement(each: object) -> bool:
    if not isinstance(each, Announcement):
        return False
    return _is_kind(each.event, Event) and isinstance(getattr(each.event, "key", None), str)


# -- steps and waits ----------------------------------------------------------------------------------------


def _step_problems(step: Any) -> Iterator[str]:
    if isinstance(step.policy, StepPolicy):
        yield from step.policy.problems()
    else:
        yield f"its policy is {type(step.policy).__name__}, not a StepPolicy"
    if not isinstance(step.kind, StepKind):
        yield f"its kind {step.kind!r} is no StepKind"
    yield from _work_problems(step)
    if step.kind is StepKind.COMPENSATABLE and step.compensation is None:
        yield "it is compensatable but has no compensation"
    if step.kind is not StepKind.COMPENSATABLE and step.compensation is not None:
        yield f"it is {step.kind} but has a compensation"
    if step.kind is StepKind.RETRIABLE and step.rejection is not None:
        yield "it is retriable but can be rejected"
    if step.failure_code is not None and list(name_problems(step.failure_code)):
        yield f"its failure_code {step.failure_code!r} is none: {NAME_RULE}"
    if step.announces is not None and not _is_announcement(step.announces):
        yield "what it announces is no Announcement of an Event"
    yield from _keeping_problems(step)


def _work_problems(step: Any) -> Iterator[str]:
    """The command, who takes it, and the events that answer it: anything else would never be answered."""
    if not _is_kind(step.command, Command):
        yield f"its command {called(step.command)} is no Command"
        return
    work = WORKS.get(step.command)
    name = step.command.__name__
    owner: str | None = work.participant if work else step.command.participant
    if owner is None:
        yield f"its command {name} does not say whose it is: it has no participant"
    elif list(name_problems(owner)):
        yield f"the participant of {name} is {owner!r}: {NAME_RULE}"
    elif step.participant != owner:
        yield f"{name} is work of {owner}, not of {step.participant!r}"
    if step.compensation is not None and not isinstance(step.compensation, Compensation):
        yield "its compensation is no Compensation"
    elif step.compensation is not None and not _is_kind(step.compensation.command, Command):
        yield f"its compensation {called(step.compensation.command)} is no Command"
    yield from _answer_problems(step)
    if work is not None:
        yield from _unlike(step, work)


def _answer_problems(step: Any) -> Iterator[str]:
    undone = getattr(step.compensation, "outcome", None)
    answers = (
        ("success", step.success, OutcomeEvent),
        ("rejection", step.rejection, Rejection),
        ("compensation's outcome", undone, CompensationOutcome),
    )
    for what, given, kind in answers:
        if given is None and what != "success":
            continue
        if not _is_kind(given, kind):
            yield f"its {what} {called(given)} is no {kind.__name__}"
        elif not isinstance(getattr(given, "key", None), str):
            yield f"its {what} {called(given)} has no routing key"


def _unlike(step: Any, work: KindOfWork) -> Iterator[str]:
    """What is known of the command says how it is answered, and what undoes it."""
    command, given = step.command.__name__, step.compensation
    if step.success is not work.success:
        yield f"its success is {called(step.success)}, but {command} is answered by {called(work.success)}"
    if step.rejection is not work.rejection:
        told, right = called(step.rejection), called(work.rejection)
        yield f"its rejection is {told}, but the one of {command} is {right}"
    if isinstance(given, Compensation) and (given.command, given.outcome) != (work.compensation, work.undone):
        told = f"{called(given.command)} answered by {called(given.outcome)}"
        right = (
            f"{called(work.compensation)} answered by {called(work.undone)}" if work.compensation else "none"
        )
        yield f"its compensation is {told}, but the one of {command} is {right}"


def _keeping_problems(step: Any) -> Iterator[str]:
    if not isinstance(step.keeps, tuple):
        yield "what it keeps must be a tuple of names"
        return
    known = getattr(step.success, "model_fields", {})
    for name in step.keeps:
        if name not in known:
            yield f"it keeps {name!r}, which {called(step.success)} does not have"


def _wait_problems(wait: Any) -> Iterator[str]:
    if type(wait.deadline_s) not in (int, float) or not 0 < wait.deadline_s <= LONGEST_S:
        yield f"deadline_s must be above 0 and at most {LONGEST_S:,}"
    if not isinstance(wait.on_deadline, OnDeadline):
        yield f"its on_deadline {wait.on_deadline!r} is no OnDeadline"
    if not isinstance(wait.signalled_by, SignalledBy):
        yield f"its signalled_by {wait.signalled_by!r} is no SignalledBy"
    if wait.signal is None:
        if wait.refuses is not None or wait.fits is not None:
            yield "it waits for no signal that could be refused"
        if wait.signalled_by is SignalledBy.OPERATORS:
            yield "it waits for no signal that operators could give"
    elif not _is_kind(wait.signal, Model):
        yield f"its signal {called(wait.signal)} is no pydantic model"


def _model_problems(definition: SagaDefinition) -> Iterator[str]:
    """What of its models would not be read as it was written."""
    yield from document_problems(definition.input, definition.accepted, definition.asked)
    yield from document_problems(*(wait.signal for wait in definition.waits.values()))
    yield from message_problems(*definition.commands)
    for step in definition.steps:
        yield from message_problems(*step.events())
    told = [*definition.announces.values(), *(step.announces for step in definition.steps)]
    yield from message_problems(*(each.event for each in told if each is not None))


# -- what these ask-------------------------------------------------------------------------------------------


def _is_kind(given: object, kind: type) -> bool:
    return isinstance(given, type) and issubclass(given, kind)
