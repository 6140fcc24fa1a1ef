"""Rules about a saga's patience: when it asks again, gives up waiting, and what stops its clock (S4, S10)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from contracts.commands import SettleStep
from contracts.envelope import Direction
from contracts.routing import EVENTS_EXCHANGE, OUTCOMES_QUEUE
from messaging.transport import Message
from orchestrator.core.inputs import CompensationStuck, OutcomeUnknown, StepOverdue
from orchestrator.core.state import Awaited, IncidentKind, Saga
from orchestrator.storage import DeadLetterStatus, HistoryEntry
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import Knowledge, added_messages
from simulation.facts import Arrived, Committed, HandedOut, Struck
from simulation.storage.orchestrator import DEAD_LETTERS, HISTORY, SAGAS, DeadLetterRow
from simulation.weather import Fault


class ReadsItsBacklog(Checker):
    """What lies in our own queue is an answer: no step is given up whose outcome waits there (S4).

    Told without our own clocks: an outcome that came within the grace of the last copy, and that no consumer
    has been handed since, was ready in the queue whenever somebody looked after the grace. What a consumer
    was handed is beyond what the broker tells of its queue. Where the database's clock has jumped meanwhile,
    nothing is said.
    """

    rule = "no outcome is unknown while it waits in our own queue (S4)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._waiting: dict[str, tuple[float, Message]] = {}
        self._copied_s: dict[tuple[UUID, str, Direction], float] = {}
        self._jumped_s = -1.0

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {
            Arrived: self._arrived,
            HandedOut: self._handed_out,
            Struck: self._struck,
            Committed: self._committed,
        }

    def _arrived(self, fact: Arrived) -> Objections:
        if fact.message.type in self.known.cast.registry.events and fact.message.exchange == EVENTS_EXCHANGE:
            self._waiting[str(fact.message.message_id)] = (self.known.at_s, fact.message)
        return ()

    def _handed_out(self, fact: HandedOut) -> Objections:
        if fact.queue == OUTCOMES_QUEUE:
            self._waiting.pop(str(fact.message.message_id), None)
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
            work = self.known.work_of(message) if self.known.is_command(message) else None
            if work is not None and message.type != SettleStep.__name__:
                self._copied_s[work] = self.known.at_s

    def _given_up(self, entry: HistoryEntry) -> Objections:
        saga = self.known.sagas[entry.saga_id]
        assert isinstance(entry.accepted, OutcomeUnknown)
        piece = entry.accepted.step
        step = self.known.definition_of(saga)[piece]
        copied_s = self._copied_s.get((entry.saga_id, piece, Direction.FORWARD), 0.0)
        if self._jumped_s >= copied_s:
            return
        for arrived_s, message in self._waiting.values():
            if message.correlation_id != entry.saga_id or arrived_s > copied_s + step.policy.grace_s:
                continue
            if self.known.work_of(message) == (entry.saga_id, piece, Direction.FORWARD):
                yield str(entry.saga_id), f"{piece} is given up while {message.type} waits in the queue"


class ResentOnlyAfterLeaving(Checker):
    """No second copy of a command while the last one has not left the outbox, unless a person asks (S4)."""

    rule = "no re-send while the last copy is in the outbox (S4)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._latest: dict[tuple[UUID, str, Direction], Message] = {}

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        if fact.service != "orchestrator":
            return
        moved = {change.after.saga_id for change in fact.of(HISTORY)}
        for message in added_messages(fact):
            work = self.known.work_of(message) if self.known.is_command(message) else None
            if work is None:
                continue
            last = self._latest.get(work)
            self._latest[work] = message
            repeated = last is not None and last.type == message.type and message.correlation_id not in moved
            if last is not None and repeated and last.message_id in self.known.outbox[fact.service]:
                yield str(message.correlation_id), f"{message.type} is sent again before it has left"


class GivesUpPatiently(Checker):
    """An outcome is unknown only a grace after one more copy that went out past the deadline (S4)."""

    rule = "no answer is not a failure (S4)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._latest_copy: dict[tuple[UUID, str, Direction], Message] = {}
        self._began: dict[tuple[UUID, str, Direction], datetime] = {}

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
            for awaited in change.after.awaited:
                self._began[change.key, awaited.step, awaited.direction] = awaited.since
        for message in added_messages(fact):
            work = self.known.work_of(message) if self.known.is_command(message) else None
            if work is not None and message.type != SettleStep.__name__:
                self._latest_copy[work] = message

    def _given_up(self, entry: HistoryEntry) -> Objections:
        saga = self.known.sagas[entry.saga_id]
        assert isinstance(entry.accepted, OutcomeUnknown)
        piece = entry.accepted.step
        step = self.known.definition_of(saga)[piece]
        copy = self._latest_copy[entry.saga_id, piece, Direction.FORWARD]
        deadline = self._began[entry.saga_id, piece, Direction.FORWARD] + timedelta(
            seconds=step.policy.deadline_s
        )
        if copy.timestamp < deadline:
            yield str(entry.saga_id), f"{piece} is given up without one more copy past its deadline"
        if entry.at < copy.timestamp + timedelta(seconds=step.policy.grace_s):
            yield str(entry.saga_id), f"{piece} is given up without a grace"
        if copy.message_id in self.known.outbox["orchestrator"]:
            yield str(entry.saga_id), f"{piece} is given up while its last copy has not left"


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
                accepted = entry.accepted
                yield from self._held(entry.saga_id, type(accepted).__name__, accepted.step)
        for change in fact.of(SAGAS):
            before, after = change.before, change.after
            if before is not None and before.version == after.version:
                for awaited in after.awaited:
                    if awaited.settling is None and _sent_again(before, awaited):
                        yield from self._held(after.saga_id, "another copy", awaited.step)

    def _held(self, saga_id: UUID, what: str, step: str) -> Objections:
        for row in self.known.dead_letters.values():
            same = (row.dead.saga_id, row.dead.step) == (saga_id, step)
            if same and row.is_open and row.dead.permanent and not self._retried(row):
                yield str(saga_id), f"{what} although {row.dead.type} has failed for good"

    def _retried(self, row: DeadLetterRow) -> bool:
        """A person has had it sent again since it died."""
        if row.dead.status is DeadLetterStatus.REPLAYING:
            return True
        saga = self.known.sagas[row.dead.saga_id] if row.dead.saga_id else None
        if saga is None or row.dead.step is None or row.dead.direction is None:
            return True
        direction = Direction(row.dead.direction)
        return not saga.has_incident(IncidentKind.DEAD_LETTER, row.dead.step, direction)


def _sent_again(before: Saga, awaited: Awaited) -> bool:
    earlier = before.waiting_for(awaited.step, awaited.direction)
    return earlier is not None and earlier.sending.attempts != awaited.sending.attempts


ALL = (ReadsItsBacklog, ResentOnlyAfterLeaving, GivesUpPatiently, DeadLettersStopTheClock)
