"""Rules about waiting, and about when a saga is looked at (S11, S20, S23)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from contracts.envelope import Direction
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.inputs import SignalReceived, WaitElapsed
from orchestrator.core.state import ENDED, Awaited, IncidentKind, Saga
from orchestrator.storage import HistoryEntry
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import Knowledge
from simulation.checkers.stages import asked_in
from simulation.facts import Committed, Signalled
from simulation.storage.orchestrator import HISTORY, SAGAS

FORWARD, COMPENSATING = Direction.FORWARD, Direction.COMPENSATING
COME_BACK: Final = ("unknown_version", "unreadable")
"""Answers that say nothing of the signal: another replica may take it, or this one later (S13, S25)."""


class SignalsAreTakenOnce(Checker):
    """A signal is accepted once for a saga and a wait, kept for good, and its sender told the truth (S23)."""

    rule = "a signal is taken once and kept (S23)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._taken: dict[tuple[UUID, str], Mapping[str, object]] = {}

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed, Signalled: self._signalled}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(HISTORY):
            accepted, saga_id = change.after.accepted, change.after.saga_id
            if isinstance(accepted, SignalReceived):
                if (saga_id, accepted.wait) in self._taken:
                    yield str(saga_id), f"the signal for {accepted.wait} is taken twice"
                self._taken[saga_id, accepted.wait] = accepted.body
            elif isinstance(accepted, WaitElapsed) and (saga_id, accepted.wait) in self._taken:
                yield str(saga_id), f"the time of {accepted.wait} runs out although its signal had come"
        for change in fact.of(SAGAS):
            kept = {wait: signal.body for wait, signal in change.after.signals.items()}
            due = {wait: body for (saga_id, wait), body in self._taken.items() if saga_id == change.key}
            if kept != due:
                yield str(change.key), f"signals {due} were taken, {kept} are kept"

    def _signalled(self, fact: Signalled) -> Objections:
        taken = self._taken.get((fact.saga_id, fact.wait))
        if fact.came in ("taken", "taken before") and taken != fact.body:
            yield str(fact.saga_id), f"{fact.body} is said to be taken for {fact.wait}, which has {taken}"
        if fact.came not in ("taken", "taken before", *COME_BACK) and taken == fact.body:
            yield str(fact.saga_id), f"the same signal for {fact.wait} again is refused: {fact.came}"


class WaitsInPeace(Checker):
    """A wait burns nothing: no message, no incident, and no end before its time but by its signal (S23)."""

    rule = "a wait burns nothing (S23)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._since: dict[tuple[UUID, str], datetime] = {}

    def _committed(self, fact: Committed) -> Objections:
        before = {change.key: change.before for change in fact.of(SAGAS)}
        for saga, piece, direction in asked_in(self.known, fact):
            earlier = before.get(saga.saga_id)
            asked_again = earlier is not None and earlier.awaits(piece, direction)
            if not asked_again and not saga.awaits(piece, direction):
                yield str(saga.saga_id), f"{piece} ({direction}) is asked for and not awaited"
        for change in fact.of(HISTORY):
            if isinstance(change.after.accepted, WaitElapsed):
                yield from self._elapsed(change.after)
        for change in fact.of(SAGAS):
            yield from self._waiting(change.after)

    def _waiting(self, saga: Saga) -> Objections:
        waits = self.known.definition_of(saga).waits
        for awaited in saga.awaited:
            if awaited.step in waits:
                self._since[saga.saga_id, awaited.step] = awaited.since
                if awaited.sending.attempts or len(saga.awaited) > 1:
                    yield str(saga.saga_id), f"something is sent for {awaited.step}, which is a wait"
        for incident in saga.incidents:
            if incident.step in waits:
                yield str(saga.saga_id), f"{incident.kind} about {incident.step}, which is a wait"

    def _elapsed(self, entry: HistoryEntry) -> Objections:
        assert isinstance(entry.accepted, WaitElapsed)
        name = entry.accepted.wait
        wait = self.known.definition_of(self.known.sagas[entry.saga_id]).waits[name]
        over_at = self._since[entry.saga_id, name] + timedelta(seconds=wait.deadline_s)
        if entry.at < over_at:
            yield str(entry.saga_id), f"{name} is over at {entry.at}, its time runs out at {over_at}"


class LookedAtInTime(Checker):
    """A saga is due when the first of its pieces is (S11, S20)."""

    rule = "a saga is due with the earliest of its pieces (S20)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        if fact.at is None:
            return
        for change in fact.of(SAGAS):
            saga: Saga = change.after
            if saga.status in ENDED or self._was_set_aside(change.before, saga):
                continue
            definition = self.known.definition_of(saga)
            for name, latest in _bounds(definition, saga, fact.at):
                if saga.due_at is None or saga.due_at > latest:
                    yield str(saga.saga_id), f"it is due at {saga.due_at}, {name} wants it at {latest}"

    def _was_set_aside(self, before: Saga | None, after: Saga) -> bool:
        """A row that cannot be read is put off as it is (S25)."""
        return before is not None and before.version == after.version and before.awaited == after.awaited


def _bounds(definition: SagaDefinition, saga: Saga, now: datetime) -> Iterator[tuple[str, datetime]]:
    """Of each piece the latest time at which it wants to be looked at."""
    for awaited in saga.awaited:
        wait = definition.waits.get(awaited.step)
        if wait is not None:
            yield awaited.step, max(now + LATE, awaited.since + timedelta(seconds=wait.deadline_s))
        elif not awaited.held or awaited.settling is not None:
            wanted = _wanted(definition, saga, awaited)
            cap = timedelta(seconds=definition[awaited.step].policy.resend_cap_s)
            if wanted is not None:
                yield awaited.step, wanted if wanted > now else now + max(cap, LATE)


LATE: Final = timedelta(seconds=60)
"""How seldom what is over its time may be looked at."""


def _wanted(definition: SagaDefinition, saga: Saga, awaited: Awaited) -> datetime | None:
    """When a command goes again, or its deadline ends; None once the last copy has its grace."""
    sending = awaited.sending
    if sending.final_at is not None or sending.resend_at is None:
        return None
    overdue = saga.has_incident(IncidentKind.OVERDUE, awaited.step, FORWARD)
    if awaited.settling is not None or awaited.direction is COMPENSATING or overdue:
        return sending.resend_at
    deadline = awaited.since + timedelta(seconds=definition[awaited.step].policy.deadline_s)
    return min(sending.resend_at, deadline)


ALL = (SignalsAreTakenOnce, WaitsInPeace, LookedAtInTime)
