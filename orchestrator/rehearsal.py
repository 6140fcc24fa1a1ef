"""What a definition would have made of a stored saga: its history folded through it, entry by entry.

A running saga must come out as it is stored, or the definition could not continue it. An ended one may have
gone another way: what each entry led to then is compared with what it leads to now. What is worked out from
functions stands in the history, so that a fold takes it from there (S15, S22); of an ended saga the functions
are asked once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from orchestrator.codec import Unreadable, load_input, load_saga, read_input
from orchestrator.core import machine
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.effects import Decision, PublishEvent, SendCommand, Transition
from orchestrator.core.inputs import Input, Leading, SagaStarted
from orchestrator.core.state import Saga


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One entry of a history, as it is stored."""

    version: int
    at: datetime
    kind: str
    accepted: Mapping[str, Any]
    led_to: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredSaga:
    """A saga as it is stored.

    Attributes:
        columns: by the fields of a saga.
        state: its state document.
        document: the document that started it.
    """

    columns: Mapping[str, Any]
    state: Mapping[str, Any]
    document: str | None
    history: Sequence[StoredEntry]

    @property
    def saga_id(self) -> UUID:
        """Its identity."""
        saga_id: UUID = self.columns["saga_id"]
        return saga_id

    @property
    def has_ended(self) -> bool:
        """Whether it has come to its end."""
        return self.columns["ended_at"] is not None


class Kind(StrEnum):
    """What was found."""

    CANNOT_CONTINUE = "cannot_continue"
    """A running saga that the definition could not go on with."""
    ANOTHER_WAY = "another_way"
    """An ended saga that would have gone another way."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one saga under a definition.

    Attributes:
        entry: number of the first entry of its history at which it shows; None where none is concerned.
        happened: what that entry is of.
    """

    kind: Kind
    saga_id: UUID
    subject_id: UUID
    definition_version: int
    status: str
    entry: int | None
    happened: str | None
    at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Differs(Exception):
    reason: str
    entry: StoredEntry | None = None


def rehearse(definition: SagaDefinition, stored: StoredSaga) -> Finding | None:
    """What is wrong with a saga under a definition; None where it is as it was."""
    try:
        _check(definition, stored)
    except _Differs as found:
        columns, entry = stored.columns, found.entry
        return Finding(
            Kind.ANOTHER_WAY if stored.has_ended else Kind.CANNOT_CONTINUE,
            stored.saga_id,
            columns["subject_id"],
            columns["definition_version"],
            str(columns["status"]),
            None if entry is None else entry.version,
            None if entry is None else entry.kind,
            None if entry is None else entry.at,
            found.reason,
        )
    return None


def _check(definition: SagaDefinition, stored: StoredSaga) -> None:
    """Raises _Differs at the first thing that is otherwise."""
    if stored.document is None:
        raise _Differs("its input is missing")
    try:
        given = read_input(definition, stored.document)
    except Unreadable as error:
        raise _Differs(str(error)) from None
    saga: Saga | None = None
    for number, entry in enumerate(stored.history, 1):
        if entry.version != number:
            raise _Differs(f"its history lacks entry {number}", entry)
        saga = _next(definition, stored, given, saga, entry)
    if saga is None:
        raise _Differs("it has no history")
    if not stored.has_ended:
        _check_state(saga, stored, given)


def _next(
    definition: SagaDefinition, stored: StoredSaga, given: Any, before: Saga | None, entry: StoredEntry
) -> Saga:
    accepted = _guarded(entry, lambda: load_input(entry.kind, entry.accepted))

    def led_to(happened: Input) -> Decision:
        if before is not None:
            return machine.decide(definition, before, happened, entry.at)
        if not isinstance(happened, SagaStarted):
            raise _Differs("a history begins with the start", entry)
        subject_id = stored.columns["subject_id"]
        return machine.start(definition, stored.saga_id, subject_id, given, entry.at, happened)

    decision = _guarded(entry, lambda: led_to(accepted))
    if not isinstance(decision, Transition):
        raise _Differs(f"it is not accepted: {decision.reason}", entry)
    for difference in _differences(decision, entry.led_to, stored.has_ended):
        raise _Differs(difference, entry)
    if stored.has_ended and isinstance(accepted, Leading) and accepted.worked_out:
        bare: Any = replace(accepted, worked_out={})
        _check_worked_out(accepted, _guarded(entry, lambda: led_to(bare)), entry)
    return decision.saga


def _guarded(entry: StoredEntry, work: Callable[[], Any]) -> Any:
    """The definition's functions are somebody's code, and the history may be of another one."""
    try:
        return work()
    except _Differs:
        raise
    except Exception as error:
        raise _Differs(f"it fails: {type(error).__name__}: {error}"[:300], entry) from error


def _differences(now: Transition, then: Mapping[str, Any], ended: bool) -> Iterator[str]:  # noqa: FBT001
    """How what an entry leads to is otherwise; of a running saga only what it goes on from."""
    saga = now.saga
    awaited = saga.awaited[0].step if saga.awaited else None
    compared: list[tuple[str, Any, Any]] = [
        ("it is", saga.status.value, then.get("status")),
        ("it goes", saga.direction.value, then.get("direction")),
        ("it awaits", awaited, then.get("step")),
    ]
    sent = [type(each.command).__name__ for each in now.effects if isinstance(each, SendCommand)]
    told = [type(each.event).__name__ for each in now.effects if isinstance(each, PublishEvent)]
    was_sent = [each["type"] for each in then.get("sent", ())]
    if ended:
        compared.append(("it is shown as", saga.label, then.get("order_status")))
        compared.append(("it sends", sorted(sent + told), sorted(was_sent)))
    for what, here, there in compared:
        if here != there:
            yield f"{what} {_said(here)}, and was {_said(there)}"
    if not ended and not set(sent) <= set(was_sent):
        yield f"it asks for {_said(sorted(set(sent) - set(was_sent)))}, and did not"


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    return "nothing" if value is None else str(value)


def _check_worked_out(then: Leading, now: Decision, entry: StoredEntry) -> None:
    accepted = now.accepted if isinstance(now, Transition) else None
    said = accepted.worked_out if isinstance(accepted, Leading) else {}
    for name, was in then.worked_out.items():
        if name not in said or said[name] != was:
            raise _Differs(f"{name} is worked out otherwise{_counted(said.get(name), was)}", entry)


def _counted(now: object, then: object) -> str:
    """Numbers of items and not the items, which may be anything."""
    if isinstance(now, list) and isinstance(then, list) and len(now) != len(then):
        return f": {len(now)} items, there were {len(then)}"
    return ""


def _check_state(saga: Saga, stored: StoredSaga, given: Any) -> None:
    """Raises _Differs where a running saga does not come out as it is stored."""
    try:
        there = load_saga(stored.columns, stored.state, given)
    except (ValueError, TypeError) as error:
        raise _Differs(f"its state cannot be read ({type(error).__name__})") from None
    compared = (
        ("its pieces are", _pieces(saga), _pieces(there)),
        ("it awaits", _awaited(saga), _awaited(there)),
    )
    for what, here, was in compared:
        if here != was:
            raise _Differs(f"{what} {_said(here)}; stored are {_said(was)}")


def _pieces(saga: Saga) -> list[str]:
    return [f"{each.name} {each.forward}/{each.undo}" for each in saga.steps]


def _awaited(saga: Saga) -> list[str]:
    return [f"{each.step} ({each.direction})" for each in saga.awaited]
