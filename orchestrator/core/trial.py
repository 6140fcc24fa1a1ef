"""The functions of a saga definition, tried on its examples: what they raise would be raised by each saga."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from contracts.envelope import Direction
from contracts.limits import IDENTIFIER
from contracts.models import ValidationError
from contracts.one_line import kind_and_line
from contracts.samples import NoSample, sample
from contracts.works import problems_of
from orchestrator.core.definition import (
    MAX_BRANCHES,
    Announcement,
    ForEach,
    SagaDefinition,
    Step,
    Wait,
    steps_of,
)

MOMENTS: Final = ("started", "completed", "rejected", "cancelled")
"""When a definition may announce something, beside the successes of its steps."""

NAME_RULE: Final = "a name is a small letter and up to 63 more, digits or underscores"

_IDENTITIES: Final[dict[str, Any]] = {"saga_id": UUID(int=1), "order_id": UUID(int=2)}
_OF_A_STEP: Final[dict[str, Any]] = {"step": "step", "direction": Direction.FORWARD}


def name_problems(name: object) -> Iterator[str]:
    """Names stand in columns, routing keys and metrics."""
    if not isinstance(name, str) or re.fullmatch(IDENTIFIER, name) is None:
        yield NAME_RULE


def trial_problems(definition: SagaDefinition) -> Iterator[str]:
    """Every function of the definition is called as the engine would, on each example."""
    for example in definition.examples:
        try:
            given = (definition.accepted or definition.input).model_validate_json(example.model_dump_json())
        except ValidationError as error:
            yield f"an example that was accepted cannot be read back: {kind_and_line(error)}"
            return
        problems = list(_tried(definition, given))
        yield from problems
        if problems:
            return


def _tried(definition: SagaDefinition, given: Any) -> Iterator[str]:
    results: dict[str, Any] = {}
    yield from _tried_announcement(definition.announces.get("started"), given, results)
    for stage in definition.course:
        if isinstance(stage, Wait):
            yield from _tried_wait(stage, given, results)
            continue
        more: tuple[Any, ...] = ()
        if isinstance(stage, ForEach):
            items, problem = _items_of(stage, given, results)
            if problem:
                yield problem
                return
            more = (items[0],) if items else ()
            if not items:
                results[stage.name] = ()
                continue
        for step in steps_of(stage):
            yield from (f"step {step.name!r}: {each}" for each in _tried_step(step, given, results, more))
        for step in steps_of(stage):
            kept = _kept_sample(step)
            if kept is None:
                yield f"step {step.name!r}: {called(step.success)} needs an example of its own to be tried on"
                return
            if isinstance(stage, ForEach):
                results[stage.name] = ({**kept, "item": more[0], "outcome": "succeeded"},)
            else:
                results[step.name] = kept
            yield from _tried_announcement(step.announces, given, results)
    yield from _tried_end(definition, given, results)


def _tried_step(step: Step, given: Any, results: Any, more: tuple[Any, ...]) -> Iterator[str]:
    command = step.command.__name__
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
        said, problem = _call("what it holds cannot be told of an example", step.holds, given)
        if problem:
            yield problem
        elif not isinstance(said, str):
            yield f"what it holds is told as {type(said).__name__}, not as a text"


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
        made = sample(step.success).model_dump(mode="json")
    except NoSample:
        return None if step.keeps else {}
    return {name: made[name] for name in step.keeps if made.get(name) is not None}


def _tried_wait(wait: Wait, given: Any, results: dict[str, Any]) -> Iterator[str]:
    about = f"wait {wait.name!r}: "
    if wait.when is not None:
        needed, problem = _call(f"{about}when cannot be told of an example", wait.when, given, results)
        if problem:
            yield problem
        elif not isinstance(needed, bool):
            yield f"{about}when says {type(needed).__name__}, not True or False"
    if wait.signal is None:
        return
    try:
        results[wait.name] = sample(wait.signal).model_dump(mode="json")
    except NoSample:
        yield f"{about}{wait.signal.__name__} needs an example of its own to be tried on"
        return
    if wait.fits is not None:
        said, problem = _call(f"{about}fits cannot be asked", wait.fits, given, results[wait.name])
        if problem:
            yield problem
        elif said is not None and not isinstance(said, str):
            yield f"{about}fits says {type(said).__name__}, neither None nor a text"
    if wait.refuses is not None:
        said, problem = _call(f"{about}refuses cannot be asked", wait.refuses, results[wait.name])
        if problem:
            yield problem
        elif said is not None and list(name_problems(said)):
            yield f"{about}refuses says {said!r}, neither None nor a code: {NAME_RULE}"


def _tried_end(definition: SagaDefinition, given: Any, results: Any) -> Iterator[str]:
    completed = definition.labels.completed
    if callable(completed):
        said, problem = _call("its label completed cannot be told of an example", completed, given, results)
        if problem:
            yield problem
        elif said not in definition.labels.may_complete_as:
            yield f"its label completed says {said!r}, which may_complete_as does not list"
    for moment, each in definition.announces.items():
        if moment != "started":
            yield from _tried_announcement(each, given, results)


def _tried_announcement(each: Announcement | None, given: Any, results: Any) -> Iterator[str]:
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
    failure = {"code": "rejected", "message": "why"} if "code" in each.event.model_fields else {}
    yield from (
        f"{name}: {problem}" for problem in problems_of(each.event, {**_IDENTITIES, **failure, **made})
    )


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
