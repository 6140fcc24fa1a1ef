"""What a step of a definition must be, told before anything runs on it: its words, its work, its functions.

A definition is somebody's Python: any field may hold anything. Its functions are tried on examples, because
what they raise would otherwise be raised by each order.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from contracts.examples import ORDER, ORDER_OF_MANY, ORDER_OF_THE_SAGA
from contracts.limits import IDENTIFIER
from contracts.routing import PARTICIPANTS
from contracts.works import WORKS, KindOfWork, problems_of
from orchestrator.core.state import END_STATUSES, OrderStatus

MAX_VERSION: Final = 32_767
"""What the column of versions holds."""

_NAME_RULE: Final = "a name is a small letter and up to 63 more, digits or underscores"
_EXAMPLES: Final = (ORDER, ORDER_OF_MANY)
_OF_A_STEP: Final = {"step": "step", "direction": "forward"}


def name_problems(name: object) -> Iterator[str]:
    """Names stand in columns, routing keys and metrics."""
    if not isinstance(name, str) or re.fullmatch(IDENTIFIER, name) is None:
        yield _NAME_RULE


def version_problems(version: object) -> Iterator[str]:
    """A version is a number that its column holds."""
    if type(version) is not int or not 1 <= version <= MAX_VERSION:
        yield f"its version must be a whole number from 1 to {MAX_VERSION:,}"


def work_problems(step: Any) -> Iterator[str]:
    """The command, who takes it, and the events that answer it: anything else would never be answered."""
    if step.participant not in PARTICIPANTS:
        yield f"its participant {step.participant!r} is none of {', '.join(PARTICIPANTS)}"
    work = WORKS.get(step.command) if isinstance(step.command, type) else None
    if work is None:
        known = ", ".join(command.__name__ for command in WORKS)
        yield f"its command {_called(step.command)} is none of {known}"
        return
    command = _called(step.command)
    if step.participant in PARTICIPANTS and step.participant != work.participant:
        yield f"{command} is work of {work.participant}, not of {step.participant}"
    if step.success is not work.success:
        yield f"its success is {_called(step.success)}, but {command} is answered by {_called(work.success)}"
    if step.rejection is not work.rejection:
        told, right = _called(step.rejection), _called(work.rejection)
        yield f"its rejection is {told}, but the one of {command} is {right}"
    yield from _compensation_problems(step, work)


def _compensation_problems(step: Any, work: KindOfWork) -> Iterator[str]:
    given = step.compensation
    if given is None:
        return
    told = getattr(given, "command", None), getattr(given, "outcome", None)
    right = work.compensation, work.undone
    if told != right:
        words = " answered by ".join(map(_called, told))
        yield f"its compensation is {words}, but the one of {_called(step.command)} is " + (
            " answered by ".join(map(_called, right)) if work.compensation else "none"
        )


def word_problems(step: Any) -> Iterator[str]:
    """What customers are told of the step, and what is kept of its success."""
    if step.failure_code is not None and list(name_problems(step.failure_code)):
        yield f"its failure_code {step.failure_code!r} is none: {_NAME_RULE}"
    if step.milestone is not None and not isinstance(step.milestone, OrderStatus):
        yield f"its milestone {step.milestone!r} is no OrderStatus"
    elif step.milestone in END_STATUSES:
        yield f"its milestone {step.milestone} is an end, not a way station"
    if not isinstance(step.keeps, tuple):
        yield "what it keeps must be a tuple of names"
        return
    fields = getattr(step.success, "model_fields", {})
    for name in step.keeps:
        if name not in fields:
            yield f"it keeps {name!r}, which {_called(step.success)} does not have"


def function_problems(step: Any) -> Iterator[str]:
    """Its functions, tried on examples of orders."""
    yield from _arguments_problems(step)
    if step.holds is None:
        return
    for order in _EXAMPLES:
        try:
            said = _plain(step.holds(order))
        except Exception as error:
            yield f"what it holds cannot be told of an example of an order: {_first_line(error)}"
            return
        if not isinstance(said, str):
            yield f"what it holds is told as {type(said).__name__}, not as a text"
            return


def _arguments_problems(step: Any) -> Iterator[str]:
    if step.command not in WORKS:
        return
    command = _called(step.command)
    for order in _EXAMPLES:
        try:
            given = _plain(step.arguments(order))
            again = _plain(step.arguments(order))
        except Exception as error:
            yield f"its arguments cannot be taken from an example of an order: {_first_line(error)}"
            return
        if not isinstance(given, Mapping):
            yield f"its arguments are {type(given).__name__}, not a mapping of fields"
            return
        problems = list(_command_problems(step, given))
        yield from (f"its arguments make no {command}: {problem}" for problem in problems)
        if not problems and not _equal(given, again):
            yield "its arguments differ from one call to the next: a command sent again would be another one"
        if problems:
            return


def _command_problems(step: Any, given: Mapping[Any, Any]) -> Iterator[str]:
    identities = {*ORDER_OF_THE_SAGA, *_OF_A_STEP}
    for name in given:
        if name in identities:
            yield f"{name} is the engine's to fill in"
        elif name not in step.command.model_fields:
            yield f"there is no field {name!r}"
    fields = {str(name): value for name, value in given.items() if name not in identities}
    yield from problems_of(step.command, {**ORDER_OF_THE_SAGA, **_OF_A_STEP, **fields})


def _plain(value: object) -> object:
    """What a function gave. Raises TypeError for what would have to be awaited first."""
    if inspect.iscoroutine(value):
        value.close()
    if inspect.isawaitable(value) or inspect.isasyncgen(value):
        raise TypeError("it is async: it must return at once")
    return value


def _equal(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:
        return False


def _called(kind: object) -> str:
    if kind is None:
        return "none"
    return kind.__name__ if isinstance(kind, type) else repr(kind)[:80]


def _first_line(error: BaseException) -> str:
    words = (str(error).splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
