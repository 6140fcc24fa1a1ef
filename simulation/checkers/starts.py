"""Rules about how sagas of any kind start, and about what is there at their end (S21, S22, S24)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from uuid import UUID

from orchestrator.core.definition import ForEach, SagaDefinition, StepKind, steps_of
from orchestrator.core.state import Forward, Saga, Status
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import Knowledge
from simulation.facts import Asked, Committed, Effected, Reversed, Started
from simulation.storage.orchestrator import SAGAS

Key = tuple[str, str, str]
"""Definition, caller and idempotency key."""


class StartedOnce(Checker):
    """A key stands for one input of one definition and one caller; never two sagas of it (S14, S24)."""

    rule = "one saga for a key (S24)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._key_of: dict[UUID, Key] = {}
        self._stands: dict[Key, UUID] = {}
        self._told: dict[Key, tuple[UUID, bytes]] = {}

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Asked: self._asked, Started: self._started, Committed: self._committed}

    def _asked(self, fact: Asked) -> Objections:
        self._key_of[fact.subject_id] = (fact.definition, fact.owner, fact.idempotency_key)
        return ()

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(SAGAS):
            saga: Saga = change.after
            if change.before is not None:
                continue
            key = self._key_of.get(saga.subject_id)
            if key is None or key[0] != saga.definition:
                yield str(saga.saga_id), f"a saga of {saga.definition} that nobody asked for"
            elif self._stands.setdefault(key, saga.subject_id) != saga.subject_id:
                yield str(saga.saga_id), f"{key} has a second saga"

    def _started(self, fact: Started) -> Objections:
        key = (fact.definition, fact.owner, fact.idempotency_key)
        stands = self._stands.get(key)
        if fact.subject_id is None:
            told = self._told.get(key)
            if stands is None:
                yield str(key), "it is refused although it stands for nothing"
            elif told is not None and told[1] == fact.fingerprint:
                yield str(stands), "the same input again was refused"
            return
        told = self._told.setdefault(key, (fact.subject_id, fact.fingerprint))
        if stands != fact.subject_id or told != (fact.subject_id, fact.fingerprint):
            yield str(fact.subject_id), f"{key} stands for {stands}, {told[0]} as well"


class EndsWhole(Checker):
    """Completed: every effect that the course reached stands, once; else nothing does (S21, S22)."""

    rule = "what is there at the end (S21, S22)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._done: Counter[tuple[UUID, str]] = Counter()
        self._undone: Counter[tuple[UUID, str]] = Counter()

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Effected: self._effected, Reversed: self._reversed}

    def _effected(self, fact: Effected) -> Objections:
        self._done[fact.saga_id, fact.piece] += 1
        if self._done[fact.saga_id, fact.piece] > 1:
            yield str(fact.saga_id), f"{fact.piece} is done for the second time"
        if fact.saga_id not in self.known.sagas:
            yield str(fact.saga_id), f"{fact.piece} is done for a saga that never was"

    def _reversed(self, fact: Reversed) -> Objections:
        self._undone[fact.saga_id, fact.piece] += 1
        if self._undone[fact.saga_id, fact.piece] > self._done[fact.saga_id, fact.piece]:
            yield str(fact.saga_id), f"{fact.piece} is undone without having been done"

    def at_the_end(self) -> Objections:
        """See `Checker.at_the_end`."""
        for saga in self.known.sagas.values():
            check = self._completed if saga.status is Status.COMPLETED else self._undone_wholly
            for said in check(saga):
                yield str(saga.saga_id), f"{saga.status}, but {said}"

    def _completed(self, saga: Saga) -> Iterator[str]:
        definition = self.known.definition_of(saga)
        for name in _reached(definition, saga):
            piece = saga.step(name)
            stands = self._stands(saga, name)
            refused = piece.forward is Forward.REJECTED and _may_be_refused(definition, name)
            if stands != (0 if refused else 1):
                yield f"{name} ({piece.forward}) stands {stands} times"
        yield from self._strange(saga, set(_reached(definition, saga)))

    def _undone_wholly(self, saga: Saga) -> Iterator[str]:
        yield from self._strange(saga, set())

    def _strange(self, saga: Saga, expected: set[str]) -> Iterator[str]:
        for saga_id, piece in self._done:
            if saga_id == saga.saga_id and piece not in expected and self._stands(saga, piece):
                yield f"{piece} stands"

    def _stands(self, saga: Saga, piece: str) -> int:
        key = (saga.saga_id, piece)
        return self._done[key] - self._undone[key]


def _reached(definition: SagaDefinition, saga: Saga) -> Iterator[str]:
    """Every piece of work of a course that has been gone through to its end."""
    for number, stage in enumerate(definition.course):
        if isinstance(stage, ForEach):
            yield from (piece.name for piece in saga.steps if definition.stage_index(piece.name) == number)
        else:
            yield from (step.name for step in steps_of(stage))


def _may_be_refused(definition: SagaDefinition, piece: str) -> bool:
    is_branch = isinstance(definition.stage_of(piece), ForEach)
    return is_branch and definition[piece].kind is StepKind.PIVOT


ALL = (StartedOnce, EndsWhole)
