"""What a class that an author declares says of its step, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from contracts.commands import Command
from contracts.envelope import Direction
from contracts.events import CompensationOutcome, Effect, OutcomeEvent, Rejection
from contracts.legibility import message_problems
from contracts.works import problems_of
from participants.commands import Offer
from participants.kit.methods import method_problems

_KEY: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
_IDENTITY: Final = {"saga_id": UUID(int=1), "order_id": UUID(int=1), "step": "step"}
_ASKED: Final = ("call", "find", "recall")
_ASKED_TO_UNDO: Final = ("undo", "find_undo", "recall_undo")


class InvalidParticipant(Exception):
    """A participant that must not run; the message says what is wrong with it."""


def own_work(cls: type, command: type[Command], undo: type[Command] | None, where: str) -> Offer:
    """What the types say that the methods of a class with effects in its own database return.

    Raises:
        InvalidParticipant: they do not fit.
    """
    _check_methods(cls, where, awaited=("do", "undo"))
    answers = _returned(cls, "do", where)
    rejections = [each for each in answers if issubclass(each, Rejection)]
    successes = [each for each in answers if each not in rejections]
    if len(successes) != 1 or len(rejections) > 1 or issubclass(successes[0], CompensationOutcome):
        raise InvalidParticipant(
            f"{where}.do must return one success, or one and a Rejection; see its annotation"
        )
    rejection = rejections[0] if rejections else None
    if undo is None:
        if hasattr(cls, "undo"):
            raise InvalidParticipant(f"{where} has undo, but its step is declared without the command for it")
        return Offer(command, successes[0], rejection)
    return Offer(command, successes[0], rejection, undo, _undone(cls, "undo", where))


def provider_work(cls: type, command: type[Command], undo: type[Command] | None, where: str) -> Offer:
    """The same of a class whose effects are at a provider.

    Raises:
        InvalidParticipant: it does not fit.
    """
    to_undo = (*_ASKED_TO_UNDO, "undone")
    wanted = (*_ASKED, "success", *(to_undo if undo is not None else ()))
    missing = [name for name in wanted if not callable(getattr(cls, name, None))]
    if missing:
        raise InvalidParticipant(f"{where} has no method {', '.join(missing)}")
    if undo is None and any(hasattr(cls, name) for name in to_undo):
        raise InvalidParticipant(f"{where} has undo, but its step is declared without the command for it")
    awaited = (*_ASKED, "close", *_ASKED_TO_UNDO)
    _check_methods(cls, where, awaited, plain=("success", "undone", "check", "is_nothing"))
    success = _returned(cls, "success", where)
    if len(success) != 1 or issubclass(success[0], Rejection | CompensationOutcome):
        raise InvalidParticipant(f"{where}.success must return one event; see its annotation")
    rejection = getattr(cls, "rejection", None)
    if rejection is not None and not (isinstance(rejection, type) and issubclass(rejection, Rejection)):
        raise InvalidParticipant(f"{where}.rejection must be a Rejection")
    if rejection is not None:
        refused = {**_IDENTITY, "direction": Direction.FORWARD, "code": "declined", "message": ""}
        for problem in problems_of(rejection, refused):
            told = f"{where}.rejection tells a code and a message"
            raise InvalidParticipant(f"{told}, so its other fields need defaults: {problem}")
    unknown = {*getattr(cls, "keeps", ())} - {*command.model_fields}
    if unknown:
        raise InvalidParticipant(
            f"{where}.keeps names fields that {command.__name__} does not have: {unknown}"
        )
    if undo is None:
        return Offer(command, success[0], rejection)
    return Offer(command, success[0], rejection, undo, _undone(cls, "undone", where))


def check_bench(bench: type, where: str) -> None:
    """Raises InvalidParticipant for a bench that cannot be opened and saved."""
    if not (hasattr(bench, "opened") and hasattr(bench, "save")):
        raise InvalidParticipant(f"{where}: its bench {bench.__name__} needs opened and save")
    _check_methods(bench, f"{where}: its bench {bench.__name__}", awaited=("opened", "save"))


def _check_methods(cls: type, where: str, awaited: Iterable[str], plain: Iterable[str] = ()) -> None:
    """A slip here would show itself after the effect."""
    for problem in method_problems(cls, awaited, plain):
        raise InvalidParticipant(f"{where}.{problem}")


def _undone(cls: type, method: str, where: str) -> type[CompensationOutcome]:
    undone = _returned(cls, method, where)
    if len(undone) != 1 or not issubclass(undone[0], CompensationOutcome):
        raise InvalidParticipant(f"{where}.{method} must return one CompensationOutcome; see its annotation")
    return undone[0]


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


def command_problems(name: str, *commands: Any) -> Iterator[str]:
    """What is wrong with the commands of a step of the participant of this name."""
    for each in commands:
        if each is None:
            continue
        if not (isinstance(each, type) and issubclass(each, Command)):
            yield f"{each!r} is no Command"
        elif each.participant != name:
            yield f"{each.__name__} is not its command: it must say participant = {name!r}"


def event_problems(work: Offer) -> Iterator[str]:
    """What is wrong with the events that answer a step."""
    yield from message_problems(work.command, work.compensation, *events_of(work))
    for event in events_of(work):
        key = getattr(event, "key", None)
        if not isinstance(key, str) or _KEY.fullmatch(key) is None or len(key) > 200:
            yield f"{event.__name__} needs a routing key such as key = 'registrar.seat_taken'"
    if work.undone is not None:
        nothing = {**_IDENTITY, "direction": Direction.COMPENSATING, "effect": Effect.NOTHING}
        for problem in problems_of(work.undone, nothing):
            told = f"{work.undone.__name__} also tells that there was nothing to undo"
            yield f"{told}, so its fields need defaults: {problem}"


def events_of(work: Offer) -> Iterator[type[OutcomeEvent]]:
    """The events that answer a step."""
    yield from (each for each in (work.success, work.rejection, work.undone) if each is not None)
