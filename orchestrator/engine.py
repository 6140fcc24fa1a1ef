"""Applies inputs to sagas: lock, decide, write; a batch in one transaction.

**What lives here.** `Engine`, the only way in which a saga changes: outcomes, the reconciler's findings,
dead letters and people all end in `fold`. `LockedSagas` are those of one transaction, with what it has
decided on them so far: new states, history, messages.

**How it works.** The sagas of a batch are locked in the order of their ids, the clock is read after that,
each input is decided by the pure core on what the one before it left, and everything is queued to be
written with the commit: states, history, outgoing messages, dead letters that end.

**What must never happen.** A decision on a saga that is not locked (S2, S11). State without its history, or
a message without its cause (S2, M1). One saga that cannot be read, or whose definition fails, harming
another (S25). A look that leaves a saga due (S12).

Rules: S2, S11, S13, S15, S25, M1.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic import ValidationError

from contracts.flaws import flaws_of_model
from contracts.routing import ORCHESTRATOR
from messaging.compose import command_message, event_message
from messaging.identifiers import NewId
from messaging.measures import Reading
from messaging.transport import Message
from orchestrator.codec import Unreadable, check_fits
from orchestrator.core import machine, timers
from orchestrator.core.asking import awaited_command
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.effects import (
    Decision,
    PublishEvent,
    ResolveDeadLetters,
    SendCommand,
    Stale,
    Transition,
)
from orchestrator.core.inputs import Input
from orchestrator.core.registry import Registry
from orchestrator.core.state import Awaited, Saga
from orchestrator.core.values import replace
from orchestrator.measures import RESENT, STALE, UNKNOWN_VERSION, UNREADABLE, Move, SagaMeasures, ends_of
from orchestrator.storage import HistoryEntry, NewSaga, OrchestratorTransaction, SagaChange, WorkEnded

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Happening:
    """An input for one saga, with the message that brought it."""

    saga_id: UUID
    happened: Input
    causation_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class UnknownSaga:
    """There is no such saga (S16)."""


@dataclass(frozen=True, slots=True)
class UnknownVersion:
    """The saga runs a definition version that this process does not have (S13)."""

    definition: str
    version: int


@dataclass(frozen=True, slots=True)
class UnreadableSaga:
    """What is stored of the saga cannot be read (S25)."""

    reason: str


Answer = Decision | UnknownSaga | UnknownVersion | UnreadableSaga


@dataclass(slots=True)
class LockedSagas:
    """Sagas that one transaction has locked, and what it has decided on them so far, before it is written.

    Attributes:
        unreadable: why sagas that were locked could not be read.
        undecided: of which sagas an input could not be decided, and why.
    """

    now: datetime
    sagas: dict[UUID, Saga]
    previous: dict[UUID, int]
    unreadable: Mapping[UUID, str] = field(default_factory=dict)
    undecided: dict[UUID, str] = field(default_factory=dict)
    history: list[HistoryEntry] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    ended_work: list[WorkEnded] = field(default_factory=list)
    changed: dict[UUID, Saga] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)

    def put(self, saga: Saga) -> None:
        """Take note of a saga's new state."""
        self.sagas[saga.saga_id] = saga
        self.changed[saga.saga_id] = saga

    @contextmanager
    def undone_on_failure(self, saga_id: UUID) -> Iterator[None]:
        """What the block has decided on this saga goes again when it raises, and nothing else does."""
        lists: tuple[list[Any], ...] = (self.history, self.messages, self.ended_work, self.moves)
        lengths = [len(each) for each in lists]
        saga, changed = self.sagas[saga_id], saga_id in self.changed
        try:
            yield
        except Exception:
            for each, length in zip(lists, lengths, strict=True):
                del each[length:]
            self.sagas[saga_id] = saga
            if not changed:
                self.changed.pop(saga_id, None)
            raise


SET_ASIDE: Final = timedelta(seconds=60)
"""Until the next look at a saga that could not be worked on."""

OnProgress = Callable[[Sequence[Saga]], None]


class Engine:
    """Applies inputs to sagas. Holds no state of its own but counters."""

    def __init__(
        self, registry: Registry, new_id: NewId, rng: random.Random, on_progress: OnProgress | None = None
    ) -> None:
        """
        Args:
            on_progress: called after a commit with the sagas that it changed.
        """
        self.registry = registry
        self.counts: Counter[str] = Counter()
        self.measures = SagaMeasures(registry.events, ends_of(registry))
        self._new_id = new_id
        self._rng = rng
        self._on_progress = on_progress

    def readings(self) -> Iterator[Reading]:
        """What has been counted since the start."""
        yield from self.measures.readings()
        yield STALE.of(), self.counts["stale"]
        yield UNKNOWN_VERSION.of(), self.counts["unknown_version"]
        yield RESENT.of(), self.counts["resent"]
        yield UNREADABLE.of("saga"), self.counts["unreadable"]

    # -- the three ways in --------------------------------------------------------------------------------

    async def apply(
        self, transaction: OrchestratorTransaction, happenings: Sequence[Happening]
    ) -> list[Answer]:
        """Lock the sagas, fold the inputs into them in order, write what came of it; an answer for each."""
        if not happenings:
            return []
        work = await self.lock(transaction, {happening.saga_id for happening in happenings})
        answers = [self.fold(work, happening) for happening in happenings]
        self.write(transaction, work)
        if work.undecided:
            transaction.set_aside(work.undecided, work.now + SET_ASIDE)
        return answers

    def start(
        self,
        transaction: OrchestratorTransaction,
        sagas: Sequence[tuple[Transition, str, str | None]],
        now: datetime,
    ) -> None:
        """Write new sagas with their first commands and event (S14), given with owner and trace context."""
        work = LockedSagas(now=now, sagas={}, previous={})
        for transition, _, traceparent in sagas:
            definition = self.registry.latest(transition.saga.definition)
            self._record(work, definition, _traced(transition, traceparent), None, traceparent)
        transaction.add_sagas([NewSaga(work.changed[each.saga.saga_id], owner) for each, owner, _ in sagas])
        self._write_rest(transaction, work)

    async def lock(self, transaction: OrchestratorTransaction, saga_ids: set[UUID]) -> LockedSagas:
        """Begin work on these sagas: their rows are locked and the time is read after that (S11)."""
        locked = await transaction.lock_sagas(saga_ids)
        return self.work_on(locked.sagas, locked.now, locked.unreadable)

    def work_on(
        self, sagas: Mapping[UUID, Saga], now: datetime, unreadable: Mapping[UUID, str] = MappingProxyType({})
    ) -> LockedSagas:
        """Begin work on sagas that are locked already."""
        previous = {key: saga.version for key, saga in sagas.items()}
        return LockedSagas(now, dict(sagas), previous, unreadable)

    # -- what they are made of ----------------------------------------------------------------------------

    def fold(self, work: LockedSagas, happening: Happening) -> Answer:
        """Decide one input and remember what came of it; nothing is written yet."""
        saga = work.sagas.get(happening.saga_id)
        if saga is None:
            return self._missing(work, happening.saga_id)
        definition = self.registry.find(saga.definition, saga.definition_version)
        if definition is None:
            self.counts["unknown_version"] += 1
            return UnknownVersion(saga.definition, saga.definition_version)
        try:
            check_fits(saga, definition)
        except Unreadable as error:
            self.counts["unreadable"] += 1
            return UnreadableSaga(str(error))
        try:
            with work.undone_on_failure(saga.saga_id):
                decision = self._decided(work, definition, saga, happening)
        except (
            Exception
        ) as error:  # a definition's functions are somebody's code: it harms its own saga (S25)
            log.error("an input could not be decided", saga_id=str(saga.saga_id), exc_info=error)
            self.counts["unreadable"] += 1
            work.undecided[saga.saga_id] = f"its definition failed: {_told(error)}"
            return UnreadableSaga(work.undecided[saga.saga_id])
        if isinstance(decision, Stale):
            self.counts["stale"] += 1
        return decision

    def _decided(
        self, work: LockedSagas, definition: SagaDefinition, saga: Saga, happening: Happening
    ) -> Decision:
        """The machine's decision; what an accepted input leads to is among the work."""
        decision = machine.decide(definition, saga, happening.happened, max(work.now, saga.updated_at))
        if isinstance(decision, Transition):
            trace = happening.traceparent or saga.traceparent
            self._record(work, definition, decision, happening.causation_id, trace)
        return decision

    def _missing(self, work: LockedSagas, saga_id: UUID) -> UnknownSaga | UnreadableSaga:
        if saga_id not in work.unreadable:
            return UnknownSaga()
        self.counts["unreadable"] += 1
        return UnreadableSaga(work.unreadable[saga_id])

    def resend(
        self,
        work: LockedSagas,
        definition: SagaDefinition,
        saga: Saga,
        awaited: Awaited,
        finding: timers.Resend,
    ) -> None:
        """One more copy of a command that the saga awaits: same work, new message id (S4)."""
        command = awaited_command(definition, saga, awaited)
        message_id = self._message(work, command, None, saga.traceparent).message_id
        jitter, final = self._rng.random(), finding.final
        work.put(timers.sent(definition, saga, awaited, message_id, work.now, jitter, final=final))
        self.counts["resent"] += 1

    def write(self, transaction: OrchestratorTransaction, work: LockedSagas) -> None:
        """Queue everything that the work has changed; it commits together or not at all (S2)."""
        if work.changed:
            changes = [SagaChange(saga, work.previous[key]) for key, saga in work.changed.items()]
            transaction.save_sagas(changes)
        self._write_rest(transaction, work)

    def _write_rest(self, transaction: OrchestratorTransaction, work: LockedSagas) -> None:
        if work.history:
            transaction.add_history(work.history)
            moved = dict.fromkeys(entry.saga_id for entry in work.history)
            progressed = [work.sagas[saga_id] for saga_id in moved]
            transaction.after_commit(lambda: self._progressed(progressed, work.moves))
        if work.ended_work:
            transaction.resolve_dead_letters(work.ended_work, work.now)
        transaction.send(work.messages)

    def _progressed(self, sagas: Sequence[Saga], moves: Sequence[Move]) -> None:
        self.measures.note(moves)
        if self._on_progress is not None:
            self._on_progress(sagas)

    def _record(
        self,
        work: LockedSagas,
        definition: SagaDefinition,
        transition: Transition,
        causation_id: str | None,
        traceparent: str | None,
    ) -> None:
        saga, sent = transition.saga, []
        for effect in transition.effects:
            if isinstance(effect, ResolveDeadLetters):
                work.ended_work.append(WorkEnded(saga.saga_id, effect.step, effect.direction, effect.cause))
                continue
            message = self._message(work, effect, causation_id, traceparent)
            sent.append({"type": message.type, "message_id": str(message.message_id)})
            if isinstance(effect, SendCommand):
                saga = _first_copy(definition, saga, effect, message, work.now)
        before = work.sagas.get(saga.saga_id)
        standing = before.due_at if before else None
        saga = replace(saga, due_at=timers.moved_lazily(definition, saga, standing, work.now))
        work.put(saga)
        work.moves.append((before, transition.accepted, saga))
        entry = HistoryEntry(
            saga.saga_id, saga.version, saga.updated_at, transition.accepted, _led_to(saga, sent)
        )
        work.history.append(entry)

    def _message(
        self,
        work: LockedSagas,
        effect: SendCommand | PublishEvent,
        causation_id: str | None,
        traceparent: str | None,
    ) -> Message:
        """The message that an effect asks for, put among those that leave with this work."""
        message_id = self._new_id()
        if isinstance(effect, SendCommand):
            command, participant = effect.command, effect.participant
            message = command_message(
                command, participant, message_id, work.now, ORCHESTRATOR, causation_id, traceparent
            )
        else:
            message = event_message(
                effect.event, message_id, message_id, work.now, ORCHESTRATOR, causation_id, traceparent
            )
        work.messages.append(message)
        return message


def _told(error: Exception) -> str:
    """What went wrong, without what the saga was about."""
    if isinstance(error, ValidationError):
        return flaws_of_model(error)[:300]
    return f"{type(error).__name__}: {error}"[:300]


def _traced(transition: Transition, traceparent: str | None) -> Transition:
    """A start whose saga remembers the trace that it came in."""
    if traceparent is None:
        return transition
    saga = replace(transition.saga, traceparent=traceparent)
    return Transition(saga, transition.effects, transition.accepted)


def _first_copy(
    definition: SagaDefinition, saga: Saga, asked: SendCommand, message: Message, now: datetime
) -> Saga:
    """The saga once the first copy of a command that it awaits has been written."""
    awaited = saga.waiting_for(asked.command.step, asked.command.direction)
    if awaited is None:
        raise ValueError(f"saga {saga.saga_id} asks for {asked.command.step} and does not await it")
    jitter = _own_jitter(saga.saga_id)
    return timers.sent(definition, saga, awaited, message.message_id, now, jitter, final=False)


def _own_jitter(saga_id: UUID) -> float:
    """A saga's share of chance, the same for each new command: a later one is never due before an earlier.

    So ``due_at`` need not move while all goes well (`timers.moved_lazily`), which spares the index. The low
    bits of an identity are random; copies sent again draw anew.
    """
    return (saga_id.int & 0xFFFF) / 0x10000


def _led_to(saga: Saga, sent: list[dict[str, str]]) -> dict[str, Any]:
    """What an accepted input led to, for people who read the history."""
    return {
        "status": saga.status.value,
        "order_status": saga.label,
        "step": saga.awaited[0].step if saga.awaited else None,
        "direction": saga.direction.value,
        "sent": sent,
    }
