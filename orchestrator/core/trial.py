"""The functions of a saga definition, tried on its examples: what they raise would be raised by each saga."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final
from uuid import UUID

from contracts.envelope import Direction
from contracts.limits import IDENTIFIER
from contracts.models import ValidationError
from contracts.one_line import kind_and_line
from contracts.samples import NoSample, sample
from contracts.wire import said
from contracts.works import problems_of
from orchestrator.core.course import result_of
from orchestrator.core.definition import (
    MAX_BRANCHES,
    Announcement,
    ForEach,
    OnDeadline,
    SagaDefinition,
    Step,
    StepKind,
    Wait,
    steps_of,
)

MOMENTS: Final = ("started", "completed", "rejected", "cancelled")
"""When a definition may announce something, beside the successes of its steps."""

NAME_RULE: Final = "a name is a small letter and up to 63 more, digits or underscores"

_IDENTITIES: Final[dict[str, Any]] = {"saga_id": UUID(int=1), "order_id": UUID(int=2)}
_OF_A_STEP: Final[dict[str, Any]] = {"step": "step", "direction": Direction.FORWARD}
_UNDONE: Final = ("rejected", "cancelled")
_FAILURE: Final = {"code": "rejected", "message": "why"}
_NO_FAILURE: Final[Mapping[str, str]] = {}


def name_problems(name: object) -> Iterator[str]:
    """Names stand in columns, routing keys and metrics."""
    if not isinstance(name, str) or re.fullmatch(IDENTIFIER, name) is None:
        yield NAME_RULE


def trial_problems(definition: SagaDefinition) -> Iterator[str]:
    """Every function of the definition is called as the engine would, on each example, however it goes."""
    for example in definition.examples:
        try:
            given = (definition.accepted or definition.input).model_validate_json(example.model_dump_json())
        except ValidationError as error:
            yield f"an example that was accepted cannot be read back: {kind_and_line(error)}"
            return
        for otherwise, told in _ways(definition):
            problems = [f"{told}{each}" for each in _tried(definition, given, otherwise)]
            yield from problems
            if problems:
                return


def _ways(definition: SagaDefinition) -> Iterator[tuple[str, str]]:
    """How a saga may go forward: each stage well, or one of them otherwise; its name, and that in words."""
    yield "", ""
    for stage in definition.course:
        if isinstance(stage, ForEach) and stage.step.kind is StepKind.PIVOT:
            yield stage.name, f"where a branch of {stage.name!r} is rejected: "
        elif isinstance(stage, Wait) and stage.signal is not None and stage.on_deadline is OnDeadline.GO_ON:
            yield stage.name, f"where {stage.name!r} is over without a signal: "


def _tried(definition: SagaDefinition, given: Any, otherwise: str) -> Iterator[str]:
    yield from _tried_beginning(definition, given)
    results: dict[str, Any] = {}
    for stage in definition.course:
        if isinstance(stage, Wait):
            yield from _tried_wait(stage, given, results, otherwise)
            continue
        branches: list[tuple[Any, ...]] = [()]
        if isinstance(stage, ForEach):
            items, problem = _items_of(stage, given, results)
            if problem:
                yield problem
                return
            branches = [(item,) for item in items]
            if not items:
                results[stage.name] = ()
                continue
        for step, branch in product(steps_of(stage), branches):
            yield from (f"step {step.name!r}: {each}" for each in _tried_step(step, given, results, branch))
        for step in steps_of(stage):
            kept = _kept_sample(step)
            if kept is None:
                yield f"step {step.name!r}: {called(step.success)} needs an example of its own to be tried on"
                return
            if isinstance(stage, ForEach):
                rejected = min(1, len(items) - 1) if otherwise == stage.name else 0
                results[stage.name] = tuple(_branches(kept, items, rejected))
            else:
                results[step.name] = kept
            yield from _tried_announcement(step.announces, given, results)
    yield from _tried_end(definition, given, results, otherwise)


def _branches(kept: Mapping[str, Any], items: Sequence[Any], rejected: int) -> Iterator[Mapping[str, Any]]:
    """What is told of the branches of a for-each, of which the first so many are rejected."""
    yield from ({**_FAILURE, "item": item, "outcome": "rejected"} for item in items[:rejected])
    yield from ({**kept, "item": item, "outcome": "succeeded"} for item in items[rejected:])


def _tried_step(step: Step, given: Any, results: Any, more: tuple[Any, ...]) -> Iterator[str]:
    command = step.command.__name__
    yield from _undoing_problems(step)
    made, problem = _call(
        "its arguments cannot be taken from an example", step.arguments, given, results, *more
    )
    again, _ = _call("", step.arguments, given, results, *more)
    if problem:
        yield problem
        return
    if not isinstance(made, Mapping):
        yield f"its arguments are {type(made).__name__}, not a mapping of fields"
        return
    problems = list(_command_problems(step, made))
    yield from (f"its arguments make no {command}: {each}" for each in problems)
    if not problems and not _equal(made, again):
        yield "its arguments differ from one call to the next: a command sent again would be another one"
    if step.holds is not None:
        held, problem = _call("what it holds cannot be told of an example", step.holds, given)
        if problem:
            yield problem
        elif not isinstance(held, str):
            yield f"what it holds is told as {type(held).__name__}, not as a text"


def _undoing_problems(step: Step) -> Iterator[str]:
    if step.compensation is None:
        return
    undo = step.compensation.command
    fields = {**_IDENTITIES, **_OF_A_STEP, "direction": Direction.COMPENSATING}
    yield from (f"{undo.__name__} is given no arguments: {each}" for each in problems_of(undo, fields))


def _command_problems(step: Step, made: Mapping[Any, Any]) -> Iterator[str]:
    identities = {*_IDENTITIES, *_OF_A_STEP}
    for name in made:
        if name in identities:
            yield f"{name} is the engine's to fill in"
        elif name not in step.command.model_fields:
            yield f"there is no field {name!r}"
    named = {str(name): value for name, value in made.items() if name not in identities}
    yield from problems_of(step.command, {**_IDENTITIES, **_OF_A_STEP, **named})


def _items_of(stage: ForEach, given: Any, results: Any) -> tuple[list[Any], str]:
    items, problem = _call(
        f"for-each {stage.name!r}: its items cannot be worked out", stage.over, given, results
    )
    if problem:
        return [], problem
    try:
        plain = json.loads(json.dumps(list(items), allow_nan=False))
    except (TypeError, ValueError):
        return [], f"for-each {stage.name!r}: its items are no list of plain values as JSON has them"
    if len(plain) > MAX_BRANCHES:
        return [], f"for-each {stage.name!r}: more than {MAX_BRANCHES} items"
    return plain, ""


def _kept_sample(step: Step) -> dict[str, Any] | None:
    try:
        return result_of(step, said(sample(step.success)))
    except NoSample:
        return None if step.keeps else {}


def _tried_wait(wait: Wait, given: Any, results: dict[str, Any], otherwise: str) -> Iterator[str]:
    about = f"wait {wait.name!r}: "
    needed: Any = True
    if wait.when is not None:
        needed, problem = _call(f"{about}when cannot be told of an example", wait.when, given, results)
        if problem:
            yield problem
        elif not isinstance(needed, bool):
            yield f"{about}when says {type(needed).__name__}, not True or False"
    body: Mapping[str, Any] = {}
    if wait.signal is not None:
        try:
            body = sample(wait.signal).model_dump(mode="json")
        except NoSample:
            yield f"{about}{wait.signal.__name__} needs an example of its own to be tried on"
            return
        yield from (f"{about}{each}" for each in _tried_signal(wait, given, body))
    if needed:
        results[wait.name] = {} if otherwise == wait.name else body


def _tried_signal(wait: Wait, given: Any, body: Mapping[str, Any]) -> Iterator[str]:
    if wait.fits is not None:
        answer, problem = _call("fits cannot be asked", wait.fits, given, body)
        if problem:
            yield problem
        elif answer is not None and not isinstance(answer, str):
            yield f"fits says {type(answer).__name__}, neither None nor a text"
    if wait.refuses is not None:
        answer, problem = _call("refuses cannot be asked", wait.refuses, body)
        if problem:
            yield problem
        elif answer is not None and list(name_problems(answer)):
            yield f"refuses says {answer!r}, neither None nor a code: {NAME_RULE}"


def _tried_beginning(definition: SagaDefinition, given: Any) -> Iterator[str]:
    """What is told of a saga that has begun, and of one that ends before anything of it is done."""
    nothing = dict.fromkeys(definition.for_eaches, ())
    yield from _tried_announcement(definition.announces.get("started"), given, nothing)
    for moment in _UNDONE:
        each = definition.announces.get(moment)
        problems = _tried_announcement(each, given, nothing, _FAILURE)
        yield from (f"where it is {moment} before anything is done: {problem}" for problem in problems)


def _tried_end(definition: SagaDefinition, given: Any, results: Any, otherwise: str) -> Iterator[str]:
    """Whatever it may tell at its end; where something went otherwise, only what it tells then."""
    label: Any = definition.labels.completed
    if callable(label):
        label, problem = _call("its label completed cannot be told of an example", label, given, results)
        if problem:
            yield problem
        elif label not in definition.labels.may_complete_as:
            yield f"its label completed says {label!r}, which may_complete_as does not list"
    announces = definition.announces
    if otherwise:
        yield from _tried_announcement(announces.get(str(label), announces.get("completed")), given, results)
        return
    for moment, each in announces.items():
        if moment != "started":
            failure = _FAILURE if moment in _UNDONE else _NO_FAILURE
            yield from _tried_announcement(each, given, results, failure)


def _tried_announcement(
    each: Announcement | None, given: Any, results: Any, failure: Mapping[str, str] = _NO_FAILURE
) -> Iterator[str]:
    if each is None:
        return
    name = each.event.__name__
    made, problem = _call(f"{name} cannot be made from an example", each.fields, given, results)
    if problem:
        yield problem
        return
    if not isinstance(made, Mapping):
        yield f"the fields of {name} are {type(made).__name__}, not a mapping"
        return
    why = failure if "code" in each.event.model_fields else {}
    yield from (f"{name}: {problem}" for problem in problems_of(each.event, {**_IDENTITIES, **made, **why}))


def _call(about: str, function: Callable[..., Any], *given: Any) -> tuple[Any, str]:
    """What a function gave, or what is wrong with it: it is somebody's, and may do anything."""
    try:
        value = function(*given)
        if inspect.iscoroutine(value):
            value.close()
        if inspect.isawaitable(value) or inspect.isasyncgen(value):
            raise TypeError("it is async: it must return at once")
    except Exception as error:
        return None, f"{about}: {kind_and_line(error)}"
    return value, ""


def _equal(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:
        return False


def called(kind: object) -> str:
    """A type by its name, for a message."""
    if kind is None:
        return "none"
    return kind.__name__ if isinstance(kind, type) else repr(kind)[:80]
