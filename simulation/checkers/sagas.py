"""Rules about sagas: their history, their end, what they ask for and when."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from contracts.commands import (
    COMMANDS,
    ChargePayment,
    CommitInventory,
    RefundPayment,
    ReleaseInventory,
    ShipOrder,
)
from contracts.envelope import Direction
from contracts.events import OUTCOMES
from contracts.routing import COMMANDS_EXCHANGE, EVENTS_EXCHANGE, OUTCOMES_QUEUE
from messaging.transport import Message
from orchestrator.codec import dump_input, kind_of, load_input
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.inputs import CancelRequested, CompensationStuck, OutcomeUnknown, StepOverdue
from orchestrator.core.machine import fold
from orchestrator.core.state import ENDED, Incident, IncidentKind, Saga, Sending
from orchestrator.core.values import replace
from orchestrator.storage import DeadLetterStatus, HistoryEntry
from participants.fence import State
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import CHARGE, COMMIT, RESERVE, SHIP, Knowledge, added_messages
from simulation.facts import Arrived, Committed, Delivered, Struck
from simulation.services import new_definition, old_definition
from simulation.storage.orchestrator import DEAD_LETTERS, HISTORY, SAGAS, DeadLetterRow
from simulation.weather import Fault

DEFINITIONS: Final = {each.version: each for each in (old_definition(), new_definition())}

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
            was = (before.status, before.order_status, before.ended_at)
            if was != (after.status, after.order_status, after.ended_at):
                yield str(after.saga_id), f"it had ended as {before.order_status}, now {after.order_status}"
            if after.awaiting is not None:
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
            yield from self._replay(DEFINITIONS[saga.definition_version], saga_id, saga)

    def _replay(self, definition: SagaDefinition, saga_id: UUID, saga: Saga) -> Iterator[tuple[str, str]]:
        entries = [
            (entry.at, load_input(kind_of(entry.accepted), _json(dump_input(entry.accepted))))
            for entry in self.known.history[saga_id]
        ]
        try:
            replayed = fold(definition, saga_id, saga.order_id, saga.order, entries)
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


class ReadsItsBacklog(Checker):
    """What lies in our own queue is an answer: no step is given up whose outcome waits there (S4).

    Told without our own clocks: an outcome that came within the grace of the last copy, and that nobody has
    been given since, was in the queue whenever somebody looked after the grace. Where the database's clock
    has jumped meanwhile, nothing is said.
    """

    rule = "no outcome is unknown while it waits in our own queue (S4)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._waiting: dict[str, tuple[float, Message]] = {}
        self._copied_s: dict[tuple[UUID | None, str], float] = {}
        self._jumped_s = -1.0

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {
            Arrived: self._arrived,
            Delivered: self._delivered,
            Struck: self._struck,
            Committed: self._committed,
        }

    def _arrived(self, fact: Arrived) -> Objections:
        if fact.message.type in OUTCOMES and fact.message.exchange == EVENTS_EXCHANGE:
            self._waiting[str(fact.message.message_id)] = (self.known.at_s, fact.message)
        return ()

    def _delivered(self, fact: Delivered) -> Objections:
        if fact.delivery.queue == OUTCOMES_QUEUE:
            self._waiting.pop(fact.delivery.message_id or "", None)
        return ()

    def _struck(self, fact: Struck) -> Objections:
        if fact.fault is Fault.QUEUE_PURGED:
            self._waiting.clear()
        elif fact.fault is Fault.CLOCK_JUMPED:
            self._jumped_s = self.known.at_s
        return ()

    def _committed(self, fact: Committed) -> Objections:
        if fact.service != "orchestrator":
            return
        for change in fact.of(HISTORY):
            if isinstance(change.after.accepted, OutcomeUnknown):
                yield from self._given_up(change.after)
        for message in added_messages(fact):
            self._copied_s[message.correlation_id, message.type] = self.known.at_s

    def _given_up(self, entry: HistoryEntry) -> Objections:
        saga = self.known.sagas[entry.saga_id]
        step = DEFINITIONS[saga.definition_version][entry.accepted.step]  # type: ignore[union-attr]
        copied_s = self._copied_s.get((entry.saga_id, step.command.__name__), 0.0)
        if self._jumped_s >= copied_s:
            return
        for arrived_s, message in self._waiting.values():
            if message.correlation_id != entry.saga_id or arrived_s > copied_s + step.policy.grace_s:
                continue
            said = json.loads(message.body)
            if (said.get("step"), said.get("direction")) == (step.name, Direction.FORWARD):
                yield str(entry.saga_id), f"{step.name} is given up while {message.type} waits in the queue"


class AsksInOrder(Checker):
    """Each command goes out only when what it builds on is true in the ledgers of participants (S3, S6)."""

    rule = "commands in order (S1, S3)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for message in added_messages(fact):
            allowed = _BUILDS_ON.get(message.type)
            if allowed is None or fact.service != "orchestrator":
                continue
            if message.type in _GOES_BACK and str(message.correlation_id) in self.known.lied_to:
                continue  # the charge was closed, the gateway had said; now it stands again
            for work, states in allowed:
                state = self.known.state(work, message.correlation_id)
                if state not in states:
                    yield str(message.correlation_id), f"{message.type} is sent while {work[1]} is {state}"


_GOES_BACK: Final = (RefundPayment.__name__, ReleaseInventory.__name__)
_UNHELD: Final = (None, State.REJECTED, State.UNDONE, State.TOMBSTONE, State.SETTLED)
_DONE: Final = (State.DONE, State.SETTLED)
_BUILDS_ON: Final = {
    ChargePayment.__name__: ((RESERVE, (State.DONE,)),),
    ShipOrder.__name__: ((RESERVE, (State.DONE,)), (CHARGE, (State.DONE,))),
    CommitInventory.__name__: ((RESERVE, (State.DONE, State.CONSUMED)), (CHARGE, _DONE), (SHIP, _DONE)),
    RefundPayment.__name__: ((SHIP, _UNHELD),),
    ReleaseInventory.__name__: ((CHARGE, _UNHELD), (SHIP, _UNHELD), (COMMIT, (None,))),
}
"""Command → the works it builds on, and how they may stand at that moment."""


class ResentOnlyAfterLeaving(Checker):
    """No second copy of a command while the last one has not left the outbox, unless a person asks (S4)."""

    rule = "no re-send while the last copy is in the outbox (S4)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._latest: dict[UUID | None, Message] = {}

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        if fact.service != "orchestrator":
            return
        moved = {change.after.saga_id for change in fact.of(HISTORY)}
        for message in added_messages(fact):
            if message.type not in COMMANDS or message.exchange != COMMANDS_EXCHANGE:
                continue
            last = self._latest.get(message.correlation_id)
            self._latest[message.correlation_id] = message
            repeated = last is not None and last.type == message.type and message.correlation_id not in moved
            if last is not None and repeated and last.message_id in self.known.outbox[fact.service]:
                yield str(message.correlation_id), f"{message.type} is sent again before it has left"


class GivesUpPatiently(Checker):
    """An outcome is unknown only a grace after one more copy that went out past the deadline (S4)."""

    rule = "no answer is not a failure (S4)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._latest_copy: dict[tuple[UUID | None, str], Message] = {}
        self._began: dict[UUID, datetime] = {}

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        if fact.service != "orchestrator":
            return
        for change in fact.of(HISTORY):
            if isinstance(change.after.accepted, OutcomeUnknown):
                yield from self._given_up(change.after)
        for change in fact.of(SAGAS):
            if change.after.awaiting is not None:
                self._began[change.key] = change.after.awaiting.since
        for message in added_messages(fact):
            self._latest_copy[message.correlation_id, message.type] = message

    def _given_up(self, entry: HistoryEntry) -> Objections:
        saga = self.known.sagas[entry.saga_id]
        step = DEFINITIONS[saga.definition_version][entry.accepted.step]  # type: ignore[union-attr]
        copy = self._latest_copy[entry.saga_id, step.command.__name__]
        deadline = self._began[entry.saga_id] + timedelta(seconds=step.policy.deadline_s)
        if copy.timestamp < deadline:
            yield str(entry.saga_id), f"{step.name} is given up without one more copy past its deadline"
        if entry.at < copy.timestamp + timedelta(seconds=step.policy.grace_s):
            yield str(entry.saga_id), f"{step.name} is given up without a grace"
        if copy.message_id in self.known.outbox["orchestrator"]:
            yield str(entry.saga_id), f"{step.name} is given up while its last copy has not left"


class DeadLettersStopTheClock(Checker):
    """A dead letter of what is awaited tells its saga; a permanent one stops re-sends and deadline (S10)."""

    rule = "a dead-lettered command holds its saga (S10)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(DEAD_LETTERS):
            dead = change.after.dead
            if change.before is None and change.after.is_open and dead.kind == "command":
                saga = self.known.sagas[dead.saga_id]
                direction = Direction(dead.direction)
                if not saga.has_incident(IncidentKind.DEAD_LETTER, dead.step, direction):
                    yield str(saga.saga_id), f"{dead.type} is dead and its saga has not been told"
        for change in fact.of(HISTORY):
            entry = change.after
            if isinstance(entry.accepted, OutcomeUnknown | StepOverdue | CompensationStuck):
                yield from self._held(entry.saga_id, type(entry.accepted).__name__)
        for change in fact.of(SAGAS):
            before, after = change.before, change.after
            resent = before is not None and before.version == after.version
            if resent and before.sending.attempts != after.sending.attempts and after.settling is None:
                yield from self._held(after.saga_id, "another copy")

    def _held(self, saga_id: UUID, what: str) -> Objections:
        for row in self.known.dead_letters.values():
            if row.dead.saga_id == saga_id and row.is_open and row.dead.permanent and not self._retried(row):
                yield str(saga_id), f"{what} although {row.dead.type} has failed for good"

    def _retried(self, row: DeadLetterRow) -> bool:
        """A person has had it sent again since it died."""
        if row.dead.status is DeadLetterStatus.REPLAYING:
            return True
        saga = self.known.sagas[row.dead.saga_id] if row.dead.saga_id else None
        return (
            saga is None
            or saga.awaiting is None
            or not saga.has_incident(IncidentKind.DEAD_LETTER, saga.awaiting.step, saga.awaiting.direction)
        )


class CancelledInTime(Checker):
    """A cancel is accepted only before `ShipOrder` is written (S9)."""

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
                yield str(entry.saga_id), "it is cancelled although its shipment has been asked for"
        self._asked.update(
            message.correlation_id for message in added_messages(fact) if message.type == ShipOrder.__name__
        )


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
            works = [work for work in (saga.awaiting, saga.settling) if work is not None]
            if (dead.step, dead.direction) not in [(work.step, work.direction.value) for work in works]:
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
    return replace(saga, sending=Sending(), attempts={}, due_at=None)


def _json(text: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(text)
    return document


ALL = (
    TerminalIsTerminal,
    HistoryIsWhole,
    TimeNeverGoesBack,
    ReadsItsBacklog,
    AsksInOrder,
    ResentOnlyAfterLeaving,
    GivesUpPatiently,
    DeadLettersStopTheClock,
    CancelledInTime,
    DeadLettersFollowTheSaga,
    IncidentsAreAboutSomething,
)
