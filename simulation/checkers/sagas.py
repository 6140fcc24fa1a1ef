"""Rules about sagas: their history, their end, what they ask for and when."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from contracts.commands import (
    AuthorizePayment,
    CapturePayment,
    ChargePayment,
    ClaimUnshipped,
    CommitInventory,
    RefundPayment,
    RefundUnshipped,
    ReleaseInventory,
    ShipOrder,
    VoidAuthorization,
    VoidRemainder,
)
from contracts.envelope import Direction
from contracts.routing import ORCHESTRATOR
from orchestrator.codec import dump_input, kind_of, load_input
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.inputs import CancelRequested
from orchestrator.core.machine import fold
from orchestrator.core.state import ENDED, NOT_SENT, Incident, IncidentKind, Saga
from orchestrator.core.values import replace
from orchestrator.storage import HistoryEntry
from participants.fence import State
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import (
    AUTHORIZE,
    CAPTURE,
    CHARGE,
    COMMIT,
    RESERVE,
    SHIP,
    Knowledge,
    added_messages,
)
from simulation.facts import Committed
from simulation.storage.orchestrator import DEAD_LETTERS, HISTORY, SAGAS

OUTLIVES_THE_END: Final = (
    IncidentKind.ORPHANED_EFFECT,
    IncidentKind.VERDICT_REFUSED,
    IncidentKind.DEAD_LETTER,
)
"""Incidents that an ended saga may have: all about an orphaned effect and the verdict on it (S5, S19)."""


class TerminalIsTerminal(Checker):
    """An ended saga keeps its status, whatever still arrives (S5, S8)."""

    rule = "terminal is terminal (S8)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(SAGAS):
            before, after = change.before, change.after
            if before is None or before.status not in ENDED:
                continue
            was = (before.status, before.label, before.ended_at)
            if was != (after.status, after.label, after.ended_at):
                yield str(after.saga_id), f"it had ended as {before.label}, now {after.label}"
            if any(awaited.settling is None for awaited in after.awaited):
                yield str(after.saga_id), "it has ended and awaits something"


class HistoryIsWhole(Checker):
    """History is append-only, numbered, and its fold is the row (S15)."""

    rule = "history folds to the row (S15)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        entries: dict[UUID, list[int]] = {}
        for change in fact.of(HISTORY):
            if change.before is not None:
                yield str(change.after.saga_id), f"entry {change.key} is written over"
            entries.setdefault(change.after.saga_id, []).append(change.after.version)
        for change in fact.of(SAGAS):
            before: Saga | None = change.before
            after: Saga = change.after
            first = 1 if before is None else before.version + 1
            written = entries.pop(after.saga_id, [])
            if written != list(range(first, after.version + 1)):
                yield str(after.saga_id), f"version {first - 1} becomes {after.version}, entries {written}"
            if before is not None and not written and _folded(before) != _folded(after):
                yield str(after.saga_id), "its state changes without an entry"
        for saga_id, written in entries.items():
            yield str(saga_id), f"entries {written} without a change of the saga"

    def at_the_end(self) -> Objections:
        """Every history, as it is stored, leads to the saga as it is stored."""
        for saga_id, saga in self.known.sagas.items():
            yield from self._replay(self.known.definition_of(saga), saga_id, saga)

    def _replay(self, definition: SagaDefinition, saga_id: UUID, saga: Saga) -> Iterator[tuple[str, str]]:
        entries = [
            (entry.at, load_input(kind_of(entry.accepted), _json(dump_input(entry.accepted))))
            for entry in self.known.history[saga_id]
        ]
        try:
            replayed = fold(definition, saga_id, saga.subject_id, saga.input, entries)
        except ValueError as error:
            yield str(saga_id), f"its history cannot be replayed: {error}"
            return
        if _folded(replayed) != _folded(saga):
            yield str(saga_id), f"its history leads to {_folded(replayed)}, stored is {_folded(saga)}"


class TimeNeverGoesBack(Checker):
    """Whatever the clocks do, a saga's history is in the order of its times (S11)."""

    rule = "a saga's time never goes back (S11)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._latest: dict[UUID, datetime] = {}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(HISTORY):
            entry: HistoryEntry = change.after
            latest = self._latest.setdefault(entry.saga_id, entry.at)
            if entry.at < latest:
                yield str(entry.saga_id), f"entry {entry.version} is of {entry.at}, one before it of {latest}"
            self._latest[entry.saga_id] = max(latest, entry.at)


class AsksInOrder(Checker):
    """Each command goes out only when what it builds on is true in the ledgers of participants (S3, S6)."""

    rule = "commands in order (S1, S3)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for message in added_messages(fact):
            saga = self.known.sagas.get(message.correlation_id or UUID(int=0))
            table = _CAPTURING if saga is not None and self.known.captures(saga) else _BUILDS_ON
            allowed = table.get(message.type)
            if allowed is None or fact.service != "orchestrator":
                continue
            if message.type in _GOES_BACK and str(message.correlation_id) in self.known.lied_to:
                continue  # the charge was closed, the gateway had said; now it stands again
            for work, states in allowed:
                state = self.known.state(work, message.correlation_id)
                if state not in states:
                    yield str(message.correlation_id), f"{message.type} is sent while {work[1]} is {state}"


_GOES_BACK: Final = (RefundPayment.__name__, VoidAuthorization.__name__, ReleaseInventory.__name__)
_UNHELD: Final = (None, State.REJECTED, State.UNDONE, State.TOMBSTONE, State.SETTLED)
_DONE: Final = (State.DONE, State.SETTLED)
_BUILDS_ON: Final = {
    ChargePayment.__name__: ((RESERVE, (State.DONE,)),),
    ShipOrder.__name__: ((RESERVE, (State.DONE,)), (CHARGE, (State.DONE,))),
    CommitInventory.__name__: ((RESERVE, (State.DONE, State.CONSUMED)), (CHARGE, _DONE), (SHIP, _DONE)),
    ClaimUnshipped.__name__: ((CHARGE, (State.DONE,)), (SHIP, _DONE), (COMMIT, (None,))),
    RefundUnshipped.__name__: ((CHARGE, (State.DONE,)), (SHIP, _DONE), (COMMIT, (None,))),
    RefundPayment.__name__: ((SHIP, _UNHELD),),
    ReleaseInventory.__name__: ((CHARGE, _UNHELD), (SHIP, _UNHELD), (COMMIT, (None,))),
}
"""Command → the works it builds on, and how they may stand at that moment."""

_CAPTURING: Final = {
    AuthorizePayment.__name__: ((RESERVE, (State.DONE,)),),
    ShipOrder.__name__: ((RESERVE, (State.DONE,)), (AUTHORIZE, (State.DONE,)), (CAPTURE, (None,))),
    CapturePayment.__name__: ((AUTHORIZE, (State.DONE,)), (SHIP, _DONE)),
    CommitInventory.__name__: ((RESERVE, (State.DONE, State.CONSUMED)), (CAPTURE, _DONE), (SHIP, _DONE)),
    VoidRemainder.__name__: ((CAPTURE, _DONE), (SHIP, _DONE), (COMMIT, (None,))),
    VoidAuthorization.__name__: ((SHIP, _UNHELD), (CAPTURE, (None,))),
    ReleaseInventory.__name__: ((AUTHORIZE, _UNHELD), (SHIP, _UNHELD), (COMMIT, (None,))),
}
"""The same where the money is taken after the parcel has left (S27)."""


class CancelledInTime(Checker):
    """A cancel is accepted only before the first command is written that cannot be undone (S9)."""

    rule = "no cancel after the pivot is asked for (S9)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._asked: set[UUID | None] = set()

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(HISTORY):
            entry = change.after
            if isinstance(entry.accepted, CancelRequested) and entry.saga_id in self._asked:
                yield str(entry.saga_id), "it is cancelled although its pivot has been asked for"
        if fact.service != ORCHESTRATOR:
            return
        for message in added_messages(fact):
            work = self.known.work_of(message) if self.known.is_command(message) else None
            if work is not None and self._is_final(work[0], work[1]):
                self._asked.add(work[0])

    def _is_final(self, saga_id: UUID, piece: str) -> bool:
        definition = self.known.definition_of(self.known.sagas[saga_id])
        return definition.stage_index(piece) >= definition.point_of_no_return


class DeadLettersFollowTheSaga(Checker):
    """An open dead letter of a command is about what its saga awaits (D2, D3)."""

    rule = "dead letters follow what is awaited (D3)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        if not fact.of(SAGAS) and not fact.of(DEAD_LETTERS):
            return
        open_works: set[object] = set()
        for row in self.known.dead_letters.values():
            dead = row.dead
            if not row.is_open or dead.saga_id is None:
                continue
            if (dead.saga_id, dead.step, dead.direction) in open_works:
                yield str(dead.saga_id), f"{dead.step} ({dead.direction}) has two open dead letters"
            open_works.add((dead.saga_id, dead.step, dead.direction))
            saga = self.known.sagas[dead.saga_id]
            awaited = [(each.step, each.direction.value) for each in saga.awaited]
            if (dead.step, dead.direction) not in awaited:
                yield str(dead.saga_id), f"a dead letter of {dead.step} ({dead.direction}) is left open"


class IncidentsAreAboutSomething(Checker):
    """An incident is about what is awaited, or about an orphaned effect (S8, S10)."""

    rule = "incidents end with what they are about (S8)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(SAGAS):
            saga: Saga = change.after
            for incident in saga.incidents:
                if not self._has_its_cause(saga, incident):
                    yield str(saga.saga_id), f"{incident.kind} about {incident.step} is left open"

    def _has_its_cause(self, saga: Saga, incident: Incident) -> bool:
        if incident.kind is IncidentKind.ORPHANED_EFFECT:
            return True
        if saga.status in ENDED:
            orphaned = saga.has_incident(IncidentKind.ORPHANED_EFFECT, incident.step, Direction.COMPENSATING)
            return incident.kind in OUTLIVES_THE_END and orphaned
        return saga.awaits(incident.step, incident.direction)


def _folded(saga: Saga) -> Saga:
    """A saga without what stands outside the fold of its history (S15)."""
    awaited = tuple(replace(each, sending=NOT_SENT) for each in saga.awaited)
    return replace(saga, awaited=awaited, attempts={}, due_at=None)


def _json(text: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(text)
    return document


ALL = (
    TerminalIsTerminal,
    HistoryIsWhole,
    TimeNeverGoesBack,
    CancelledInTime,
    DeadLettersFollowTheSaga,
    IncidentsAreAboutSomething,
)
OF_ORDERS = (AsksInOrder,)
